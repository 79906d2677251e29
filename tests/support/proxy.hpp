// A network that fails on purpose: stands in front of a port of the loopback and passes bytes on, or does not.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace tidings::support {

/// Every member from any thread.
class Proxy {
 public:
  enum class Mode : std::uint8_t {
    pass,
    drop_requests,  ///< What clients send is swallowed.
    drop_replies,   ///< The server gets everything, clients hear nothing.
    refuse,         ///< New connections are closed at once.
  };

  explicit Proxy(std::uint16_t server);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Of all connections from now on. What was dropped stays dropped.
  void set(Mode mode) noexcept { mode_ = mode; }
  /// Resets every connection.
  void cut();
  /// Resets the connection over which the next `bytes` bytes have gone to the server, in the middle of whatever that
  /// is.
  void cut_requests_after(std::int64_t bytes) noexcept { request_budget_ = bytes; }
  /// The same of the other direction.
  void cut_replies_after(std::int64_t bytes) noexcept { reply_budget_ = bytes; }
  /// How many connections were reset for one of these.
  [[nodiscard]] int cuts() const noexcept { return cuts_; }
  [[nodiscard]] int connections() const noexcept { return connections_; }

 private:
  struct Pair {
    int client = -1, server = -1;
    bool ended = false;
  };
  void run();
  void accept_one();
  bool pump(Pair& pair, bool to_server);
  static void reset(Pair& pair);
  void wake() const;

  static constexpr std::int64_t no_budget = std::numeric_limits<std::int64_t>::max();
  const std::uint16_t server_;
  std::uint16_t port_ = 0;
  int listener_ = -1, waker_ = -1;
  std::atomic<Mode> mode_{Mode::pass};
  std::atomic<std::int64_t> request_budget_{no_budget}, reply_budget_{no_budget};
  std::atomic<int> cuts_{0}, connections_{0};
  std::atomic<bool> cut_{false}, stop_{false};
  std::vector<Pair> pairs_{};  // The thread's.
  std::thread thread_{};
};

}  // namespace tidings::support
