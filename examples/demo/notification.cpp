// Welcomes new users: writes a line a mail, and publishes notification.sent with each. The domain of an address says
// how its mail server behaves today.
#include <iostream>

#include "users.hpp"

using namespace std::chrono_literals;

int main() try {
  auto bus = tidings::Bus::open({}, {.source = "notification-service"});
  tidings::Service notification{bus, "notification"};
  notification.on<demo::UserCreated>(
      [](const tidings::DomainEvent<demo::UserCreated>& event, tidings::Context& context) {
        const std::string& email = event.data.email;
        if (email.ends_with("@slow.example") && context.attempt() == 1) throw std::runtime_error("mail server is busy");
        if (email.ends_with("@down.example")) throw std::runtime_error("connection refused");
        if (email.ends_with("@gone.example")) throw tidings::Reject{"no such mailbox"};
        std::cout << "welcome " << email << std::endl;
        context.publish(demo::WelcomeSent{event.data.userId});
      },
      {.max_attempts = 3, .backoff = {.first = 300ms, .longest = 1s}});
  return notification.run();
} catch (const std::exception& error) {
  std::cerr << "notification: " << error.what() << '\n';
  return 1;
}
