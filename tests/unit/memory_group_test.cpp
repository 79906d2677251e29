// One group of the memory engine.
#include "memory_bench.hpp"

namespace tidings::memory {
namespace {

TEST(MemoryGroup, HandsOutInOrderAndCountsWhatWasHandled) {
  Bench bench;
  bench.publish(3);
  Holder holder;
  const auto got = bench.fetch(holder);
  EXPECT_EQ(offsets(got), (Offsets{1, 2, 3}));
  EXPECT_EQ(got[0].attempt, 1U);
  EXPECT_EQ(got[0].origin, Origin::live);
  EXPECT_EQ(holder.events, 3U);
  EXPECT_EQ(holder.bytes, 30U);
  EXPECT_EQ(bench.info().pending, 3U);
  EXPECT_EQ(bench.info().lag, 0U);
  EXPECT_TRUE(bench.settle(holder, got[0], Kind::done));
  EXPECT_TRUE(bench.settle(holder, got[1], Kind::ignored));
  EXPECT_TRUE(bench.settle(holder, got[2], Kind::done));
  EXPECT_EQ(bench.info().handled, 2U);
  EXPECT_EQ(bench.info().ignored, 1U);
  EXPECT_EQ(holder.events, 0U);
  EXPECT_EQ(holder.bytes, 0U);
  EXPECT_FALSE(bench.info().oldest_age.has_value());
}

TEST(MemoryGroup, SecondSettlementIsStaleAndChangesNothing) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  const auto got = bench.fetch(holder);
  EXPECT_TRUE(bench.settle(holder, got[0], Kind::done));
  EXPECT_FALSE(bench.settle(holder, got[0], Kind::done));
  EXPECT_FALSE(bench.settle(holder, got[0], Kind::again));
  EXPECT_EQ(bench.info().handled, 1U);
  EXPECT_FALSE(bench.group().holds_work());
}

TEST(MemoryGroup, TokenOfAReleasedDeliveryIsDeadWhenItGoesOutAgain) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  const auto first = bench.fetch(holder);
  EXPECT_TRUE(bench.settle(holder, first[0], Kind::release));
  const auto second = bench.fetch(holder);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_FALSE(bench.settle(holder, first[0], Kind::done));
  EXPECT_TRUE(bench.settle(holder, second[0], Kind::done));
}

TEST(MemoryGroup, ReleasedTailGoesBackInFrontUncounted) {
  Bench bench;
  bench.publish(5);
  Holder first;
  const auto got = bench.fetch(first);
  bench.settle(first, got[0], Kind::done);
  bench.group().release_all(first);
  EXPECT_EQ(first.events, 0U);
  EXPECT_EQ(bench.info().cursor, (Position{2, 0}));
  bench.publish(2);
  Holder second;
  const auto again = bench.fetch(second);
  EXPECT_EQ(offsets(again), (Offsets{2, 3, 4, 5, 6, 7}));
  for (const Delivery& delivery : again) {
    EXPECT_EQ(delivery.attempt, 1U);
    EXPECT_EQ(delivery.crashes, 0U);
    EXPECT_EQ(delivery.origin, Origin::live);
  }
}

TEST(MemoryGroup, DelayedReleaseWaitsButCountsNoAttempt) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::release, 5s);
  EXPECT_TRUE(bench.fetch(holder).empty());
  EXPECT_EQ(bench.info().retrying, 1U);
  EXPECT_EQ(bench.group().next_due(), bench.now.steady + 5s);
  bench.advance(5s);
  const auto got = bench.fetch(holder);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].attempt, 1U);
}

TEST(MemoryGroup, FailureComesBackAtItsDueTimeWithTheNextAttempt) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::again, 10s);
  const auto shown = bench.only();
  EXPECT_EQ(shown.state, ShelfState::retrying);
  EXPECT_EQ(shown.attempts, 2U);
  EXPECT_EQ(shown.error, "how");
  EXPECT_EQ(shown.due, bench.now.wall + 10s);
  bench.advance(9999ms);
  EXPECT_TRUE(bench.fetch(holder).empty());
  bench.advance(1ms);
  const auto got = bench.fetch(holder);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].attempt, 2U);
  EXPECT_EQ(got[0].origin, Origin::retry);
}

