// The embedded log: one SQLite file that several processes share. src/bus opens it by its URL.
#pragma once

#include <memory>

#include <tidings/environment.hpp>
#include <tidings/transport.hpp>
#include <tidings/url.hpp>

namespace tidings {

/// Opens `sqlite:PATH`, and makes the file when there is none. Throws Error: `invalid` (a missing directory, an unknown
/// option), `corrupt` (not a Tidings log), `unauthorized`, `not_supported` (network file systems, newer formats).
[[nodiscard]] std::shared_ptr<transport::Transport> open_sqlite(const Url& url, const Environment& environment);

namespace transport {
using tidings::open_sqlite;
}  // namespace transport

}  // namespace tidings
