#include "transport/redis/partitions.hpp"

#include <algorithm>
#include <utility>

#include <tidings/error.hpp>

namespace tidings::transport::redis {
namespace {

constexpr std::string_view events_prefix = "events:";
constexpr std::size_t longest_stream = 256;  // What is longer is no stream's name, and refused where it is used.
constexpr std::chrono::milliseconds patience{5'000};

}  // namespace

std::uint32_t Partitions::ask(const std::string& stream, std::uint32_t wish) {
  const std::string key = "{" + stream + "}:partitions";
  const auto deadline = deadline_in(patience);
  const Replies answer = wish > 1 ? nodes_.eval(Script::partition, {key}, {std::to_string(wish)}, deadline)
                                  : nodes_.call(key, {"GET", key}, deadline);
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(answer.reply().integer(1), 1, most_partitions));
}

PartitionNames Partitions::names(std::string_view stream) {
  if (!stream.starts_with(events_prefix) || stream.size() > longest_stream) {
    return std::make_shared<const std::vector<std::string>>(1, std::string(stream));
  }
  PartitionNames before;
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(stream);
    if (found != known_.end()) {
      if (WaitClock::now() < found->second.until) return found->second.names;
      before = found->second.names;
      // The others go on with what is known meanwhile.
      found->second.until = deadline_in(fresh);
    }
  }
  const std::string name(stream);
  const std::uint32_t wish = wish_.for_stream(stream);
  std::uint32_t count = 1;
  try {
    count = ask(name, wish);
  } catch (const Error&) {
    if (!before) throw;
    return before;  // It never shrinks, and who is down says so elsewhere.
  }
  if (!before || before->size() != count) {
    auto names = std::make_shared<std::vector<std::string>>();
    for (std::uint32_t i = 0; i < count; ++i) names->push_back(partition_name(stream, i));
    before = std::move(names);
  }
  bool tell = false;
  {
    const std::lock_guard lock(mutex_);
    Known& known = known_[name];
    tell = count > wish && wish_.of.contains(stream.substr(std::min(stream.size(), events_prefix.size()))) &&
           !std::exchange(known.told, true);
    // Whoever asked at the same time has them already.
    if (known.names && known.names->size() == before->size()) before = known.names;
    known.names = before;
    known.until = deadline_in(fresh);
  }
  if (tell) {
    log_(LogLevel::warning, name + " has " + std::to_string(count) + " partitions, not the " + std::to_string(wish) +
                                " of partitions=; their number cannot shrink, so correct the URL");
  }
  return before;
}

std::span<const Outgoing> Partitions::place(std::span<const Outgoing> events, Placed& placed) {
  std::vector<Outgoing>* copies = nullptr;
  std::string_view last;
  PartitionNames names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Outgoing& event = events[i];
    if (event.stream != last || !names) {
      last = event.stream;
      names = this->names(last);
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
