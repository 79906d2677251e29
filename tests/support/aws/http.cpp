#include "http.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr std::size_t most_head = std::size_t{64} << 10U;
constexpr std::size_t most_body = std::size_t{8} << 20U;

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

/// What a client may not send: the connection ends with this.
struct Malformed {
  int status;
};

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

/// Reads requests from one connection.
class Reader {
 public:
  explicit Reader(int socket) : socket_(socket) {}

  /// Nothing when the client has no more to say.
  std::optional<HttpRequest> next() {
    taken_ = 0;
    const std::optional<std::string> head = until("\r\n\r\n", most_head);
    if (!head) return std::nullopt;
    HttpRequest request = parsed(*head);
    if (request.header("expect") == "100-continue") {
      if (!send_all(socket_, "HTTP/1.1 100 Continue\r\n\r\n")) return std::nullopt;
    }
    const auto length = request.header("content-length");
    const auto coding = request.header("transfer-encoding");
    if (length && coding) throw Malformed{400};
    if (coding) {
      if (lower(*coding) != "chunked") throw Malformed{501};
      if (!read_chunks(request.body)) return std::nullopt;
    } else if (length) {
      const auto count = whole_number(*length);
      if (!count) throw Malformed{400};
      if (static_cast<std::size_t>(*count) > most_body) throw Malformed{413};
      if (!take(static_cast<std::size_t>(*count), request.body)) return std::nullopt;
    }
    request.bytes = taken_;
    request.gone = [socket = socket_] {
      char peeked = 0;
      const ssize_t count = ::recv(socket, &peeked, 1, MSG_PEEK | MSG_DONTWAIT);
      return count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    };
    return request;
  }

 private:
  static HttpRequest parsed(const std::string& head) {
    HttpRequest request;
    std::vector<std::string> lines = split(head, '\n');
    const std::vector<std::string> words = split(without_blanks(lines.front()), ' ');
    if (words.size() != 3 || words[2] != "HTTP/1.1" || !words[1].starts_with('/')) throw Malformed{400};
    request.method = words[0];
    request.target = words[1];
    const std::size_t mark = request.target.find('?');
    request.path = request.target.substr(0, mark);
    if (mark != std::string::npos) request.query = request.target.substr(mark + 1);
    for (std::size_t i = 1; i < lines.size(); ++i) {
      const std::string_view line = without_blanks(lines[i]);
      if (line.empty()) continue;
      const std::size_t colon = line.find(':');
      if (colon == 0 || colon == std::string_view::npos || line[colon - 1] == ' ') throw Malformed{400};
      request.headers.emplace_back(lower(line.substr(0, colon)), without_blanks(line.substr(colon + 1)));
    }
    if (!request.header("host")) throw Malformed{400};
    return request;
  }

  bool more() {
    std::array<char, 65536> bytes;
    for (;;) {
      const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      buffer_.append(bytes.data(), static_cast<std::size_t>(count));
      return true;
    }
  }

  std::optional<std::string> until(std::string_view mark, std::size_t most) {
    std::size_t from = 0;
    for (;;) {
      const std::size_t end = buffer_.find(mark, from);
      if (end != std::string::npos) {
        std::string out = buffer_.substr(0, end);
        buffer_.erase(0, end + mark.size());
        taken_ += end + mark.size();
        return out;
      }
      if (buffer_.size() > most) throw Malformed{413};
      from = buffer_.size() < mark.size() ? 0 : buffer_.size() - mark.size() + 1;
      if (!more()) return std::nullopt;
    }
  }

  bool take(std::size_t count, std::string& out) {
    while (buffer_.size() < count) {
      if (!more()) return false;
    }
    out.append(buffer_, 0, count);
    buffer_.erase(0, count);
    taken_ += count;
    return true;
  }

  bool read_chunks(std::string& body) {
    for (;;) {
      const std::optional<std::string> line = until("\r\n", most_head);
      if (!line) return false;
      std::size_t count = 0, digits = 0;
      try {
        count = std::stoul(*line, &digits, 16);
      } catch (const std::exception&) {
        throw Malformed{400};
      }
      if (digits < line->size() && (*line)[digits] != ';') throw Malformed{400};
      if (count > most_body || body.size() + count > most_body) throw Malformed{413};
      if (count == 0) {
        // Trailers are read and not looked at.
        for (;;) {
          const std::optional<std::string> trailer = until("\r\n", most_head);
          if (!trailer) return false;
          if (trailer->empty()) return true;
        }
      }
      std::string end;
      if (!take(count, body) || !take(2, end)) return false;
      if (end != "\r\n") throw Malformed{400};
    }
  }

  int socket_;
  std::string buffer_{};
  std::size_t taken_ = 0;
};

std::string written(const HttpReply& reply, bool closes) {
  std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " ";
  out.append(reason_of(reply.status)).append("\r\n");
  for (const auto& [name, value] : reply.headers) out.append(name).append(": ").append(value).append("\r\n");
  out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  if (closes) out += "Connection: close\r\n";
  return out + "\r\n" + reply.body;
}

}  // namespace

std::optional<std::string_view> HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

HttpServer::HttpServer(Handler handler)
    : handler_(std::move(handler)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), 128) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the stand-in for AWS cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

void HttpServer::stop() {
  if (stop_.exchange(true)) return;
  const std::uint64_t one = 1;
  (void)!::write(waker_.get(), &one, sizeof one);
  acceptor_.join();
  for (Connection& each : open_) ::shutdown(each.socket.get(), SHUT_RDWR);
  for (Connection& each : open_) each.thread.join();
  open_.clear();
}

void HttpServer::accept_all() {
  while (!stop_) {
    std::array<pollfd, 2> waiting{{{listener_.get(), POLLIN, 0}, {waker_.get(), POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) <= 0 || stop_) continue;
    Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.get() < 0) continue;
    ++connections_;
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    reap();
    Connection& connection = open_.emplace_back();
    connection.socket = std::move(socket);
    connection.thread = std::thread([this, &connection] { serve(connection); });
  }
}

// Connections that ended are forgotten when the next one comes.
void HttpServer::reap() {
  for (auto each = open_.begin(); each != open_.end();) {
    if (each->over) {
      each->thread.join();
      each = open_.erase(each);
    } else {
      ++each;
    }
  }
}

void HttpServer::serve(Connection& connection) {
  const int socket = connection.socket.get();
  Reader reader(socket);
  try {
    while (!stop_) {
      std::optional<HttpRequest> request = reader.next();
      if (!request) break;
      bytes_in_ += static_cast<std::int64_t>(request->bytes);
      const HttpReply reply = handler_(*request);
      if (reply.vanish) break;
      const auto wish = request->header("connection");
      const bool closes = wish && lower(*wish) == "close";
      const std::string text = written(reply, closes);
      bytes_out_ += static_cast<std::int64_t>(text.size());
      const bool sent = send_all(socket, text);
      if (sent && reply.sent) reply.sent();
      if (!sent || closes) break;
    }
  } catch (const Malformed& error) {
    (void)send_all(socket, written({.status = error.status}, true));
  }
  // The number stays taken until the thread is joined, so that stop() never shuts down somebody else's.
  ::shutdown(socket, SHUT_RDWR);
  connection.over = true;
}

}  // namespace tidings::support::aws
