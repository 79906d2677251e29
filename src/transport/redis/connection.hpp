// A connection to a server that speaks RESP: signed in, with its database chosen.
#pragma once

#include <memory>
#include <string>

#include <tidings/error.hpp>
#include <tidings/url.hpp>

#include "transport/redis/resp.hpp"
#include "transport/redis/socket.hpp"

namespace tidings::transport::redis {

/// How to reach a server, out of a URL.
struct Endpoint {
  Address address{};
  std::string user{}, password{};
  std::int64_t database = 0;
};

/// Of `redis://user:password@host:port/database` or `redis+unix:///path?database=0`. The password may come from the
/// option `password_file` or from $TIDINGS_PASSWORD. Throws Error{invalid}.
[[nodiscard]] Endpoint endpoint_of(const Url& url);

/// A reply with the bytes that it stands in; `reply` borrows from both.
struct Received {
  std::shared_ptr<const std::byte[]> block{};  ///< Readable for 64 bytes behind the reply.
  std::shared_ptr<const std::vector<Value>> values{};
  std::string_view bytes{};
  [[nodiscard]] Reply reply() const noexcept { return {bytes, *values}; }
};

/// What an error reply of the server means to a caller.
[[nodiscard]] Error error_of(std::string_view text);

class Connection {
 public:
  /// Connects and signs in. Throws Error{unavailable}, {timeout}, or {unauthorized} for what the server refuses.
  Connection(const Endpoint& endpoint, WaitClock::time_point deadline);

  void send(const Commands& commands, WaitClock::time_point deadline) { socket_.write(commands.bytes(), deadline); }
  /// The next reply, in a block that the caller may keep.
  [[nodiscard]] Received receive(WaitClock::time_point deadline);
  /// Sends one command and returns its reply. An error reply is thrown.
  Received call(const Commands& command, WaitClock::time_point deadline);
  [[nodiscard]] bool readable(WaitClock::time_point deadline) { return begin_ < end_ || socket_.readable(deadline); }
  /// Its id on the server, for CLIENT UNBLOCK.
  [[nodiscard]] std::int64_t id() const noexcept { return id_; }

 private:
  void make_room(std::size_t wanted);

  Socket socket_;
  std::int64_t id_ = 0;
  ReplyParser parser_{};
  std::shared_ptr<std::byte[]> block_{};
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;  // Of the bytes that were received and not taken.
};

}  // namespace tidings::transport::redis
