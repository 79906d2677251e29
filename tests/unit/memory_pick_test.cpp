// What a fetch of the memory engine picks, and the log that it picks from.
#include "memory_bench.hpp"

namespace tidings::memory {
namespace {

TEST(MemoryPick, BoundsHoldForEventsAndBytes) {
  Bench bench;
  bench.publish(10, 0, 100);
  Holder holder;
  EXPECT_EQ(bench.fetch(holder, {.events = 3, .bytes = 10000}).size(), 3U);
  EXPECT_TRUE(bench.fetch(holder, {.events = 3, .bytes = 10000}).empty());
  EXPECT_EQ(bench.fetch(holder, {.events = 100, .bytes = 550}).size(), 2U);
}

TEST(MemoryPick, EventLargerThanTheBoundComesAloneInItsBatch) {
  Bench bench;
  bench.publish(1, 0, 50);
  bench.publish(1, 0, 5000);
  bench.publish(1, 0, 50);
  Holder holder;
  const auto first = bench.fetch(holder, {.events = 10, .bytes = 1000});
  EXPECT_EQ(offsets(first), Offsets{1});
  bench.settle(holder, first[0], Kind::done);
  const auto large = bench.fetch(holder, {.events = 10, .bytes = 1000});
  EXPECT_EQ(offsets(large), Offsets{2});
  bench.settle(holder, large[0], Kind::done);
  EXPECT_EQ(offsets(bench.fetch(holder, {.events = 10, .bytes = 1000})), Offsets{3});
}

TEST(MemoryPick, LargeEventIsNotOvertakenForEverByOtherStreams) {
  Bench bench(2);
  const Bounds bounds{.events = 10, .bytes = 950};
  bench.publish(1000, 1, 100);
  Holder holder;
  std::vector<Delivery> held = bench.fetch(holder, bounds);
  ASSERT_EQ(held.size(), 9U);
  bench.publish(1, 0, 900);
  bool seen = false;
  for (int round = 0; round < 20 && !seen; ++round) {
    bench.settle(holder, held.front(), Kind::done);
    held.erase(held.begin());
    for (const Delivery& delivery : bench.fetch(holder, bounds)) {
      seen = seen || delivery.stream == 0;
      held.push_back(delivery);
    }
    ASSERT_FALSE(held.empty());
  }
  EXPECT_TRUE(seen);
}

TEST(MemoryPick, StreamsTakeTurns) {
  Bench bench(3);
  bench.publish(100, 0);
  bench.publish(2, 1);
  bench.publish(100, 2);
  Holder holder;
  std::array<int, 3> counts{};
  for (const Delivery& delivery : bench.fetch(holder, {.events = 12})) ++counts.at(delivery.stream);
  EXPECT_EQ(counts, (std::array<int, 3>{5, 2, 5}));
}

// With room for one event at a time as with room for many, neither side starves.
TEST(MemoryPick, DueAndLiveShareTheRoom) {
  for (const std::size_t room : {1U, 2U, 10U}) {
    Bench bench;
    bench.publish(100);
    Holder setup;
    for (const Delivery& delivery : bench.fetch(setup, {.events = 50})) bench.settle(setup, delivery, Kind::again);
    Holder holder;
    std::size_t due = 0;
    std::size_t live = 0;
    while (due + live < 20) {
      const auto got = bench.fetch(holder, {.events = room});
      ASSERT_FALSE(got.empty());
      for (const Delivery& delivery : got) {
        ++(delivery.origin == Origin::retry ? due : live);
        bench.settle(holder, delivery, Kind::done);
      }
    }
    EXPECT_EQ(due, live) << "with room for " << room;
  }
}

TEST(MemoryPick, OneSideTakesWhatTheOtherLeaves) {
  Bench bench;
  bench.publish(20);
  Holder holder;
  for (const Delivery& delivery : bench.fetch(holder, {.events = 3})) bench.settle(holder, delivery, Kind::again);
  EXPECT_EQ(bench.fetch(holder, {.events = 20}).size(), 20U);
}

TEST(MemoryPick, OrphansBehindManyBusyOnesAreAllClaimed) {
  Bench bench;
  bench.publish(400);
  Holder busy;
  ASSERT_EQ(bench.fetch(busy, {.events = 300}).size(), 300U);
  Holder dead;
  ASSERT_EQ(bench.fetch(dead, {.events = 100}).size(), 100U);
  bench.group().orphan_all(dead, bench.now);
  Holder holder;
  for (std::uint64_t offset = 301; offset <= 400; ++offset) {
    const auto got = bench.fetch(holder);
    ASSERT_EQ(offsets(got), Offsets{offset});
    bench.settle(holder, got[0], Kind::done);
  }
  EXPECT_EQ(busy.events, 300U);
}

TEST(MemoryLog, ReadsPagesRangesAndTheLast) {
  Bench bench;
  bench.publish(10);
  auto page = bench.log().read({.limit = 4});
  EXPECT_EQ(page.records.size(), 4U);
  EXPECT_EQ(page.next, (Position{5, 0}));
  EXPECT_FALSE(page.end);
  page = bench.log().read({.from = page.next, .limit = 6});
  EXPECT_EQ(page.records.size(), 6U);
  EXPECT_TRUE(page.end);
  EXPECT_EQ(page.next, (Position{11, 0}));
  page = bench.log().read({.from = {3, 0}, .to = Position{5, 0}});
  EXPECT_EQ(page.records.size(), 3U);
  EXPECT_TRUE(page.end);
  page = bench.log().read({.limit = 2, .last = true});
  ASSERT_EQ(page.records.size(), 2U);
  EXPECT_EQ(page.records[0].position, (Position{9, 0}));
  page = bench.log().read({.id = "evt_7"});
  ASSERT_EQ(page.records.size(), 1U);
  EXPECT_EQ(page.records[0].position, (Position{7, 0}));
  EXPECT_TRUE(bench.log().read({.type = "a.other"}).records.empty());
}

TEST(MemoryLog, RetentionByAgeAndBytes) {
  Bench bench;
  bench.publish(5);
  bench.advance(1h);
  bench.publish(5);
  EXPECT_EQ(bench.log().expired({}, bench.now.wall), 1U);
  EXPECT_EQ(bench.log().expired({.age = 30min}, bench.now.wall), 6U);
  EXPECT_EQ(bench.log().expired({.bytes = 25}, bench.now.wall), 9U);
  bench.log().trim(9);
  EXPECT_EQ(bench.log().bytes(), 20U);
  EXPECT_EQ(bench.log().at(9).id, "evt_9");
}

}  // namespace
}  // namespace tidings::memory
