// The figures of the transport on Redis.
#include "figure.hpp"
#include "support/redis_server.hpp"

namespace bench_run {
namespace {

constexpr const char* events = "200000";
constexpr double event_count = 200'000;

/// The server of the run, empty for each measurement.
struct Server {
  tidings::support::RedisServer server{};
  std::string programs{}, node{};

  std::string port() { return std::to_string(server.port()); }
  void clear() { server.cli("FLUSHALL"); }
  Line plain(const std::string& path, std::vector<std::string> more) {
    std::vector<std::string> words{programs + "/tidings_bench_yardsticks", "redis-" + path, "--port", port()};
    words.insert(words.end(), more.begin(), more.end());
    return run(words).line;
  }
  /// ADR-005's loops; nothing without Node.
  std::optional<Line> ioredis(const std::string& path, const std::string& count) {
    if (node.empty()) return std::nullopt;
    return run({"/usr/bin/env", "node", node + "/redis_figures.mjs", port(), path, count}).line;
  }
};

using Shared = std::shared_ptr<Server>;

double rate(const std::optional<Line>& line) { return line ? line->events_per_second : 0; }
double cpu_us(const Line& line) { return line.cpu_seconds.value_or(0) * 1e6 / event_count; }

Sample publish(Server& server, const Bench& bench) {
  server.clear();
  const Line plain = server.plain("publish", {"--events", events, "--batch", "500"});
  server.clear();
  const Line ours = bench.ours("publish", server.server.url(), {"--events", events, "--batch", "500"}).line;
  server.clear();
  const auto tuned = server.ioredis("publish-tuned", "50000");
  return {ours.events_per_second, plain.events_per_second, rate(tuned), cpu_us(ours), cpu_us(plain)};
}

Sample awaited(Server& server, const Bench& bench, const std::vector<std::string>& more) {
  server.clear();
  std::vector<std::string> words{"--batch", "1"};
  words.insert(words.end(), more.begin(), more.end());
  const Line ours = bench.ours("publish", server.server.url(), words).line;
  server.clear();
  return {ours.events_per_second, rate(server.ioredis("publish-naive", "10000")), 0};
}

Sample consume(Server& server, const Bench& bench) {
  server.clear();
  server.plain("publish", {"--events", events, "--batch", "500"});
  const Line plain = server.plain("consume", {"--events", events, "--batch", "500"});
  server.clear();
  const Line ours = bench.ours("consume", server.server.url(), {"--events", events, "--batch", "500"}).line;
  server.clear();
  server.plain("publish", {"--events", "50000", "--batch", "500"});
  return {ours.events_per_second, plain.events_per_second, rate(server.ioredis("consume-tuned", "50000")), cpu_us(ours),
          cpu_us(plain)};
}

Sample end_to_end(Server& server, const Bench& bench) {
  server.clear();
  const Line plain = server.plain("move", {"--events", events, "--batch", "500"});
  server.clear();
  return {bench.ours("e2e", server.server.url(), {"--events", events, "--batch", "500"}).line.events_per_second,
          plain.events_per_second, 0};
}

Sample latency(Server& server, const Bench& bench, std::optional<double> Line::*percentile) {
  server.clear();
  const Line plain = server.plain("wake", {"--events", "3000", "--rate", "1000"});
  server.clear();
  const Line ours = bench.ours("latency", server.server.url(), {"--events", "3000", "--rate", "1000"}).line;
  return {(ours.*percentile).value_or(0), (plain.*percentile).value_or(0), 0};
}

/// A cost that is held to a yardstick's.
Figure at_most(std::string name, double most, std::function<Sample(const Bench&)> measure) {
  return {.name = std::move(name),
          .unit = "us",
          .beside = {},
          .least_ratio = {},
          .most = {},
          .measure = std::move(measure),
          .least = {},
          .most_ratio = most};
}

Figure at_least(std::string name, double least, std::string beside, std::function<Sample(const Bench&)> measure) {
  return {.name = std::move(name),
          .unit = "events/s",
          .beside = std::move(beside),
          .least_ratio = least,
          .most = {},
          .measure = std::move(measure)};
}

/// The same measurement, looked at for what the client's processor did.
Figure cpu(std::string name, double most, std::function<Sample(const Bench&)> measure) {
  return {.name = std::move(name),
          .unit = "us",
          .beside = {},
          .least_ratio = {},
          .most = most,
          .measure = [measure = std::move(measure)](const Bench& bench) {
            return Sample{measure(bench).cpu, 0, 0};
          }};
}

}  // namespace

std::vector<Figure> redis_figures(const std::string& programs, const std::string& node) {
  auto shared = std::make_shared<Server>();
  shared->programs = programs;
  shared->node = node;
  const auto on = [&](auto measure, auto... more) {
    return [shared, measure, more...](const Bench& bench) { return measure(*shared, bench, more...); };
  };
  using Words = std::vector<std::string>;
  std::vector<Figure> figures;
  figures.push_back(at_least("redis: publish from structs, 500 a batch (beside a plain client)", 0.9,
                             "ioredis tuned, events/s", on(publish)));
  figures.push_back(cpu("redis: client's CPU an event published (beside the plain one's)", 0.6, on(publish)));
  if (!node.empty()) {
    figures.push_back(
        at_least("redis: awaited publishes (beside ioredis naive)", 1.5, "", on(awaited, Words{"--events", "20000"})));
    figures.push_back(at_least("redis: awaited publishes, 16 threads (beside ioredis naive)", 5, "",
                               on(awaited, Words{"--events", "100000", "--producers", "16"})));
  }
  figures.push_back(at_least("redis: consume + decode + settle (beside a plain client)", 0.85,
                             "ioredis tuned, events/s", on(consume)));
  figures.push_back(cpu("redis: client's CPU an event consumed (beside the plain one's)", 1, on(consume)));
  figures.push_back(at_least("redis: end to end, two processes (beside plain ones)", 0.85, "", on(end_to_end)));
  figures.push_back(
      at_most("redis: latency at 1000 events/s, p50 (beside a plain client)", 1.3, on(latency, &Line::p50_us)));
  figures.push_back(
      at_most("redis: latency at 1000 events/s, p99 (beside a plain client)", 1.3, on(latency, &Line::p99_us)));
  return figures;
}

}  // namespace bench_run
