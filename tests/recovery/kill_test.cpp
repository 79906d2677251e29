// Readers and writers of one file, several processes each, killed with SIGKILL at random moments again and again.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "play.hpp"

namespace recovery {
namespace {

struct Actor {
  std::string role;
  std::string journal;
  pid_t pid = 0;
  std::uint64_t lives = 0;
};

/// The number of kills: enough for CI, and more by the environment for a soak.
int wanted_kills() {
  const char* text = std::getenv("TIDINGS_RECOVERY_KILLS");
  return text != nullptr ? std::atoi(text) : 220;
}

void start(const Stage& stage, std::vector<Actor>& actors, std::size_t index) {
  Actor& actor = actors[index];
  const std::string name = actor.role + std::to_string(index) + "-" + std::to_string(++actor.lives);
  actor.pid = stage.start(actor.role, static_cast<int>(index), actor.journal, {name});
}

TEST(Recovery, NothingAcknowledgedIsLostWhenReadersAndWritersAreKilled) {
  const Stage stage;
  std::vector<Actor> actors{{"writer", "acknowledged-0"},
                            {"writer", "acknowledged-1"},
                            {"worker", "handled"},
                            {"worker", "handled"},
                            {"auditor", "audited"}};
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (std::size_t i = 0; i < actors.size(); ++i) start(stage, actors, i);

  int kills = 0, in_mid_work = 0;
  std::uint64_t worker_kills = 0;
  while (kills < wanted_kills()) {
    const std::size_t victim = random() % actors.size();
    Slot& slot = stage.arena().slot[victim];
    // The victim dies after some random amount of its own work, so at a random place of it. An idle auditor is left
    // alone.
    if (!wait_for_progress(slot, slot.progress.load() + 1 + random() % 40, 3000)) {
      ASSERT_EQ(actors[victim].role, "auditor") << actors[victim].role << ' ' << victim << " makes no progress";
      continue;
    }
    ::kill(actors[victim].pid, SIGKILL);
    ASSERT_TRUE(await_end(actors[victim].pid).killed) << actors[victim].role << " had ended by itself";
    ++kills;
    in_mid_work += static_cast<int>(slot.busy.exchange(0));
    worker_kills += actors[victim].role == "worker" ? 1 : 0;
    start(stage, actors, victim);
  }
  stage.arena().stop.store(1);
  for (const Actor& actor : actors) {
    const Ending ending = await_end(actor.pid);
    EXPECT_TRUE(!ending.killed && ending.code == 0) << actor.role << " ended with " << ending.code;
  }
  drain(stage, "handled", "audited");

  const Account account = audit(stage, {"acknowledged-0", "acknowledged-1"}, "handled");
  std::cout << kills << " kills, " << in_mid_work << " in mid-work; " << account.work << " events, "
            << account.acknowledged << " acknowledged, " << account.handled << " handled, " << account.dead << " dead ("
            << account.crashed << " crashed), " << account.duplicates << " handled twice\n";
  EXPECT_GE(in_mid_work * 2, kills) << "the kills did not hit work";
  // A death can repeat what was handled and not settled: at most the prefetch of 64.
  EXPECT_LE(account.duplicates, 64 * worker_kills);
  EXPECT_GT(account.acknowledged, 0U);
}

}  // namespace
}  // namespace recovery
