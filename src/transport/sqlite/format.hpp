// The block: how the events of one transaction and stream lie in one blob. Pure; no I/O.
//
// header | type table | index | envelopes. Everything is little-endian. The header, type table and index share one
// checksum; each event has its own, so that a flipped bit costs one event and not its neighbours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/delivery.hpp>

namespace tidings::transport::sqlite {

/// Envelope bytes of one block; a larger batch makes several blocks, a larger event a block of its own.
inline constexpr std::size_t block_bytes = 256U << 10;
/// What may be read behind the last envelope of a decoded block.
inline constexpr std::size_t block_padding = 64;

/// A 64-bit hash that never changes: it is stored in indexes and Bloom filters.
[[nodiscard]] std::uint64_t stable_hash(std::string_view text) noexcept;

/// Builds blocks in a buffer that is used again, so that a publish allocates nothing once it is warm.
class BlockBuilder {
 public:
  /// Encodes `events` (not empty). The views that the accessors return live until the next call.
  void build(std::span<const Outgoing* const> events);
  [[nodiscard]] std::span<const std::byte> body() const noexcept { return {body_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> bloom() const noexcept { return bloom_; }
  /// The distinct types, each ended by a line break.
  [[nodiscard]] std::string_view types() const noexcept { return types_; }

 private:
  [[nodiscard]] std::uint16_t type_index(std::string_view type);
  void add_to_bloom(std::uint64_t hash) noexcept;

  std::unique_ptr<std::byte[]> body_{};
  std::size_t capacity_ = 0, size_ = 0;
  std::vector<std::byte> bloom_{};
  std::vector<std::string_view> table_{};
  std::vector<std::uint16_t> type_of_{};
  std::string types_{};
};

/// Whether `bloom` may hold `text`; false is certain.
[[nodiscard]] bool bloom_may_hold(std::span<const std::byte> bloom, std::string_view text) noexcept;

/// Whether the list of types that BlockBuilder::types() wrote holds `type`.
[[nodiscard]] bool types_hold(std::string_view types, std::string_view type) noexcept;

/// A block as it was read. Cheap to copy; never changes.
class Block {
 public:
  /// Room for a body of `size` bytes, followed by the padding.
  [[nodiscard]] static std::shared_ptr<std::byte[]> allocate(std::size_t size);
  Block() = default;
  /// Takes a body of `size` bytes that was read into allocate(size), as a block of `count` events (the row knows the
  /// count, so that a damaged header cannot lie about it).
  Block(std::shared_ptr<const std::byte[]> bytes, std::size_t size, std::uint32_t count);

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// Of the envelope of event `index`; 0 where the index is damaged beyond use.
  [[nodiscard]] std::size_t length(std::uint32_t index) const noexcept;
  /// Its bytes, type and whether they fail their checksum. Checks the checksum: once per event and reader is enough.
  [[nodiscard]] Record record(std::uint32_t index) const;
  /// Whether event `index` may have this id or correlation, judged by 32 bits of their hashes.
  [[nodiscard]] bool may_match(std::uint32_t index, std::string_view id, std::string_view correlation) const noexcept;
  [[nodiscard]] std::string_view type(std::uint32_t index) const noexcept;

  /// One event's line of the index, as it lies in the blob.
  struct Entry;

 private:
  [[nodiscard]] Entry entry(std::uint32_t index) const noexcept;
  void read_types(std::size_t bytes, std::size_t count);

  std::shared_ptr<const std::byte[]> bytes_{};
  std::size_t size_ = 0, index_at_ = 0;
  std::uint32_t count_ = 0;
  bool sound_ = false;  // The header's checksum holds.
  std::vector<std::string_view> types_{};
};

}  // namespace tidings::transport::sqlite
