// expect: tidings: UserCreated has a member listed twice
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
  std::string email;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, userId)
