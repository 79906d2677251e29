#include "runtime/bus_state.hpp"

#include <pthread.h>

#include <algorithm>
#include <vector>

#include "runtime/delivery.hpp"

namespace tidings::detail {
namespace {

constinit std::atomic<std::uint64_t> process_generation{1};

std::uint64_t current_generation() noexcept {
  [[maybe_unused]] static const int watching =
      ::pthread_atfork(nullptr, nullptr, [] { process_generation.fetch_add(1, std::memory_order_relaxed); });
  return process_generation.load(std::memory_order_relaxed);
}

void set_failure(transport::Result& result, const Error& error) {
  result.code = error.code();
  result.retryable = error.retryable();
  result.message = error.what();
}

}  // namespace

Level choose_level(const transport::Capabilities& capabilities, std::optional<Level> wanted) {
  if (capabilities.levels.empty()) {
    throw Error(ErrorCode::internal,
                "the " + std::string(capabilities.engine) + " engine names no level of durability");
  }
  if (!wanted) return capabilities.levels.back();
  for (Level offered : capabilities.levels) {
    if (offered >= *wanted) return offered;
  }
  throw Error(ErrorCode::not_supported,
              "durability \"" + std::string(to_string(*wanted)) + "\" was asked for, but the " +
                  std::string(capabilities.engine) + " engine offers at most \"" +
                  std::string(to_string(capabilities.levels.back())) + "\"; ask for less or use another engine");
}

BusState::BusState(std::shared_ptr<transport::Transport> transport, BusOptions options)
    : options_(std::move(options)),
      transport_(std::move(transport)),
      growing_(dynamic_cast<core::GrowingPublish*>(transport_.get())),
      level_(choose_level(transport_->capabilities(), options_.durability)),
      largest_event_(std::min(options_.largest_event, transport_->capabilities().largest_event)),
      generation_(current_generation()),
      upkeep_(std::make_unique<Upkeep>()) {
  if (!options_.source.empty()) check_service_name(options_.source);
  // What is added to a clock has to stay within its range.
  options_.deadline = std::clamp<Millis>(options_.deadline, Millis(1), std::chrono::days(36'525));
  log(LogLevel::info, "opened " + std::string(transport_->capabilities().engine) +
                          ": a publish is acknowledged at level " + std::string(to_string(level_)));
  upkeep_->thread = std::jthread([this](std::stop_token stop) { tend(*upkeep_, std::move(stop)); });
}

BusState::~BusState() {
  if (forked()) {
    // A forked child has neither the threads nor the right to touch the parent's locks: all of it is left alone.
    // Destroying a condition variable on which a thread of the parent sleeps would wait for that thread.
    (void)upkeep_.release();
    if (publisher_) publisher_->forget();
    new std::shared_ptr<transport::Transport>(std::move(transport_));
    return;
  }
  if (publisher_) {
    publisher_->close();
    if (const auto failure = publisher_->unseen_failure()) {
      log(LogLevel::error,
          std::string("events of publish_async() were not stored, and nobody called flush(): ") + failure->what());
    }
  }
  upkeep_->thread.request_stop();
}

bool BusState::forked() const noexcept { return generation_ != process_generation.load(std::memory_order_relaxed); }

void BusState::check_process() const {
  if (forked()) [[unlikely]] {
    throw Error(ErrorCode::closed,
                "this bus was opened before a fork, and a forked child cannot use it or its engine's files; let the "
                "child exec, or fork before opening a bus");
  }
}

void BusState::check_source() const {
  if (options_.source.empty()) {
    throw Error(ErrorCode::invalid, "publishing needs a source; name this service in BusOptions::source");
  }
}

void BusState::log(LogLevel level, std::string_view line) const {
  if (!options_.environment.log) return;
  std::string clean;
  clean.reserve(line.size());
  constexpr std::string_view hex = "0123456789abcdef";
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      clean += c;
    } else {
      clean += "\\x";
      clean += hex[byte >> 4];
      clean += hex[byte & 15];
    }
  }
  options_.environment.log(level, clean);
}

void BusState::publish_once(Level level, std::span<const transport::Outgoing> items, Millis within,
                            std::span<transport::Result> results) {
  const transport::Capabilities& limits = transport_->capabilities();
  const Clock& clock = *options_.environment.clock;
  const Steady start = clock.steady();
  std::size_t first = 0;
  while (first < items.size()) {
    std::size_t count = 0, bytes = 0;
    while (first + count < items.size() && count < limits.largest_batch) {
      const std::size_t size = items[first + count].envelope.size();
      if (count > 0 && bytes + size > limits.largest_batch_bytes) break;
      bytes += size;
      ++count;
    }
    const Millis left = within - std::chrono::duration_cast<Millis>(clock.steady() - start);
    const std::span<transport::Result> decided = results.subspan(first, count);
    try {
      transport_->publish(items.subspan(first, count), level, std::max(left, Millis(1)), decided);
    } catch (const Error& error) {
      for (transport::Result& result : decided) set_failure(result, error);
    }
    first += count;
    // What comes later must not overtake what is tried again.
    const bool stuck = std::any_of(decided.begin(), decided.end(), [](const transport::Result& result) {
      return result.code != ErrorCode::ok && result.retryable;
    });
    if (!stuck) continue;
    const Error behind(ErrorCode::unavailable, true,
                       "not stored, since an event before it in the same batch was not; publish it again");
    for (transport::Result& result : results.subspan(first)) set_failure(result, behind);
    return;
  }
}

void BusState::publish_at(Level level, std::span<const transport::Outgoing> items,
                          std::span<transport::Result> results) {
  const Steady start = options_.environment.clock->steady();
  publish_once(level, items, options_.deadline, results);
  publish_again(level, items, results, start);
}

void BusState::publish_growing(const core::MoreEvents& more, std::vector<transport::Outgoing>& items,
                               std::vector<transport::Result>& results) {
  const Steady start = options_.environment.clock->steady();
  if (growing_ == nullptr) {
    while (more(items)) continue;
    results.resize(items.size());
    publish_at(level_, items, results);
    return;
  }
  try {
    growing_->publish_growing(more, level_, options_.deadline, items, results);
  } catch (const Error& error) {
    while (more(items)) continue;
    results.resize(items.size());
    for (transport::Result& result : results) set_failure(result, error);
  }
  publish_again(level_, items, results, start);
}

// Publishes what failed in passing again, until the deadline that began at `start`.
void BusState::publish_again(Level level, std::span<const transport::Outgoing> items,
                             std::span<transport::Result> results, Steady start) {
  const Clock& clock = *options_.environment.clock;
  Millis slept{};
  std::vector<std::size_t> again;
  std::vector<transport::Outgoing> items_again;
  std::vector<transport::Result> results_again;
  for (std::uint32_t failures = 1;; ++failures) {
    again.clear();
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (results[i].code != ErrorCode::ok && results[i].retryable) again.push_back(i);
    }
    if (again.empty()) return;
    // A clock that stands still must not make the deadline endless, so what was slept counts in any case.
    const Millis passed = std::max(std::chrono::duration_cast<Millis>(clock.steady() - start), slept);
    const Millis left = options_.deadline - passed;
    if (left <= Millis::zero()) return;
    const Millis pause = std::min(runtime::reconnect_delay(failures, options_.environment.random->next()) / 10, left);
    std::this_thread::sleep_for(pause);
    slept += std::max(pause, Millis(1));
    if (left - pause <= Millis::zero()) return;

    items_again.clear();
    for (std::size_t i : again) items_again.push_back(items[i]);
    results_again.assign(again.size(), {});
    publish_once(level, items_again, left - pause, results_again);
    for (std::size_t i = 0; i < again.size(); ++i) {
      transport::Result& result = results[again[i]];
      // After a time-out nobody knows whether the first try was stored; any other failure says so itself.
      const bool unclear = result.ambiguous || result.code == ErrorCode::timeout;
      result = std::move(results_again[i]);
      result.ambiguous = result.ambiguous || unclear;
    }
  }
}

