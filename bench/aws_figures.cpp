// The figures on AWS: contestants on an emulator of SNS and SQS, each with topics and a queue of its own.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>
#include <stdexcept>

#include "figure.hpp"

namespace bench_run {
namespace {

constexpr std::uint64_t many = 10'000, few = 400;
// One at a time takes the emulator some milliseconds.
constexpr const char* wakes_a_second = "50";

/// The emulator in a process of its own, which ends with this.
class Emulator {
 public:
  explicit Emulator(const AwsPart& part) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl(part.emulator.c_str(), part.emulator.c_str(), part.folder.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    ask_ = in[1];
    answers_ = ::fdopen(out[0], "r");
    const std::string line = read();
    url_ = line.substr(0, line.find(' '));
    port_ = url_.substr(url_.rfind(':') + 1);
  }
  ~Emulator() {
    ::close(ask_);
    ::waitpid(pid_, nullptr, 0);
    std::fclose(answers_);
  }
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::string& port() const { return port_; }
  /// How many requests of each operation came so far.
  std::map<std::string, std::uint64_t> requests() {
    if (::write(ask_, "\n", 1) != 1) throw std::runtime_error("the emulator is gone");
    return tidings::read_json<std::map<std::string, std::uint64_t>>(read());
  }
  std::uint64_t all_requests() {
    std::uint64_t sum = 0;
    for (const auto& [operation, count] : requests()) sum += count;
    return sum;
  }

 private:
  std::string read() {
    char line[4096];
    if (std::fgets(line, sizeof line, answers_) == nullptr) throw std::runtime_error("the emulator says nothing");
    return line;
  }

  pid_t pid_ = -1;
  int ask_ = -1;
  std::FILE* answers_ = nullptr;
  std::string url_{}, port_{};
};

/// What the contestants did in this round; ours with its requests.
struct Measured {
  Line ours{}, plain{}, sdk{};
  double requests_per_event = 0;
};

/// What was measured last. A figure that looks at a measurement from another side stands behind the one that takes it.
class Aws {
 public:
  explicit Aws(AwsPart part) : part_(std::move(part)) {}

  void publish() {
    // One that has seen little runs slowly: everybody meets it warm, and nobody what the round before left.
    emulator_ = std::make_unique<Emulator>(part_);
    fill();
    // Whoever comes later meets a fuller emulator, so that they take turns at it.
    const bool first = ++rounds_ % 2 == 0;
    if (first) published_.plain = plain("publish", prepare(), many);
    const std::string place = prepare();
    const std::uint64_t before = emulator_->all_requests();
    published_.ours = ours("publish", place, many);
    published_.requests_per_event = per_event(before);
    if (!first) published_.plain = plain("publish", prepare(), many);
    published_.sdk = sdk("publish", prepare());
  }
  void consume() {
    // Everybody reads what ours published.
    const bool first = rounds_ % 2 == 0;
    if (first) consumed_.plain = plain("consume", fill(), many);
    const std::string place = fill();
    const std::uint64_t before = emulator_->all_requests();
    consumed_.ours = ours("consume", place, many);
    consumed_.requests_per_event = per_event(before);
    if (!first) consumed_.plain = plain("consume", fill(), many);
    consumed_.sdk = sdk("consume", fill());
  }
  void wake() {
    woken_.plain = plain("wake", prepare(), few);
    woken_.ours = ours("wake", prepare(), few);
  }

  [[nodiscard]] const Measured& published() const { return published_; }
  [[nodiscard]] const Measured& consumed() const { return consumed_; }
  [[nodiscard]] const Measured& woken() const { return woken_; }

