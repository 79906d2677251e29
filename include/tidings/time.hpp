// Time: the two clocks, and how times are written on the wire.
//
// Wall time (`Wall`) survives restarts and is what envelopes, retention and due times use; it may jump. The steady
// clock (`Steady`) counts from the machine's boot, also through suspend (CLOCK_BOOTTIME), never jumps, and is what
// leases, timeouts and waits use. Nothing in Tidings reads a clock but through `Clock`, so that tests can move it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// A duration in milliseconds, the unit of every option: `30s` converts to it.
using Millis = std::chrono::milliseconds;

/// A point in wall time, UTC, to the millisecond.
using Wall = std::chrono::sys_time<Millis>;

/// Time since the machine's boot.
using Steady = std::chrono::nanoseconds;

/// The source of time. Implementations are safe to call from any thread and do not throw.
class Clock {
 public:
  virtual ~Clock() = default;
  /// UTC now.
  [[nodiscard]] virtual Wall wall() const noexcept = 0;
  /// Time since boot.
  [[nodiscard]] virtual Steady steady() const noexcept = 0;
};

/// The machine's own clocks. Lives for ever.
[[nodiscard]] const Clock& system_clock() noexcept;

/// Writes ISO 8601 in UTC with milliseconds: `2024-01-25T10:30:00.000Z`.
[[nodiscard]] std::string format_time(Wall time);

/// Appends what format_time() writes; for callers that build a larger text.
void append_time(std::string& out, Wall time);

/// Reads ISO 8601 (`2024-01-25T10:30:00Z`, with or without a fraction, `Z` or an offset such as `+02:00`); finer
/// fractions are cut to the millisecond. Returns nothing for anything else.
[[nodiscard]] std::optional<Wall> parse_time(std::string_view text) noexcept;

/// Reads a duration as the command line and URLs write it: `250ms`, `30s`, `5m`, `2h`, `7d`. Returns nothing for
/// anything else, for a negative duration, and for one beyond 100 years.
[[nodiscard]] std::optional<Millis> parse_duration(std::string_view text) noexcept;

/// Writes the shortest exact form that parse_duration() reads: `90s` is "90s", `120s` is "2m".
[[nodiscard]] std::string format_duration(Millis duration);

}  // namespace tidings
