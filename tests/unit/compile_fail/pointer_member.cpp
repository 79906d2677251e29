// expect: tidings: member UserCreated::age has a type without a JSON form
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
  int* age;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, age)
