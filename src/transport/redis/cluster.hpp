// What a cluster's servers say about who has which key. Pure; no I/O.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "transport/redis/resp.hpp"
#include "transport/redis/socket.hpp"

namespace tidings::transport::redis {

inline constexpr std::size_t slot_count = 16384;

/// CRC-16/XMODEM, as the cluster's specification has it.
[[nodiscard]] std::uint16_t crc16(std::string_view text) noexcept;

/// The slot of a key: CRC16 of it, or of what stands between its first `{` and the next `}` (Redis Cluster
/// specification, "Hash tags").
[[nodiscard]] std::uint16_t slot_of(std::string_view key) noexcept;

/// What `MOVED 866 127.0.0.1:6381` and `ASK …` say.
struct Redirection {
  enum class Kind : std::uint8_t { none, moved, ask } kind = Kind::none;
  std::uint16_t slot = 0;
  Address to{};
};

/// Of an error reply that came from `from`, which is meant where no host is named; `none` for any other error.
[[nodiscard]] Redirection redirection_of(std::string_view error, const Address& from);

/// Which server owns which slot.
class SlotMap {
 public:
  SlotMap() : owners_(slot_count, nobody) {}
  /// Of the reply to CLUSTER SLOTS of the server at `from`. Slots that nobody owns have no owner.
  SlotMap(const Reply& slots, const Address& from);

  /// Null where nobody is known.
  [[nodiscard]] const Address* owner(std::uint16_t slot) const noexcept {
    return owners_[slot] == nobody ? nullptr : &servers_[owners_[slot]];
  }
  /// One slot belongs to another server now.
  void move(std::uint16_t slot, const Address& to);
  /// The owners, each once.
  [[nodiscard]] const std::vector<Address>& servers() const noexcept { return servers_; }

 private:
  static constexpr std::uint16_t nobody = 0xffff;
  std::uint16_t index_of(const Address& address);

  std::vector<Address> servers_{};
  std::vector<std::uint16_t> owners_{};  // Indexes into servers_.
};

}  // namespace tidings::transport::redis
