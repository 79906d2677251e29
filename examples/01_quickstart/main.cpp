#include <tidings/tidings.hpp>
#include <iostream>

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)
struct UserCreated { std::string userId; std::string email; std::optional<Role> role; };
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, email, role)
struct WelcomeSent { std::string userId; };
TIDINGS_EVENT(WelcomeSent, "notification.sent", "1.0", userId)

int main() {
  auto bus = tidings::Bus::open("sqlite:events.db", {.source = "notification-service"});
  tidings::Service notification{bus, "notification"};
  notification.on<UserCreated>([](const tidings::DomainEvent<UserCreated>& event, tidings::Context& context) {
    std::cout << "welcome " << event.data.email << '\n';
    context.publish(WelcomeSent{event.data.userId});   // same correlation id, trace and cause; sent when this succeeds
  });
  return notification.run();                           // until SIGTERM, then drains
}
