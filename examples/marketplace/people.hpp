// Made-up people and their projects: names, skills, titles and prices as a marketplace would have them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "requests.hpp"

namespace market {

/// What happens around one project: who asks for it, who takes it, for how much. Story `number` is always the same one.
struct Story {
  UserRequest client, freelancer;
  bool moves = false;  ///< The freelancer changes their profile later.
  ProjectRequest project;
  std::int64_t price = 0;
};

[[nodiscard]] Story tell_story(std::uint32_t number);

}  // namespace market
