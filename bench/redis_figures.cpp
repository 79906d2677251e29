// The figures of the transport on Redis.
#include "figure.hpp"
#include "support/redis_server.hpp"

namespace bench_run {
namespace {

constexpr std::uint64_t many = 200'000;
// Slow contestants get less to do.
constexpr std::uint64_t naive_events = 5'000, tuned_events = 40'000;

/// What the contestants did in this round.
struct Measured {
  Line ours{}, plain{};
  std::optional<Line> naive{}, tuned{};
};

/// The server of the run, empty for each contestant, and what was measured on it last. A figure that looks at a
/// measurement from another side stands behind the one that takes it.
class Redis {
 public:
  explicit Redis(RedisPart part) : part_(std::move(part)) {}

  void publish() {
    published_.plain = filled(many, plain("publish", many));
    published_.ours = filled(many, ours("publish", many));
    async_ = filled(many, ours("publish-async", many));
    published_.tuned = ioredis("publish", "tuned", tuned_events);
  }
  void publish_awaited() {
    awaited_.ours = filled(many / 10, ours("awaited", many / 10));
    awaited_.naive = ioredis("publish", "naive", naive_events);
  }
  void publish_from_threads() { threads_ = filled(many / 2, ours("awaited", many / 2, {"--threads", "16"})); }
  void consume() {
    // Everybody reads what the plain client published.
    consumed_.plain = settled(stored(many, [this] { return plain("consume", many); }));
    consumed_.ours = settled(stored(many, [this] { return ours("consume", many); }));
    if (has_node()) {
      consumed_.naive = settled(stored(naive_events, [this] { return node("consume", "naive", naive_events); }));
      consumed_.tuned = settled(stored(tuned_events, [this] { return node("consume", "tuned", tuned_events); }));
    }
  }
  void move() {
    moved_.plain = settled(filled(many + 1, plain("move", many)));
    moved_.ours = settled(filled(many + 1, ours("move", many)));
    moved_.naive = ioredis("move", "naive", naive_events);
    moved_.tuned = ioredis("move", "tuned", tuned_events);
  }
  void wake() {
    constexpr std::uint64_t events = 2000;
    woken_.plain = settled(filled(events + 1, plain("wake", events)));
    woken_.ours = settled(filled(events + 1, ours("wake", events)));
    woken_.naive = ioredis("wake", "naive", events);
  }

  [[nodiscard]] const Measured& published() const { return published_; }
  [[nodiscard]] const Measured& awaited() const { return awaited_; }
  [[nodiscard]] const Measured& consumed() const { return consumed_; }
  [[nodiscard]] const Measured& moved() const { return moved_; }
  [[nodiscard]] const Measured& woken() const { return woken_; }
  [[nodiscard]] const Line& async() const { return async_; }
  [[nodiscard]] const Line& threads() const { return threads_; }
  [[nodiscard]] const std::string& why_no_node() const { return part_.why_no_node; }

 private:
  [[nodiscard]] bool has_node() const { return !part_.node.empty(); }
  void clear() { server_.cli("FLUSHALL"); }

  Line plain(const std::string& path, std::uint64_t events) {
    if (path != "consume") clear();
    return run({part_.programs + "/tidings_bench_yardsticks", "redis-" + path, "--port", std::to_string(server_.port()),
                "--events", std::to_string(events), "--batch", "500"})
        .line;
  }
  Line ours(const std::string& path, std::uint64_t events, const std::vector<std::string>& more = {}) {
    if (path != "consume") clear();
    std::vector<std::string> words{part_.programs + "/tidings_bench_ours", path, server_.url(), "--events",
                                   std::to_string(events)};
    words.insert(words.end(), more.begin(), more.end());
    return run(words).line;
  }
  Line node(const std::string& path, const std::string& way, std::uint64_t events) {
    if (path != "consume") clear();
    return run({"/usr/bin/env", "node", part_.node + "/redis_figures.mjs", std::to_string(server_.port()), path, way,
                std::to_string(events), "1000"})
        .line;
  }
  /// ADR-005's loop; nothing without Node.
  std::optional<Line> ioredis(const std::string& path, const std::string& way, std::uint64_t events) {
    if (!has_node()) return std::nullopt;
    const Line line = filled(events + (path == "publish" ? 0 : 1), node(path, way, events));
    return path == "publish" ? line : settled(line);
  }

  template <class Work>
  Line stored(std::uint64_t events, Work work) {
    filled(events, plain("publish", events));
    return work();
  }
  /// Throws unless the stream holds so many events, of the size that all contestants have.
  Line filled(std::uint64_t events, const Line& line) {
    if (server_.cli("XLEN", "events:user") != std::to_string(events)) {
      throw std::runtime_error("a contestant published " + server_.cli("XLEN", "events:user") + " events, not " +
                               std::to_string(events));
    }
    const std::string last = server_.cli("XREVRANGE", "events:user", "+", "-", "COUNT", 1);
    constexpr std::size_t size = 259;
    if (last.size() - last.find('{') != size) {
      throw std::runtime_error("a contestant's events do not have 259 bytes: " + last);
    }
    return line;
  }
  /// Throws unless the group read and acknowledged everything.
  Line settled(const Line& line) {
    const std::string groups = server_.cli("XINFO", "GROUPS", "events:user");
    if (groups.find("\npending\n0\n") == std::string::npos || !groups.ends_with("\nlag\n0")) {
      throw std::runtime_error("a contestant left something open: " + groups);
    }
    return line;
  }

