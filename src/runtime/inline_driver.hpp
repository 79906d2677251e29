// Driving a service from the calling thread: what the testing harness is built on. No threads, no waiting.
#pragma once

#include <cstddef>

#include <tidings/service.hpp>

namespace tidings::detail {

/// The harness's way into a service. One thread.
struct ServiceAccess {
  /// Subscribes without threads.
  static void attach(Service& service, bool deliver_twice);
  /// Fetches what is due now, runs the handlers inline and settles; returns how many handler calls that made.
  static std::size_t step(Service& service);
  static void set_deliver_twice(Service& service, bool on);
  /// The next step that has something runs one handler call, drops its outcome and leaves the subscription behind,
  /// neither settled nor released; the step after it subscribes anew.
  static void crash_next(Service& service);
  /// Whether a subscription that was left behind waits for its lease to run out.
  static bool crashed(Service& service);
  /// Ends the subscription; what was not settled is given back.
  static void detach(Service& service);
};

}  // namespace tidings::detail
