// Linked into a test's program, it stands before the system's connect(): whoever tries to reach another machine is
// refused, and the test that did so has failed.
#include "loopback_guard.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace tidings::support {

std::string place_outside(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, address, sizeof four);
    if (ntohl(four.sin_addr.s_addr) >> 24U == 127) return {};
    return ::inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 six{};
    std::memcpy(&six, address, sizeof six);
    if (IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) != 0) return {};
    return ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
  }
  return {};  // Within this machine.
}

}  // namespace tidings::support

extern "C" int connect(int descriptor, const sockaddr* address, socklen_t size) {
  if (const std::string place = tidings::support::place_outside(address); !place.empty()) {
    ADD_FAILURE() << "a test tried to reach " << place << ", which is not the loopback";
    errno = ENETUNREACH;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_connect, descriptor, address, size));
}
