// expect: tidings: the macro does not list every member of UserCreated
#include <tidings/tidings.hpp>

struct UserCreated {
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0")
