#include "proxy.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

namespace tidings::support {
namespace {

// What may stand here while an end does not read; then the other end is not read either, as between real ends.
constexpr std::size_t most_pending = std::size_t{256} << 10U;

bool would_wait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

/// Takes `count` from what is left of a budget that other threads may set anew at any time, and returns how many of
/// them there were.
std::int64_t take(std::atomic<std::int64_t>& budget, std::int64_t count, bool& ends) {
  std::int64_t left = budget;
  for (;;) {
    ends = left != Proxy::never && count >= left;
    if (left == Proxy::never) return count;
    if (budget.compare_exchange_weak(left, ends ? Proxy::never : left - count)) return ends ? left : count;
  }
}

}  // namespace

/// One direction of a connection.
struct Proxy::Flow {
  std::string pending{};
  std::int64_t left = never;         // Until this connection is cut.
  bool ended = false, told = false;  // No more comes from the one end, and the other one knows.

  /// Sends what the other end takes; false when that is gone.
  bool flush(int to) {
    while (!pending.empty()) {
      const ssize_t count = ::send(to, pending.data(), pending.size(), MSG_NOSIGNAL);
      if (count < 0) return would_wait();
      pending.erase(0, static_cast<std::size_t>(count));
    }
    if (ended && !std::exchange(told, true)) ::shutdown(to, SHUT_WR);
    return true;
  }
};

/// A client's connection and ours to the server. Closed while it goes on, it is reset.
struct Proxy::Pair {
  Descriptor client{}, server{};
  Flow request{}, reply{};
  bool over = false;

  Pair() = default;
  ~Pair() { reset(); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  // A reset rather than an end: what stands in the buffers is lost, as on a network that breaks.
  void reset() {
    const linger at_once{1, 0};
    const bool whole = request.told && reply.told;
    for (Descriptor* each : {&client, &server}) {
      if (!whole && each->get() >= 0) ::setsockopt(each->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      *each = Descriptor();
    }
    over = true;
  }
};

Proxy::Proxy(std::uint16_t server)
    : server_(server),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy() {
  order([this] { stop_ = true; });
  thread_.join();
}

/// Lets the thread do something, and returns when it has.
void Proxy::order(const std::function<void()>& task) {
  const std::lock_guard turn(turn_);
  std::unique_lock lock(mutex_);
  task_ = &task;
  const std::uint64_t one = 1;
  (void)!::write(waker_.get(), &one, sizeof one);
  obeyed_.wait(lock, [this] { return task_ == nullptr; });
}

void Proxy::obey() {
  const std::lock_guard lock(mutex_);
  if (task_ == nullptr) return;
  (*task_)();
  task_ = nullptr;
  obeyed_.notify_all();
}

void Proxy::cut() {
  order([this] {
    accept_all();  // Their clients hold them for connections already.
    pairs_.clear();
  });
}

void Proxy::cut_each_after_requests(std::int64_t bytes) {
  order([this, bytes] {
    each_request_ = bytes;
    for (const auto& pair : pairs_) pair->request.left = bytes;
  });
}

void Proxy::cut_each_after_replies(std::int64_t bytes) {
  order([this, bytes] {
    each_reply_ = bytes;
    for (const auto& pair : pairs_) pair->reply.left = bytes;
  });
}

void Proxy::accept_all() {
  for (;;) {
    auto pair = std::make_unique<Pair>();
    pair->client = Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (pair->client.get() < 0) return;
    ++connections_;
    if (mode_ == Mode::refuse) continue;
    pair->server = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_in address = loopback(server_);
    // A server that hangs with a full queue of connections leaves this one on its way; that stops no other.
    if (::connect(pair->server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS) {
      continue;
    }
    const int on = 1;
    for (const Descriptor* end : {&pair->client, &pair->server})
      ::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pair->request.left = each_request_;
    pair->reply.left = each_reply_;
    pairs_.push_back(std::move(pair));
  }
}

// Takes what can be read at one end; false when the connection is to be reset.
bool Proxy::receive(Flow& flow, int from, bool to_server) {
  std::array<char, 16384> bytes;
  const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
  if (got < 0) return would_wait();
  if (got == 0) {
    flow.ended = true;
    return true;
  }
  if (mode_ == (to_server ? Mode::drop_requests : Mode::drop_replies)) return true;
  bool ends = false;
  std::int64_t passed = take(to_server ? request_budget_ : reply_budget_, got, ends);
  if (flow.left != never) {
    if (passed >= flow.left) {
      passed = flow.left;
      ends = true;
    }
    flow.left -= passed;
  }
  flow.pending.append(bytes.data(), static_cast<std::size_t>(passed));
  (to_server ? request_bytes_ : reply_bytes_) += passed;
  if (ends) ++cuts_;
  return !ends;
}

void Proxy::serve(Pair& pair, bool client, bool server) {
  bool lives = !client || receive(pair.request, pair.client.get(), true);
  lives = (!server || receive(pair.reply, pair.server.get(), false)) && lives;
  // What was let pass before a cut arrives.
  lives = pair.request.flush(pair.server.get()) && lives;
  lives = pair.reply.flush(pair.client.get()) && lives;
  if (!lives || (pair.request.told && pair.reply.told)) pair.reset();
}

void Proxy::run() {
  std::vector<pollfd> waiting;
  const auto wanted = [&](int descriptor, const Flow& from, const Flow& to) {
    const bool reads = !from.ended && from.pending.size() < most_pending;
    const auto events = static_cast<short>((reads ? POLLIN : 0) | (to.pending.empty() ? 0 : POLLOUT));
    // Of one that is waited on for nothing, poll would still say again and again that it has ended.
    waiting.push_back({events == 0 ? -1 : descriptor, events, 0});
  };
  for (obey(); !stop_; obey()) {
    waiting.assign({{listener_.get(), POLLIN, 0}, {waker_.get(), POLLIN, 0}});
    for (const auto& pair : pairs_) {
      wanted(pair->client.get(), pair->request, pair->reply);
      wanted(pair->server.get(), pair->reply, pair->request);
    }
    if (::poll(waiting.data(), waiting.size(), -1) <= 0) continue;
    if (waiting[1].revents != 0) {
      std::uint64_t count = 0;
      (void)!::read(waker_.get(), &count, sizeof count);
      continue;  // What is wanted is looked at first.
    }
    for (std::size_t i = 2; i < waiting.size(); i += 2) {
      const pollfd &client = waiting[i], &server = waiting[i + 1];
      if (client.revents == 0 && server.revents == 0) continue;
      serve(*pairs_[i / 2 - 1], (client.events & POLLIN) != 0 && client.revents != 0,
            (server.events & POLLIN) != 0 && server.revents != 0);
    }
    std::erase_if(pairs_, [](const auto& pair) { return pair->over; });
    if (waiting[0].revents != 0) accept_all();
  }
  pairs_.clear();
}

}  // namespace tidings::support
