// Commands of many threads over one connection to one server: whoever comes first sends for all who have come by then,
// so that they share a round trip and the server's sync.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "transport/redis/connection.hpp"

namespace tidings::transport::redis {

/// Any thread.
class Client {
 public:
  using Connect = std::function<std::unique_ptr<Connection>(WaitClock::time_point deadline)>;
  /// Adds more commands; false once there are no more.
  using Fill = std::function<bool(Commands& commands)>;

  /// `connect` makes a new connection whenever one is needed and there is none.
  explicit Client(Connect connect) : connect_(std::move(connect)) {}

  /// Sends the commands and returns their replies, errors among them. When the connection fails before all are there,
  /// returns those that came, and `failure`: what the server did with the others is unknown then, unless
  /// Received::sent() says that nothing was sent. `only_on`: the connection, by Received::connection, that commands are
  /// about which came before; they are not sent over any other.
  Received run(const Commands& commands, WaitClock::time_point deadline, std::optional<Error>& failure,
               std::uint64_t only_on = 0);
  /// The same for many commands: those that are there are sent, and while the server works on them `fill` adds more,
  /// until it says that all are there. It may run on another thread, while this call waits.
  Received run(Commands& commands, const Fill& fill, WaitClock::time_point deadline, std::optional<Error>& failure);
  /// Connects anew before the next command.
  void renew();

 private:
  struct Request;
  struct Waiter;
  Received run(Request& request, std::optional<Error>& failure);
  bool withdraw(Request& request);
  void lead(std::unique_lock<std::mutex>& lock);
  void exchange(std::vector<Request*> requests, bool anew);
  void send(Connection& connection, const std::vector<Request*>& requests, WaitClock::time_point deadline);
  [[nodiscard]] bool refuse(Request& request) const;

  const Connect connect_;
  std::mutex mutex_{};
  std::deque<Request*> waiting_{};
  bool led_ = false, anew_ = false;
  std::unique_ptr<Connection> connection_{};  // The leader's.
  std::uint64_t number_ = 0;                  // Of connection_.
  std::string together_{};                    // What is sent at once.
  static constexpr std::size_t most_together = 64U << 10;
};

/// A deadline in `wait` from now, kept within what a clock can count.
[[nodiscard]] WaitClock::time_point deadline_in(std::chrono::milliseconds wait) noexcept;

}  // namespace tidings::transport::redis
