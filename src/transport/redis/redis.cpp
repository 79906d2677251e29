#include "transport/redis/redis.hpp"

#include <algorithm>
#include <mutex>
#include <optional>

#include "transport/redis/subscription.hpp"

namespace tidings {
namespace transport::redis {
namespace {

constexpr std::size_t trim_at_once = 10'000;  // The script reads them.
constexpr std::uint64_t many_keys = 10'000;
constexpr Millis look_again{30'000};

class RedisTransport final : public Transport, public core::GrowingPublish {
 public:
  RedisTransport(Endpoint endpoint, const Environment& environment)
      : store_(std::move(endpoint), environment, deadline_in(Millis(5'000))) {}

  [[nodiscard]] const Capabilities& capabilities() const noexcept override { return store_.capabilities(); }

  void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) override {
    check_level(level);
    add_events(store_, items, level, within, results);
  }

  void publish_growing(const core::MoreEvents& more, Level level, Millis within, std::vector<Outgoing>& items,
                       std::vector<Result>& results) override {
    check_level(level);
    add_growing(store_, more, level, within, items, results);
  }

  void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> events,
              std::span<Result> results) override {
    check_group(store_, group);
    std::vector<Outgoing> items(events.begin(), events.end());
    for (Outgoing& item : items) item.stream = group.stream;
    Placed placed;
    const std::span<const Outgoing> parts = store_.partitions().place(items, placed, deadline_in(patience));
    const PartitionNames partitions = store_.partitions().names(group.stream);
    for (const std::string& each : *partitions) {
      inject_part({each, group.group}, origin, run, parts, results);
    }
  }

  // Of the items, those that go to this partition.
  void inject_part(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> items,
                   std::span<Result> results) {
    Commands commands;
    std::vector<std::size_t> sent;
    const std::string key = group_key(group.stream, "retry", group.group);
    const std::string number = std::to_string(run);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Outgoing& item = items[i];
      if (item.stream != group.stream) continue;
      results[i] = {};
      if (!acceptable(item, capabilities(), results[i])) continue;
      commands.add({"XADD", key, "*", "event", item.envelope, "attempt", "0", "crashes", "0", "origin",
                    origin == Origin::replay ? "replay" : "redrive", "run", number, "pos", "0-0", "first", "", "last",
                    ""});
      sent.push_back(i);
    }
    if (sent.empty()) return;
    const Replies replies = store_.nodes().run(group.stream, commands, deadline_in(patience));
    for (std::size_t k = 0; k < sent.size(); ++k) {
      if (!replies.reply(k).error()) continue;
      const Error error = error_of(replies.reply(k).text());
      results[sent[k]] = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
    }
  }

  std::unique_ptr<Subscription> subscribe(const Interest& interest) override {
    return std::make_unique<RedisSubscription>(store_, interest);
  }
  Page read(const ReadRange& range, std::stop_token stop) override { return read_stream(store_, range, stop); }
  std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) override {
    return list_shelf(store_, group, query);
  }
  std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action, const Outgoing& replacement) override {
    return move_items(store_, group, query, action, replacement);
  }
  void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    shelve_items(store_, group, items, results);
  }
  void change(GroupRef group, const GroupChange& change) override { change_group(store_, group, change); }
  std::vector<StreamInfo> describe(std::string_view stream) override { return describe_streams(store_, stream); }

  Millis tend(const Retention& retention, std::stop_token stop) override {
    std::optional<Error> failure;  // What fails for one stream does not keep the others from their upkeep.
    bool more = false;
    for (const std::string& stream : streams_to_tend(failure)) {
      if (stop.stop_requested()) break;
      try {
        for (const std::string& group : list_groups(store_, stream)) {
          (void)store_.eval(Script::orphans, stream, group, {store_.now_word(), "1000"}, deadline_in(patience));
        }
        if (retention.age || retention.bytes) more = trim(stream, retention) || more;
      } catch (const Error& error) {
        if (!failure) failure = error;
      }
    }
    if (failure) throw Error(*failure);
    return more ? Millis(50) : Millis(1'000);
  }

  std::vector<Check> diagnose() override { return check_servers(store_); }

 private:
  void check_level(Level level) const {
    const std::vector<Level>& levels = capabilities().levels;
    if (std::find(levels.begin(), levels.end(), level) != levels.end()) return;
    throw Error(ErrorCode::not_supported,
                "redis: this server does not offer the level " + std::string(to_string(level)) +
                    "; disk wants appendonly yes and appendfsync always, replicated wants connected replicas");
  }
  // Among many keys, streams are looked for now and then only; where a node cannot be reached, its streams wait.
  std::vector<std::string> streams_to_tend(std::optional<Error>& failure) {
    const std::lock_guard lock(streams_mutex_);
    if (WaitClock::now() < streams_until_) return streams_;
    std::uint64_t keys = 0;
    (void)store_.nodes().ask_each([&](const std::string& place, Millis within) {
      keys += static_cast<std::uint64_t>(store_.nodes().call(place, {"DBSIZE"}, deadline_in(within)).reply().integer());
    });
    streams_ = list_partitions(store_, failure);
    if (keys > many_keys && !failure) streams_until_ = deadline_in(look_again);
    return streams_;
  }

  // Whether there is more to remove than was removed at once.
  bool trim(const std::string& stream, const Retention& retention) {
    bool more = false;
    std::vector<std::string> arguments{"", "", ""};
    if (retention.age)
      arguments[1] = std::to_string(std::max<std::int64_t>(store_.now_ms(stream) - retention.age->count(), 0)) + "-0";
    if (retention.bytes) {
      const auto number = [&](std::initializer_list<std::string_view> words) {
        const Replies answer = store_.nodes().call(stream, words, deadline_in(patience));
        return static_cast<std::uint64_t>(std::max<std::int64_t>(answer.reply().integer(), 0));
      };
      const std::uint64_t length = number({"XLEN", stream}), bytes = number({"MEMORY", "USAGE", stream});
      // Each partition has its part of what the stream may have.
      const std::uint64_t most = *retention.bytes / store_.partitions().names(stream_of_partition(stream))->size();
      if (bytes > most && length > 0) {
        const std::uint64_t extra = (bytes - most) * length / bytes;
        more = extra > trim_at_once;
        arguments[2] = std::to_string(length - std::min<std::uint64_t>(extra, trim_at_once));
      }
    }
    for (const std::string& group : retention.pass_groups) arguments.push_back(group);
    std::vector<std::string> keys{stream};
    for (const std::string& group : list_groups(store_, stream)) keys.push_back(group_key(stream, "gaps", group));
    const Replies answer = store_.nodes().eval(Script::trim, keys, arguments, deadline_in(patience));
    const Reply reply = answer.reply();
    for (std::size_t i = 1; i + 2 < reply.size(); i += 3) {
      store_.environment().log(LogLevel::warning,
                               "retention passed the group " + std::string(reply[i].text()) + " of " + stream +
                                   ": the events " + std::string(reply[i + 1].text()) + " to " +
                                   std::string(reply[i + 2].text()) + " are gone before it had them");
    }
    return more && reply[0].integer() > 0;
  }

  Store store_;
  std::mutex streams_mutex_{};
  std::vector<std::string> streams_{};     // What streams_to_tend() found …
  WaitClock::time_point streams_until_{};  // … and until when that will do.
};

}  // namespace

}  // namespace transport::redis

std::shared_ptr<transport::Transport> open_redis(const Url& url, const Environment& environment) {
  return std::make_shared<transport::redis::RedisTransport>(transport::redis::endpoint_of(url), environment);
}

}  // namespace tidings
