// The partitions of a category: their names, which of them a key goes to, and how many a URL asks for. Pure; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace tidings::transport::redis {

/// The name of one partition: the stream's own for the first, `events:user#3` for another. No category has a `#`.
[[nodiscard]] std::string partition_name(std::string_view stream, std::uint32_t index);
/// `events:user` of `events:user#3`.
[[nodiscard]] std::string_view stream_of_partition(std::string_view name) noexcept;

/// Where events with this key go, of `count` partitions: CRC16 of the key, modulo the count. An event without a key
/// goes where its id says.
[[nodiscard]] std::uint32_t partition_of(std::string_view key, std::uint32_t count) noexcept;

/// What the option `partitions=` asks for: `8` for all categories of events, `user:8,order:4` for some.
struct PartitionWish {
  std::uint32_t all = 1;
  std::map<std::string, std::uint32_t, std::less<>> of{};  ///< By category.

  [[nodiscard]] std::uint32_t for_stream(std::string_view stream) const noexcept;
};
/// Throws Error{invalid}.
[[nodiscard]] PartitionWish read_partitions(std::string_view option);
inline constexpr std::uint32_t most_partitions = 256;

}  // namespace tidings::transport::redis
