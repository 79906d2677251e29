// HTTP for the marketplace's services and for its driver, on Boost.Beast.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace market {

/// A request as a handler sees it.
struct Request {
  std::string method{}, path{}, query{};
  std::string body{};
  std::string idempotency_key{};  ///< Of the header `Idempotency-Key`; empty without one.
  std::string id{};               ///< Of the header `X-Request-Id`: what events of this request are correlated by.
  /// The value of `name` in the query, decoded.
  [[nodiscard]] std::string parameter(const std::string& name) const;
};

/// An answer; the body is JSON.
struct Response {
  int status = 200;
  std::string body{};
};

/// Thrown by a handler for what the caller did wrong.
class HttpError : public std::runtime_error {
 public:
  HttpError(int status, const std::string& why) : std::runtime_error(why), status_(status) {}
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

/// Serves on 127.0.0.1, a thread a connection, until it is destroyed. Handlers run at the same time.
class HttpServer {
 public:
  using Handler = std::function<Response(const Request&)>;
  /// Port 0 takes a free one.
  HttpServer(std::uint16_t port, Handler handler);
  ~HttpServer();
  HttpServer(HttpServer&&) noexcept;
  [[nodiscard]] std::uint16_t port() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One connection to 127.0.0.1, made when it is needed and kept. One thread at a time.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  /// Throws std::runtime_error when there is no answer; whether the server acted on the request is unknown then.
  Response request(std::uint16_t port, const std::string& method, const std::string& target, const std::string& body,
                   const std::string& idempotency_key = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace market
