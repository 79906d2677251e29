// SIGTERM and SIGINT while a service runs: the first asks for a drain, the second ends the process.
#pragma once

#include <stop_token>

namespace tidings::runtime {

/// Takes both signals over while it lives, and gives them back. Several at once share them. Not for a forked child.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }
  /// Asks for a stop as a signal would.
  void stop() noexcept { source_.request_stop(); }
  /// 130 after SIGINT, else 0.
  [[nodiscard]] int exit_code() const noexcept;

 private:
  std::stop_source source_;
};

}  // namespace tidings::runtime
