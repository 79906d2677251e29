// The stop token of one handler call. Most handlers never ask for one, so it is made only when they do.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

namespace tidings::runtime {

/// Reused from call to call; each has a number, so that a late cancellation cannot hit the next one.
class Cancellation {
 public:
  /// A new call begins.
  std::uint64_t begin() {
    const std::lock_guard lock(mutex_);
    if (source_) source_.reset();
    fired_ = false;
    return ++call_;
  }
  /// Fires the token of call `call`, if it is still the current one. Runs stop callbacks.
  void fire(std::uint64_t call) {
    std::optional<std::stop_source> source;
    {
      const std::lock_guard lock(mutex_);
      if (call != call_) return;
      fired_ = true;
      source = source_;
    }
    if (source) source->request_stop();
  }
  /// The current call's token.
  [[nodiscard]] std::stop_token token() {
    const std::lock_guard lock(mutex_);
    if (!source_) {
      source_.emplace();
      if (fired_) source_->request_stop();
    }
    return source_->get_token();
  }
  /// Whether the current call was told to stop.
  [[nodiscard]] bool fired() {
    const std::lock_guard lock(mutex_);
    return fired_;
  }

 private:
  std::mutex mutex_;
  std::optional<std::stop_source> source_;
  std::uint64_t call_ = 0;
  bool fired_ = false;
};

}  // namespace tidings::runtime
