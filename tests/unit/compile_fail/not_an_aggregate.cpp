// expect: tidings: UserCreated must be a plain struct
#include <tidings/tidings.hpp>

struct UserCreated {
  explicit UserCreated(std::string id) : userId(std::move(id)) {}
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId)
