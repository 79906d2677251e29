// What one subscription holds: what is handed out and not settled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "transport/redis/resp.hpp"

namespace tidings::transport::redis {

/// What is handed out and not settled, by the token's lease. Serials grow without holes, so that they are an index.
class Ledger {
 public:
  struct Held {
    std::uint32_t stream = 0;
    char source = 'S';  ///< Which of the group's streams it is an entry of: S, R (retry) or A (alone).
    EntryId id{};
    std::string_view envelope{};  ///< Stands in its block, for the case that the entry is deleted meanwhile.
    bool open = true;
    bool unclear = false;     ///< Its settlement was sent and no answer came.
    bool named = false;       ///< A settlement of it is under way.
    std::uint64_t block = 0;  ///< The ledger's own number of the block.
  };
  /// `block` owns the envelope.
  std::uint64_t add(const Held& held, const std::shared_ptr<const std::byte[]>& block);
  /// Null when it is settled, or never was.
  [[nodiscard]] const Held* find(std::uint64_t serial) const noexcept {
    return serial - first_ < count_ && place(serial).open ? &place(serial) : nullptr;
  }
  /// The same for a settlement that begins: null also while another one is under way.
  [[nodiscard]] const Held* name(std::uint64_t serial) noexcept;
  void unname(std::uint64_t serial) noexcept;
  void settle(std::uint64_t serial) noexcept;
  void doubt(std::uint64_t serial) noexcept {
    if (find(serial) != nullptr) place(serial).unclear = true;
  }
  void clear() noexcept;
  [[nodiscard]] std::vector<std::uint64_t> open() const;
  [[nodiscard]] std::size_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool alone() const noexcept { return alone_ > 0; }

 private:
  // Many envelopes in a row stand in one block: to count them costs less than to share it with each.
  struct Block {
    std::shared_ptr<const std::byte[]> bytes{};
    std::size_t open = 0;  // How many are held whose envelopes stand in it.
  };
  static constexpr std::size_t fewest_places = 64, most_kept_places = 1U << 16;

  [[nodiscard]] Held& place(std::uint64_t serial) noexcept { return places_[serial & (places_.size() - 1)]; }
  [[nodiscard]] const Held& place(std::uint64_t serial) const noexcept {
    return places_[serial & (places_.size() - 1)];
  }
  void grow();

  std::vector<Held> places_ = std::vector<Held>(fewest_places);  // A ring; their number is a power of two.
  std::uint64_t first_ = 1;                                      // The serial of the oldest …
  std::size_t count_ = 0;                                        // … of so many in the ring.
  std::deque<Block> blocks_{};
  std::uint64_t first_block_ = 0;  // The number of blocks_.front().
  std::size_t events_ = 0, bytes_ = 0, alone_ = 0;
};

}  // namespace tidings::transport::redis