TEST(MemoryGroup, WallClockJumpsMoveNoRetry) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::again, 10s);
  bench.now.wall += std::chrono::hours(24 * 3650);
  EXPECT_TRUE(bench.fetch(holder).empty());
  bench.now.wall -= std::chrono::hours(48 * 3650);
  bench.now.steady += 10s;
  EXPECT_EQ(bench.fetch(holder).size(), 1U);
}

TEST(MemoryGroup, LongestDelayDoesNotOverflow) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::again, Millis::max());
  bench.advance(std::chrono::hours(24 * 365));
  EXPECT_TRUE(bench.fetch(holder).empty());
}

TEST(MemoryGroup, DeathAddsACrashAndNoAttemptAndComesBackAloneOneByOne) {
  Bench bench;
  bench.publish(3);
  Holder dead;
  const auto held = bench.fetch(dead);
  bench.group().orphan_all(dead, bench.now);
  EXPECT_EQ(dead.events, 0U);
  EXPECT_EQ(dead.lost.size(), 3U);
  EXPECT_EQ(dead.lost[0], held[0].token);
  EXPECT_FALSE(bench.settle(dead, held[0], Kind::done));
  bench.publish(4);

  Holder holder;
  for (std::uint64_t offset = 1; offset <= 3; ++offset) {
    const auto got = bench.fetch(holder);
    ASSERT_EQ(offsets(got), Offsets{offset});
    EXPECT_TRUE(got[0].alone);
    EXPECT_EQ(got[0].crashes, 1U);
    EXPECT_EQ(got[0].attempt, 1U);
    EXPECT_TRUE(bench.fetch(holder).empty()) << "nothing comes beside it";
    EXPECT_TRUE(bench.settle(holder, got[0], Kind::done));
  }
  EXPECT_EQ(bench.fetch(holder).size(), 4U);
}

TEST(MemoryGroup, AloneWaitsForEmptyHandsAndOneHolderDrainsForIt) {
  Bench bench;
  bench.publish(1);
  Holder dead;
  ASSERT_EQ(bench.fetch(dead).size(), 1U);
  bench.publish(10);
  Holder busy;
  const auto first = bench.fetch(busy, {.events = 1});
  Holder other;
  const auto second = bench.fetch(other, {.events = 1});
  bench.group().orphan_all(dead, bench.now);

  EXPECT_TRUE(bench.fetch(busy).empty()) << "it drains for the alone one";
  EXPECT_EQ(bench.fetch(other, {.events = 2}).size(), 1U) << "the others go on meanwhile";
  EXPECT_TRUE(bench.settle(busy, first[0], Kind::done));
  const auto got = bench.fetch(busy);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_TRUE(got[0].alone);
  EXPECT_TRUE(bench.settle(busy, got[0], Kind::done));
  EXPECT_FALSE(bench.fetch(busy).empty());
}

TEST(MemoryGroup, DrainingHolderThatLeavesLetsAnotherDrain) {
  Bench bench;
  bench.publish(1);
  Holder dead;
  ASSERT_EQ(bench.fetch(dead).size(), 1U);
  bench.publish(4);
  Holder first;
  ASSERT_EQ(bench.fetch(first, {.events = 1}).size(), 1U);
  Holder second;
  const auto held = bench.fetch(second, {.events = 1});
  bench.group().orphan_all(dead, bench.now);
  EXPECT_TRUE(bench.fetch(first).empty());
  bench.group().release_all(first);
  EXPECT_TRUE(bench.fetch(second).empty());
  bench.settle(second, held[0], Kind::done);
  const auto got = bench.fetch(second);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_TRUE(got[0].alone);
}

TEST(MemoryGroup, ReleasedAloneDeliveryStaysAloneWithItsCrashes) {
  Bench bench;
  bench.publish(1);
  Holder dead;
  bench.fetch(dead);
  bench.group().orphan_all(dead, bench.now);
  Holder holder;
  const auto got = bench.fetch(holder);
  bench.settle(holder, got[0], Kind::release);
  EXPECT_FALSE(holder.alone);
  const auto again = bench.fetch(holder);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_TRUE(again[0].alone);
  EXPECT_EQ(again[0].crashes, 1U);
}

