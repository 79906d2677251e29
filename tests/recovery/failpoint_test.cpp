// Every failpoint of the library, each hit by a process that dies there, and the account afterwards.
#include <gtest/gtest.h>

#include "core/failpoint.hpp"
#include "play.hpp"

namespace recovery {
namespace {

class EveryFailpoint : public ::testing::TestWithParam<std::string_view> {};

/// Plays the scene with the failpoint armed for its `passage`-th passage. True when the process died of it.
bool play(const Stage& stage, const std::string& failpoint, int passage, int take) {
  const std::string name = stage.path("handled");
  const Ending ending = await_end(stage.start("scene", 0, "acknowledged-" + std::to_string(take), {name},
                                              {"TIDINGS_FAILPOINT=" + failpoint + ":" + std::to_string(passage)}));
  EXPECT_TRUE(ending.killed || ending.code == 0) << failpoint << " ended with " << ending.code;
  return ending.killed;
}

TEST_P(EveryFailpoint, IsHitAndNothingIsLost) {
  int hits = 0;
  for (const int passage : {1, 2, 7}) {
    const Stage stage;
    // A death in a handler leaves work behind that others must take over, so that takeover has something to do.
    EXPECT_TRUE(play(stage, "runtime.before_handler", 1, 0));
    hits += play(stage, std::string(GetParam()), passage, 1) ? 1 : 0;
    drain(stage, "handled", "audited");
    audit(stage, {"acknowledged-0", "acknowledged-1"}, "handled");
  }
  EXPECT_GT(hits, 0) << GetParam() << " was never hit";
}

INSTANTIATE_TEST_SUITE_P(Recovery, EveryFailpoint,
                         ::testing::ValuesIn(tidings::core::failpoint_names().begin(),
                                             tidings::core::failpoint_names().end()),
                         [](const auto& info) {
                           std::string name(info.param);
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace recovery
