#include "http.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <list>
#include <mutex>
#include <thread>

#include "requests.hpp"

namespace market {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;

constexpr std::size_t largest_body = 64U << 10;
constexpr std::uint32_t largest_header = 16U << 10;
constexpr std::size_t most_connections = 256;
constexpr std::chrono::seconds longest_silence{30}, longest_answer{20};

/// Never throws: what went wrong may be that a text is not one.
Response problem(int status, const std::string& why) noexcept {
  try {
    return {status, to_json(Problem{why})};
  } catch (...) {
    return {status, R"({"error":"the request cannot be handled"})"};
  }
}

Response answer(const HttpServer::Handler& handler, const Request& request) {
  try {
    return handler(request);
  } catch (const HttpError& error) {
    return problem(error.status(), error.what());
  } catch (const tidings::Error& error) {
    return problem(error.code() == tidings::ErrorCode::invalid ? 400 : 503, error.what());
  } catch (const std::exception& error) {
    return problem(500, error.what());
  }
}

int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

using Clock = std::chrono::steady_clock;

void send(tcp::socket& socket, const Response& response, unsigned version, bool keep_alive, beast::error_code& error) {
  http::response<http::string_body> reply(static_cast<http::status>(response.status), version);
  reply.set(http::field::content_type, "application/json");
  reply.keep_alive(keep_alive);
  reply.body() = response.body;
  reply.prepare_payload();
  http::write(socket, reply, error);
}

/// What to say to bytes that are no request; nothing to an end.
std::optional<Response> complaint(const beast::error_code& error) {
  if (error == http::error::body_limit) return problem(413, "the body is longer than 64 KiB");
  if (error == http::error::header_limit) return problem(431, "the header is longer than 16 KiB");
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error.category() == http::make_error_code(http::error::bad_method).category())
    return problem(400, "this is not HTTP");
  return std::nullopt;
}

/// Reads requests of one connection and answers them, until either side ends it. `heard` is when it last said
/// something.
void converse(tcp::socket& socket, const HttpServer::Handler& handler, std::atomic<Clock::time_point>& heard) {
  beast::flat_buffer buffer;
  beast::error_code error;
  for (;;) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(largest_body);
    parser.header_limit(largest_header);
    http::read(socket, buffer, parser, error);
    heard = Clock::now();
    if (error) {
      beast::error_code ignored;
      if (const auto why = complaint(error)) send(socket, *why, 11, false, ignored);
      return;
    }
    const auto& message = parser.get();
    const std::string_view target(message.target().data(), message.target().size());
    const std::size_t question = target.find('?');
    Request request{.method = std::string(message.method_string()),
                    .path = std::string(target.substr(0, question)),
                    .query = question == std::string_view::npos ? "" : std::string(target.substr(question + 1)),
                    .body = message.body(),
                    .idempotency_key = std::string(message["Idempotency-Key"]),
                    .id = std::string(message["X-Request-Id"])};
    const bool printable = std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7f; });
    const bool sound = printable && is_plain(request.idempotency_key) && is_plain(request.id);
    send(socket,
         sound ? answer(handler, request)
               : problem(400, "only printable ASCII may stand in a target and in these headers"),
         message.version(), message.keep_alive(), error);
    if (error || !message.keep_alive()) return;
  }
}

}  // namespace

std::string Request::parameter(const std::string& name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (decode(pair.substr(0, equals)) == name)
      return equals == std::string_view::npos ? "" : decode(pair.substr(equals + 1));
  }
  return {};
}

struct HttpServer::State {
  struct Connection {
    explicit Connection(tcp::socket socket) : socket(std::move(socket)) {}
    tcp::socket socket;
    std::atomic<Clock::time_point> heard{Clock::now()};
    bool ended = false;
    std::thread thread{};
  };

