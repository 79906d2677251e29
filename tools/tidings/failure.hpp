// Exit codes, and the two ways in which a command ends before its time.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace tidings::cli {

/// The contract's exit codes.
enum Exit : int {
  exit_ok = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_found = 3,
  exit_unauthorized = 4,
  exit_unreachable = 5,
  exit_interrupted = 130
};

/// The command line is wrong: exit 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Whoever read our output has gone: ends quietly.
class OutputClosed : public std::runtime_error {
 public:
  OutputClosed() : std::runtime_error("the output was closed") {}
};

/// Writes one line on stderr, `tidings: ` before it, control characters made harmless.
void complain(std::string_view text);

}  // namespace tidings::cli
