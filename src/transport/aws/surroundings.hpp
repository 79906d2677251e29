// What the search for credentials takes from the machine: variables, files, processes, the clock and HTTP. Tests
// replace them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <tidings/time.hpp>

#include "transport/aws/http.hpp"
#include "transport/aws/profile.hpp"

namespace tidings::transport::aws {

/// What a process wrote, and whether it ended well.
struct ProcessOutput {
  bool ended_well = false;
  std::string text{};  ///< Of its standard output.
  std::string why{};   ///< Where it did not.
};

struct Surroundings {
  std::function<std::optional<std::string>(const std::string& name)> variable{};
  std::function<std::optional<std::string>(const std::string& path)> read_file{};
  /// Replaces the file at once, readable by its owner alone; false when it cannot.
  std::function<bool(const std::string& path, std::string_view text)> write_file{};
  /// Runs a command line as the shell does, without input; ends it at `deadline`.
  std::function<ProcessOutput(const std::string& command, WaitClock::time_point deadline)> run_process{};
  std::function<Wall()> now{};
  std::function<void(Exchange& exchange)> fetch{};  ///< Empty: a client uses its own connections.

  /// The machine's own, but for fetch. `clock` is borrowed.
  [[nodiscard]] static Surroundings real(const Clock& clock);

  /// The variable, unless it is empty.
  [[nodiscard]] std::optional<std::string> filled(const std::string& name) const;
  /// Both files of the command line, from where the environment says that they are.
  [[nodiscard]] Profiles profiles() const;
  /// `path` with a `~` at its beginning undone.
  [[nodiscard]] std::string home_path(std::string_view path) const;
};

/// The members of a JSON object that are no arrays, by their path (`roleCredentials.accessKeyId`), strings unescaped
/// and all else as it stands there. Nothing when this is no object.
[[nodiscard]] std::optional<std::map<std::string, std::string>> flat_json(std::string_view text);

}  // namespace tidings::transport::aws