  tidings::support::RedisServer server_{};
  RedisPart part_;
  Measured published_{}, awaited_{}, consumed_{}, moved_{}, woken_{};
  Line async_{}, threads_{};
};

double rate(const std::optional<Line>& line) { return line ? line->events_per_second : 0; }
double cpu_us(const Line& line) { return line.cpu_seconds.value_or(0) * 1e6 / static_cast<double>(many); }

/// A figure of `redis`: `take` measures, unless a figure before has, and `look` says what of it this one shows.
struct View {
  void (Redis::*take)() = nullptr;
  std::function<Sample(const Redis&)> look{};
};

Figure figure(const std::shared_ptr<Redis>& redis, std::string name, std::string unit, View view,
              std::vector<std::string> beside = {}) {
  return {.name = "redis: " + std::move(name),
          .unit = std::move(unit),
          .beside = std::move(beside),
          .least_ratio = {},
          .most = {},
          .measure =
              [redis, view = std::move(view)](const Bench&) {
                if (view.take != nullptr) (*redis.*view.take)();
                return view.look(*redis);
              },
          .missing = redis->why_no_node()};
}

Figure at_least(double ratio, Figure figure) {
  figure.least_ratio = ratio;
  return figure;
}
Figure at_most(double amount, Figure figure) {
  figure.most = amount;
  return figure;
}
Figure at_most_ratio(double ratio, Figure figure) {
  figure.most_ratio = ratio;
  return figure;
}

/// Latency as one percentile shows it.
View percentile(void (Redis::*take)(), std::optional<double> Line::*which) {
  return {take, [which](const Redis& redis) {
            const Measured& woken = redis.woken();
            return Sample{(woken.ours.*which).value_or(0),
                          (woken.plain.*which).value_or(0),
                          {woken.naive ? (*woken.naive.*which).value_or(0) : 0}};
          }};
}

Sample of_published(const Redis& redis) {
  const Measured& all = redis.published();
  return {rate(all.ours), rate(all.plain), {rate(redis.async()), rate(all.tuned)}};
}
Sample cpu_of_published(const Redis& redis) {
  return {cpu_us(redis.published().ours), cpu_us(redis.published().plain), {cpu_us(redis.async())}};
}
Sample of_awaited(const Redis& redis) { return {rate(redis.awaited().ours), rate(redis.awaited().naive), {}}; }
Sample of_threads(const Redis& redis) { return {rate(redis.threads()), rate(redis.awaited().naive), {}}; }
Sample rates(const Measured& all) { return {rate(all.ours), rate(all.plain), {rate(all.naive), rate(all.tuned)}}; }
Sample of_consumed(const Redis& redis) { return rates(redis.consumed()); }
Sample cpu_of_consumed(const Redis& redis) {
  return {cpu_us(redis.consumed().ours), cpu_us(redis.consumed().plain), {}};
}
Sample of_moved(const Redis& redis) { return rates(redis.moved()); }

}  // namespace

std::vector<Figure> redis_figures(RedisPart part) {
  const auto redis = std::make_shared<Redis>(std::move(part));
  const std::string events = "events/s", us = "us", plain = " (beside a plain client)",
                    naive = " (beside ioredis naive)";
  const std::vector<std::string> loops{"ioredis naive, events/s", "ioredis tuned, events/s"};
  const std::vector<std::string> naive_us{"ioredis naive, us"};
  return {
      at_least(0.9, figure(redis, "publish_batch of 500 structs" + plain, events, {&Redis::publish, of_published},
                           {"ours by publish_async, events/s", "ioredis tuned, events/s"})),
      at_most(0.6, figure(redis, "client's CPU an event published" + plain, us, {nullptr, cpu_of_published},
                          {"ours by publish_async, us"})),
      at_least(1.5, figure(redis, "awaited publishes" + naive, events, {&Redis::publish_awaited, of_awaited})),
      at_least(5, figure(redis, "awaited publishes, 16 threads" + naive, events,
                         {&Redis::publish_from_threads, of_threads})),
      at_least(0.85, figure(redis, "consume + decode + settle" + plain, events, {&Redis::consume, of_consumed}, loops)),
      at_most(1, figure(redis, "client's CPU an event consumed" + plain, us, {nullptr, cpu_of_consumed})),
      at_least(0.85, figure(redis, "end to end, two processes" + plain, events, {&Redis::move, of_moved}, loops)),
      at_most_ratio(1.3, figure(redis, "latency at 1000 events/s, p50" + plain, us,
                                percentile(&Redis::wake, &Line::p50_us), naive_us)),
      at_most_ratio(1.3, figure(redis, "latency at 1000 events/s, p99" + plain, us, percentile(nullptr, &Line::p99_us),
                                naive_us)),
  };
}

}  // namespace bench_run
