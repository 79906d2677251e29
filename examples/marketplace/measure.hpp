// Figures of a run, for `demo --measure`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "load.hpp"

namespace market {

/// What a run took. Milliseconds are from the request to the last effect that it led to.
struct Figures {
  std::uint64_t requests = 0, messages = 0, deliveries = 0;
  double seconds = 0, requests_per_second = 0, messages_per_second = 0, deliveries_per_second = 0;
  double p50_ms = 0, p99_ms = 0;
  std::uint64_t repeated = 0, lost = 0;
};
TIDINGS_STRUCT(Figures, requests, messages, deliveries, seconds, requests_per_second, messages_per_second,
               deliveries_per_second, p50_ms, p99_ms, repeated, lost)

/// Fills the percentiles in: of each request, the time to the latest row that a store in `directory` keeps of it.
void measure_latency(const std::filesystem::path& directory, const std::vector<Answered>& answered, Figures& figures);

}  // namespace market
