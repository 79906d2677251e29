// HTTP/1.1 as a server of the loopback speaks it: a thread a connection, bodies by length or in chunks, connections
// that stay open.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../child.hpp"

namespace tidings::support::aws {

struct HttpRequest {
  std::string method{}, target{}, path{}, query{}, body{};
  std::vector<std::pair<std::string, std::string>> headers{};  ///< Names in lower case, values without blanks around.
  std::size_t bytes = 0;                                       ///< As it stood on the wire.
  /// Whether the client has closed its connection since.
  std::function<bool()> gone{};

  /// The first of that name, which is in lower case.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  bool vanish = false;           ///< The connection is closed instead.
  std::function<void()> sent{};  ///< Called when all of it is in the socket.
};

/// Answers from its construction to stop().
class HttpServer {
 public:
  using Handler = std::function<HttpReply(const HttpRequest&)>;

  /// Calls `handler` on many threads.
  explicit HttpServer(Handler handler);
  ~HttpServer() { stop(); }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Closes everything and returns when no handler runs any more; who lets handlers wait wakes them before.
  void stop();
  /// How many connections clients have made.
  [[nodiscard]] std::int64_t connections() const noexcept { return connections_; }
  [[nodiscard]] std::int64_t bytes_in() const noexcept { return bytes_in_; }
  [[nodiscard]] std::int64_t bytes_out() const noexcept { return bytes_out_; }

 private:
  struct Connection {
    Descriptor socket{};
    std::thread thread{};
    std::atomic<bool> over{false};
  };
  void accept_all();
  void serve(Connection& connection);
  void reap();

  Handler handler_;
  Descriptor listener_, waker_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> connections_{0}, bytes_in_{0}, bytes_out_{0};
  std::list<Connection> open_{};  // The acceptor's alone, until stop() has joined it.
  std::thread acceptor_{};
};

}  // namespace tidings::support::aws
