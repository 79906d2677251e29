// Places where a test may let the process die, to see what is left behind.
//
// With TIDINGS_FAILPOINT=<name>[:<n>] in the environment the process kills itself (SIGKILL: no destructor, no flush) at
// the n-th passage of that place, by default the first. Otherwise a passage costs one relaxed load.
#pragma once

#include <atomic>
#include <span>
#include <string_view>

namespace tidings::core {

/// Whether this process was asked to die at some failpoint.
extern std::atomic<bool> failpoint_armed;

/// Counts a passage of `name`; does not return from the one that was asked for.
void pass_failpoint(std::string_view name) noexcept;

/// Every failpoint of the program, for tests that walk them all.
[[nodiscard]] std::span<const std::string_view> failpoint_names() noexcept;

}  // namespace tidings::core

/// Marks a place. `name` must be listed in failpoint.cpp.
#define TIDINGS_FAILPOINT(name)                                                          \
  do {                                                                                   \
    if (::tidings::core::failpoint_armed.load(std::memory_order_relaxed)) [[unlikely]] { \
      ::tidings::core::pass_failpoint(name);                                             \
    }                                                                                    \
  } while (false)
