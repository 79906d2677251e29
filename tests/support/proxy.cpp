#include "proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace tidings::support {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Proxy::Proxy(std::uint16_t server) : server_(server) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  waker_ = ::eventfd(0, EFD_CLOEXEC);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy() {
  stop_ = true;
  wake();
  thread_.join();
  for (Pair& pair : pairs_) reset(pair);
  ::close(listener_);
  ::close(waker_);
}

void Proxy::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(waker_, &one, sizeof one);
}

void Proxy::cut() {
  cut_ = true;
  wake();
}

// A reset rather than an end: what stands in the buffers is lost, as on a network that breaks.
void Proxy::reset(Pair& pair) {
  const linger at_once{1, 0};
  for (int* end : {&pair.client, &pair.server}) {
    if (*end < 0) continue;
    ::setsockopt(*end, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(*end);
    *end = -1;
  }
  pair.ended = true;
}

void Proxy::accept_one() {
  Pair pair;
  pair.client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (pair.client < 0) return;
  ++connections_;
  pair.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(server_);
  if (mode_ == Mode::refuse ||
      ::connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return reset(pair);
  }
  const int on = 1;
  for (const int end : {pair.client, pair.server}) ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  pairs_.push_back(pair);
}

// Passes on what can be read at one end; false when the connection is over.
bool Proxy::pump(Pair& pair, bool to_server) {
  std::array<char, 16384> bytes;
  const ssize_t got = ::recv(to_server ? pair.client : pair.server, bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  if (mode_ == (to_server ? Mode::drop_requests : Mode::drop_replies)) return true;
  std::atomic<std::int64_t>& budget = to_server ? request_budget_ : reply_budget_;
  const std::int64_t left = budget;
  const bool ends = left != no_budget && got >= left;
  const auto passed = ends ? static_cast<std::size_t>(left) : static_cast<std::size_t>(got);
  for (std::size_t sent = 0; sent < passed;) {
    const ssize_t count =
        ::send(to_server ? pair.server : pair.client, bytes.data() + sent, passed - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  if (ends) {
    budget = no_budget;
    ++cuts_;
    return false;
  }
  if (left != no_budget) budget = left - got;
  return true;
}

void Proxy::run() {
  std::vector<pollfd> waiting;
  while (!stop_) {
    if (cut_.exchange(false)) std::for_each(pairs_.begin(), pairs_.end(), reset);
    std::erase_if(pairs_, [](const Pair& pair) { return pair.ended; });
    waiting.assign({{listener_, POLLIN, 0}, {waker_, POLLIN, 0}});
    for (const Pair& pair : pairs_) {
      waiting.push_back({pair.client, POLLIN, 0});
      waiting.push_back({pair.server, POLLIN, 0});
    }
    if (::poll(waiting.data(), waiting.size(), -1) <= 0) continue;
    if (waiting[1].revents != 0) {
      std::uint64_t count = 0;
      (void)!::read(waker_, &count, sizeof count);
      continue;  // What is wanted is looked at first.
    }
    for (std::size_t i = 2; i < waiting.size(); ++i) {
      Pair& pair = pairs_[(i - 2) / 2];
      if (waiting[i].revents != 0 && !pair.ended && !pump(pair, i % 2 == 0)) reset(pair);
    }
    if (waiting[0].revents != 0) accept_one();
  }
}

}  // namespace tidings::support
