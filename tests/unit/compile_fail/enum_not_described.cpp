// expect: tidings: member UserCreated::role has a type without a JSON form
#include <tidings/tidings.hpp>

enum class Role { FREELANCER, CLIENT };
struct UserCreated {
  std::optional<Role> role;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", role)
