// A connection to a server as bytes: TCP, with TLS or without, or a Unix socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "transport/redis/tls.hpp"

namespace tidings::transport::redis {

/// Waiting is measured on this clock; the injected one may stand still.
using WaitClock = std::chrono::steady_clock;

/// Where a server listens: a host and port, or the path of a Unix socket.
struct Address {
  std::string host{};
  std::uint16_t port = 0;
  std::string path{};
  bool operator==(const Address&) const = default;
  auto operator<=>(const Address&) const = default;
  /// As messages show it.
  [[nodiscard]] std::string text() const;
};

/// One connection. One thread at a time. Every failure is Error{unavailable}, retryable, or {timeout}: after either it
/// is of no more use. A certificate that is not believed is {unauthorized}.
class Socket {
 public:
  /// Connects before `deadline`, with TLS unless `tls` is null.
  Socket(const Address& address, const Tls* tls, WaitClock::time_point deadline);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Sends all of `bytes`.
  void write(std::string_view bytes, WaitClock::time_point deadline);
  /// Waits for bytes, and returns how many came.
  std::size_t read(std::span<std::byte> into, WaitClock::time_point deadline);
  /// Whether bytes came before `deadline`.
  bool readable(WaitClock::time_point deadline);
  /// Our end as the server shows it, `127.0.0.1:40000`; empty for a Unix socket.
  [[nodiscard]] std::string local() const;
  /// To wait for several at once: what poll() takes, and whether bytes stand ready that it does not know of.
  [[nodiscard]] int descriptor() const noexcept { return fd_; }
  [[nodiscard]] bool buffered() const noexcept { return session_ && session_->pending(); }

 private:
  [[noreturn]] void fail(const char* doing, int error) const;
  void open(int family, const void* address, std::size_t size, WaitClock::time_point deadline);
  void dial(const Address& address, WaitClock::time_point deadline);
  void secure(const Tls& tls, const std::string& host, WaitClock::time_point deadline);
  void send_raw(std::string_view bytes, WaitClock::time_point deadline);
  std::size_t read_raw(std::span<std::byte> into, WaitClock::time_point deadline);
  [[nodiscard]] bool wait(short events, WaitClock::time_point deadline) const;

  std::string where_;
  int fd_ = -1;
  std::optional<TlsSession> session_{};
};

}  // namespace tidings::transport::redis
