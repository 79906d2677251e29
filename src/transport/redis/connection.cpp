#include "transport/redis/connection.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace tidings::transport::redis {
namespace {

constexpr std::size_t padding = 64, smallest_block = 64U << 10, least_room = 16U << 10;

std::int64_t database_of(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) {
    throw Error(ErrorCode::invalid, "redis: the database of the URL is not a number; write redis://host:6379/0");
  }
  return number;
}

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    throw Error(ErrorCode::invalid, "redis: password_file=" + path + " cannot be read; make it readable for this user");
  }
  return line;
}

}  // namespace

Endpoint endpoint_of(const Url& url) {
  url.check_options({"durability", "database", "password_file"});
  Endpoint endpoint;
  endpoint.user = url.user;
  endpoint.password = url.password;
  if (const auto file = url.option("password_file")) endpoint.password = read_line(*file);
  if (const char* secret = std::getenv("TIDINGS_PASSWORD"); endpoint.password.empty() && secret != nullptr) {
    endpoint.password = secret;
  }
  if (url.scheme == "redis+unix") {
    endpoint.address.path = url.path;
    endpoint.database = database_of(url.option("database").value_or("0"));
    return endpoint;
  }
  if (url.hosts.size() > 1)
    throw Error(ErrorCode::invalid, "redis: one host is expected; several are a cluster's or a sentinel's");
  endpoint.address.host = url.hosts.empty() ? "127.0.0.1" : url.hosts.front().first;
  endpoint.address.port = url.hosts.empty() || url.hosts.front().second == 0 ? 6379 : url.hosts.front().second;
  endpoint.database = database_of(url.path.empty() ? url.option("database").value_or("0") : url.path);
  return endpoint;
}

Error error_of(std::string_view text) {
  const std::string what = "redis: " + std::string(text);
  const auto is = [&](std::string_view word) { return text.starts_with(word); };
  if (is("NOAUTH") || is("WRONGPASS") || is("NOPERM") || is("ERR AUTH") || is("ERR invalid password")) {
    return {ErrorCode::unauthorized, what + "; give a user and password that may do this"};
  }
  if (is("OOM"))
    return {ErrorCode::full, true, what + "; raise the server's maxmemory, or let retention remove events"};
  if (is("NOGROUP")) return {ErrorCode::not_found, what};
  if (is("MISCONF")) return {ErrorCode::full, true, what + "; make room on the server's disk"};
  for (const char* passing : {"ERR max number of clients reached", "LOADING", "READONLY", "MASTERDOWN", "BUSY ",
                              "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED", "NOREPLICAS"}) {
    if (is(passing)) return {ErrorCode::unavailable, true, what + "; this passes, try again"};
  }
  if (is("WRONGTYPE")) return {ErrorCode::conflict, what + "; something else uses this key: name another database"};
  return {ErrorCode::internal, what};
}

Connection::Connection(const Endpoint& endpoint, WaitClock::time_point deadline) : socket_(endpoint.address, deadline) {
  Commands commands;
  // A user without a password may be one of `nopass`; he is never somebody else.
  if (!endpoint.user.empty() || !endpoint.password.empty()) {
    endpoint.user.empty() ? commands.add({"AUTH", endpoint.password})
                          : commands.add({"AUTH", endpoint.user, endpoint.password});
  }
  if (endpoint.database != 0) commands.add({"SELECT", std::to_string(endpoint.database)});
  commands.add({"CLIENT", "SETNAME", "tidings"});
  commands.add({"CLIENT", "ID"});
  send(commands, deadline);
  for (std::size_t i = 0; i < commands.count(); ++i) {
    const Received received = receive(deadline);
    const bool last = i + 1 == commands.count();
    if (last) id_ = received.reply().integer();
    // A user that may not name its connection can still do the rest.
    if (received.reply().error() && i + 2 < commands.count()) throw error_of(received.reply().text());
    if (received.reply().error() && received.reply().text().starts_with("NOAUTH"))
      throw error_of(received.reply().text());
  }
}

// Room for `wanted` bytes behind what was received. A block that somebody keeps is left to him.
void Connection::make_room(std::size_t wanted) {
  if (block_ && capacity_ - end_ >= wanted) return;
  const std::size_t held = end_ - begin_;
  if (block_.use_count() == 1 && capacity_ >= held + wanted) {
    std::memmove(block_.get(), block_.get() + begin_, held);
  } else {
    const std::size_t size = std::max(smallest_block, held + wanted + held / 2);
    std::shared_ptr<std::byte[]> larger(new std::byte[size + padding]);
    if (held > 0) std::memcpy(larger.get(), block_.get() + begin_, held);
    std::memset(larger.get() + size, 0, padding);
    block_ = std::move(larger);
    capacity_ = size;
  }
  end_ = held;
  begin_ = 0;
}

Received Connection::receive(WaitClock::time_point deadline) {
  parser_.reset();
  for (;;) {
    const std::string_view bytes(block_ ? reinterpret_cast<const char*>(block_.get()) + begin_ : "", end_ - begin_);
    const ReplyParser::Status status = parser_.parse(bytes);
    if (status == ReplyParser::Status::complete) {
      Received received{block_, std::make_shared<std::vector<Value>>(parser_.values()),
                        bytes.substr(0, parser_.size())};
      begin_ += parser_.size();
      return received;
    }
    if (status == ReplyParser::Status::malformed) {
      throw Error(ErrorCode::unavailable, true,
                  "redis: what the server sent is not RESP; is this port a Redis server's?");
    }
    make_room(std::max(least_room, parser_.missing()));
    end_ += socket_.read({block_.get() + end_, capacity_ - end_}, deadline);
  }
}

Received Connection::call(const Commands& command, WaitClock::time_point deadline) {
  send(command, deadline);
  Received received = receive(deadline);
  if (received.reply().error()) throw error_of(received.reply().text());
  return received;
}

}  // namespace tidings::transport::redis
