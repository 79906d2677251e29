// `tidings bench`: the command itself, its line, and what its paths measure with.
#include "bench.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "bench_events.hpp"
#include "bench_report.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace tidings::cli {

namespace {

std::string decimal(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string percentile(std::vector<double>& samples, double share) {
  if (samples.empty()) return "null";
  const auto at = std::min(samples.size() - 1, static_cast<std::size_t>(share * static_cast<double>(samples.size())));
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(at), samples.end());
  return decimal(samples[at], 1);
}

void check(const BenchOptions& options) {
  if (options.events == 0 || options.events > 1'000'000'000) throw UsageError("--events must be 1 to 1000000000");
  if (options.batch == 0 || options.batch > 65'536) throw UsageError("--batch must be 1 to 65536");
  if (options.producers == 0 || options.producers > 1024) throw UsageError("--producers must be 1 to 1024");
  if (options.concurrency == 0 || options.concurrency > 1024) throw UsageError("--concurrency must be 1 to 1024");
  if (!(options.rate > 0 && options.rate <= 1e6)) throw UsageError("--rate must be above 0 and at most 1000000");
  try {
    // The longest of the types decides, so that one size does for every path.
    (void)bench::address_for<bench::UserTimed>(options.size);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

}  // namespace

std::int64_t nanoseconds_now() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Stopwatch::now().time_since_epoch()).count();
}

double cpu_seconds(int who) noexcept {
  rusage usage{};
  getrusage(static_cast<__rusage_who>(who), &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::uint64_t Tally::distinct() const noexcept {
  std::uint64_t count = 0;
  for (const auto& word : seen_) count += static_cast<std::uint64_t>(std::popcount(word.load()));
  return count;
}

std::string to_line(const BenchOptions& options, Report& report) {
  const double rate = report.seconds > 0 ? static_cast<double>(options.events - report.lost) / report.seconds : 0;
  return JsonObject()
      .text("path", options.path)
      .number("events", options.events)
      .number("batch", options.batch)
      .number("size_bytes", options.size)
      .raw("seconds", decimal(report.seconds, 6))
      .raw("events_per_second", decimal(rate, 0))
      .raw("p50_us", percentile(report.micros, 0.5))
      .raw("p99_us", percentile(report.micros, 0.99))
      .raw("p999_us", percentile(report.micros, 0.999))
      .raw("cpu_seconds", decimal(report.cpu, 3))
      .number("lost", report.lost)
      .number("duplicated", report.duplicated)
      .str();
}

int run_bench(const std::string& url, const BenchOptions& options) {
  check(options);
  if (const char* group = std::getenv(consumer_variable)) return bench_consumer(url, options, group);
  Report report;
  if (options.path == "publish") {
    report = bench_publish(url, options);
  } else if (options.path == "consume") {
    report = bench_consume(url, options);
  } else if (options.path == "e2e") {
    report = bench_e2e(url, options);
  } else if (options.path == "latency") {
    report = bench_latency(url, options);
  } else {
    throw UsageError("there is no path '" + options.path + "' to measure: say publish, consume, e2e or latency");
  }
  if (report.exit != 0) return report.exit;
  standard_output().write(to_line(options, report) + "\n");
  standard_output().flush();
  if (report.lost > 0) complain(std::to_string(report.lost) + " of the events were lost");
  return report.lost > 0 ? exit_failed : exit_ok;
}

}  // namespace tidings::cli
