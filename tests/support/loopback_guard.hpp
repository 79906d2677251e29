// No test may reach another machine: see loopback_guard.cpp, which a test's program compiles in.
#pragma once

#include <sys/socket.h>

#include <string>

namespace tidings::support {

/// An address in words; empty for one of the loopback, and for one that is not on a network.
[[nodiscard]] std::string place_outside(const sockaddr* address);

}  // namespace tidings::support
