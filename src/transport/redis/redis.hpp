// The transport on Redis Streams.
#pragma once

#include <memory>

#include <tidings/environment.hpp>
#include <tidings/transport.hpp>
#include <tidings/url.hpp>

namespace tidings {

/// Opens `redis://user:password@host:port/database` or `redis+unix:///path`. Throws Error{unavailable} while the server
/// cannot be reached, {unauthorized} when it refuses the credentials.
[[nodiscard]] std::shared_ptr<transport::Transport> open_redis(const Url& url, const Environment& environment);

}  // namespace tidings
