#include "transport/redis/socket.hpp"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include <tidings/error.hpp>

namespace tidings::transport::redis {

namespace {

constexpr std::chrono::milliseconds patience{1'000};  // With one address of several.

// How long a call that receives waits by itself; poll() waits for what comes later.
constexpr std::chrono::milliseconds turn{100};

// Lets calls that receive wait for a turn; all others say that they do not wait.
void let_wait(int fd) {
  const timeval limit{.tv_sec = 0, .tv_usec = std::chrono::microseconds(turn).count()};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

}  // namespace

std::string Address::text() const { return path.empty() ? host + ":" + std::to_string(port) : path; }

void Socket::fail(const char* doing, int error) const {
  throw Error(ErrorCode::unavailable, true,
              "redis at " + where_ + ": " + doing + ": " + std::strerror(error) + "; is the server up?");
}

Socket::Socket(const Address& address, const Tls* tls, WaitClock::time_point deadline) : where_(address.text()) {
  try {
    dial(address, deadline);
    let_wait(fd_);
    if (tls != nullptr) secure(*tls, address.host, deadline);
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    throw;
  }
}

void Socket::dial(const Address& address, WaitClock::time_point deadline) {
  if (!address.path.empty()) {
    sockaddr_un unix_address{};
    unix_address.sun_family = AF_UNIX;
    if (address.path.size() >= sizeof unix_address.sun_path) {
      throw Error(ErrorCode::invalid, "redis: the path of the socket is too long: " + address.path);
    }
    std::memcpy(unix_address.sun_path, address.path.data(), address.path.size());
    open(AF_UNIX, &unix_address, sizeof unix_address, deadline);
    return;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  if (code != 0) {
    throw Error(ErrorCode::unavailable, true,
                "redis at " + where_ + ": " + ::gai_strerror(code) + "; check the host's name");
  }
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    try {
      // One that does not answer leaves time for the next.
      const auto patient = each->ai_next == nullptr ? deadline : std::min(deadline, WaitClock::now() + patience);
      open(each->ai_family, each->ai_addr, each->ai_addrlen, patient);
      const int on = 1;
      ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return;
    } catch (const Error&) {
      if (each->ai_next == nullptr) throw;
    }
  }
}

void Socket::secure(const Tls& tls, const std::string& host, WaitClock::time_point deadline) {
  session_.emplace(tls, host);
  std::array<std::byte, 16384> bytes;
  for (;;) {
    bool done = false;
    try {
      done = session_->shake_hands();
    } catch (const Error&) {
      // The peer may learn why, as far as it still listens.
      const std::string farewell = session_->outgoing();
      (void)::send(fd_, farewell.data(), farewell.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      throw;
    }
    send_raw(session_->outgoing(), deadline);
    if (done) return;
    try {
      session_->incoming({bytes.data(), read_raw(bytes, deadline)});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::timeout) throw;
      throw Error(
          ErrorCode::timeout, true,
          "redis at " + where_ + " did not answer TLS's greeting before the deadline; does this port speak TLS?");
    }
  }
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

std::string Socket::local() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[INET6_ADDRSTRLEN] = {};
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &four.sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(four.sin_port));
  }
  if (address.ss_family != AF_INET6) return {};
  const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
  ::inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof host);
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(six.sin6_port));
}

void Socket::open(int family, const void* address, std::size_t size, WaitClock::time_point deadline) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) fail("no socket", errno);
  if (::connect(fd_, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)) == 0) return;
  if (errno != EINPROGRESS && errno != EAGAIN) fail("cannot connect", errno);
  if (!wait(POLLOUT, deadline)) fail("cannot connect", ETIMEDOUT);
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) fail("cannot connect", error);
}

bool Socket::wait(short events, WaitClock::time_point deadline) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - WaitClock::now());
    pollfd waiting{fd_, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) fail("poll", errno);
    if (WaitClock::now() >= deadline) return false;
  }
}

bool Socket::readable(WaitClock::time_point deadline) { return buffered() || wait(POLLIN, deadline); }

void Socket::write(std::string_view bytes, WaitClock::time_point deadline) {
  if (!session_) return send_raw(bytes, deadline);
  session_->write(bytes);
  send_raw(session_->outgoing(), deadline);
}

void Socket::send_raw(std::string_view bytes, WaitClock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait(POLLOUT, deadline)) {
        throw Error(ErrorCode::timeout, true,
                    "redis at " + where_ + " took no more bytes before the deadline; try again");
      }
    } else if (errno != EINTR) {
      fail("cannot send", errno);
    }
  }
}

std::size_t Socket::read(std::span<std::byte> into, WaitClock::time_point deadline) {
  if (!session_) return read_raw(into, deadline);
  std::array<std::byte, 16384> bytes;
  for (;;) {
    bool ended = false;
    const std::size_t got = session_->read(into, ended);
    if (got > 0) return got;
    if (ended) fail("the connection ended", ECONNRESET);
    session_->incoming({bytes.data(), read_raw(bytes, deadline)});
    send_raw(session_->outgoing(), deadline);  // An answer to what concerns TLS alone.
  }
}

std::size_t Socket::read_raw(std::span<std::byte> into, WaitClock::time_point deadline) {
  for (;;) {
    // One call that waits instead of three: one that finds nothing, poll() and one that finds something.
    const bool patient = deadline - WaitClock::now() > turn;
    const ssize_t got = ::recv(fd_, into.data(), into.size(), patient ? 0 : MSG_DONTWAIT);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) fail("the connection ended", ECONNRESET);
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait(POLLIN, deadline)) {
        throw Error(ErrorCode::timeout, true, "redis at " + where_ + " did not answer before the deadline; try again");
      }
    } else if (errno != EINTR) {
      fail("cannot receive", errno);
    }
  }
}

}  // namespace tidings::transport::redis
