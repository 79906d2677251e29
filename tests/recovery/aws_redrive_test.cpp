// Dead letters that lie in a queue of their own, where no shelf holds them: all of them by a task of AWS, some of them
// by receiving, sending and deleting.
#include <future>
#include <set>

#include "aws_recovery.hpp"

namespace tidings::transport {
namespace {

class AwsRedrive : public AwsRecovery {
 protected:
  static constexpr const char *start_task = "StartMessageMoveTask", *send = "SendMessageBatch";

  // `count` dead letters, the first one `timed_out` and the others `rejected`.
  void bury(std::size_t count) {
    const auto subscription = subscribe();
    publish(static_cast<int>(count));
    const auto all = fetch(*subscription, count);
    ASSERT_EQ(all.size(), count);
    for (const Delivery& each : all) {
      Settlement item;
      item.kind = Kind::dead;
      item.token = each.token;
      item.reason = each.envelope.find("\"evt_0\"") != std::string_view::npos ? "timed_out" : "rejected";
      Result result;
      subscription->settle({&item, 1}, {&result, 1});
      ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
    }
    ASSERT_EQ(count_of(dead_queue), count);
  }
  [[nodiscard]] std::size_t count_of(const char* of) const { return count(State::visible, of); }
  void expect_redriven(std::size_t count) {
    const auto subscription = subscribe();
    const auto again = fetch(*subscription, count);
    ASSERT_EQ(again.size(), count);
    std::set<std::string> ids;
    for (const Delivery& each : again) {
      EXPECT_EQ(each.origin, Origin::redrive);
      EXPECT_EQ(each.attempt, 1U);
      EXPECT_EQ(each.type, "user.created");
      EXPECT_TRUE(ids.emplace(each.envelope).second);
      EXPECT_EQ(settle(*subscription, each).code, ErrorCode::ok);
    }
  }
  // Whoever walks over them waits for a second, on the stand-in's clock, until it believes that there are no more.
  // Which of the receives that wait is its own nobody can tell, so that time goes on until it has ended.
  std::size_t walk(const ShelfQuery& query = {}, ShelfAction action = ShelfAction::hand_out) {
    auto moved = std::async(std::launch::async, [&] { return transport_->move(group_, query, action, {}); });
    while (moved.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) advance(Millis(1'100));
    return moved.get();
  }
  const GroupRef group_{stream, "g"};
};

TEST_F(AwsRedrive, AllOfThemAreMovedByAws) {
  bury(25);
  EXPECT_EQ(transport_->move(group_, {}, ShelfAction::hand_out), 25U);
  EXPECT_EQ(stub_.requests(start_task), 1);
  EXPECT_EQ(count_of(dead_queue), 0U);
  expect_redriven(25);
  EXPECT_EQ(transport_->move(group_, {}, ShelfAction::hand_out), 0U) << "each is moved once";
}

TEST_F(AwsRedrive, TheNamedOnesAreMovedAndNoOthers) {
  bury(25);
  ShelfQuery some;
  some.ids = {"evt_3", "evt_17", "evt_99"};
  EXPECT_EQ(walk(some), 2U);
  expect_redriven(2);
  ShelfQuery late;
  late.reason = "timed_out";
  EXPECT_EQ(walk(late), 1U);
  expect_redriven(1);
  EXPECT_EQ(count_of(dead_queue), 22U) << "whatever was only looked at is there for the next who looks";
  ShelfQuery five;
  five.limit = 5;
  EXPECT_EQ(transport_->move(group_, five, ShelfAction::drop), 5U);
  EXPECT_EQ(count_of(dead_queue), 17U);
  EXPECT_EQ(count_of(queue), 0U);
  EXPECT_EQ(stub_.requests(start_task), 0);
  ShelfQuery waiting;
  waiting.states = {ShelfState::retrying};
  EXPECT_EQ(transport_->move(group_, waiting, ShelfAction::drop), 0U);
}

TEST_F(AwsRedrive, WithoutTheRightToATaskTheyAreSentOneByOne) {
  bury(12);
  stub_.deny("sqs:StartMessageMoveTask");
  EXPECT_EQ(walk(), 12U);
  EXPECT_EQ(count_of(dead_queue), 0U);
  expect_redriven(12);
}

TEST_F(AwsRedrive, WhatCannotBeSentStays) {
  bury(12);
  stub_.deny("sqs:StartMessageMoveTask");
  stub_.deny("sqs:SendMessage", stub_.queue_arn(queue));
  EXPECT_THROW((void)transport_->move(group_, {}, ShelfAction::hand_out), Error);
  EXPECT_EQ(count_of(dead_queue), 12U) << "and can be seen by whoever tries again";
  stub_.allow("sqs:SendMessage", stub_.queue_arn(queue));
  stub_.fail_entries(send, std::vector<std::string>{"0"}, {false, "InternalError", "told to"}, 1);
  EXPECT_EQ(walk(), 12U);
  expect_redriven(12);
}

// Who handles them meanwhile gives them up again at once: they were handed out, and lie there again.
TEST_F(AwsRedrive, WhatComesBackMeanwhileIsNotHandedOutAgain) {
  bury(5);
  const auto subscription = subscribe();
  stub_.deny("sqs:StartMessageMoveTask");
  auto moved = std::async(std::launch::async, [&] { return transport_->move(group_, {}, ShelfAction::hand_out, {}); });
  std::size_t buried = 0;
  while (moved.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    for (const Delivery& each : subscription->fetch(Millis(50), {}).deliveries) {
      EXPECT_EQ(settle(*subscription, each, buried < 50 ? Kind::dead : Kind::done).code, ErrorCode::ok);
      ++buried;
    }
    advance(Millis(300));
  }
  EXPECT_EQ(moved.get(), 5U);
}

// It comes once more when somebody tries again, which whoever asked must know.
TEST_F(AwsRedrive, WhatCannotBeDeletedIsTold) {
  bury(1);
  stub_.fail_entries("DeleteMessageBatch", std::vector<std::string>{"0"}, {false, "InternalError", "told to"}, 1);
  ShelfQuery first;
  first.ids = {"evt_0"};
  first.limit = 1;
  try {
    (void)transport_->move(group_, first, ShelfAction::hand_out, {});
    ADD_FAILURE() << "nothing was told";
  } catch (const Error& error) {
    EXPECT_TRUE(error.retryable());
    EXPECT_NE(std::string(error.what()).find("still there"), std::string::npos) << error.what();
  }
  EXPECT_EQ(stub_.messages(dead_queue).size(), 1U);
  expect_redriven(1);
}

// A console that polls hides them for a moment; they are held all the same.
TEST_F(AwsRedrive, WhatSomebodyLooksAtCounts) {
  bury(2);
  using Json = support::aws::Json;
  ASSERT_EQ(sqs("ReceiveMessage", {{"MaxNumberOfMessages", Json(10)}}, dead_queue).status, 200);
  EXPECT_EQ(transport_->describe(stream).at(0).groups.at(0).dead_letters, 2U);
  GroupChange remove;
  remove.kind = GroupChange::Kind::remove;
  EXPECT_THROW(transport_->change(group_, remove), Error);
}

TEST_F(AwsRedrive, AQueueOfDeadLettersThatIsGoneIsMadeAgain) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  ASSERT_EQ(sqs("DeleteQueue", {}, dead_queue).status, 200);
  advance(Millis(61'000 - 45'000));
  EXPECT_TRUE(subscription->renew().empty());
  advance(Millis(61'000 - 16'000 - 20'000));
  EXPECT_TRUE(subscription->renew().empty());
  advance(Millis(20'500));
  const Result first = settle(*subscription, one[0], Kind::dead);
  EXPECT_TRUE(first.retryable) << first.message;
  EXPECT_EQ(settle(*subscription, one[0], Kind::dead).code, ErrorCode::ok);
  EXPECT_EQ(count_of(dead_queue), 1U);
}

TEST_F(AwsRedrive, ACorrectionNeedsAShelf) {
  bury(1);
  try {
    (void)transport_->move(group_, {}, ShelfAction::replace, {.id = "evt_9", .type = "user.created"});
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(error.what()).find("shelf=URL"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tidings::transport
