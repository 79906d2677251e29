// The paths of `tidings bench` that one process measures: publish and consume.
#include <string>

#include "bench_publisher.hpp"

namespace tidings::cli {

using bench::UserPublished;
using bench::UserStored;

BusOptions publishing_options(const BenchOptions& options) {
  BusOptions bus{.source = std::string(bench::source)};
  bus.async_events = 4 * options.batch;
  bus.async_bytes = std::max(bus.async_bytes, 4 * options.batch * (options.size + 64));
  bus.deadline = Millis{60'000};
  return bus;
}

std::uint64_t length_of(const Bus& bus, const std::string& stream) {
  const auto streams = bus.transport().describe(stream);
  return streams.empty() ? 0 : streams.front().length;
}

std::string new_group() { return "bench-" + new_event_id(system_clock().wall(), system_random()).substr(4); }

Report bench_publish(const std::string& url, const BenchOptions& options) {
  Bus bus = Bus::open(url, publishing_options(options));
  const std::string stream = event_stream(message_info<UserPublished>().type);
  const std::uint64_t before = length_of(bus, stream);
  Report report;
  if (options.batch == 1) report.micros.reserve(options.events);
  const double cpu = cpu_seconds(RUSAGE_SELF);
  const std::int64_t start = nanoseconds_now();
  publish_all<UserPublished>(bus, options, bench::first_number, options.events, &report.micros);
  report.seconds = static_cast<double>(nanoseconds_now() - start) * 1e-9;
  report.cpu = cpu_seconds(RUSAGE_SELF) - cpu;
  // An engine without history cannot say what it stored; what it refused has been thrown.
  if (!bus.transport().capabilities().from_beginning) return report;
  const std::uint64_t stored = length_of(bus, stream) - before;
  report.lost = options.events - std::min(options.events, stored);
  report.duplicated = stored - std::min(options.events, stored);
  return report;
}

namespace {

/// Fills what is missing of the events, and refuses a stream whose events are not those of this run.
void fill(Bus& bus, const BenchOptions& options) {
  const std::string stream = event_stream(message_info<UserStored>().type);
  const std::uint64_t length = length_of(bus, stream);
  if (length > 0) {
    const auto page = bus.transport().read({.stream = stream, .limit = 1});
    if (!page.records.empty() && page.records.front().envelope.size() != options.size) {
      throw Error(ErrorCode::conflict,
                  stream + " holds events of " + std::to_string(page.records.front().envelope.size()) + " bytes, not " +
                      std::to_string(options.size) + ": give that --size, or measure on another URL");
    }
  }
  if (length < options.events) {
    publish_all<UserStored>(bus, options, bench::first_number + length, options.events - length, nullptr);
  }
}

}  // namespace

Report bench_consume(const std::string& url, const BenchOptions& options) {
  BenchOptions filling = options;
  filling.producers = 1;  // The numbers stand in order, so that the first events are those of this run.
  filling.batch = std::max<std::size_t>(options.batch, 100);
  Bus bus = Bus::open(url, publishing_options(filling));
  const bool has_history = bus.transport().capabilities().from_beginning;
  if (has_history) fill(bus, filling);
  const std::uint64_t expected = expected_sum<UserStored>(options, bench::first_number, options.events);
  Tally tally(bench::first_number, options.events);
  Report report;
  const std::string group = new_group(), stream = event_stream(message_info<UserStored>().type);
  {
    // Made here, so that the service does not warn of a history that is the very thing to be measured.
    bus.transport().change({stream, group}, {});
    // Without a history, what is to be measured comes now, and its queue goes afterwards.
    if (!has_history) publish_all<UserStored>(bus, filling, bench::first_number, options.events, nullptr);
    Service service(bus, group,
                    {.concurrency = options.concurrency,
                     .prefetch_events = 8 * options.batch,
                     .max_events = options.events,
                     .until_idle = Millis{10'000}});
    service.on<UserStored>(
        [&tally](const DomainEvent<UserStored>& event) { tally.add(event.data.number, bench::sum(event.data)); });
    const double cpu = cpu_seconds(RUSAGE_SELF);
    const std::int64_t start = nanoseconds_now();
    report.exit = service.run();
    report.seconds = static_cast<double>(nanoseconds_now() - start) * 1e-9;
    report.cpu = cpu_seconds(RUSAGE_SELF) - cpu;
  }
  if (!has_history)
    bus.transport().change({stream, group}, {.kind = transport::GroupChange::Kind::remove, .force = true});
  report.lost = options.events - tally.distinct();
  report.duplicated = tally.duplicated();
  if (report.exit == 0 && report.lost == 0 && tally.sum() != expected) {
    throw Error(ErrorCode::corrupt,
                "the sum over the fields of what was consumed differs from what was published: "
                "bytes were changed on the way; run `tidings doctor` on this URL");
  }
  return report;
}

}  // namespace tidings::cli
