// SIGINT and SIGTERM, as a stop token.
#pragma once

#include <csignal>
#include <stop_token>
#include <thread>
#include <tidings/time.hpp>

namespace tidings::cli {

/// While it lives, the first SIGINT or SIGTERM fires token(), and a second one ends the process at once. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }
  /// Whether a signal came.
  [[nodiscard]] bool fired() const noexcept { return source_.stop_requested(); }
  /// Fires token() without a signal.
  void stop() noexcept { source_.request_stop(); }
  /// 130 after SIGINT, else 0.
  [[nodiscard]] int exit_code() const noexcept;
  /// Waits; false when a signal came first.
  bool wait(Millis time) const;

 private:
  std::stop_source source_;
  struct sigaction old_interrupt_ {};
  struct sigaction old_terminate_ {};
  std::jthread watcher_;
};

}  // namespace tidings::cli
