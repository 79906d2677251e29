// Where a URL's servers are, and what they want to hear first.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tidings/stream.hpp>
#include <tidings/url.hpp>

#include "transport/redis/partition.hpp"
#include "transport/redis/socket.hpp"
#include "transport/redis/tls.hpp"

namespace tidings::transport::redis {

/// Who asks.
struct Login {
  std::string user{}, password{};
};

/// How to reach an engine, out of a URL.
struct Endpoint {
  enum class Kind : std::uint8_t { server, sentinels, cluster } kind = Kind::server;
  std::vector<Address> addresses{};  ///< The server; or those that are asked where the servers are.
  std::string master{};              ///< As the sentinels name it.
  Login login{}, sentinel_login{};
  std::int64_t database = 0;
  std::shared_ptr<const Tls> tls{};  ///< Null: in the clear.
  std::optional<Level> level{};      ///< What was asked for.
  std::uint32_t replicas = 1;        ///< How many must have what is `replicated`.
  PartitionWish partitions{};
};

/// Of `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://` and `redis+cluster://`, as docs/transports/redis.md
/// has them. A password may come from the option `password_file` or from $TIDINGS_PASSWORD. Throws Error{invalid}.
[[nodiscard]] Endpoint endpoint_of(const Url& url);

}  // namespace tidings::transport::redis
