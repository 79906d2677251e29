// A small mapped file through which a test and its child processes see each other's progress, also after a SIGKILL:
// what a child wrote before it died is still there. Waiting is by futex, so no test sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace recovery {

/// What one child says of itself.
struct Slot {
  std::atomic<std::uint32_t> progress;  ///< Grows with every step of work; a futex.
  std::atomic<std::uint32_t> busy;      ///< 1 while it is inside a publish or a handler.
};

/// The mapping: a stop word for all and a slot for each child.
struct Arena {
  static constexpr int slots = 16;
  std::atomic<std::uint32_t> stop;
  Slot slot[slots];
};

/// Maps `path`, creating it. Lives until the process ends.
Arena& map_arena(const std::string& path);

/// One more step of work in `slot`; wakes who waits for it.
void advance(Slot& slot);

/// Waits until `slot.progress` reaches `target`, for at most `milliseconds` without any progress. False when that ran
/// out.
bool wait_for_progress(Slot& slot, std::uint32_t target, int milliseconds);

}  // namespace recovery
