#include "transport/redis/partition.hpp"

#include <algorithm>
#include <charconv>

#include <tidings/error.hpp>
#include <tidings/stream.hpp>

#include "transport/redis/cluster.hpp"

namespace tidings::transport::redis {
namespace {

constexpr std::string_view events_prefix = "events:";

std::uint32_t count_of(std::string_view text, std::string_view option) {
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count == 0 || count > most_partitions) {
    throw Error(ErrorCode::invalid,
                "redis: partitions=" + std::string(option) + ": \"" + std::string(text) +
                    "\" is no number from 1 to 256; write partitions=8, or partitions=user:8,order:4");
  }
  return count;
}

}  // namespace

std::string partition_name(std::string_view stream, std::uint32_t index) {
  std::string name(stream);
  if (index > 0) name.append("#").append(std::to_string(index));
  return name;
}

std::string_view stream_of_partition(std::string_view name) noexcept { return name.substr(0, name.rfind('#')); }

std::uint32_t partition_of(std::string_view key, std::uint32_t count) noexcept {
  return count <= 1 ? 0 : crc16(key) % count;
}

std::uint32_t PartitionWish::for_stream(std::string_view stream) const noexcept {
  if (!stream.starts_with(events_prefix)) return 1;  // A command has one owner, who handles it in order.
  const auto found = of.find(stream.substr(events_prefix.size()));
  return found == of.end() ? all : found->second;
}

PartitionWish read_partitions(std::string_view option) {
  PartitionWish wish;
  for (std::string_view rest = option; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view each = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const std::size_t colon = each.rfind(':');
    if (colon == std::string_view::npos) {
      wish.all = count_of(each, option);
      continue;
    }
    const std::string category(each.substr(0, colon));
    check_stream(std::string(events_prefix) + category);
    wish.of[category] = count_of(each.substr(colon + 1), option);
  }
  return wish;
}

}  // namespace tidings::transport::redis
