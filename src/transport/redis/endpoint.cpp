#include "transport/redis/endpoint.hpp"

#include <charconv>
#include <cstdlib>
#include <fstream>

#include <tidings/error.hpp>

namespace tidings::transport::redis {
namespace {

constexpr std::uint16_t server_port = 6379, sentinel_port = 26379;
constexpr std::int64_t most_replicas = 1'000;

std::int64_t number_of(std::string_view text, const char* what) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) {
    throw Error(ErrorCode::invalid, std::string("redis: ") + what + " is not a number; see docs/transports/redis.md");
  }
  return number;
}

std::string read_line(const std::string& name, const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    throw Error(ErrorCode::invalid, "redis: " + name + "=" + path + " cannot be read; make it readable for this user");
  }
  return line;
}

// The password that `file` holds, if the URL names one.
std::string password_of(const Url& url, const std::string& file, std::string otherwise) {
  const auto path = url.option(file);
  return path ? read_line(file, *path) : std::move(otherwise);
}

std::shared_ptr<const Tls> tls_of(const Url& url) {
  const std::string wish = url.option("tls").value_or(url.scheme == "rediss" ? "on" : "off");
  if (wish != "on" && wish != "off") throw Error(ErrorCode::invalid, "redis: tls= is on or off; correct the URL");
  if (wish == "off") {
    if (url.scheme == "rediss") throw Error(ErrorCode::invalid, "redis: rediss:// means TLS; write redis:// without");
    for (const char* option : {"ca", "cert", "key", "server_name"}) {
      // Silence would leave somebody in the clear who believes that he is not.
      if (url.option(option)) {
        throw Error(ErrorCode::invalid, std::string("redis: ") + option +
                                            "= is for TLS; write rediss://, or tls=on for a cluster or sentinels");
      }
    }
    return nullptr;
  }
  if (url.scheme == "redis+unix") throw Error(ErrorCode::invalid, "redis: a Unix socket has no TLS; remove tls=");
  return std::make_shared<const Tls>(TlsFiles{.ca = url.option("ca").value_or(""),
                                              .certificate = url.option("cert").value_or(""),
                                              .key = url.option("key").value_or(""),
                                              .server_name = url.option("server_name").value_or("")});
}

std::vector<Address> addresses_of(const Url& url, std::uint16_t port) {
  std::vector<Address> addresses;
  for (const auto& [host, number] : url.hosts) addresses.push_back({host, number == 0 ? port : number, {}});
  if (addresses.empty()) addresses.push_back({"127.0.0.1", port, {}});
  return addresses;
}

}  // namespace

Endpoint endpoint_of(const Url& url) {
  url.check_options({"durability", "database", "password_file", "tls", "ca", "cert", "key", "server_name",
                     "sentinel_user", "sentinel_password", "sentinel_password_file", "replicas", "partitions"});
  Endpoint endpoint;
  const char* const secret = std::getenv("TIDINGS_PASSWORD");
  endpoint.login = {url.user, password_of(url, "password_file", url.password)};
  if (endpoint.login.password.empty() && secret != nullptr) endpoint.login.password = secret;
  endpoint.tls = tls_of(url);
  const std::int64_t replicas = number_of(url.option("replicas").value_or("1"), "replicas=");
  if (replicas > most_replicas) throw Error(ErrorCode::invalid, "redis: replicas= is at most 1000; correct the URL");
  endpoint.replicas = static_cast<std::uint32_t>(replicas);
  if (endpoint.replicas == 0) {
    throw Error(ErrorCode::invalid,
                "redis: replicas= is how many must confirm, at least 1; without any use durability=disk");
  }
  endpoint.partitions = read_partitions(url.option("partitions").value_or(""));
  if (const auto level = url.option("durability")) {
    for (const Level each : {Level::process, Level::disk, Level::replicated}) {
      if (*level == to_string(each)) endpoint.level = each;
    }
  }
  std::string database = url.option("database").value_or("0");
  if (url.scheme == "redis+unix") {
    if (url.path.empty() || !url.hosts.empty()) {
      throw Error(ErrorCode::invalid, "redis: the socket's path is missing; write redis+unix:///run/redis/redis.sock");
    }
    endpoint.addresses.push_back({{}, 0, url.path});
  } else if (url.scheme == "redis+sentinel") {
    endpoint.kind = Endpoint::Kind::sentinels;
    endpoint.addresses = addresses_of(url, sentinel_port);
    endpoint.master = url.path;
    if (endpoint.master.empty()) {
      throw Error(ErrorCode::invalid, "redis: the master's name is missing; write redis+sentinel://host:26379/NAME");
    }
    endpoint.sentinel_login = {
        url.option("sentinel_user").value_or(""),
        password_of(url, "sentinel_password_file", url.option("sentinel_password").value_or(""))};
  } else {
    const bool cluster = url.scheme == "redis+cluster";
    if (cluster) endpoint.kind = Endpoint::Kind::cluster;
    if (!cluster && url.hosts.size() > 1) {
      throw Error(ErrorCode::invalid, "redis: one host is expected; several are redis+cluster:// or redis+sentinel://");
    }
    endpoint.addresses = addresses_of(url, server_port);
    if (!url.path.empty() && url.option("database") && database != url.path) {
      throw Error(ErrorCode::invalid,
                  "redis: the URL names two databases, " + url.path + " and " + database + "; leave one of them out");
    }
    if (!url.path.empty()) database = url.path;
  }
  endpoint.database = number_of(database, "the database");
  if (endpoint.kind == Endpoint::Kind::cluster && endpoint.database != 0) {
    throw Error(ErrorCode::invalid, "redis: a cluster has the database 0 only; remove the database from the URL");
  }
  return endpoint;
}

}  // namespace tidings::transport::redis
