// Exit codes, and the two ways in which a command ends before its time.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

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

/// What each of them says, for the help and the manual.
constexpr std::pair<Exit, const char*> exit_meanings[] = {
    {exit_ok, "ok"},
    {exit_failed, "failed"},
    {exit_usage, "usage"},
    {exit_found, "a gate found something"},
    {exit_unauthorized, "not authorized"},
    {exit_unreachable, "unreachable"},
    {exit_interrupted, "interrupted"},
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
