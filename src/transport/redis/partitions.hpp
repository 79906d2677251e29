// Categories that are more than one stream: how many, as the servers know, and where events are placed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/delivery.hpp>
#include <tidings/environment.hpp>
#include <tidings/stream.hpp>

#include "transport/redis/nodes.hpp"
#include "transport/redis/partition.hpp"

namespace tidings::transport::redis {

/// The partitions of a stream, by their names; the first is the stream's own.
using PartitionNames = std::shared_ptr<const std::vector<std::string>>;

/// Events with the partitions that they go to in the place of their streams; owns what those say.
class Placed {
 public:
  std::deque<std::vector<Outgoing>> events{};
  std::vector<PartitionNames> names{};
};

/// Makes the group of a stream, or of one partition, and the streams that are its own; false where it is there already.
bool make_group(Nodes& nodes, const std::string& stream, const std::string& group, const std::string& start,
                WaitClock::time_point deadline);

/// How many partitions each stream has. The server knows, under `{events:user}:partitions`, so that all who share it
/// agree; the number only ever grows. Any thread.
class Partitions {
 public:
  Partitions(Nodes& nodes, PartitionWish wish, const Log& log) : nodes_(nodes), wish_(std::move(wish)), log_(log) {}

  /// Whoever publishes or subscribes raises the number to what was wished for; whoever only looks does not.
  /// `look_anew` asks the server whatever is known, and fails where it cannot say.
  enum class Asks : std::uint8_t { raise, look, look_anew };
  /// What was known within the last `fresh`, else what the server says now.
  [[nodiscard]] PartitionNames names(std::string_view stream, WaitClock::time_point deadline, Asks asks);
  [[nodiscard]] PartitionNames names(std::string_view stream);  ///< Looks, with patience.
  /// The same events where no stream of theirs has partitions; else copies, which `placed` owns.
  [[nodiscard]] std::span<const Outgoing> place(std::span<const Outgoing> events, Placed& placed,
                                                WaitClock::time_point deadline);

  static constexpr std::chrono::milliseconds fresh{10'000};

 private:
  struct Known {
    PartitionNames names{};
    WaitClock::time_point until{};
    bool told = false;
  };
  [[nodiscard]] std::uint32_t ask(const std::string& stream, std::uint32_t wish, WaitClock::time_point deadline);
  void make_groups(const std::string& stream, std::uint32_t known, std::uint32_t wish, WaitClock::time_point deadline);
  void tell(std::string_view stream, const std::string& line);

  Nodes& nodes_;
  const PartitionWish wish_;
  const Log& log_;
  std::mutex mutex_{};  // Never held across I/O.
  std::map<std::string, Known, std::less<>> known_{};
};

}  // namespace tidings::transport::redis
