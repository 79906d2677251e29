// A real redis-server for a test: on a free port of the loopback, in a folder of its own, gone with its scope.
//
//   RedisServer server({.aof = Aof::always});
//   auto bus = Bus::open(server.url(), {.source = "test"});
//   server.kill();
//   server.restart();
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "child.hpp"

namespace tidings::support {

/// When the server syncs its append-only file; `off` keeps nothing on disk.
enum class Aof { off, everysec, always };

/// The files of a server that speaks TLS only.
struct TlsServer {
  std::string ca{}, certificate{}, key{};
  bool clients = false;  ///< Clients must show a certificate of `ca`.
};

/// How a server is started.
struct RedisOptions {
  Aof aof = Aof::off;
  std::string password{};
  /// Listens here too; a name alone stands in the server's folder.
  std::string unix_socket{};
  /// Stand last on the command line, and so win over everything else. Ports and the log level must stay as they are.
  std::vector<std::string> arguments{};
  /// Speaks TLS when it names a certificate. cli() shows `cli_certificate` then, where clients must show one.
  TlsServer tls{};
  std::string cli_certificate{}, cli_key{};
  /// What a sentinel watches, as lines of its configuration; with any of them it is a sentinel.
  std::string sentinel{};
  /// Is a node of a cluster, which is to be told of the others.
  bool cluster = false;
  /// Has a file of its configuration, where what CONFIG REWRITE stores, as sentinels let it, outlives a restart.
  bool remembers = false;
};

/// A server, ready when its constructor or restart() returns. What goes wrong is a std::runtime_error with the server's
/// own words. port(), url() and socket_path() may be called on any thread, all else on one at a time.
class RedisServer {
 public:
  explicit RedisServer(RedisOptions options = {});
  /// Kills it and removes its folder.
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// `redis://127.0.0.1:PORT`, without the password.
  [[nodiscard]] std::string url() const {
    const bool tls = !options_.tls.certificate.empty();
    return (tls ? "rediss" : "redis") + ("://127.0.0.1:" + std::to_string(port_));
  }
  /// url(), and whose certificates are to be believed: `rediss://127.0.0.1:PORT?ca=PATH`. The same without TLS.
  [[nodiscard]] std::string trusted_url() const {
    return options_.tls.certificate.empty() ? url() : url() + "?ca=" + options_.tls.ca;
  }
  /// The path of the UNIX socket; empty without one.
  [[nodiscard]] const std::string& socket_path() const noexcept { return socket_; }
  /// Where the nodes of a cluster talk to this one; 0 without one.
  [[nodiscard]] std::uint16_t bus_port() const noexcept { return bus_port_; }
  [[nodiscard]] const std::string& directory() const noexcept { return folder_.path(); }
  /// -1 while it does not run.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  /// Whether it runs and does not hang.
  [[nodiscard]] bool answers() const noexcept { return pid_ > 0 && !suspended_; }

  /// Ends it at once (SIGKILL), as a crash does.
  void kill();
  /// Ends it as an administrator does (SIGTERM).
  void stop();
  /// Starts it again on the same port and in the same folder; stops it before when it runs.
  void restart();
  /// Lets it hang (SIGSTOP): connections stay open, the kernel accepts new ones, nobody answers. Returns when it
  /// stands.
  void suspend();
  /// Lets it go on (SIGCONT).
  void resume();

  /// Runs `redis-cli` on it with these words, and returns what it says, without the white space at the ends. An error
  /// of the server is part of that; a server that cannot be reached is thrown.
  template <class... Words>
  std::string cli(const Words&... words) {
    return run_cli({text_of(words)...});
  }
  std::string run_cli(const std::vector<std::string>& words);
  /// Sends words without quotes over a connection of their own, and returns the reply as it stands on the wire; empty
  /// when nobody answers. For looking often, which a program each time is too slow for; not over TLS.
  [[nodiscard]] std::string ask(const std::string& words) const;

  /// What it has logged since its last start.
  [[nodiscard]] const std::string& log();
  /// Waits until it has logged `text` behind the first `from` bytes, and returns where that ends.
  std::size_t await_log(std::string_view text, std::size_t from = 0);

 private:
  template <class Word>
  static std::string text_of(const Word& word) {
    if constexpr (std::is_arithmetic_v<Word>) {
      return std::to_string(word);
    } else {
      return std::string(word);
    }
  }
  [[nodiscard]] std::vector<std::string> command() const;
  [[nodiscard]] bool start();
  bool read_log(int milliseconds);
  void await_end();

  RedisOptions options_;
  Folder folder_{"redis"};
  std::string socket_{}, log_{};
  std::uint16_t port_ = 0, bus_port_ = 0;
  bool started_ = false, suspended_ = false;
  pid_t pid_ = -1;
  Descriptor out_{};
};

}  // namespace tidings::support
