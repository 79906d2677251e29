// The seven services of the marketplace and its mail server, as processes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include "children.hpp"

namespace market {

/// A service: its name, the streams that it handles, and the one that it fills.
struct Part {
  std::string name;
  std::vector<std::string> streams;
  std::string fills{};
};

/// All seven, in the order in which they are shown.
[[nodiscard]] const std::vector<Part>& parts();

/// The processes. One thread, but for port().
class Cast {
 public:
  /// Starts the mail server, unless SMTP_URL names another, and the services. `binaries` is where their programs are;
  /// stores, ports and logs go to `directory`.
  Cast(std::filesystem::path binaries, std::filesystem::path directory);

  /// The port of a service, as it last told; 0 while it is starting. Any thread.
  [[nodiscard]] std::uint16_t port(const std::string& name) const;
  /// Waits until a service listens; throws std::runtime_error when it ends instead, or takes 20 s.
  void await(const std::string& name);
  /// SIGKILL, and started again at once; false when it was down.
  bool crash(const std::string& name);
  /// SIGTERM, without coming back until raise(). Returns the exit code.
  int lower(const std::string& name);
  void raise(const std::string& name);
  /// A second process of a service.
  void add(const std::string& name);
  /// Throws std::runtime_error when a service ended by itself.
  void check();
  /// Stops all, those that publish first; returns 0 when each ended well.
  int stop();

 private:
  [[nodiscard]] std::filesystem::path port_file(const std::string& name) const { return directory_ / (name + ".port"); }
  Child& start(const std::string& name);

  std::filesystem::path binaries_, directory_;
  std::list<std::pair<std::string, Child>> children_{};  // The first of a name is the one that is crashed and lowered.
};

}  // namespace market
