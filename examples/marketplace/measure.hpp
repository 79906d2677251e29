// Figures of a run, for `demo --measure`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "load.hpp"

namespace market {

/// What a run took, in the names of `tidings bench`: events are all messages that were published, commands included;
/// deliveries are how often one of them was handled. The percentiles are from a request to the last effect that it led
/// to.
struct Figures {
  std::string path = "marketplace";
  std::uint64_t requests = 0, events = 0, deliveries = 0;
  double seconds = 0, requests_per_second = 0, events_per_second = 0, deliveries_per_second = 0;
  double p50_us = 0, p99_us = 0;
  std::uint64_t repeated = 0, lost = 0;
};
TIDINGS_STRUCT(Figures, path, requests, events, deliveries, seconds, requests_per_second, events_per_second,
               deliveries_per_second, p50_us, p99_us, repeated, lost)

/// Fills the percentiles in: of each request, the time to the latest row that a store in `directory` keeps of it.
void measure_latency(const std::filesystem::path& directory, const std::vector<Answered>& answered, Figures& figures);

}  // namespace market
