#include "transport/redis/partitions.hpp"

#include <algorithm>
#include <utility>

#include <tidings/error.hpp>

#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

constexpr std::string_view events_prefix = "events:";
constexpr std::size_t longest_stream = 256;  // What is longer is no stream's name, and refused where it is used.
constexpr std::chrono::milliseconds longest_ask{5'000};

}  // namespace

bool make_group(Nodes& nodes, const std::string& stream, const std::string& group, const std::string& start,
                WaitClock::time_point deadline) {
  Commands commands;
  commands.add({"XGROUP", "CREATE", stream, group, start, "MKSTREAM"});
  for (const char* part : {"retry", "alone"}) {
    commands.add({"XGROUP", "CREATE", group_key(stream, part, group), group, "0", "MKSTREAM"});
  }
  const Replies made = nodes.run(stream, commands, deadline);
  for (std::size_t i = 0; i < commands.count(); ++i) {
    const Reply reply = made.reply(i);
    if (reply.error() && !reply.text().starts_with("BUSYGROUP")) throw error_of(reply.text());
  }
  return !made.reply(0).error();
}

// The groups of the first partition in those that come, from where they began: they hold back retention there, and miss
// nothing, also when no instance of theirs runs.
void Partitions::make_groups(const std::string& stream, std::uint32_t known, std::uint32_t wish,
                             WaitClock::time_point deadline) {
  const Replies groups = nodes_.run(stream, Commands().add({"XINFO", "GROUPS", stream}), deadline);
  for (std::size_t i = 0; i < groups.reply().size(); ++i) {
    const std::string group(groups.reply()[i][1].text());
    const Replies state =
        nodes_.run(stream, Commands().add({"HMGET", group_key(stream, "state", group), "start", "paused"}), deadline);
    const auto value = [&](std::size_t index) {
      const std::string text(state.reply()[index].text());
      return text.empty() ? std::string("0") : text;
    };
    for (std::uint32_t k = known; k < wish; ++k) {
      const std::string name = partition_name(stream, k);
      // What is new holds nothing from before; and the clock of its node may be behind the first one's.
      const bool fresh_one = nodes_.call(name, {"EXISTS", name}, deadline).reply().integer() == 0;
      (void)make_group(nodes_, name, group, fresh_one ? "0" : value(0), deadline);
      (void)nodes_.call(name, {"HSET", group_key(name, "state", group), "start", value(0), "paused", value(1)},
                        deadline);
    }
  }
}

std::uint32_t Partitions::ask(const std::string& stream, std::uint32_t wish, WaitClock::time_point deadline) {
  const std::string key = group_key(stream, "partitions", {});
  const Replies answer = nodes_.run(key, Commands().add({"GET", key}), deadline);
  if (answer.reply().error()) {
    const Error error = error_of(answer.reply().text());
    if (error.code() != ErrorCode::unauthorized || wish > 1) throw Error(error);
    // A publisher who may touch the streams alone: in the first of them everybody finds what he adds.
    tell(stream, "may not read " + key + ", and uses its first partition; allow this user the keys {events:*");
    return 1;
  }
  const auto known =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(answer.reply().integer(1), 1, most_partitions));
  if (known >= wish) return known;
  make_groups(stream, known, wish, deadline);
  const Replies raised = nodes_.eval(Script::partition, {key}, {std::to_string(wish)}, deadline);
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(raised.reply().integer(1), 1, most_partitions));
}

void Partitions::tell(std::string_view stream, const std::string& line) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(known_[std::string(stream)].told, true)) return;
  }
  log_(LogLevel::warning, std::string(stream) + " " + line);
}

PartitionNames Partitions::names(std::string_view stream) {
  return names(stream_of_partition(stream), deadline_in(longest_ask), Asks::look);
}

PartitionNames Partitions::names(std::string_view stream, WaitClock::time_point deadline, Asks asks) {
  if (!stream.starts_with(events_prefix) || stream.size() > longest_stream) {
    return std::make_shared<const std::vector<std::string>>(1, std::string(stream));
  }
  const std::uint32_t wish = asks == Asks::raise ? wish_.for_stream(stream) : 1;
  PartitionNames before;
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(stream);
    if (found != known_.end() && found->second.names) {
      before = found->second.names;
      if (before->size() >= wish && asks != Asks::look_anew) {
        if (WaitClock::now() < found->second.until) return before;
        // The others go on with what is known meanwhile.
        found->second.until = deadline_in(fresh);
      }
    }
  }
  const std::string name(stream);
  const auto known = static_cast<std::uint32_t>(before ? before->size() : 1);
  std::uint32_t count = 0;
  try {
    // It never shrinks: where the server has forgotten it, after a failover say, it is told again.
    count = std::max(known, ask(name, std::max(wish, known), std::min(deadline, deadline_in(longest_ask))));
  } catch (const Error&) {
    if (!before || known < wish || asks == Asks::look_anew) throw;
    return before;  // Who is down says so elsewhere.
  }
  if (!before || known != count) {
    auto names = std::make_shared<std::vector<std::string>>();
    for (std::uint32_t i = 0; i < count; ++i) names->push_back(partition_name(stream, i));
    before = std::move(names);
  }
  {
    const std::lock_guard lock(mutex_);
    Known& entry = known_[name];
    // Whoever asked at the same time has them already, or more.
    if (entry.names && entry.names->size() >= before->size()) before = entry.names;
    entry.names = before;
    entry.until = deadline_in(fresh);
  }
  if (count > wish && asks == Asks::raise && wish_.of.contains(stream.substr(events_prefix.size()))) {
    tell(stream, "has " + std::to_string(count) + " partitions, not the " + std::to_string(wish) +
                     " of partitions=; their number cannot shrink, so correct the URL");
  }
  return before;
}

std::span<const Outgoing> Partitions::place(std::span<const Outgoing> events, Placed& placed,
                                            WaitClock::time_point deadline) {
  std::vector<Outgoing>* copies = nullptr;
  std::string_view last;
  PartitionNames names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Outgoing& event = events[i];
    if (event.stream != last || !names) {
      last = event.stream;
      names = this->names(last, deadline, Asks::raise);
    }
    if (names->size() <= 1) continue;
    if (copies == nullptr) copies = &placed.events.emplace_back(events.begin(), events.end());
    if (placed.names.empty() || placed.names.back() != names) placed.names.push_back(names);
    const auto count = static_cast<std::uint32_t>(names->size());
    (*copies)[i].stream = (*names)[partition_of(event.key.empty() ? event.id : event.key, count)];
  }
  return copies == nullptr ? events : std::span<const Outgoing>(*copies);
}

}  // namespace tidings::transport::redis