  State(std::uint16_t port, Handler handler)
      : handler(std::move(handler)), acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), port)) {}

  void accept() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket(context);
      acceptor.accept(socket, error);
      const std::lock_guard lock(mutex);
      if (stopping) return;
      sweep();
      if (error) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));  // No descriptors, say: others have to end first.
        continue;
      }
      socket.set_option(tcp::no_delay(true), error);
      if (connections.size() >= most_connections) {
        send(socket, problem(503, "too many connections"), 11, false, error);
        continue;
      }
      Connection& connection = connections.emplace_back(std::move(socket));
      try {
        connection.thread = std::thread([this, &connection] { serve(connection); });
      } catch (const std::exception&) {
        connections.pop_back();
      }
    }
  }
  void serve(Connection& connection) {
    try {
      converse(connection.socket, handler, connection.heard);
    } catch (const std::exception&) {
      // Of this connection only; it ends.
    }
    const std::lock_guard held(mutex);
    beast::error_code ignored;
    connection.socket.close(ignored);
    connection.ended = true;
  }
  /// Forgets the connections that have ended, and ends those that have been silent for long.
  void sweep() {
    for (auto it = connections.begin(); it != connections.end();) {
      if (!it->ended) {
        if (Clock::now() - it->heard.load() > longest_silence) ::shutdown(it->socket.native_handle(), SHUT_RD);
        ++it;
        continue;
      }
      it->thread.join();
      it = connections.erase(it);
    }
  }

  Handler handler;
  asio::io_context context{1};
  tcp::acceptor acceptor;
  std::mutex mutex{};
  bool stopping = false;
  std::list<Connection> connections{};
  std::thread thread{};
};

HttpServer::HttpServer(std::uint16_t port, Handler handler)
    : state_(std::make_unique<State>(port, std::move(handler))) {
  state_->thread = std::thread([state = state_.get()] { state->accept(); });
}

HttpServer::HttpServer(HttpServer&&) noexcept = default;

HttpServer::~HttpServer() {
  if (!state_) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    // Wakes whoever waits in accept() or read(); closing would not.
    ::shutdown(state_->acceptor.native_handle(), SHUT_RDWR);
    for (State::Connection& connection : state_->connections) {
      // What is being answered still goes out.
      if (!connection.ended) ::shutdown(connection.socket.native_handle(), SHUT_RD);
    }
  }
  state_->thread.join();
  for (State::Connection& connection : state_->connections) connection.thread.join();
}

std::uint16_t HttpServer::port() const noexcept { return state_->acceptor.local_endpoint().port(); }

struct HttpClient::State {
  asio::io_context context{1};
  std::unique_ptr<tcp::socket> socket{};
  std::uint16_t port = 0;
  beast::flat_buffer buffer{};
};

HttpClient::HttpClient() : state_(std::make_unique<State>()) {}
HttpClient::~HttpClient() = default;

Response HttpClient::request(std::uint16_t port, const std::string& method, const std::string& target,
                             const std::string& body, const std::string& idempotency_key) try {
  if (!state_->socket || state_->port != port) {
    state_->buffer.clear();
    state_->port = port;
    state_->socket = std::make_unique<tcp::socket>(state_->context);
    state_->socket->connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    state_->socket->set_option(tcp::no_delay(true));
  }
  http::request<http::string_body> message(http::string_to_verb(method), target, 11);
  message.set(http::field::host, "127.0.0.1");
  message.set(http::field::content_type, "application/json");
  if (!idempotency_key.empty()) message.set("Idempotency-Key", idempotency_key);
  message.body() = body;
  message.prepare_payload();
  http::write(*state_->socket, message);
  pollfd answered{state_->socket->native_handle(), POLLIN, 0};
  if (state_->buffer.size() == 0 &&
      ::poll(&answered, 1, static_cast<int>(std::chrono::milliseconds(longest_answer).count())) <= 0) {
    throw boost::system::system_error(boost::asio::error::timed_out);
  }
  http::response<http::string_body> reply;
  http::read(*state_->socket, state_->buffer, reply);
  if (!reply.keep_alive()) state_->socket.reset();
  return {static_cast<int>(reply.result_int()), reply.body()};
} catch (const boost::system::system_error& error) {
  state_->socket.reset();
  throw std::runtime_error("no answer from port " + std::to_string(port) + ": " + error.what());
}

}  // namespace market
