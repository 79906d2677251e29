// `tidings bench`: measures one path and prints one JSON object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tidings::cli {

/// What `tidings bench` was asked for.
struct BenchOptions {
  std::string path{};              ///< publish, consume, e2e or latency.
  std::uint64_t events = 100'000;  ///< How many events.
  std::size_t batch = 500;         ///< Events of one publish.
  std::size_t size = 300;          ///< Bytes of one whole envelope.
  unsigned producers = 1;          ///< Publishing threads.
  unsigned concurrency = 1;        ///< Handlers at once.
  double rate = 1000;              ///< Events a second, for latency.
};

/// Runs it against `url` and prints its line on stdout. Returns the exit code: 1 when events were lost.
int run_bench(const std::string& url, const BenchOptions& options);

}  // namespace tidings::cli
