// What `tidings bench` measures with, and the line that it prints.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench.hpp"

namespace tidings::cli {

/// Time that every process of this machine reads alike.
using Stopwatch = std::chrono::steady_clock;

/// Nanoseconds of that clock.
[[nodiscard]] std::int64_t nanoseconds_now() noexcept;

/// User and system seconds of `who`: RUSAGE_SELF or RUSAGE_CHILDREN.
[[nodiscard]] double cpu_seconds(int who) noexcept;

/// One measured path.
struct Report {
  double seconds = 0;
  double cpu = 0;
  std::vector<double> micros{};  ///< Samples; empty: the percentiles are not applicable.
  std::uint64_t lost = 0;
  std::uint64_t duplicated = 0;
  int exit = 0;  ///< 130 when the user interrupted it.
};

/// The line of the contract.
[[nodiscard]] std::string to_line(const BenchOptions& options, Report& report);

/// What handlers have seen: every number once, and the sum over their fields. Any thread.
class Tally {
 public:
  /// Expects the numbers `first` … `first + events - 1`.
  Tally(std::uint64_t first, std::uint64_t events) : first_(first), events_(events), seen_((events + 63) / 64) {}
  /// Takes one event in.
  void add(std::uint64_t number, std::uint64_t sum) noexcept {
    const std::uint64_t index = number - first_;
    if (index >= events_) return;
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    if ((seen_[index / 64].fetch_or(bit, std::memory_order_relaxed) & bit) != 0) {
      duplicated_.fetch_add(1, std::memory_order_relaxed);
    } else {
      sum_.fetch_add(sum, std::memory_order_relaxed);
    }
  }
  /// How many numbers came.
  [[nodiscard]] std::uint64_t distinct() const noexcept;
  [[nodiscard]] std::uint64_t duplicated() const noexcept { return duplicated_.load(); }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.load(); }

 private:
  std::uint64_t first_, events_;
  std::vector<std::atomic<std::uint64_t>> seen_;
  std::atomic<std::uint64_t> duplicated_{0}, sum_{0};
};

/// The paths. Each opens its own bus.
Report bench_publish(const std::string& url, const BenchOptions& options);
Report bench_consume(const std::string& url, const BenchOptions& options);
Report bench_e2e(const std::string& url, const BenchOptions& options);
Report bench_latency(const std::string& url, const BenchOptions& options);

/// The second process of e2e and latency: what it is told in its environment, and its main.
inline constexpr const char* consumer_variable = "TIDINGS_BENCH_CONSUMER";
int bench_consumer(const std::string& url, const BenchOptions& options, const std::string& group);

}  // namespace tidings::cli
