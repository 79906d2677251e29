// A small HTTP server on this machine, whose answers a test writes.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tidings::transport::aws {

struct Asked {
  std::string method{}, target{};
  std::map<std::string, std::string> headers{};  ///< Names in lower case.
  std::string body{};
  int connection = 0;  ///< Counted from 1.
};

struct Answer {
  int status = 200;
  std::string body{};
  std::vector<std::string> headers{};
  bool hang_up = false;       ///< Ends the connection without an answer.
  bool then_hang_up = false;  ///< Ends it behind the answer, and does not say so.
};

class Responder {
 public:
  using Handler = std::function<Answer(const Asked&)>;

  explicit Responder(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 128) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no loopback port");
    }
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~Responder() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& each : serving_) each.join();
    for (const int fd : open_) ::close(fd);
  }
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string url() const { return "http://" + host(); }
  [[nodiscard]] int connections() const { return connections_; }
  [[nodiscard]] std::vector<Asked> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void accept_all() {
    for (int fd = 0; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const int number = ++connections_;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      serving_.emplace_back([this, fd, number] { serve(fd, number); });
    }
  }
  static bool fill(int fd, std::string& buffer) {
    char part[16384];
    const ssize_t count = ::recv(fd, part, sizeof part, 0);
    if (count > 0) buffer.append(part, static_cast<std::size_t>(count));
    return count > 0;
  }
  static bool read_request(int fd, std::string& buffer, Asked& asked) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!fill(fd, buffer)) return false;
    }
    const std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    std::size_t at = head.find("\r\n");
    const std::string first = head.substr(0, at);
    asked.method = first.substr(0, first.find(' '));
    asked.target = first.substr(asked.method.size() + 1, first.rfind(' ') - asked.method.size() - 1);
    for (at += 2; at < head.size();) {
      const std::size_t next = head.find("\r\n", at), colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      std::size_t value = colon + 1;
      while (head[value] == ' ') ++value;
      asked.headers[name] = head.substr(value, next - value);
      at = next + 2;
    }
    const std::string& length = asked.headers["content-length"];
    const std::size_t size = length.empty() ? 0 : std::stoul(length);
    while (buffer.size() < size) {
      if (!fill(fd, buffer)) return false;
    }
    asked.body = buffer.substr(0, size);
    buffer.erase(0, size);
    return true;
  }
  void serve(int fd, int number) {
    std::string buffer;
    for (;;) {
      Asked asked{.connection = number};
      if (!read_request(fd, buffer, asked)) break;
      {
        const std::lock_guard lock(mutex_);
        asked_.push_back(asked);
      }
      const Answer answer = handler_(asked);
      if (answer.hang_up) break;
      std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " Said\r\n";
      for (const std::string& line : answer.headers) text += line + "\r\n";
      text += "Content-Length: " + std::to_string(answer.body.size()) + "\r\n\r\n" + answer.body;
      if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0 || answer.then_hang_up) break;
    }
    ::shutdown(fd, SHUT_RDWR);
  }

  const Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_{};
  std::vector<Asked> asked_{};
  std::vector<int> open_{};
  std::thread accepting_{};
  std::vector<std::thread> serving_{};
};

}  // namespace tidings::transport::aws
