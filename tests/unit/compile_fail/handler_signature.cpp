// expect: a handler takes (const tidings::DomainEvent<T>&)
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId)
void call(tidings::Service& service) {
  service.on<UserCreated>([](const std::string&) {});
}
