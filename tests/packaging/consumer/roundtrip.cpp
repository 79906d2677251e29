// Publishes one event and handles it, as the smallest proof that the library which was found works.
#include <tidings/tidings.hpp>
#ifdef WITH_TESTING
#include <tidings/testing.hpp>
#endif

#include <iostream>

struct Ping {
  std::string text;
};
TIDINGS_EVENT(Ping, "ping.sent", "1.0", text)

int main() {
#ifdef WITH_TESTING
  tidings::testing::Harness harness;
  harness.publish(Ping{"hello"});
  if (harness.published<Ping>().size() != 1) return 1;
#endif
  auto bus = tidings::Bus::open({}, {.source = "roundtrip"});
  bus.publish(Ping{"hello"});
  std::string seen;
  tidings::Service service{bus, "echo", {.max_events = 1}};
  service.on<Ping>([&](const tidings::DomainEvent<Ping>& event) { seen = event.data.text; });
  const int code = service.run();
  std::cout << "seen: " << seen << '\n';
  return code == 0 && seen == "hello" ? 0 : 1;
}
