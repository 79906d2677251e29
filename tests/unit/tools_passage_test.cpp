// What a bridge may publish and settle next.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/tidings/echo.hpp"
#include "tools/tidings/passage.hpp"

namespace tidings::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using transport::Result;

const Result stored{}, later{.code = ErrorCode::unavailable, .retryable = true, .message = "down"};
const Result refused{.code = ErrorCode::too_large, .message = "large"};

std::vector<Passage::Item> events(std::uint64_t first, std::size_t count) {
  std::vector<Passage::Item> items;
  for (std::size_t i = 0; i < count; ++i) items.push_back({.place = {0, {first + i, 0}}});
  return items;
}

std::vector<std::size_t> settled(Passage& passage) {
  std::vector<std::size_t> items;
  for (const Passage::Verdict& verdict : passage.settle()) {
    passage.settled(verdict.item);
    items.push_back(verdict.item);
  }
  return items;
}

TEST(Passage, NothingIsSettledBeforeItIsStored) {
  Passage passage;
  passage.begin(events(1, 3));
  EXPECT_THAT(passage.settle(), IsEmpty());
  const auto next = passage.publish(10);
  EXPECT_THAT(next, ElementsAre(0, 1, 2));
  EXPECT_THAT(passage.settle(), IsEmpty());
  const auto answer = passage.published(next, std::vector<Result>{stored, later, later});
  EXPECT_TRUE(answer.again);
  EXPECT_EQ(answer.why, "down");
  EXPECT_THAT(settled(passage), ElementsAre(0));
  EXPECT_FALSE(passage.finished());
  EXPECT_THAT(passage.publish(10), ElementsAre(1, 2)) << "in their order";
}

TEST(Passage, EachIsSettledOnce) {
  Passage passage;
  passage.begin(events(1, 2));
  (void)passage.published(passage.publish(10), std::vector<Result>{stored, stored});
  EXPECT_THAT(settled(passage), ElementsAre(0, 1));
  EXPECT_THAT(passage.settle(), IsEmpty());
  EXPECT_TRUE(passage.finished());
  EXPECT_EQ(passage.moved(), 2U);
  EXPECT_EQ(passage.repeated(), 0U);
}

TEST(Passage, ALimitTakesTheFirst) {
  Passage passage;
  passage.begin(events(1, 5));
  EXPECT_THAT(passage.publish(2), ElementsAre(0, 1));
  EXPECT_THAT(passage.publish(0), IsEmpty());
}

TEST(Passage, WhatIsNoEventIsPutAsideUnpublished) {
  Passage passage;
  auto items = events(1, 3);
  items[1].fault = "not JSON";
  passage.begin(items);
  const auto next = passage.publish(10);
  EXPECT_THAT(next, ElementsAre(0, 2));
  const auto verdicts = passage.settle();
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_TRUE(verdicts[0].dead);
  EXPECT_EQ(verdicts[0].reason, "undecodable");
  EXPECT_EQ(verdicts[0].error, "not JSON");
  EXPECT_EQ(passage.dead(), 1U);
}

TEST(Passage, WhatTheTargetRefusesForGoodIsPutAsideAndTheOthersGoOn) {
  Passage passage;
  passage.begin(events(1, 3));
  const auto answer = passage.published(passage.publish(10), std::vector<Result>{refused, later, stored});
  EXPECT_EQ(answer.aside, 1U);
  EXPECT_EQ(answer.fatal, ErrorCode::ok);
  const auto verdicts = passage.settle();
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_EQ(verdicts[0].reason, "rejected");
  EXPECT_FALSE(verdicts[1].dead);
  EXPECT_THAT(passage.publish(10), ElementsAre(1));
}

TEST(Passage, WhatNoEventIsToBlameForIsFatalAndSettlesNothing) {
  Passage passage;
  passage.begin(events(1, 2));
  const Result denied{.code = ErrorCode::unauthorized, .message = "no"};
  const auto answer = passage.published(passage.publish(10), std::vector<Result>{denied, denied});
  EXPECT_EQ(answer.fatal, ErrorCode::unauthorized);
  EXPECT_EQ(answer.why, "no");
  EXPECT_THAT(passage.settle(), IsEmpty());
}

