// Other processes, for properties that need a death: conformance_child in one of its roles.
#pragma once

#include <sys/types.h>

#include "conformance.hpp"

namespace tidings::conformance {

/// A child process of the test; killed at the end of its scope.
class Child {
 public:
  /// Starts `arguments` (the first is the program's path) with `environment` added to ours.
  explicit Child(std::vector<std::string> arguments, const std::vector<std::string>& environment = {});
  ~Child();
  Child(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Child& operator=(Child&&) = delete;

  /// Waits for the next line of its stdout; empty at the end of its output, or after a minute.
  [[nodiscard]] std::string line();
  /// All lines until it closes its stdout.
  [[nodiscard]] std::vector<std::string> lines();
  void signal(int number) const;
  /// Waits for its end: the exit code, or minus the signal that killed it.
  int wait();
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string rest_;
};

/// The words `conformance_child ROLE URL …`.
[[nodiscard]] std::vector<std::string> child_command(const std::string& role, const std::string& url,
                                                     const std::vector<std::string>& rest = {});

/// The lines of a file that children append to.
[[nodiscard]] std::vector<std::string> file_lines(const std::string& path);

}  // namespace tidings::conformance
