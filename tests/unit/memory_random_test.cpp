// Random histories of one group against a plain account of them: whatever happens, nothing is lost, doubled or
// miscounted.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include <tidings/testing.hpp>

#include "transport/memory/pick.hpp"

namespace tidings::memory {
namespace {

using namespace std::chrono_literals;
using transport::Delivery;
using transport::Settlement;
using Kind = Settlement::Kind;

class History {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {}

  void run(std::size_t steps) {
    for (std::size_t i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) step();
    finish();
  }

 private:
  // The account of one event, kept without looking into the group.
  struct Told {
    std::uint32_t failures = 0, crashes = 0, ended = 0;
    int holder = -1;
  };
  struct Hand {
    Holder holder{};
    std::vector<Delivery> held{};
  };

  std::size_t below(std::size_t bound) { return random_.next() % bound; }

  void step() {
    Hand& hand = hands_.at(below(hands_.size()));
    switch (below(10)) {
      case 0:
      case 1:
        publish(1 + below(5));
        break;
      case 2:
      case 3:
      case 4:
        fetch(hand, {.events = 1 + below(8), .bytes = 1 + below(200)});
        break;
      case 5:
      case 6:
      case 7:
        settle(hand);
        break;
      case 8:
        advance(Millis(below(3000)));
        break;
      default:
        below(2) == 0 ? leave(hand) : die(hand);
        break;
    }
    check();
  }

  void publish(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string id = "evt_" + std::to_string(slot_.log->end());
      const std::string envelope(1 + below(50), 'x');
      const transport::Outgoing item{.stream = "events:a", .id = id, .type = "a.b", .envelope = envelope};
      slot_.log->append(copy_entries({&item, 1}, now_.wall).front());
    }
  }

  void fetch(Hand& hand, Bounds bounds) {
    transport::Batch batch;
    const bool had_work = !hand.held.empty();
    const bool had_alone = had_work && hand.held.front().alone;
    const std::size_t before = hand.held.size();
    pick({&slot_, 1}, hand.holder, bounds, now_.steady, batch);
    for (const Delivery& delivery : batch.deliveries) {
      Told& told = told_[delivery.position.major];
      ASSERT_EQ(told.holder, -1) << "handed out while another holds it";
      ASSERT_EQ(told.ended, 0U) << "handed out after its end";
      ASSERT_EQ(delivery.attempt, told.failures + 1);
      ASSERT_EQ(delivery.crashes, told.crashes);
      ASSERT_EQ(delivery.alone, told.crashes > 0);
      if (delivery.alone) {
        ASSERT_FALSE(had_work);
        ASSERT_EQ(batch.deliveries.size(), 1U);
      }
      told.holder = static_cast<int>(&hand - hands_.data());
      hand.held.push_back(delivery);
    }
    ASSERT_TRUE(!had_alone || batch.deliveries.empty());
    if (!batch.deliveries.empty()) {
      ASSERT_LE(hand.held.size(), std::max(bounds.events, before));
      ASSERT_TRUE(hand.holder.bytes <= bounds.bytes || hand.held.size() == 1);
    }
  }

  void settle(Hand& hand) {
    if (hand.held.empty()) return;
    const auto at = hand.held.begin() + static_cast<std::ptrdiff_t>(below(hand.held.size()));
    const Delivery delivery = *at;
    hand.held.erase(at);
    const auto kind = static_cast<Kind>(below(5));
    const Settlement settlement{.kind = kind, .token = delivery.token, .after = Millis(below(2) * below(2000))};
    ASSERT_TRUE(slot_.group->settle(settlement, hand.holder, now_));
    ASSERT_FALSE(slot_.group->settle(settlement, hand.holder, now_)) << "a second time";
    Told& told = told_.at(delivery.position.major);
    told.holder = -1;
    if (kind == Kind::again || kind == Kind::dead) ++told.failures;
    if (kind == Kind::done || kind == Kind::ignored || kind == Kind::dead) ++told.ended;
    ended_[kind] += kind == Kind::again || kind == Kind::release ? 0 : 1;
  }

  void leave(Hand& hand) {
    slot_.group->release_all(hand.holder);
    for (const Delivery& delivery : hand.held) told_.at(delivery.position.major).holder = -1;
    hand.held.clear();
  }

  void die(Hand& hand) {
    slot_.group->orphan_all(hand.holder, now_);
    ASSERT_EQ(hand.holder.lost.size(), hand.held.size());
    hand.holder.lost.clear();
    for (const Delivery& delivery : hand.held) {
      Told& told = told_.at(delivery.position.major);
      told.holder = -1;
      ++told.crashes;
      ASSERT_FALSE(slot_.group->settle({.kind = Kind::again, .token = delivery.token}, hand.holder, now_));
    }
    hand.held.clear();
  }

  void advance(Millis by) {
    now_.wall += by;
    now_.steady += by;
  }

  void check() {
    const transport::GroupInfo info = slot_.group->describe(*slot_.log, now_);
    std::size_t held = 0;
    for (const Hand& hand : hands_) {
      ASSERT_EQ(hand.holder.events, hand.held.size());
      held += hand.held.size();
    }
    ASSERT_GE(info.pending, held);
    ASSERT_EQ(info.handled, ended_[Kind::done]);
    ASSERT_EQ(info.ignored, ended_[Kind::ignored]);
    ASSERT_EQ(info.dead_letters, ended_[Kind::dead]);
    const std::uint64_t all =
        *info.handled + *info.ignored + info.dead_letters + info.pending + info.retrying + *info.lag;
    ASSERT_EQ(all, slot_.log->end() - 1) << "every event is in exactly one place";
  }

  // Then everybody settles, and everything must come to an end.
  void finish() {
    for (Hand& hand : hands_) leave(hand);
    const std::size_t most = 4 * slot_.log->end() + 10;
    for (std::size_t round = 0; round < most && slot_.group->describe(*slot_.log, now_).pending + pending() > 0;
         ++round) {
      fetch(hands_[0], {});
      for (const Delivery& delivery : hands_[0].held) {
        ASSERT_TRUE(slot_.group->settle({.kind = Kind::done, .token = delivery.token}, hands_[0].holder, now_));
        told_.at(delivery.position.major).holder = -1;
        ++told_.at(delivery.position.major).ended;
        ++ended_[Kind::done];
      }
      hands_[0].held.clear();
      advance(1s);
    }
    check();
    ASSERT_EQ(told_.size(), slot_.log->end() - 1);
    for (const auto& [offset, told] : told_) ASSERT_EQ(told.ended, 1U) << "event " << offset;
  }

  std::uint64_t pending() {
    const transport::GroupInfo info = slot_.group->describe(*slot_.log, now_);
    return info.retrying + *info.lag;
  }

  testing::SeededRandom random_;
  std::uint64_t next_key_ = 1;
  Now now_{Wall{} + 1000h, 100h};
  Slot slot_{std::make_shared<Log>(), std::make_shared<Group>(1, &next_key_)};
  std::array<Hand, 3> hands_{};
  std::map<std::uint64_t, Told> told_;
  std::map<Kind, std::uint64_t> ended_;
};

TEST(MemoryRandom, NothingIsLostDoubledOrMiscounted) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History(seed).run(300);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace tidings::memory
