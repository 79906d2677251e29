// A process of the marketplace, as its driver sees it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace market {

/// A child process that ends with its parent.
class Child {
 public:
  /// Starts `arguments` with `log` as its standard output and error, appending; with the driver's own when it is empty.
  Child(std::vector<std::string> arguments, std::string log);
  ~Child();  ///< Kills what still runs.
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Starts the same program again; the one before must have ended.
  void start();
  /// Sends SIGKILL and waits for the end.
  void kill();
  /// Sends SIGTERM, after 20 s SIGKILL, and waits for the end. Returns the exit code, or 128 + the signal that ended
  /// it; 0 when SIGTERM came before the program listened to it.
  int stop();
  /// Waits for the end that the program finds by itself, and returns as stop() does.
  int wait();
  /// Whether it still runs.
  [[nodiscard]] bool running();
  /// Whether it was started and not ended by this driver.
  [[nodiscard]] bool expected() const noexcept { return pid_ > 0; }

 private:
  std::vector<std::string> arguments_;
  std::string log_;
  pid_t pid_ = -1;
};

}  // namespace market
