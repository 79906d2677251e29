// What Tidings takes from the machine: clocks, randomness and the log. Tests replace them.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include <tidings/id.hpp>
#include <tidings/time.hpp>

namespace tidings {

/// How much a log line matters.
enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// Receives the lines that Tidings writes about itself, one call a line, from any thread, one at a time. The text holds no
/// secret and no control character.
using Log = std::function<void(LogLevel, std::string_view)>;

/// The log used when none is given: warnings and errors (all, with TIDINGS_LOG=debug or info) on stderr.
[[nodiscard]] const Log& stderr_log();

/// What is injected. The pointers are borrowed and outlive every bus opened with them.
struct Environment {
  const Clock* clock = &system_clock();  ///< Both clocks.
  Random* random = &system_random();     ///< Ids and jitter.
  Log log = stderr_log();                ///< Lines about Tidings itself.
};

}  // namespace tidings
