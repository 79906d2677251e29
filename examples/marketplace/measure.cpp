#include "measure.hpp"

#include <algorithm>
#include <unordered_map>

#include "store.hpp"

namespace market {

void measure_latency(const std::filesystem::path& directory, const std::vector<Answered>& answered, Figures& figures) {
  std::unordered_map<std::string, std::int64_t> last;
  const auto look = [&](const char* file, const char* sql) {
    if (!std::filesystem::exists(directory / file)) return;
    Store store(directory / file, "");
    for (const Store::Row& row : store.query(sql)) {
      std::int64_t& at = last[row[0]];
      at = std::max<std::int64_t>(at, std::stoll(row[1]));
    }
  };
  look("sink.db", "SELECT correlation, at FROM mails");
  look("search.db", "SELECT correlation, at FROM entries");
  look("payment.db", "SELECT correlation, at FROM charges");
  look("booking.db", "SELECT correlation, at FROM bookings WHERE status='confirmed'");
  look("analytics.db", "SELECT correlation, at FROM counted");
  std::vector<double> times;
  for (const Answered& each : answered) {
    if (const auto found = last.find(each.correlation_id); found != last.end()) {
      times.push_back(static_cast<double>(found->second - each.sent_ms));
    }
  }
  if (times.empty()) return;
  std::sort(times.begin(), times.end());
  figures.p50_us = 1e3 * times[times.size() / 2];
  figures.p99_us = 1e3 * times[times.size() * 99 / 100];
}

}  // namespace market
