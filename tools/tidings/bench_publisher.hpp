// Publishing from structs, as all paths of `tidings bench` do it.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "bench_events.hpp"
#include "bench_report.hpp"

namespace tidings::cli {

/// The options of a bus that publishes batches of `batch`: the queue of publish_async() holds one batch that is being
/// stored and one that is being written, so that batches stay what they are called.
[[nodiscard]] BusOptions publishing_options(const BenchOptions& options);

/// Publishes the numbers `first` … `first + count - 1` from this thread: one by one, each awaited, when the batch is 1;
/// else through publish_async(), which writes the next batch while the engine stores the last. Call times go to
/// `micros` when each publish is awaited.
template <class T>
void publish_range(Bus& bus, const BenchOptions& options, std::uint64_t first, std::uint64_t count,
                   std::vector<double>* micros) {
  T event = bench::sample<T>(first, bench::address_for<T>(options.size));
  for (std::uint64_t i = 0; i < count; ++i) {
    bench::renumber(event, first + i);
    if (options.batch > 1) {
      bus.publish_async(event);
      continue;
    }
    const std::int64_t start = nanoseconds_now();
    bus.publish(event);
    if (micros != nullptr) micros->push_back(static_cast<double>(nanoseconds_now() - start) * 1e-3);
  }
}

/// The same from `options.producers` threads; returns when everything is durable. Throws what failed first.
template <class T>
void publish_all(Bus& bus, const BenchOptions& options, std::uint64_t first, std::uint64_t count,
                 std::vector<double>* micros) {
  const std::uint64_t producers = std::min<std::uint64_t>(options.producers, count);
  std::mutex mutex;
  std::exception_ptr failure;
  const auto produce = [&](std::uint64_t from, std::uint64_t until) {
    std::vector<double> samples;
    try {
      publish_range<T>(bus, options, first + from, until - from, &samples);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    if (micros != nullptr) micros->insert(micros->end(), samples.begin(), samples.end());
  };
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 1; i < producers; ++i) {
      threads.emplace_back(produce, count * i / producers, count * (i + 1) / producers);
    }
    produce(0, count / producers);
  }
  if (failure) std::rethrow_exception(failure);
  bus.flush();
}

/// The sum over the fields of those events.
template <class T>
[[nodiscard]] std::uint64_t expected_sum(const BenchOptions& options, std::uint64_t first, std::uint64_t count) {
  T event = bench::sample<T>(first, bench::address_for<T>(options.size));
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    bench::renumber(event, first + i);
    sum += bench::sum(event);
  }
  return sum;
}

/// How many events `stream` holds.
[[nodiscard]] std::uint64_t length_of(const Bus& bus, const std::string& stream);

/// A group that did not exist before.
[[nodiscard]] std::string new_group();

}  // namespace tidings::cli
