// tidings_bench_run PROGRAMS DIRECTORY [ROUNDS [sqlite|redis|aws|all [NODE [WHY [EMULATOR FOLDER AWS_NODE [WHY]]]]]]
//
// Runs every figure in turn, each next to its yardstick, as often as there are rounds, and prints a table. PROGRAMS is
// where `tidings` and the yardsticks were built; measured files and `bench.json` go below DIRECTORY. NODE is
// where ioredis is installed, or empty, and WHY says why it is not. EMULATOR starts an emulator of AWS whose packages
// are in FOLDER, and AWS_NODE runs the SDK that is installed there. The exit code says whether everything ran, not
// whether targets were met: a busy machine misses them.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "figure.hpp"

namespace bench_run {

/// One row of the result, as bench.json holds it.
struct Row {
  std::string figure{};
  double ours = 0;
  std::optional<double> yardstick{};
  std::optional<double> ratio{};
  std::string unit{};
  std::string target{};
  std::optional<bool> met{};  ///< Absent where the yardstick could not be measured.
  std::string beside{};
};
TIDINGS_STRUCT(Row, figure, ours, yardstick, ratio, unit, target, met, beside)

Ran run(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(pipe[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(pipe[0], buffer, sizeof buffer)) > 0;) {
    output.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(pipe[0]);
  int status = 0;
  rusage usage{};
  ::wait4(child, &status, 0, &usage);
  std::string words;
  for (const std::string& word : command) words += word + ' ';
  if (status != 0) throw std::runtime_error("failed: " + words);
  Ran ran{.line = tidings::read_json<Line>(output), .peak_mib = static_cast<double>(usage.ru_maxrss) / 1024};
  if (ran.line.lost.value_or(0) > 0) throw std::runtime_error("lost events: " + words);
  return ran;
}

}  // namespace bench_run

namespace {

using namespace bench_run;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

Figure publish_figure(const std::string& level) {
  return {.name = "publish from structs, 1000 a batch, `" + level + "`",
          .unit = "events/s",
          .beside = {"disk's own append + fdatasync, events/s"},
          .least_ratio = 0.9,
          .most = {},
          .measure = [level](const Bench& bench) {
            std::vector<std::string> insert{"insert", "--events", "500000", "--batch", "1000"};
            if (level == "disk") insert.emplace_back("--sync");
            const Line yardstick = bench.yardstick(insert);
            const Ran ours =
                bench.ours("publish", bench.file("publish", level, true), {"--events", "500000", "--batch", "1000"});
            const Line append = bench.yardstick({"append", "--events", "500000", "--batch", "1000"});
            return Sample{ours.line.events_per_second, yardstick.events_per_second, {append.events_per_second}};
          }};
}

Sample consume(const Bench& bench) {
  const Line decoding = bench.library({"decode", "--events", "500000"});
  const Ran ours = bench.ours("consume", bench.file("stored", "process", false), {"--events", "500000"});
  return {ours.line.events_per_second, decoding.events_per_second};
}

Sample end_to_end(const Bench& bench) {
  const Line mover = bench.yardstick({"move", "--events", "500000", "--batch", "500"});
  const Ran ours = bench.ours("e2e", bench.file("e2e", "process", true), {"--events", "500000", "--batch", "500"});
  return {ours.line.events_per_second, mover.events_per_second};
}

Sample awaited(const Bench& bench) {
  const Ran one = bench.ours("publish", bench.file("awaited", "disk", true), {"--events", "4000", "--batch", "1"});
  const Ran many = bench.ours("publish", bench.file("awaited", "disk", true),
                              {"--events", "32000", "--batch", "1", "--producers", "16"});
  return {many.line.events_per_second, one.line.events_per_second};
}

Figure latency_figure(const std::string& name, std::optional<double> Line::*percentile, double most) {
  return {.name = name,
          .unit = "us",
          .beside = {},
          .least_ratio = {},
          .most = most,
          .measure = [percentile](const Bench& bench) {
            const Line wake = bench.yardstick({"wake", "--events", "2000", "--rate", "1000"});
            const Ran ours =
                bench.ours("latency", bench.file("latency", "process", true), {"--events", "3000", "--rate", "1000"});
            return Sample{(ours.line.*percentile).value_or(0), (wake.*percentile).value_or(0)};
          }};
}

Sample memory(const Bench& bench) {
  const Ran ours = bench.ours("consume", bench.file("million", "process", false), {"--events", "1000000"});
  return {ours.peak_mib};
}

Sample reopen(const Bench& bench) {
  return {bench.library({"reopen", bench.file("million", "process", false)}).seconds * 1e3};
}

Sample marketplace_rate(const Bench& bench) {
  return {bench.marketplace({"--rate", "0", "--people", "16", "--stories", "1000"}).events_per_second};
}

Sample marketplace_latency(const Bench& bench) {
  return {bench.marketplace({"--rate", "200", "--stories", "300"}).p99_us.value_or(0) * 1e-3};
}

std::vector<Figure> figures() {
  return {publish_figure("process"),
          publish_figure("disk"),
          {.name = "consume + decode + settle, one thread (beside decoding alone)",
           .unit = "events/s",
           .beside = {},
           .least_ratio = 0.6,
           .most = {},
           .measure = consume},
          {.name = "end to end, two processes, 500 a batch, `process`",
           .unit = "events/s",
           .beside = {},
           .least_ratio = 0.7,
           .most = {},
           .measure = end_to_end},
          {.name = "awaited publishes at `disk`: 16 threads (beside one)",
           .unit = "events/s",
           .beside = {},
           .least_ratio = 5,
           .most = {},
           .measure = awaited},
          latency_figure("latency at 1000 events/s, p50 (beside a futex)", &Line::p50_us, 180),
          latency_figure("latency at 1000 events/s, p99 (beside a futex)", &Line::p99_us, 5000),
          {.name = "consumer's peak memory, 1 M behind",
           .unit = "MiB",
           .beside = {},
           .least_ratio = {},
           .most = 64,
           .measure = memory},
          {.name = "reopening a file of 1 M events",
           .unit = "ms",
           .beside = {},
           .least_ratio = {},
           .most = 250,
           .measure = reopen},
          {.name = "marketplace: events through seven services, every effect done",
           .unit = "events/s",
           .beside = {},
           .least_ratio = {},
           .most = {},
           .measure = marketplace_rate,
           .least = 2000},
          {.name = "marketplace: p99 from request to last effect at 200 requests/s",
           .unit = "ms",
           .beside = {},
           .least_ratio = {},
           .most = 1000,
           .measure = marketplace_latency}};
}

std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : "%.2f", value);
  return text;
}

