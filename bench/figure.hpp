// One figure of a run, and how it is measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tidings/event.hpp>
#include <vector>

namespace bench_run {

/// What the programs print; what a program does not know is absent.
struct Line {
  double events_per_second = 0;
  double seconds = 0;
  std::optional<double> p50_us{};
  std::optional<double> p99_us{};
  std::optional<double> cpu_seconds{};
  std::optional<std::uint64_t> lost{};
};
TIDINGS_STRUCT(Line, events_per_second, seconds, p50_us, p99_us, cpu_seconds, lost)

struct Ran {
  Line line{};
  double peak_mib = 0;
};

/// Runs one program to its end; throws when it fails or lost events.
Ran run(const std::vector<std::string>& command);

/// The programs and files of one run.
class Bench {
 public:
  Bench(std::string programs, std::string directory)
      : programs_(std::move(programs)), directory_(std::move(directory)) {}

  Ran ours(const std::string& path, const std::string& url, std::vector<std::string> more) const {
    std::vector<std::string> command{programs_ + "/tidings", "bench", path, "--url", url};
    command.insert(command.end(), more.begin(), more.end());
    return run(command);
  }
  Line yardstick(std::vector<std::string> words) const {
    words.insert(words.begin(), programs_ + "/tidings_bench_yardsticks");
    words.insert(words.end(), {"--dir", directory_});
    return run(words).line;
  }
  Line library(std::vector<std::string> words) const {
    words.insert(words.begin(), programs_ + "/tidings_bench_library");
    return run(words).line;
  }
  /// The example's seven services and their effects.
  Line marketplace(std::vector<std::string> words) const {
    words.insert(words.begin(), {programs_ + "/demo", "--measure"});
    return run(words).line;
  }
  /// The URL of a file; a fresh one when asked for.
  std::string file(const std::string& name, const std::string& level, bool fresh) const {
    const std::string path = directory_ + "/" + name + ".db";
    if (fresh) {
      for (const char* suffix : {"", "-wal", "-shm", "-tidings"}) std::filesystem::remove(path + suffix);
    }
    return "sqlite:" + path + "?durability=" + level;
  }

 private:
  std::string programs_, directory_;
};

/// What one round of one figure measured; 0 is what was not.
struct Sample {
  double ours = 0, yardstick = 0;
  std::vector<double> beside{};  ///< One for each of the figure's.
};

/// One figure: how to measure it once, and what it is held to.
struct Figure {
  std::string name, unit;
  std::vector<std::string> beside;          ///< What else is measured, each with its unit.
  std::optional<double> least_ratio, most;  ///< The target: at least this share of the yardstick, or at most this …
  std::function<Sample(const Bench&)> measure;
  std::optional<double> least{};       ///< … or at least this …
  std::optional<double> most_ratio{};  ///< … or at most so often the yardstick.
  std::string missing{};               ///< Why something of it is not measured.
};

/// What the figures on Redis need. `node` is where ioredis is installed; empty, with the reason, where it is not.
struct RedisPart {
  std::string programs{}, node{}, why_no_node{};
};

/// Publishing, consuming, both at once and latency on a Redis server of the run's own, beside a plain client and
/// ADR-005's loops on ioredis.
std::vector<Figure> redis_figures(RedisPart part);

/// What the figures on AWS need. `emulator` is the command that starts one, `node` what runs the SDK; all empty, with
/// the reason, where there is no Node.
struct AwsPart {
  std::string programs{}, emulator{}, folder{}, node{}, why_no_node{};
};

/// Publishing, consuming and latency on an emulator of SNS and SQS of the run's own, beside a plain client and the SDK;
/// and the requests that AWS would bill. None without an emulator.
std::vector<Figure> aws_figures(AwsPart part);

}  // namespace bench_run
