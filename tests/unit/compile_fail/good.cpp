// expect: nothing
// The twin that must compile: without it every other file here could fail for a reason of its own.
#include <tidings/tidings.hpp>

namespace app {
enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)
struct Address {
  std::string street;
};
TIDINGS_STRUCT(Address, street)
struct UserCreated {
  std::string userId;
  std::optional<Role> role;
  std::vector<Address> addresses;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, role, addresses)
struct SendEmail {
  std::string to;
};
TIDINGS_COMMAND(SendEmail, "send.email", "1.0", to)
}  // namespace app

void call(tidings::Bus& bus, tidings::Service& service) {
  service.on<app::UserCreated>([](const tidings::DomainEvent<app::UserCreated>& event, tidings::Context& context) {
    context.publish(event.data);
    context.send(app::SendEmail{});
  });
  bus.publish(app::UserCreated{});
  bus.send(app::SendEmail{});
}
