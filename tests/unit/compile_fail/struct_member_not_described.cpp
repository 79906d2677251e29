// expect: tidings: member UserCreated::addresses has a type without a JSON form
#include <tidings/tidings.hpp>

struct Address {
  std::string street;
};
struct UserCreated {
  std::vector<Address> addresses;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", addresses)
