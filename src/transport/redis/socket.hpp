// A connection to a server as bytes: TCP or a Unix socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tidings::transport::redis {

/// Waiting is measured on this clock; the injected one may stand still.
using WaitClock = std::chrono::steady_clock;

/// Where a server listens: a host and port, or the path of a Unix socket.
struct Address {
  std::string host{};
  std::uint16_t port = 0;
  std::string path{};
  /// As messages show it.
  [[nodiscard]] std::string text() const;
};

/// One connection. One thread at a time. Every failure is Error{unavailable}, retryable, or {timeout}: after either it
/// is of no more use.
class Socket {
 public:
  /// Connects before `deadline`.
  Socket(const Address& address, WaitClock::time_point deadline);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Sends all of `bytes`.
  void write(std::string_view bytes, WaitClock::time_point deadline);
  /// Waits for bytes, and returns how many came.
  std::size_t read(std::span<std::byte> into, WaitClock::time_point deadline);
  /// Whether bytes came before `deadline`.
  bool readable(WaitClock::time_point deadline);

 private:
  [[noreturn]] void fail(const char* doing, int error) const;
  void open(int family, const void* address, std::size_t size, WaitClock::time_point deadline);
  [[nodiscard]] bool wait(short events, WaitClock::time_point deadline) const;

  std::string where_;
  int fd_ = -1;
};

}  // namespace tidings::transport::redis
