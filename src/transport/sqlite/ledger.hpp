// What one subscription holds: ranges of positions and single items. Pure bookkeeping, without I/O or locks; the tables
// are written first, this follows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <tidings/delivery.hpp>

#include "transport/sqlite/log.hpp"

namespace tidings::transport::sqlite {

/// Which events of a range are settled.
class Bits {
 public:
  explicit Bits(std::uint32_t size = 0) : words_((size + 63) / 64), size_(size) {}
  [[nodiscard]] bool test(std::uint32_t index) const noexcept { return (words_[index / 64] >> (index % 64) & 1U) != 0; }
  void set(std::uint32_t index) noexcept;
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// The first event that is not settled; size() when all are.
  [[nodiscard]] std::uint32_t first_clear() const noexcept;
  /// As the table keeps them.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return std::as_bytes(std::span(words_)); }
  [[nodiscard]] static Bits from_bytes(std::span<const std::byte> bytes, std::uint32_t size);

 private:
  std::vector<std::uint64_t> words_;
  std::uint32_t size_ = 0, count_ = 0;
};

/// A row of `claims` or `items` that is ours.
struct Holding {
  bool range = false;
  std::int64_t row = 0;
  std::uint32_t group = 0;  ///< Index into the subscription's groups.
  std::uint64_t first = 0;  ///< Range: the first position. Item: its position, 0 when injected.
  std::uint32_t count = 1;
  bool alone = false;
  Bits done{1};
  std::vector<std::shared_ptr<const StoredBlock>> blocks{};  ///< Range: where its events lie.
  std::size_t item_bytes = 0;
  std::size_t bytes = 0;  ///< Of what is not settled; the ledger's own.

  /// The block and its event for `index` of a range.
  [[nodiscard]] Record record(std::uint32_t index) const;
  [[nodiscard]] std::size_t length(std::uint32_t index) const noexcept;
  /// Whether `index` is an event of it that is not settled.
  [[nodiscard]] bool holds(std::uint32_t index) const noexcept { return index < count && !done.test(index); }
  [[nodiscard]] bool finished() const noexcept { return done.count() == count; }
};

class Ledger {
 public:
  /// Adds a holding; its tokens carry the serial that comes back.
  std::uint64_t add(std::shared_ptr<Holding> holding);
  /// The holding of this serial; null when all of it is settled, or it never was.
  [[nodiscard]] std::shared_ptr<Holding> find(std::uint64_t serial) const;
  /// Marks events, each named once, as settled; what is finished leaves.
  void settle(std::uint64_t serial, std::span<const std::uint32_t> indexes);
  void forget(std::uint64_t serial);
  void clear();
  /// Tokens of all that is not settled, with `epoch`.
  [[nodiscard]] std::vector<AckToken> open(std::uint32_t epoch) const;

  [[nodiscard]] std::size_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool alone() const noexcept { return alone_ != 0; }

 private:
  std::map<std::uint64_t, std::shared_ptr<Holding>> holdings_{};
  std::uint64_t serial_ = 0;
  std::size_t events_ = 0, bytes_ = 0, alone_ = 0;
};

}  // namespace tidings::transport::sqlite
