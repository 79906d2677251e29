// Every failpoint of the library, each hit by a process that dies there, and the account afterwards.
#include <gtest/gtest.h>

#include "core/failpoint.hpp"
#include "play.hpp"

namespace recovery {
namespace {

class EveryFailpoint : public ::testing::TestWithParam<std::string_view> {};

/// Plays `role` with the failpoint armed for its `passage`-th passage. True when the process died of it.
bool play(const Stage& stage, const std::string& role, const std::string& failpoint, int passage,
          const std::string& log) {
  const Ending ending = await_end(stage.start(role, 0, log, {stage.path("handled")},
                                              {"TIDINGS_FAILPOINT=" + failpoint + ":" + std::to_string(passage)}));
  EXPECT_TRUE(ending.killed || ending.code == 0) << failpoint << " ended with " << ending.code;
  return ending.killed;
}

TEST_P(EveryFailpoint, IsHitAndNothingIsLost) {
  const std::string failpoint(GetParam());
  int hits = 0;
  for (const int passage : {1, 2, 7}) {
    const Stage stage;
    // A death in a handler leaves work behind that others must take over, so that takeover has something to do.
    EXPECT_TRUE(play(stage, "scene", "runtime.before_handler", 1, "acknowledged-0"));
    hits += play(stage, "scene", failpoint, passage, "acknowledged-1") ? 1 : 0;
    drain(stage, "handled", "audited");
    audit(stage, {"acknowledged-0", "acknowledged-1"}, "handled");
    // The operator comes last: what is trimmed or replayed no longer fits the account, but the file must stay sound and
    // the groups usable.
    hits += play(stage, "operator", failpoint, passage, "none") ? 1 : 0;
    drain(stage, "handled", "audited");
    expect_sound_file(stage.database());
  }
  EXPECT_GT(hits, 0) << failpoint << " was never hit";
}

/// All that the embedded log can pass: not the one that exists for the unit test of failpoints themselves, nor those of
/// other engines, which their conformance passes.
std::vector<std::string_view> listed() {
  std::vector<std::string_view> names;
  for (const std::string_view name : tidings::core::failpoint_names()) {
    if (name != "core.selftest" && !name.starts_with("redis.") && !name.starts_with("aws.")) names.push_back(name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Recovery, EveryFailpoint, ::testing::ValuesIn(listed()), [](const auto& info) {
  std::string name(info.param);
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace recovery
