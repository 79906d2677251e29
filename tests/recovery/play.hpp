// What the recovery tests share: a fresh folder, child processes, and the account taken from the outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "arena.hpp"

namespace recovery {

/// A folder of its own under the system's temporary one, removed at the end unless a test failed in it.
class Stage {
 public:
  Stage();
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] std::string database() const { return path("events.db"); }
  [[nodiscard]] std::string url(const std::string& options = "") const { return "sqlite:" + database() + options; }
  [[nodiscard]] Arena& arena() const { return *arena_; }

  /// Starts recovery_child in `role` on `slot`, with `extra` arguments and `environment` variables ("NAME=value")
  /// added.
  [[nodiscard]] pid_t start(const std::string& role, int slot, const std::string& log,
                            const std::vector<std::string>& extra = {},
                            const std::vector<std::string>& environment = {}, const std::string& options = "") const;

 private:
  std::string folder_;
  Arena* arena_;
};

/// How a process ended.
struct Ending {
  bool killed = false;  ///< By SIGKILL.
  int code = 0;         ///< Exit code, or the signal's number.
};

/// Waits for `pid`.
Ending await_end(pid_t pid);

/// Starts `arguments` (the first one is looked up in PATH), stdout and stderr into `output`, and waits for it.
Ending run_program(const std::vector<std::string>& arguments, const std::string& output);

/// Lines of a file and how often each occurs; empty without the file. A last line without its end does not count.
std::unordered_map<std::string, std::uint64_t> lines_of(const std::string& path);

/// What is said of a finished run.
struct Account {
  std::uint64_t work = 0, acknowledged = 0, handled = 0, dead = 0, crashed = 0, done = 0, duplicates = 0;
};

/// Recomputes the account of `stage` from journals, streams, groups and dead letters, with gtest expectations on each
/// rule: nothing acknowledged is lost, everything is handled or a dead letter, outputs match handlings one to one, the
/// file is sound. `writers` are the journals of acknowledged ids.
Account audit(const Stage& stage, const std::vector<std::string>& writers, const std::string& worker_journal);

/// Expects that SQLite finds nothing wrong with the file.
void expect_sound_file(const std::string& database);

/// Runs worker and auditor, unkilled, until both have nothing left.
void drain(const Stage& stage, const std::string& worker_journal, const std::string& auditor_journal);

}  // namespace recovery