TEST(Passage, WhatIsStoredButWasNotSettledIsOnlySettledWhenItComesAgain) {
  Passage passage;
  passage.begin(events(1, 2));
  (void)passage.published(passage.publish(10), std::vector<Result>{stored, stored});
  (void)passage.settle();  // The source did not answer: settled() is not called.
  passage.keep_only({{0, {2, 0}}});
  EXPECT_FALSE(passage.is_stored({0, {1, 0}}));
  passage.begin(events(2, 2));
  EXPECT_THAT(passage.publish(10), ElementsAre(1));
  EXPECT_THAT(settled(passage), ElementsAre(0));
  EXPECT_FALSE(passage.is_stored({0, {2, 0}}));
  EXPECT_EQ(passage.moved(), 2U);
}

TEST(Passage, PlacesOfSeveralStreamsAreDifferent) {
  Passage passage;
  passage.remember({0, {7, 0}});
  EXPECT_TRUE(passage.is_stored({0, {7, 0}}));
  EXPECT_FALSE(passage.is_stored({1, {7, 0}}));
  passage.remember({0, {}});
  EXPECT_FALSE(passage.is_stored({0, {}})) << "no place is none to be known by";
}

TEST(Passage, ARepeatWithoutAnAnswerIsCounted) {
  Passage passage;
  passage.begin(events(1, 3));
  passage.unknown(passage.publish(1));
  const Result ambiguous{.ambiguous = true};
  (void)passage.published(passage.publish(10), std::vector<Result>{stored, ambiguous, stored});
  EXPECT_EQ(passage.repeated(), 2U);
  EXPECT_EQ(passage.moved(), 3U);
}

TEST(Passage, WhatIsKnownIsSettledUnpublished) {
  Passage passage;
  passage.begin({{.place = {0, {1, 0}}, .known = true}, {.place = {0, {2, 0}}}});
  EXPECT_THAT(passage.publish(10), ElementsAre(1));
  EXPECT_THAT(settled(passage), ElementsAre(0));
  EXPECT_EQ(passage.moved(), 0U);
}

TEST(Passage, ManyRefusalsInARowAreTheTargetsFault) {
  Passage passage;
  const std::size_t most = Passage::brake;
  passage.begin(events(1, most - 1));
  const auto few = passage.published(passage.publish(most), std::vector<Result>(most - 1, refused));
  EXPECT_EQ(few.fatal, ErrorCode::ok);
  EXPECT_EQ(settled(passage).size(), most - 1);
  passage.begin(events(most, 2));
  const auto last = passage.published(passage.publish(2), std::vector<Result>{refused, refused});
  EXPECT_EQ(last.fatal, ErrorCode::too_large);
  EXPECT_EQ(last.aside, 0U);
  EXPECT_THAT(settled(passage), IsEmpty()) << "they stay where they are";
}

TEST(Passage, OneThatIsStoredEndsARowOfRefusals) {
  Passage passage;
  for (int round = 0; round < 3; ++round) {
    passage.begin(events(1, Passage::brake));
    std::vector<Result> results(Passage::brake, refused);
    results.back() = stored;
    EXPECT_EQ(passage.published(passage.publish(Passage::brake), results).fatal, ErrorCode::ok);
    EXPECT_EQ(settled(passage).size(), Passage::brake);
  }
  EXPECT_EQ(passage.dead(), 3 * (Passage::brake - 1));
}

TEST(Echo, WhatStandsElsewhereHasComeBack) {
  Echo echo;
  const auto mark = Echo::mark_of("{}");
  echo.remember(mark, {0, {1, 0}});
  EXPECT_FALSE(echo.came_back(mark, {0, {1, 0}})) << "an operator has sought back";
  EXPECT_TRUE(echo.came_back(mark, {0, {9, 0}}));
  EXPECT_TRUE(echo.came_back(mark, {})) << "it is stored on the target, whatever brought it here again";
  EXPECT_FALSE(echo.came_back(Echo::mark_of("[]"), {0, {9, 0}}));
}

TEST(Echo, KnowsTheLastOnesAndSomeOfAllBefore) {
  constexpr std::uint64_t most = 1'000, all = 50 * most;
  Echo echo(most);
  const auto mark = [](std::uint64_t n) { return Echo::mark_of("event " + std::to_string(n)); };
  for (std::uint64_t n = 0; n < all; ++n) echo.remember(mark(n), {0, {n, 1}});
  std::uint64_t old = 0, last = 0;
  for (std::uint64_t n = 0; n < all; ++n) (n < all - most ? old : last) += echo.came_back(mark(n), {0, {n, 2}}) ? 1 : 0;
  EXPECT_EQ(last, most);
  EXPECT_GT(old, most / 4);
  EXPECT_LE(old, 3 * most);
}

}  // namespace
}  // namespace tidings::cli