TEST(MemoryGroup, DeadLetterKeepsWhatHappened) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::again);
  const Wall first = bench.now.wall;
  bench.advance(1s);
  bench.settle(holder, bench.fetch(holder)[0], Kind::dead);
  const auto shown = bench.only();
  EXPECT_EQ(shown.state, ShelfState::dead);
  EXPECT_EQ(shown.reason, "why");
  EXPECT_EQ(shown.error, "how");
  EXPECT_EQ(shown.attempts, 2U);
  EXPECT_EQ(shown.first_failed, first);
  EXPECT_EQ(shown.last_failed, bench.now.wall);
  EXPECT_EQ(shown.position, (Position{1, 0}));
  EXPECT_EQ(bench.info().dead_letters, 1U);
  EXPECT_FALSE(bench.info().oldest_age.has_value());
}

TEST(MemoryGroup, UncountedDeadLetterAddsNoAttempt) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::dead, {}, false);
  EXPECT_EQ(bench.only().attempts, 0U);
}

TEST(MemoryGroup, SameEventDeadTwiceIsOneDeadLetter) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::dead);
  bench.group().seek(1);
  bench.settle(holder, bench.fetch(holder)[0], Kind::dead);
  EXPECT_EQ(bench.info().dead_letters, 1U);
}

TEST(MemoryGroup, LongErrorIsCutBetweenCharacters) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  const auto got = bench.fetch(holder);
  std::string error = "x";
  for (int i = 0; i < 3000; ++i) error += "ä";
  bench.group().settle({.kind = Kind::again, .token = got[0].token, .error = error}, holder, bench.now);
  EXPECT_EQ(bench.only().error.size(), 4095U);
}

TEST(MemoryGroup, RedriveMovesEachOnceAndStartsAfresh) {
  Bench bench;
  bench.publish(2);
  Holder holder;
  for (const Delivery& delivery : bench.fetch(holder)) bench.settle(holder, delivery, Kind::dead);
  EXPECT_EQ(bench.group().move({.ids = {"evt_2"}}, ShelfAction::hand_out, nullptr, bench.now), 1U);
  EXPECT_EQ(bench.group().move({.ids = {"evt_2"}}, ShelfAction::hand_out, nullptr, bench.now), 0U);
  const auto got = bench.fetch(holder);
  ASSERT_EQ(offsets(got), Offsets{2});
  EXPECT_EQ(got[0].origin, Origin::redrive);
  EXPECT_EQ(got[0].attempt, 1U);
  EXPECT_EQ(got[0].run, 0U);
  EXPECT_EQ(bench.info().dead_letters, 1U);
}

TEST(MemoryGroup, HandOutBringsARetryForward) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  bench.settle(holder, bench.fetch(holder)[0], Kind::again, 1h);
  EXPECT_EQ(bench.group().move({}, ShelfAction::drop, nullptr, bench.now), 0U) << "only dead letters are dropped";
  EXPECT_EQ(bench.group().move({}, ShelfAction::hand_out, nullptr, bench.now), 1U);
  const auto got = bench.fetch(holder);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].attempt, 1U);
}

TEST(MemoryGroup, MoveLeavesWhatIsLeased) {
  Bench bench;
  bench.publish(1);
  Holder holder;
  const auto got = bench.fetch(holder);
  EXPECT_EQ(bench.group().move({}, ShelfAction::hand_out, nullptr, bench.now), 0U);
  EXPECT_TRUE(bench.settle(holder, got[0], Kind::done));
}

TEST(MemoryGroup, ReplaceHandsOutTheCorrectedCopy) {
  Bench bench;
  bench.publish(2);
  Holder holder;
  for (const Delivery& delivery : bench.fetch(holder)) bench.settle(holder, delivery, Kind::dead);
  const transport::Outgoing corrected{.stream = "events:a", .id = "evt_new", .type = "a.b", .envelope = "{}"};
  const Entry copy = copy_entries({&corrected, 1}, bench.now.wall).front();
  EXPECT_THROW(bench.group().move({}, ShelfAction::replace, &copy, bench.now), Error);
  EXPECT_EQ(bench.group().move({.ids = {"evt_1"}}, ShelfAction::replace, &copy, bench.now), 1U);
  const auto got = bench.fetch(holder);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].envelope, "{}");
  EXPECT_EQ(bench.info().dead_letters, 1U);
}