runtime::Publisher& BusState::publisher() {
  std::call_once(publisher_once_, [this] {
    const transport::Capabilities& offered = transport_->capabilities();
    const bool in_two_steps = offered.barrier && level_ > offered.levels.front();
    const Level stored = in_two_steps ? offered.levels.front() : level_;
    runtime::Publisher::Harden harden;
    if (in_two_steps) harden = [this] { transport_->publish({}, level_, options_.deadline, {}); };
    publisher_ = std::make_shared<runtime::Publisher>(
        runtime::PublisherLimits{options_.async_events, options_.async_bytes, options_.deadline},
        [this, stored](std::span<const transport::Outgoing> items, std::span<transport::Result> results) {
          publish_at(stored, items, results);
        },
        std::move(harden));
    publisher_->start();
  });
  return *publisher_;
}

void BusState::tend(Upkeep& upkeep, std::stop_token stop) {
  std::uint32_t failures = 0;
  std::string last_failure;
  Millis pause{100};
  for (;;) {
    {
      std::unique_lock lock(upkeep.mutex);
      upkeep.wake.wait_for(lock, stop, pause, [] { return false; });
    }
    if (stop.stop_requested()) return;
    try {
      pause = std::clamp(transport_->tend(options_.retention, stop), Millis(10), Millis(60'000));
      failures = 0;
      last_failure.clear();
    } catch (const std::exception& error) {
      pause = runtime::reconnect_delay(++failures, options_.environment.random->next());
      if (last_failure != error.what() && !stop.stop_requested()) {
        last_failure = error.what();
        log(LogLevel::warning, "upkeep failed and is tried again: " + last_failure);
      }
    }
  }
}

}  // namespace tidings::detail
