// Commands of many threads over one connection: whoever comes first sends for all who have come by then, so that they
// share a round trip and the server's sync.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/redis/connection.hpp"

namespace tidings::transport::redis {

/// What runs on the server in one step. The values index Client's list.
enum class Script : std::uint8_t { join, look, settle, renew, orphans, leave, move, remove, trim };
inline constexpr std::size_t script_count = 9;

/// The text of a script.
[[nodiscard]] std::string script_text(Script script);

/// Any thread.
class Client {
 public:
  /// Connects at once, so that a wrong URL shows.
  Client(Endpoint endpoint, WaitClock::time_point deadline);

  /// Sends the commands and returns their replies, errors among them. Throws Error when the connection fails before all
  /// are there: what the server did is unknown then, and `answered` says how many replies had come.
  std::vector<Received> run(const Commands& commands, WaitClock::time_point deadline, std::size_t* answered = nullptr);
  /// One command; an error reply is thrown.
  Received call(std::initializer_list<std::string_view> words, WaitClock::time_point deadline);
  /// Runs a script on `stream` with `arguments`; an error reply is thrown.
  Received eval(Script script, std::string_view stream, const std::vector<std::string>& arguments,
                WaitClock::time_point deadline);
  /// A connection of one's own, to the same place.
  [[nodiscard]] std::unique_ptr<Connection> connect(WaitClock::time_point deadline) const;
  [[nodiscard]] const Endpoint& endpoint() const noexcept { return endpoint_; }

 private:
  struct Request;
  void lead(std::unique_lock<std::mutex>& lock);
  void exchange(const std::vector<Request*>& requests);
  void open(WaitClock::time_point deadline);

  const Endpoint endpoint_;
  std::mutex mutex_{};
  std::deque<Request*> waiting_{};
  bool led_ = false;
  std::unique_ptr<Connection> connection_{};  // The leader's.
  std::mutex names_mutex_{};
  std::array<std::string, script_count> names_{};  // The scripts' digests.
};

/// A deadline in `wait` from now, kept within what a clock can count.
[[nodiscard]] WaitClock::time_point deadline_in(std::chrono::milliseconds wait) noexcept;

}  // namespace tidings::transport::redis
