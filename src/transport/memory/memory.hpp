// The memory engine: streams that live as long as the process holds them open, for tests, demos and services in one
// process.
#pragma once

#include <memory>

#include <tidings/environment.hpp>
#include <tidings/transport.hpp>
#include <tidings/url.hpp>

namespace tidings {

/// Opens `memory:`, which nobody else sees, or `memory:NAME`, which every handle of that name in this process shares
/// and which ends with the last of them. Throws Error{invalid} for an option that it does not know.
[[nodiscard]] std::shared_ptr<transport::Transport> open_memory(const Url& url, const Environment& environment);

}  // namespace tidings
