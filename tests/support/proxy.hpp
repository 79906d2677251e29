// A network that fails on purpose: stands in front of a port of the loopback and passes bytes on, or does not.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "child.hpp"

namespace tidings::support {

/// Every member from any thread.
class Proxy {
 public:
  enum class Mode : std::uint8_t {
    pass,
    drop_requests,  ///< What clients send is swallowed.
    drop_replies,   ///< The server gets everything, clients hear nothing.
    refuse,         ///< New connections are closed at once.
  };
  /// Of the limits below: no cut.
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

  explicit Proxy(std::uint16_t server);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Of all connections, for what arrives from now on. What was dropped stays dropped. When one end closes a
  /// connection the other is told in every mode.
  void set(Mode mode) noexcept { mode_ = mode; }
  /// Resets every connection, and returns when that is done.
  void cut();

  /// Resets, once, the connection over which the next `bytes` bytes have gone to the server, counted over all
  /// connections; in the middle of whatever that is.
  void cut_requests_after(std::int64_t bytes) noexcept { request_budget_ = bytes; }
  /// The same of the other direction.
  void cut_replies_after(std::int64_t bytes) noexcept { reply_budget_ = bytes; }
  /// Resets each connection once `bytes` bytes more have gone over it to the server: those of now, and those that come
  /// until it is said again.
  void cut_each_after_requests(std::int64_t bytes);
  /// The same of the other direction.
  void cut_each_after_replies(std::int64_t bytes);

  /// How many connections were reset because of bytes.
  [[nodiscard]] int cuts() const noexcept { return cuts_; }
  /// How many connections clients have made, refused ones included.
  [[nodiscard]] int connections() const noexcept { return connections_; }
  /// How many bytes were passed on to the server, and to clients.
  [[nodiscard]] std::int64_t request_bytes() const noexcept { return request_bytes_; }
  [[nodiscard]] std::int64_t reply_bytes() const noexcept { return reply_bytes_; }

 private:
  struct Flow;
  struct Pair;
  void run();
  void obey();
  void accept_all();
  void serve(Pair& pair, bool client, bool server);
  bool receive(Flow& flow, int from, bool to_server);
  void order(const std::function<void()>& task);

  const std::uint16_t server_;
  std::uint16_t port_ = 0;
  Descriptor listener_{}, waker_{};
  std::atomic<Mode> mode_{Mode::pass};
  std::atomic<std::int64_t> request_budget_{never}, reply_budget_{never}, request_bytes_{0}, reply_bytes_{0};
  std::atomic<int> cuts_{0}, connections_{0};

  std::mutex turn_{}, mutex_{};  // Of those who order, one at a time; and of the order.
  std::condition_variable obeyed_{};
  const std::function<void()>* task_ = nullptr;

  // The thread's.
  bool stop_ = false;
  std::int64_t each_request_ = never, each_reply_ = never;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::thread thread_{};
};

}  // namespace tidings::support
