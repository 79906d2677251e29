// What a service is made of, shared by its handle, its threads and handlers that outlive it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include <tidings/service.hpp>

#include "runtime/bus_state.hpp"
#include "runtime/handlers.hpp"

namespace tidings::runtime {
class Pool;
struct InlineRun;
}  // namespace tidings::runtime

namespace tidings::detail {

/// Configured before the run, constant while it lasts, but for the counters.
class ServiceState {
 public:
  ServiceState(std::shared_ptr<BusState> bus, std::string name, ServiceOptions options)
      : bus(std::move(bus)), name(std::move(name)), options(bounded(options)) {}

  const std::shared_ptr<BusState> bus;
  const std::string name;
  const ServiceOptions options;
  runtime::HandlerTable handlers;
  std::function<void(Context&, const std::function<void()>&)> around;
  std::function<void(const Failure&)> on_failure, on_dead_letter;

  std::mutex mutex;    ///< Guards the counters and, while it runs, the pool.
  ServiceStats stats;  ///< Under `mutex`.

  std::atomic<bool> started{false};                ///< A service runs once.
  std::stop_source ending;                         ///< Fired by the destructor.
  std::weak_ptr<runtime::Pool> pool;               ///< Under `mutex`: what a destructor has to wait for.
  std::shared_ptr<runtime::InlineRun> inline_run;  ///< Of the testing harness.

  [[nodiscard]] const Environment& environment() const noexcept { return bus->options().environment; }
  /// `source` of what handlers publish.
  [[nodiscard]] std::string_view source() const noexcept {
    return bus->options().source.empty() ? std::string_view(name) : std::string_view(bus->options().source);
  }
  /// The claim that it makes on its streams. Throws Error{invalid} without handlers, {not_supported} for what the
  /// engine cannot do.
  [[nodiscard]] transport::Interest interest() const;
  /// Calls the hooks for one settled failure, or logs it where there are none.
  void report(const Failure& failure) const noexcept;

 private:
  /// With durations that can be added to a clock.
  static ServiceOptions bounded(ServiceOptions options) noexcept;
};

}  // namespace tidings::detail
