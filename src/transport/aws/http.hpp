// HTTP requests of many threads over one set of kept-alive connections. No thread of its own: of those who wait for
// replies, one leads and drives libcurl for all; when its own replies are there, the lead passes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::transport::aws {

/// Waiting is measured on this clock; the injected one may stand still.
using WaitClock = std::chrono::steady_clock;

/// Why there is no reply.
enum class HttpFailure : std::uint8_t {
  none,           ///< There is one, of whatever status.
  not_connected,  ///< Nothing was sent.
  unanswered,     ///< Sent, in part at least, and the connection ended before the reply did.
  timeout,        ///< The exchange's time passed.
  stopped,        ///< The stop token fired, or the flight ended.
};

/// One request, and what became of it. What it borrows and itself stay where they are until it is decided.
struct Exchange {
  std::string_view method = "POST";
  std::string url{};
  std::vector<std::string> headers{};          ///< `Name: value`
  std::string_view body{};                     ///< Borrowed.
  WaitClock::time_point deadline{};            ///< For all of it: waiting for a connection, connecting, the reply.
  std::chrono::milliseconds connect_limit{0};  ///< For connecting alone; 0: that of HttpOptions.
  bool direct = false;                         ///< Past all proxies, also those of the environment.
  /// Over a connection of its own: what a kept one ends on without an answer libcurl sends again, and this must not be.
  bool once = false;

  HttpFailure failure = HttpFailure::none;
  int status = 0;
  std::string reply{};  ///< Its memory is used again.
  std::string why{};    ///< Of a failure, in words.
  unsigned sends = 0;   ///< How often it was sent; libcurl repeats what a kept connection ended on without any answer.
  /// The reply's, of statuses from 300 on.
  std::string date{}, retry_after{}, query_error{}, request_id{};

  [[nodiscard]] bool answered() const noexcept { return failure == HttpFailure::none; }
};

struct HttpOptions {
  std::size_t connections = 64;  ///< To one host, at once; what is more waits.
  std::chrono::milliseconds connect_limit{3'000};
  std::string ca{};  ///< A file of certificates to believe in; empty: the system's.
  std::size_t largest_reply = 64U << 20;
};

/// Any thread. It outlives its flights.
class Http {
 public:
  explicit Http(HttpOptions options = {});
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  /// Performs all of them at once; returns when all are decided.
  void run(std::span<Exchange> exchanges, std::stop_token stop = {});

  class Flight;

 private:
  struct State;
  class Multi;
  class Lane;
  std::unique_ptr<Multi> multi_;
};

/// One thread's exchanges under way. They go on only while somebody waits in next() of whatever flight.
class Http::Flight {
 public:
  /// When `stop` fires, all that is under way is decided as stopped.
  explicit Flight(Http& http, std::stop_token stop = {});
  /// Gives up what is still under way.
  ~Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  void start(Exchange& exchange);
  /// Waits for one to be decided; null at `until`, or at once when there is none under way.
  [[nodiscard]] Exchange* next(WaitClock::time_point until);
  /// Lets the next() that waits, or else the next one, return without waiting. What is under way goes on. Any thread.
  void nudge();
  /// Those that were started and not returned by next().
  [[nodiscard]] std::size_t under_way() const noexcept;

 private:
  Http& http_;
  std::unique_ptr<State> state_;
  struct Stopper;
  std::unique_ptr<Stopper> stopper_;
};

/// A date as HTTP writes it, in seconds since 1970; negative when it is none.
[[nodiscard]] std::int64_t http_time(const std::string& date) noexcept;

}  // namespace tidings::transport::aws