TEST(MemoryGroup, ShelfPagesInTheOrderOfKeysAndFilters) {
  Bench bench;
  bench.publish(5);
  Holder holder;
  for (const Delivery& delivery : bench.fetch(holder)) {
    bench.settle(holder, delivery, delivery.position.major == 3 ? Kind::again : Kind::dead, 1h);
  }
  const auto first = bench.group().find({.limit = 2}, bench.now);
  ASSERT_EQ(first.size(), 2U);
  const auto rest = bench.group().find({.after = key_text(first.back())}, bench.now);
  EXPECT_EQ(rest.size(), 3U);
  EXPECT_LT(first.back(), rest.front());
  EXPECT_EQ(bench.group().find({.states = {ShelfState::retrying}}, bench.now).size(), 1U);
  EXPECT_EQ(bench.group().find({.reason = "why"}, bench.now).size(), 4U);
  EXPECT_EQ(bench.group().find({.reason = "other"}, bench.now).size(), 0U);
  EXPECT_EQ(bench.group().find({.ids = {key_text(first[0]), "evt_2"}}, bench.now), first);
}

TEST(MemoryGroup, InjectedItemsKeepTheirOrderAndRun) {
  Bench bench;
  Holder holder;
  for (int i = 0; i < 3; ++i) {
    const std::string id = "evt_" + std::to_string(i);
    const transport::Outgoing item{.stream = "events:a", .id = id, .type = "a.b", .envelope = id};
    bench.group().inject(copy_entries({&item, 1}, bench.now.wall).front(), Origin::replay, 7, bench.now);
  }
  const auto got = bench.fetch(holder);
  ASSERT_EQ(got.size(), 3U);
  EXPECT_EQ(got[2].envelope, "evt_2");
  EXPECT_EQ(got[0].origin, Origin::replay);
  EXPECT_EQ(got[0].run, 7U);
  EXPECT_EQ(got[0].position, Position{});
  bench.settle(holder, got[0], Kind::again);
  EXPECT_EQ(bench.fetch(holder)[0].origin, Origin::replay) << "a retried replay is still a replay";
}

TEST(MemoryGroup, SeekMovesTheCursorAndDropsWhatWasGivenBack) {
  Bench bench;
  bench.publish(4);
  Holder holder;
  const auto got = bench.fetch(holder);
  for (const Delivery& delivery : got) bench.settle(holder, delivery, Kind::release);
  bench.group().seek(3);
  EXPECT_EQ(offsets(bench.fetch(holder)), (Offsets{3, 4}));
}

TEST(MemoryGroup, PausedHandsOutNothing) {
  Bench bench;
  bench.publish(1);
  bench.group().paused = true;
  Holder holder;
  Batch batch;
  pick(bench.slots, holder, {}, bench.now.steady, batch);
  EXPECT_TRUE(batch.deliveries.empty());
  EXPECT_TRUE(batch.paused);
  bench.group().paused = false;
  EXPECT_EQ(bench.fetch(holder).size(), 1U);
}

TEST(MemoryGroup, PassingLeavesAGapThatIsToldOnce) {
  Bench bench;
  bench.publish(5);
  Holder holder;
  const auto held = bench.fetch(holder, {.events = 1});
  EXPECT_EQ(bench.group().lowest(), 1U);
  EXPECT_EQ(bench.group().pass(4), 2U);
  bench.log().trim(4);
  Batch batch;
  pick(bench.slots, holder, {}, bench.now.steady, batch);
  ASSERT_EQ(batch.gaps.size(), 1U);
  EXPECT_EQ(batch.gaps[0].first, (Position{2, 0}));
  EXPECT_EQ(batch.gaps[0].last, (Position{3, 0}));
  EXPECT_EQ(offsets(batch.deliveries), (Offsets{4, 5}));
  EXPECT_TRUE(bench.settle(holder, held[0], Kind::done)) << "what is held keeps its bytes";
  Batch next;
  pick(bench.slots, holder, {}, bench.now.steady, next);
  EXPECT_TRUE(next.gaps.empty());
}

}  // namespace
}  // namespace tidings::memory