Row summarize(const Figure& figure, const std::vector<Sample>& samples) {
  std::vector<double> ours, yardstick, ratios;
  for (const Sample& sample : samples) {
    ours.push_back(sample.ours);
    yardstick.push_back(sample.yardstick);
    if (sample.yardstick > 0) ratios.push_back(sample.ours / sample.yardstick);
  }
  Row row{.figure = figure.name, .ours = median(ours), .unit = figure.unit};
  if (!ratios.empty()) {
    row.yardstick = median(yardstick);
    row.ratio = median(ratios);
  }
  if (figure.least_ratio) {
    row.target = "ratio >= " + number(*figure.least_ratio);
    row.met = row.ratio.value_or(0) >= *figure.least_ratio;
  } else if (figure.most_ratio) {
    row.target = "ratio <= " + number(*figure.most_ratio);
    row.met = row.ratio && *row.ratio <= *figure.most_ratio;
  } else if (figure.least) {
    row.target = ">= " + number(*figure.least) + " " + figure.unit;
    row.met = row.ours >= *figure.least;
  } else {
    row.target = "<= " + number(*figure.most) + " " + figure.unit;
    row.met = row.ours <= *figure.most;
  }
  const bool held_to_ratio = figure.least_ratio || figure.most_ratio;
  if (held_to_ratio && !row.ratio) {
    row.met.reset();
    row.beside = "yardstick not measured: " + figure.missing;
  }
  for (std::size_t i = 0; i < figure.beside.size(); ++i) {
    std::vector<double> values;
    for (const Sample& sample : samples) values.push_back(sample.beside[i]);
    const double middle = median(values);
    row.beside += (row.beside.empty() ? "" : "; ") + figure.beside[i] + ": " +
                  (middle > 0 ? number(middle) : "not measured: " + figure.missing);
  }
  return row;
}

void print(const std::vector<Row>& rows) {
  std::printf("%-63s %12s %12s %7s  %-16s\n", "figure", "ours", "yardstick", "ratio", "target");
  for (const Row& row : rows) {
    std::printf("%-63s %12s %12s %7s  %-16s %s\n", row.figure.c_str(), number(row.ours).c_str(),
                row.yardstick ? number(*row.yardstick).c_str() : "-", row.ratio ? number(*row.ratio).c_str() : "-",
                row.target.c_str(), row.met ? *row.met ? "ok" : "MISS" : "-");
    if (!row.beside.empty()) std::printf("    %s\n", row.beside.c_str());
  }
  std::puts("Medians; a ratio is the median of the ratios of the rounds, each measured side by side.");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string part = argc > 4 ? argv[4] : "all";
  const auto wanted = [&](const char* which) { return part == "all" || part == which; };
  const auto word = [&](int at, const char* otherwise) { return std::string(argc > at ? argv[at] : otherwise); };
  if (argc < 3 || (part != "all" && part != "sqlite" && part != "redis" && part != "aws")) {
    std::fputs("tidings_bench_run PROGRAMS DIRECTORY [ROUNDS [sqlite|redis|aws|all …]]\n", stderr);
    return 2;
  }
  const int rounds = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  std::string directory = std::string(argv[2]) + "/bench-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    std::fprintf(stderr, "tidings_bench_run: cannot make a directory in %s\n", argv[2]);
    return 1;
  }
  int code = 0;
  try {
    const Bench bench(argv[1], directory);
    std::vector<Figure> all = wanted("sqlite") ? figures() : std::vector<Figure>{};
    const auto add = [&](std::vector<Figure> more) {
      for (Figure& figure : more) all.push_back(std::move(figure));
    };
    if (wanted("redis")) add(redis_figures({argv[1], word(5, ""), word(6, "no node")}));
    if (wanted("aws")) add(aws_figures({argv[1], word(7, ""), word(8, ""), word(9, ""), word(10, "no node")}));
    // Stored events are published before anything is measured, so that consumers are measured alone.
    if (wanted("sqlite")) {
      bench.ours("consume", bench.file("stored", "process", false), {"--events", "500000", "--batch", "1000"});
      bench.ours("consume", bench.file("million", "process", false), {"--events", "1000000", "--batch", "1000"});
    }
    std::vector<std::vector<Sample>> samples(all.size());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < all.size(); ++i) samples[i].push_back(all[i].measure(bench));
      std::fprintf(stderr, "round %d of %d\n", round + 1, rounds);
    }
    std::vector<Row> rows;
    for (std::size_t i = 0; i < all.size(); ++i) rows.push_back(summarize(all[i], samples[i]));
    print(rows);
    std::string json;
    tidings::write_json(json, rows);
    std::ofstream(std::string(argv[2]) + "/bench.json") << json << '\n';
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tidings_bench_run: %s\n", error.what());
    code = 1;
  }
  std::filesystem::remove_all(directory);
  return code;
}
