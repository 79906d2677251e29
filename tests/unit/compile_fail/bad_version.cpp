// expect: is not a version: numbers joined by dots
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user.created", "one", userId)
