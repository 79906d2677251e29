// The service processes of the demo.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace demo {

/// A child process that dies with its parent.
class Child {
 public:
  /// Starts `arguments` with `log` as its standard output and error, appending.
  Child(std::vector<std::string> arguments, std::string log);
  ~Child();  ///< Kills what still runs.
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Starts the same program again; the one before must have ended.
  void start();
  /// Sends SIGKILL and waits for the end.
  void kill();
  /// Sends SIGTERM and waits for the end. Returns the exit code, or 128 + the signal that ended it.
  int stop();
  /// Whether it still runs.
  [[nodiscard]] bool running();

 private:
  int wait();

  std::vector<std::string> arguments_;
  std::string log_;
  pid_t pid_ = -1;
};

}  // namespace demo
