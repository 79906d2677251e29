// Prints events to stdout such that a line counts as printed only once its reader has it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string_view>
#include <thread>

namespace tidings::cli {

/// Any thread may print; lines never mix.
///
/// A pipe holds lines that its reader may never take (`| head -1`). A line in a pipe is therefore printed only when the
/// pipe is empty again, and not when the reader goes away with the line still in it.
class LinePrinter {
 public:
  /// `on_closed` is called once, from any thread, when nothing more can be printed.
  explicit LinePrinter(std::function<void()> on_closed);
  ~LinePrinter();
  LinePrinter(const LinePrinter&) = delete;
  LinePrinter& operator=(const LinePrinter&) = delete;

  /// Prints `line` and a line break. False when the reader has gone, stdout cannot be written for another reason (a
  /// full disk), or `stop` fired first.
  [[nodiscard]] bool print(std::string_view line, const std::stop_token& stop);
  /// That other reason; empty without one. After the last print().
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }

 private:
  void watch();
  [[nodiscard]] bool write(std::string_view text, const std::stop_token& stop);
  [[nodiscard]] bool wait_until_taken(const std::stop_token& stop);
  void close();

  std::function<void()> on_closed_;
  std::once_flag closed_once_{};
  std::atomic<bool> closed_{false};
  bool pipe_ = false;
  std::string failure_{};
  int wake_ = -1;
  std::mutex mutex_{};
  std::thread watcher_{};
};

}  // namespace tidings::cli
