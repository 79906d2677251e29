// A connection to a server that speaks RESP: signed in, with its database chosen.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <tidings/error.hpp>

#include "transport/redis/endpoint.hpp"
#include "transport/redis/resp.hpp"
#include "transport/redis/socket.hpp"

namespace tidings::transport::redis {

/// Replies, one for each command, with the bytes that they stand in; what reply() returns borrows from both.
struct Received {
  struct Parsed {
    std::vector<Value> values{};
    std::vector<std::size_t> starts{};  ///< Of each reply, its first value.
    bool errors = false;                ///< Whether there is an error among them.
  };
  std::shared_ptr<const std::byte[]> block{};  ///< Readable for 64 bytes behind the replies.
  std::shared_ptr<const Parsed> parsed{};
  std::string_view bytes{};
  std::uint64_t connection = 0;  ///< Which of a Client's connections it was, counted from 1.

  /// Whether the commands were sent at all.
  [[nodiscard]] bool sent() const noexcept { return parsed != nullptr; }
  [[nodiscard]] std::size_t count() const noexcept { return parsed ? parsed->starts.size() : 0; }
  /// Whether there is an error among the replies, or in one of them.
  [[nodiscard]] bool errors() const noexcept { return parsed && parsed->errors; }
  /// Of an index below count().
  [[nodiscard]] Reply reply(std::size_t index = 0) const noexcept {
    return {bytes, parsed->values, parsed->starts[index]};
  }
};

/// What an error reply of the server means to a caller.
[[nodiscard]] Error error_of(std::string_view text);

class Connection {
 public:
  /// Connects to `address` and signs in as `endpoint` says. Throws Error{unavailable}, {timeout}, or {unauthorized} for
  /// what the server refuses.
  Connection(const Address& address, const Endpoint& endpoint, WaitClock::time_point deadline);

  void send(const Commands& commands, WaitClock::time_point deadline) { send(commands.bytes(), deadline); }
  void send(std::string_view bytes, WaitClock::time_point deadline) { socket_.write(bytes, deadline); }
  /// The next `replies` replies, in a block that the caller may keep.
  [[nodiscard]] Received receive(WaitClock::time_point deadline, std::size_t replies = 1);
  /// The same; where the connection fails in between, those that came, and `failure`.
  [[nodiscard]] Received receive(WaitClock::time_point deadline, std::size_t replies, std::optional<Error>& failure);
  /// Sends one command and returns its reply. An error reply is thrown.
  Received call(const Commands& command, WaitClock::time_point deadline);
  [[nodiscard]] bool readable(WaitClock::time_point deadline) { return buffered() || socket_.readable(deadline); }
  [[nodiscard]] bool buffered() const noexcept { return begin_ < end_ || socket_.buffered(); }
  [[nodiscard]] int descriptor() const noexcept { return socket_.descriptor(); }
  /// Its id on the server, for CLIENT UNBLOCK.
  [[nodiscard]] std::int64_t id() const noexcept { return id_; }
  /// The command that ends this connection from another one, so that nothing of it is run that the server has not read
  /// yet. It says whose it is, since another server counts its connections for itself.
  [[nodiscard]] Commands end_command() const;
  [[nodiscard]] const Address& address() const noexcept { return address_; }

  /// A server that says nothing for so long, while replies are expected, hangs: who waits for it is told so, even if
  /// his deadline is later, since another server may have taken its place.
  static constexpr std::chrono::milliseconds longest_silence{5'000};

 private:
  // Blocks that somebody may still keep. They are taken again once nobody does: memory of that size comes from the
  // kernel as a rule, and each page of it would have to be made anew.
  struct Spare {
    std::shared_ptr<std::byte[]> block{};
    std::size_t capacity = 0;
  };
  static constexpr std::size_t most_spare = 4, largest_spare = 4U << 20;

  void make_room(std::size_t wanted);
  [[nodiscard]] Spare take_block(std::size_t size);
  void leave_block();

  Address address_;
  Socket socket_;
  std::int64_t id_ = 0;
  ReplyParser parser_{};
  std::shared_ptr<std::byte[]> block_{};
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;  // Of the bytes that were received and not taken.
  std::size_t usual_ = 0;                           // Bytes of replies, as seen lately.
  std::vector<Spare> spare_{};
  std::shared_ptr<Received::Parsed> parsed_{};  // The last, to be used again as well.
};

}  // namespace tidings::transport::redis
