// tidings_bench_yardsticks insert|append|move|wake|redis-publish|redis-consume|redis-move|redis-wake|aws-publish|
//   aws-consume|aws-wake [--events N] [--batch B] [--size BYTES] [--rate R] [--sync] [--dir D] [--port P] [--prefix P]
//
// Prints one JSON object on one line, in the names of `tidings bench`.
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "yardstick.hpp"

namespace {

yardstick::Job parse(int argc, char** argv) {
  yardstick::Job job;
  std::string parent = std::filesystem::temp_directory_path();
  for (int i = 2; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--sync") {
      job.sync = true;
      continue;
    }
    if (i + 1 == argc) yardstick::give_up("an option misses its value");
    const char* value = argv[++i];
    if (name == "--events") {
      job.events = std::strtoull(value, nullptr, 10);
    } else if (name == "--batch") {
      job.batch = std::strtoull(value, nullptr, 10);
    } else if (name == "--size") {
      job.size = std::strtoull(value, nullptr, 10);
    } else if (name == "--rate") {
      job.rate = std::strtod(value, nullptr);
    } else if (name == "--port") {
      job.port = static_cast<std::uint16_t>(std::strtoul(value, nullptr, 10));
    } else if (name == "--prefix") {
      job.prefix = value;
    } else if (name == "--dir") {
      parent = value;
    } else {
      yardstick::give_up("unknown option " + std::string(name));
    }
  }
  if (job.events == 0 || job.batch == 0 || job.size == 0 || job.rate <= 0) yardstick::give_up("nothing to measure");
  job.directory = parent + "/yardstick-XXXXXX";
  if (mkdtemp(job.directory.data()) == nullptr) yardstick::give_up("cannot make a directory in " + parent);
  return job;
}

double percentile(std::vector<double>& samples, double share) {
  const auto at = std::min(samples.size() - 1, static_cast<std::size_t>(share * static_cast<double>(samples.size())));
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(at), samples.end());
  return samples[at];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view path = argc > 1 ? argv[1] : "";
  yardstick::Outcome (*run)(const yardstick::Job&) = nullptr;
  if (path == "insert") run = yardstick::insert_blocks;
  if (path == "append") run = yardstick::append_file;
  if (path == "move") run = yardstick::move_blocks;
  if (path == "wake") run = yardstick::wake_process;
  if (path == "redis-publish") run = yardstick::redis_publish;
  if (path == "redis-consume") run = yardstick::redis_consume;
  if (path == "redis-move") run = yardstick::redis_move;
  if (path == "redis-wake") run = yardstick::redis_wake;
  if (path == "aws-publish") run = yardstick::aws_publish;
  if (path == "aws-consume") run = yardstick::aws_consume;
  if (path == "aws-wake") run = yardstick::aws_wake;
  if (run == nullptr) {
    yardstick::give_up(
        "say insert, append, move, wake, redis-publish, -consume, -move, -wake or aws-publish, -consume, -wake");
  }
  const yardstick::Job job = parse(argc, argv);
  ::alarm(300);  // A second process that died holding a lock must not keep this one for ever.
  yardstick::Outcome outcome = run(job);
  std::filesystem::remove_all(job.directory);
  std::printf(R"({"path":"%s","events":%llu,"batch":%zu,"size_bytes":%zu,"seconds":%.6f,"events_per_second":%.0f)",
              argv[1], static_cast<unsigned long long>(job.events), job.batch, job.size, outcome.seconds,
              static_cast<double>(job.events) / outcome.seconds);
  if (!outcome.micros.empty()) {
    std::printf(R"(,"p50_us":%.1f,"p99_us":%.1f,"p999_us":%.1f)", percentile(outcome.micros, 0.5),
                percentile(outcome.micros, 0.99), percentile(outcome.micros, 0.999));
  }
  double whole = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    ::getrusage(who, &used);
    for (const timeval& part : {used.ru_utime, used.ru_stime}) {
      whole += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) * 1e-6;
    }
  }
  std::printf(R"(,"cpu_seconds":%.3f})"
              "\n",
              outcome.cpu.value_or(whole));
  return 0;
}
