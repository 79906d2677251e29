// The events of one stream, in publish order, and how their bytes are kept.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <tidings/transport.hpp>

namespace tidings::memory {

/// An event with its ids; every view points into `record.block`.
struct Entry {
  transport::Record record{};
  std::string_view id{};
  std::string_view correlation{};
};

/// Copies `items` into shared blocks of about 256 KiB, so that a batch costs few allocations and an old event keeps
/// little else alive. Positions are still to be given.
[[nodiscard]] std::vector<Entry> copy_entries(std::span<const transport::Outgoing> items, Wall now);

/// An append-only sequence with a moving start. Offsets count from 1 and are never reused.
class Log {
 public:
  /// Appends `entry` and returns its place.
  Position append(Entry entry);
  /// The event at `offset`, which stands in [first(), end()).
  [[nodiscard]] const Entry& at(std::uint64_t offset) const { return entries_[offset - first_]; }
  [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return first_ + entries_.size(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// The offset that `start` means now.
  [[nodiscard]] std::uint64_t locate(const Start& start) const;
  /// One page of what `range` asks for.
  [[nodiscard]] transport::Page read(const transport::ReadRange& range) const;
  /// How far `retention` would trim at `now`, with no regard to groups.
  [[nodiscard]] std::uint64_t expired(const transport::Retention& retention, Wall now) const;
  /// Forgets what stands before `offset`.
  void trim(std::uint64_t offset);

 private:
  std::deque<Entry> entries_;
  std::uint64_t first_ = 1;
  std::uint64_t bytes_ = 0;
};

}  // namespace tidings::memory
