// Runs a command line through the shell, with bytes on its stdin.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::cli {

/// How a command ended.
struct ShellResult {
  int exit_code = 0;    ///< When no signal ended it.
  int signal = 0;       ///< The signal that ended it, or 0.
  bool killed = false;  ///< We ended it, because `stop` fired.
};

/// Runs `/bin/sh -c command` as a child of this process, in a process group of its own, with `input` on its stdin,
/// which it need not read. `variables` (`NAME=value`) are added to its environment; stdout and stderr are ours. When
/// `stop` fires the whole group is killed; when the calling thread's process dies, the shell is. Any thread, which must
/// live until this returns. Throws std::runtime_error when no process can be started.
[[nodiscard]] ShellResult run_shell(const std::string& command, std::string_view input,
                                    const std::vector<std::string>& variables, const std::stop_token& stop);

}  // namespace tidings::cli
