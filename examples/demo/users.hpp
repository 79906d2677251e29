// The events of the demo, shared by its three programs.
#pragma once

#include <tidings/tidings.hpp>

#include <optional>
#include <string>

namespace demo {

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)

struct UserCreated {
  std::string userId;
  std::string email;
  std::string name;
  std::optional<Role> role;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, email, name, role)

struct UserUpdated {
  std::string userId;
  std::string email;
  std::string name;
};
TIDINGS_EVENT(UserUpdated, "user.updated", "1.0", userId, email, name)

/// Nobody handles this one: each group settles it as ignored.
struct UserSeen {
  std::string userId;
};
TIDINGS_EVENT(UserSeen, "user.seen", "1.0", userId)

struct WelcomeSent {
  std::string userId;
};
TIDINGS_EVENT(WelcomeSent, "notification.sent", "1.0", userId)

}  // namespace demo