 private:
  /// A prefix whose topic and queue nobody used before.
  std::string prepare() {
    const std::string prefix = "r" + std::to_string(++places_);
    ours("make-group", prefix, 1);
    return prefix;
  }
  std::string fill() {
    const std::string prefix = prepare();
    ours("publish", prefix, many);
    return prefix;
  }
  Line ours(const std::string& path, const std::string& prefix, std::uint64_t events) {
    return run({part_.programs + "/tidings_bench_ours", path,
                "aws://eu-west-1?prefix=" + prefix + "&endpoint=" + emulator_->url(), "--events",
                std::to_string(events), "--batch", path == "consume" ? "100" : "1000", "--rate", wakes_a_second})
        .line;
  }
  Line plain(const std::string& path, const std::string& prefix, std::uint64_t events) {
    return run({part_.programs + "/tidings_bench_yardsticks", "aws-" + path, "--port", emulator_->port(), "--prefix",
                prefix, "--events", std::to_string(events), "--rate", wakes_a_second})
        .line;
  }
  Line sdk(const std::string& path, const std::string& prefix) {
    return run({part_.node, part_.folder + "/aws_figures.mjs", emulator_->url(), prefix, path, std::to_string(many)})
        .line;
  }
  double per_event(std::uint64_t before) {
    return static_cast<double>(emulator_->all_requests() - before) / static_cast<double>(many);
  }

  AwsPart part_;
  std::unique_ptr<Emulator> emulator_{};
  unsigned places_ = 0, rounds_ = 0;
  Measured published_{}, consumed_{}, woken_{};
};

double cpu_us(const Line& line) { return line.cpu_seconds.value_or(0) * 1e6 / static_cast<double>(many); }

/// A figure of `aws`: `take` measures, unless a figure before has, and `look` says what of it this one shows.
struct View {
  void (Aws::*take)() = nullptr;
  std::function<Sample(const Aws&)> look{};
};

Figure figure(const std::shared_ptr<Aws>& aws, std::string name, std::string unit, View view,
              std::vector<std::string> beside = {}) {
  return {.name = "aws: " + std::move(name),
          .unit = std::move(unit),
          .beside = std::move(beside),
          .least_ratio = {},
          .most = {},
          .measure = [aws, view = std::move(view)](const Bench&) {
            if (view.take != nullptr) (*aws.*view.take)();
            return view.look(*aws);
          }};
}

Figure at_least_ratio(double ratio, Figure figure) {
  figure.least_ratio = ratio;
  return figure;
}
Figure at_most_ratio(double ratio, Figure figure) {
  figure.most_ratio = ratio;
  return figure;
}
Figure at_most(double amount, Figure figure) {
  figure.most = amount;
  return figure;
}

Sample rates(const Measured& all) {
  return {all.ours.events_per_second, all.plain.events_per_second, {all.sdk.events_per_second}};
}
Sample costs(const Measured& all) { return {cpu_us(all.ours), cpu_us(all.sdk), {cpu_us(all.plain)}}; }

}  // namespace

std::vector<Figure> aws_figures(AwsPart part) {
  if (part.node.empty()) {
    std::fprintf(stderr, "aws: not measured: %s\n", part.why_no_node.c_str());
    return {};
  }
  const auto aws = std::make_shared<Aws>(std::move(part));
  const std::string events = "events/s", us = "us";
  const std::vector<std::string> sdk{"@aws-sdk, events/s"}, plain{"plain, us"};
  return {
      at_least_ratio(0.9, figure(aws, "publish_batch of structs (beside a plain client)", events,
                                 {&Aws::publish, [](const Aws& all) { return rates(all.published()); }}, sdk)),
      at_most_ratio(0.2, figure(aws, "client's CPU an event published (beside @aws-sdk)", us,
                                {nullptr, [](const Aws& all) { return costs(all.published()); }}, plain)),
      at_most(0.11, figure(aws, "requests an event published", "requests",
                           {nullptr, [](const Aws& all) { return Sample{all.published().requests_per_event}; }})),
      at_least_ratio(0.9, figure(aws, "consume + decode + settle (beside a plain client)", events,
                                 {&Aws::consume, [](const Aws& all) { return rates(all.consumed()); }}, sdk)),
      at_most_ratio(0.2, figure(aws, "client's CPU an event consumed (beside @aws-sdk)", us,
                                {nullptr, [](const Aws& all) { return costs(all.consumed()); }}, plain)),
      at_most(0.25, figure(aws, "requests an event consumed and settled", "requests",
                           {nullptr, [](const Aws& all) { return Sample{all.consumed().requests_per_event}; }})),
      at_most_ratio(1.3,
                    figure(aws, "latency at 50 events/s, p50 (beside a plain client)", us,
                           {&Aws::wake,
                            [](const Aws& all) {
                              return Sample{all.woken().ours.p50_us.value_or(0), all.woken().plain.p50_us.value_or(0)};
                            }})),
  };
}

}  // namespace bench_run
