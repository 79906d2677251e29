// What this process does not handle goes to one that does, and nothing of that counts as an attempt.
#include "aws_recovery.hpp"

namespace tidings::transport {
namespace {

class AwsHandOn : public AwsRecovery {
 protected:
  // What the runtime says of a type that another instance handles.
  static constexpr Millis later{1'000};

  std::optional<Delivery> only(Subscription& subscription) {
    const auto one = fetch(subscription, 1);
    EXPECT_EQ(one.size(), 1U);
    return one.empty() ? std::nullopt : std::optional(one[0]);
  }
  void hand_on(Subscription& subscription) {
    const auto one = only(subscription);
    ASSERT_TRUE(one);
    EXPECT_EQ(settle(subscription, *one, Kind::release, later).code, ErrorCode::ok);
    advance(Millis(2'000));
  }
  support::AwsMessage only_message(const std::string& of = queue) {
    const auto all = stub_.messages(of);
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? support::AwsMessage{} : all.front();
  }
  void send_handed(int times) {
    using Json = support::aws::Json;
    const Json number = Json::object({{"DataType", Json("String")}, {"StringValue", Json(std::to_string(times))}});
    const auto reply = sqs(
        "SendMessage", {{"MessageBody", Json(envelope(1))}, {"MessageAttributes", Json::object({{"handed", number}})}});
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
};

TEST_F(AwsHandOn, HoweverOftenItIsTheFirstAttempt) {
  const auto process = open();
  const auto old = subscribe(), fresh = process->subscribe(interest());
  publish(1);
  for (int i = 0; i < 15; ++i) hand_on(i % 2 == 0 ? *old : *fresh);
  EXPECT_EQ(only_message().receives, 0) << "it is a new message each time";
  EXPECT_EQ(text_of(only_message().attributes, "handed"), "15");
  EXPECT_EQ(text_of(only_message().attributes, "type"), "user.created");
  const auto one = only(*fresh);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->attempt, 1U);
  EXPECT_FALSE(one->alone);
  EXPECT_EQ(one->envelope, envelope(0));
  EXPECT_EQ(settle(*fresh, *one).code, ErrorCode::ok);
  EXPECT_TRUE(stub_.messages(queue).empty());
}

TEST_F(AwsHandOn, WhatFailedBeforeStaysCounted) {
  const auto subscription = subscribe();
  publish(1);
  const auto fails = only(*subscription);
  ASSERT_TRUE(fails);
  EXPECT_EQ(settle(*subscription, *fails, Kind::again).code, ErrorCode::ok);
  hand_on(*subscription);
  hand_on(*subscription);
  const auto one = only(*subscription);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->attempt, 2U);
  EXPECT_EQ(one->origin, Origin::retry);
}

TEST_F(AwsHandOn, TheOldOneIsDeletedWhenTheNewOneIsThereAndNotSentTwice) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = only(*subscription);
  ASSERT_TRUE(one);
  // In each of the rounds of one settlement.
  stub_.fail_entries(
      "DeleteMessageBatch", [](const std::string&, const std::string&) { return true; }, {}, 4);
  const Result undecided = settle(*subscription, *one, Kind::release, later);
  EXPECT_EQ(undecided.code, ErrorCode::unavailable);
  EXPECT_TRUE(undecided.retryable);
  EXPECT_EQ(settle(*subscription, *one, Kind::release, later).code, ErrorCode::ok);
  EXPECT_EQ(text_of(only_message().attributes, "handed"), "1");
}

TEST_F(AwsHandOn, WhoMayNotSendHidesItAndSaysSo) {
  const auto subscription = subscribe(1);
  publish(2);
  stub_.deny("sqs:SendMessage");
  hand_on(*subscription);
  EXPECT_TRUE(told("allow sqs:SendMessage on " + std::string(queue)));
  EXPECT_EQ(stub_.messages(queue).size(), 2U);
  const int tried = stub_.requests("SendMessageBatch");
  hand_on(*subscription);
  EXPECT_EQ(stub_.requests("SendMessageBatch"), tried) << "it is not tried for each one";
}

TEST_F(AwsHandOn, WhatNobodyTakesIsADeadLetter) {
  const auto subscription = subscribe();
  send_handed(64);
  hand_on(*subscription);
  EXPECT_TRUE(stub_.messages(queue).empty());
  const auto dead = only_message(dead_queue);
  EXPECT_EQ(dead.body, envelope(1));
  EXPECT_EQ(text_of(dead.attributes, "reason"), "expired");
  EXPECT_NE(text_of(dead.attributes, "error").find("no instance"), std::string::npos);
}

TEST_F(AwsHandOn, AShelfKnowsWhoIsThereAndItGoesOn) {
  transport_ = open(with_shelf());
  const auto subscription = subscribe();
  send_handed(64);
  hand_on(*subscription);
  EXPECT_EQ(text_of(only_message().attributes, "handed"), "65");
}

TEST_F(AwsHandOn, AGroupMadeByHandNamesNoTypes) {
  GroupChange create;
  create.at.kind = Start::Kind::end;
  transport_->change({stream, "g"}, create);
  publish(1);
  const auto subscription = subscribe(100, {"user.updated"});
  const Batch batch = subscription->fetch(Millis(5'000), {});
  ASSERT_EQ(batch.deliveries.size(), 1U);
  EXPECT_EQ(batch.deliveries[0].type, "user.created");
  ASSERT_TRUE(batch.types);
  EXPECT_EQ(*batch.types, std::vector<std::string>{"user.updated"}) << "or what nobody handles would go round";
  EXPECT_EQ(subscription_attribute("FilterPolicy"), R"({"type":["user.updated"]})");
}

}  // namespace
}  // namespace tidings::transport
