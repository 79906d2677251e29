// expect: tidings: UserCreated must be a plain struct
#include <tidings/tidings.hpp>

struct Base {
  virtual ~Base() = default;
};
struct UserCreated : Base {
  std::string userId;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId)
