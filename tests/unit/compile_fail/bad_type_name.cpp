// expect: is not a type name: names of A-Z, a-z, 0-9, _ and - joined by single dots
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user..created", "1.0", userId)
