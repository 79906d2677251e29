#include "runtime/delivery.hpp"

#include <gtest/gtest.h>

#include "runtime/lanes.hpp"

namespace tidings::runtime {
namespace {

using Kind = transport::Settlement::Kind;

TEST(RuntimeDelivery, ReturnedIsDoneAndUnhandledIsIgnored) {
  EXPECT_EQ(decide(Ending::returned, 1, {}, {}, 0).kind, Kind::done);
  EXPECT_EQ(decide(Ending::ignored, 1, {}, {}, 0).kind, Kind::ignored);
}

TEST(RuntimeDelivery, AFailureComesBackUntilTheLastAttempt) {
  const HandlerOptions policy{.max_attempts = 3};
  EXPECT_EQ(decide(Ending::failed, 1, {}, policy, 0).kind, Kind::again);
  EXPECT_EQ(decide(Ending::failed, 2, {}, policy, 0).kind, Kind::again);
  const Verdict last = decide(Ending::failed, 3, {}, policy, 0);
  EXPECT_EQ(last.kind, Kind::dead);
  EXPECT_EQ(last.reason, "attempts_exhausted");
  EXPECT_TRUE(last.counted);
}

TEST(RuntimeDelivery, TheLastAttemptThatTimesOutNamesTheTime) {
  EXPECT_EQ(decide(Ending::timed_out, 1, {}, {.max_attempts = 2}, 0).kind, Kind::again);
  EXPECT_EQ(decide(Ending::timed_out, 2, {}, {.max_attempts = 2}, 0).reason, "timed_out");
}

TEST(RuntimeDelivery, AgainWaitsAsAskedAndCountsAllTheSame) {
  const Verdict verdict = decide(Ending::again, 1, Millis(30'000), {.max_attempts = 2}, 7);
  EXPECT_EQ(verdict.kind, Kind::again);
  EXPECT_EQ(verdict.after, Millis(30'000));
  EXPECT_EQ(decide(Ending::again, 2, Millis(30'000), {.max_attempts = 2}, 7).reason, "attempts_exhausted");
}

TEST(RuntimeDelivery, WhatCannotSucceedDiesAtOnce) {
  EXPECT_EQ(decide(Ending::rejected, 1, {}, {}, 0).reason, "rejected");
  EXPECT_TRUE(decide(Ending::rejected, 1, {}, {}, 0).counted);
  for (const auto& [ending, reason] :
       {std::pair(Ending::undecodable, "undecodable"), std::pair(Ending::unsupported, "unsupported_version"),
        std::pair(Ending::crashed, "crashed")}) {
    const Verdict verdict = decide(ending, 1, {}, {}, 0);
    EXPECT_EQ(verdict.kind, Kind::dead);
    EXPECT_EQ(verdict.reason, reason);
    EXPECT_FALSE(verdict.counted) << "no handler was called";
  }
}

TEST(RuntimeDelivery, WhatAnotherInstanceHandlesGoesBackWithADelay) {
  for (std::uint64_t random : {0ULL, 1ULL, 500ULL, ~0ULL}) {
    const Verdict verdict = decide(Ending::elsewhere, 1, {}, {}, random);
    EXPECT_EQ(verdict.kind, Kind::release);
    EXPECT_GE(verdict.after, Millis(500));
    EXPECT_LE(verdict.after, Millis(1500));
  }
}

TEST(RuntimeDelivery, BackoffDoublesUpToTheLongest) {
  const Backoff plain{.first = Millis(1000), .longest = Millis(10'000), .jitter = false};
  EXPECT_EQ(backoff_delay(plain, 1, 0), Millis(1000));
  EXPECT_EQ(backoff_delay(plain, 2, 0), Millis(2000));
  EXPECT_EQ(backoff_delay(plain, 4, 0), Millis(8000));
  EXPECT_EQ(backoff_delay(plain, 5, 0), Millis(10'000));
  EXPECT_EQ(backoff_delay(plain, 4'000'000'000U, 0), Millis(10'000));
  EXPECT_EQ(backoff_delay({.first = Millis(0), .jitter = false}, 50, 0), Millis(0));
}

TEST(RuntimeDelivery, FullJitterReachesFromNothingToTheWhole) {
  const Backoff jittered{.first = Millis(1000), .longest = Millis(10'000)};
  EXPECT_EQ(backoff_delay(jittered, 1, 0), Millis(0));
  EXPECT_EQ(backoff_delay(jittered, 1, 1000), Millis(1000));
  EXPECT_EQ(backoff_delay(jittered, 1, 1001), Millis(0));
}

TEST(RuntimeDelivery, ReconnectingIsNeverAHotLoop) {
  for (std::uint32_t failures : {1U, 2U, 5U, 100U}) {
    for (std::uint64_t random : {0ULL, 17ULL, ~0ULL}) {
      EXPECT_GE(reconnect_delay(failures, random), Millis(50));
      EXPECT_LE(reconnect_delay(failures, random), Millis(5'000));
    }
  }
  EXPECT_GE(reconnect_delay(100, 0), Millis(2'500));
}

TEST(RuntimeDelivery, MajorVersionsAreComparedAsNumbers) {
  EXPECT_TRUE(version_supported("1.0", "1.7"));
  EXPECT_TRUE(version_supported("2.0", "1.9"));
  EXPECT_FALSE(version_supported("1.0", "2.0"));
  EXPECT_FALSE(version_supported("9.0", "10.0"));
  EXPECT_TRUE(version_supported("10.0", "9.0"));
  EXPECT_TRUE(version_supported("1", "001.5"));
  EXPECT_FALSE(version_supported("1.0", "99999999999999999999.0"));
  EXPECT_FALSE(version_supported("1.0", "beta"));
  EXPECT_TRUE(version_supported("beta.1", "beta.2"));
  EXPECT_TRUE(version_supported("", "anything"));
}

transport::Delivery numbered(std::uint64_t number, bool alone = false) {
  transport::Delivery delivery;
  delivery.token = {.lease = number};
  delivery.alone = alone;
  return delivery;
}

class RuntimeLanes : public ::testing::Test {
 protected:
  HandlerTable table() {
    HandlerTable handlers;
    Handler one, two, batch;
    one.stream = two.stream = batch.stream = "events:a";
    one.type = "a.one";
    one.options.concurrency = 1;
    two.type = "a.two";
    batch.type = "a.batch";
    batch.batch = [](detail::BatchCall&) {};
    batch.batch_size = 3;
    batch.batch_wait = Millis(50);
    handlers.add(std::move(one));
    handlers.add(std::move(two));
    handlers.add(std::move(batch));
    return handlers;
  }
  std::vector<std::uint64_t> take(Lanes& lanes, std::size_t lane, std::size_t most = 100) {
    std::vector<transport::Delivery> out;
    lanes.take(lane, most, out);
    std::vector<std::uint64_t> numbers;
    for (const auto& delivery : out) numbers.push_back(delivery.token.lease);
    return numbers;
  }
  HandlerTable handlers_ = table();
};

TEST_F(RuntimeLanes, AHandlerAtItsLimitHoldsUpNobodyElse) {
  Lanes lanes(handlers_, 4);
  lanes.push(1, numbered(1), {});
  lanes.push(1, numbered(2), {});
  lanes.push(2, numbered(3), {});
  ASSERT_EQ(lanes.next({}, false), 1U);
  EXPECT_EQ(take(lanes, 1), std::vector<std::uint64_t>{1});
  ASSERT_EQ(lanes.next({}, false), 2U) << "handler 1 is at its limit of one";
  EXPECT_EQ(take(lanes, 2), std::vector<std::uint64_t>{3});
  EXPECT_FALSE(lanes.next({}, false));
  lanes.finished(1);
  EXPECT_EQ(lanes.next({}, false), 1U);
}

TEST_F(RuntimeLanes, WhatKilledAProcessRunsWithNothingBesideIt) {
  Lanes lanes(handlers_, 4);
  lanes.push(2, numbered(1), {});
  lanes.push(2, numbered(2, true), {});
  lanes.push(2, numbered(3), {});
  EXPECT_EQ(take(lanes, *lanes.next({}, false)), std::vector<std::uint64_t>{1});
  EXPECT_FALSE(lanes.next({}, false)) << "the first one still runs";
  lanes.finished(2);
  EXPECT_EQ(take(lanes, *lanes.next({}, false)), std::vector<std::uint64_t>{2});
  EXPECT_FALSE(lanes.next({}, false)) << "nothing beside it";
  lanes.finished(2);
  EXPECT_EQ(take(lanes, *lanes.next({}, false)), std::vector<std::uint64_t>{3});
}

TEST_F(RuntimeLanes, ABatchWaitsToFillAndNoLonger) {
  Lanes lanes(handlers_, 1);
  lanes.push(3, numbered(1), Millis(100));
  EXPECT_FALSE(lanes.next(Millis(149), false));
  EXPECT_EQ(lanes.ready_at(), Steady(Millis(150)));
  EXPECT_EQ(lanes.next(Millis(150), false), 3U);
  lanes.push(3, numbered(2), Millis(100));
  lanes.push(3, numbered(3), Millis(100));
  lanes.push(3, numbered(4), Millis(100));
  ASSERT_EQ(lanes.next(Millis(101), false), 3U) << "full";
  EXPECT_EQ(take(lanes, 3, 2), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(RuntimeLanes, ClearKeepsTheOrderAndDropForgetsWhatWasLost) {
  Lanes lanes(handlers_, 1);
  for (std::uint64_t i = 1; i <= 6; ++i) lanes.push(1 + i % 2, numbered(i), {});
  const transport::AckToken lost[] = {{.lease = 2}, {.lease = 5}, {.lease = 77}};
  EXPECT_EQ(lanes.drop(lost), 2U);
  std::vector<transport::Delivery> rest;
  lanes.clear(rest);
  std::vector<std::uint64_t> numbers;
  for (const auto& delivery : rest) numbers.push_back(delivery.token.lease);
  EXPECT_EQ(numbers, (std::vector<std::uint64_t>{1, 3, 4, 6}));
  EXPECT_TRUE(lanes.empty());
}

TEST_F(RuntimeLanes, ARunIsWhatArrivedInARowAndItsRestGoesBackToTheFront) {
  Lanes lanes(handlers_, 1);
  for (std::uint64_t i = 1; i <= 5; ++i) lanes.push(1, numbered(i), {});
  lanes.push(2, numbered(6), {});
  lanes.push(1, numbered(7), {});
  std::vector<transport::Delivery> run;
  lanes.take_run(1, 16, run);
  ASSERT_EQ(run.size(), 5U) << "6 came between";
  lanes.put_back(1, std::span(run).subspan(2), {});
  lanes.finished(1);
  ASSERT_EQ(lanes.next({}, false), 1U);
  EXPECT_EQ(lanes.size(), 5U);
  run.clear();
  lanes.take_run(1, 2, run);
  ASSERT_EQ(run.size(), 2U);
  EXPECT_EQ(run[0].token.lease, 3U);
  // With more to go back than there are free places in front.
  run.insert(run.begin(), {numbered(1), numbered(2)});
  lanes.put_back(1, run, {});
  lanes.finished(1);
  std::vector<transport::Delivery> rest;
  lanes.clear(rest);
  std::vector<std::uint64_t> numbers;
  for (const auto& delivery : rest) numbers.push_back(delivery.token.lease);
  EXPECT_EQ(numbers, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7}));
}

TEST_F(RuntimeLanes, ASecondHandlerOfATypeIsRefused) {
  Handler again;
  again.stream = "events:a";
  again.type = "a.one";
  EXPECT_THROW(handlers_.add(std::move(again)), Error);
}

}  // namespace
}  // namespace tidings::runtime
