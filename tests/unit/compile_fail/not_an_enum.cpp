// expect: tidings: Role is not an enum
#include <tidings/tidings.hpp>

struct Role {
  int FREELANCER;
};
TIDINGS_ENUM(Role, FREELANCER)
