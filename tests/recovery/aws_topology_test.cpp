// What is made and mended on AWS, and what a shelf adds: each rule on a strict stand-in.
#include <gtest/gtest-spi.h>

#include <future>
#include <set>
#include <thread>

#include "aws_recovery.hpp"
#include "support/loopback_guard.hpp"
#include "support/redis_server.hpp"

namespace tidings::transport {
namespace {

class AwsTopology : public AwsRecovery {
 protected:
  static Error refusal(const std::function<void()>& step) {
    try {
      step();
    } catch (const Error& error) {
      return error;
    }
    return {ErrorCode::ok, "nothing was refused"};
  }
};
class AwsShelf : public AwsTopology {};

TEST_F(AwsTopology, LimitsAndRetentionLeaveRoom) {
  (void)subscribe();
  EXPECT_NE(attribute(queue, "RedrivePolicy").find("\"maxReceiveCount\":1000"), std::string::npos);
  EXPECT_EQ(attribute(queue, "MessageRetentionPeriod"), "345600");
  EXPECT_EQ(attribute(dead_queue, "MessageRetentionPeriod"), "1209600");
  EXPECT_EQ(subscription_attribute("RawMessageDelivery"), "true");
  EXPECT_NE(subscription_attribute("RedrivePolicy").find(stub_.queue_arn(dead_queue)), std::string::npos);
}

TEST_F(AwsTopology, APolicyOfOthersIsKept) {
  (void)subscribe();
  const std::string foreign =
      R"({"Version":"2012-10-17","Statement":[{"Sid":"Audit","Effect":"Allow","Principal":"*","Action":"sqs:GetQueueAttributes","Resource":")" +
      stub_.queue_arn(queue) + R"("}]})";
  set_queue(queue, "Policy", foreign);
  (void)open()->subscribe(interest());
  const std::string merged = attribute(queue, "Policy");
  EXPECT_NE(merged.find("Audit"), std::string::npos) << merged;
  EXPECT_NE(merged.find("sns.amazonaws.com"), std::string::npos) << merged;
  EXPECT_TRUE(told("may not send to"));
  publish(1);
  EXPECT_EQ(stub_.messages(queue).size(), 1U);
  EXPECT_EQ(stub_.undelivered(), 0);
}

TEST_F(AwsTopology, ALowLimitIsRaisedAndAnothersTargetIsLeft) {
  (void)subscribe();
  set_queue(queue, "RedrivePolicy",
            R"({"deadLetterTargetArn":")" + stub_.queue_arn(dead_queue) + R"(","maxReceiveCount":3})");
  (void)open()->subscribe(interest());
  EXPECT_NE(attribute(queue, "RedrivePolicy").find("1000"), std::string::npos);
  EXPECT_TRUE(told("gives up after 3 receives"));
  const auto made = other_.sqs("CreateQueue", support::aws::Json::object({{"QueueName", "theirs"}}));
  ASSERT_EQ(made.status, 200);
  const std::string theirs = R"({"deadLetterTargetArn":")" + stub_.queue_arn("theirs") + R"(","maxReceiveCount":"5"})";
  set_queue(queue, "RedrivePolicy", theirs);
  (void)open()->subscribe(interest());
  EXPECT_NE(attribute(queue, "RedrivePolicy").find("theirs"), std::string::npos) << "never clobbered";
  EXPECT_TRUE(told("which somebody else set"));
}

TEST_F(AwsTopology, WhatTheQueueRefusesLiesInTheDeadLetters) {
  (void)subscribe();
  EXPECT_FALSE(told("may not send to")) << "what was just made is not told";
  set_queue(queue, "Policy", "");
  publish(1);
  EXPECT_EQ(stub_.messages(dead_queue).size(), 1U);
  EXPECT_EQ(stub_.undelivered(), 0) << "SNS drops what the dead letters' queue does not take either";
}

TEST_F(AwsTopology, ADeadLetterQueueThatRefusesTheTopicIsMended) {
  (void)subscribe();
  set_queue(dead_queue, "Policy", "");
  const auto row = [&] {
    for (const Check& each : transport_->diagnose()) {
      if (each.check == std::string("policy of ") + dead_queue) return each.ok;
    }
    return ADD_FAILURE() << "the doctor does not look", false;
  };
  EXPECT_FALSE(row());
  (void)open()->subscribe(interest());
  EXPECT_TRUE(row());
  EXPECT_TRUE(told(std::string("may not send to ") + dead_queue));
}

TEST_F(AwsTopology, TheDoctorSaysNothingGoodOfWhatDoesNotAnswer) {
  const auto away = open_transport("aws://eu-west-1?prefix=t&endpoint=http://127.0.0.1:1", environment_);
  const Error unreached = refusal([&] { (void)away->diagnose(); });
  EXPECT_EQ(unreached.code(), ErrorCode::unavailable);
  EXPECT_NE(std::string(unreached.what()).find("check the endpoint"), std::string::npos) << unreached.what();
}

TEST_F(AwsTopology, ASubscriptionThatDropsIsMended) {
  (void)subscribe();
  set_subscription("RedrivePolicy", "");
  (void)open()->subscribe(interest());
  EXPECT_NE(subscription_attribute("RedrivePolicy").find(stub_.queue_arn(dead_queue)), std::string::npos);
  EXPECT_TRUE(told("drops what cannot be delivered"));
}

TEST_F(AwsTopology, ATopicMaySendBeforeItIsAskedTo) {
  stub_.delay("Subscribe");  // It is subscribed, and whoever asked does not know.
  auto joining = std::async(std::launch::async, [this] { return subscribe(); });
  EXPECT_TRUE(stub_.await_held("Subscribe", 1));
  publish(1);
  EXPECT_EQ(stub_.messages(queue).size(), 1U);
  EXPECT_EQ(stub_.undelivered(), 0) << "SNS drops what the queue does not take, and tries nothing again";
  stub_.release("Subscribe");
  EXPECT_NE(joining.get(), nullptr);
}

// AWS refuses to make once more what is there with other attributes.
TEST_F(AwsTopology, WhatOthersMadeOtherwiseIsJoined) {
  using Json = support::aws::Json;
  ASSERT_EQ(
      other_
          .sns("CreateTopic",
               {{"Name", topic}, {"Attributes.entry.1.key", "DisplayName"}, {"Attributes.entry.1.value", "Theirs"}})
          .status,
      200);
  for (const char* name : {queue, dead_queue}) {
    const Json others = Json::object({{"VisibilityTimeout", "77"}, {"MessageRetentionPeriod", "60000"}});
    ASSERT_EQ(other_.sqs("CreateQueue", Json::object({{"QueueName", name}, {"Attributes", others}})).status, 200);
  }
  ASSERT_EQ(other_
                .sns("Subscribe",
                     {{"TopicArn", stub_.topic_arn(topic)}, {"Protocol", "sqs"}, {"Endpoint", stub_.queue_arn(queue)}})
                .status,
            200);
  const Error refused = refusal([&] { (void)subscribe(); });
  EXPECT_EQ(refused.code(), ErrorCode::ok) << refused.what();
  EXPECT_EQ(attribute(queue, "VisibilityTimeout"), "77") << "what somebody chose stays";
  EXPECT_EQ(attribute(queue, "MessageRetentionPeriod"), "60000");
  publish(1);
  EXPECT_EQ(stub_.messages(queue).size(), 1U);
}

TEST_F(AwsTopology, AQueueThatAnotherMakesMeanwhileIsJoined) {
  using Json = support::aws::Json;
  stub_.delay("GetQueueUrl");  // There was none when this one looked.
  auto joining = std::async(std::launch::async, [this] { return refusal([&] { (void)subscribe(); }); });
  EXPECT_TRUE(stub_.await_held("GetQueueUrl", 1));
  const Json others = Json::object({{"MessageRetentionPeriod", "60000"}});
  EXPECT_EQ(other_.sqs("CreateQueue", Json::object({{"QueueName", dead_queue}, {"Attributes", others}})).status, 200);
  stub_.release("GetQueueUrl");
  const Error refused = joining.get();
  EXPECT_EQ(refused.code(), ErrorCode::ok) << refused.what();
}

TEST_F(AwsTopology, ASubscriptionThatAnotherMakesMeanwhileIsMended) {
  stub_.delay("ListSubscriptionsByTopic");
  auto joining =
      std::async(std::launch::async, [this] { return refusal([&] { (void)subscribe(1, {"user.created"}); }); });
  EXPECT_TRUE(stub_.await_held("ListSubscriptionsByTopic", 1));
  EXPECT_EQ(other_
                .sns("Subscribe", {{"TopicArn", stub_.topic_arn(topic)},
                                   {"Protocol", "sqs"},
                                   {"Endpoint", stub_.queue_arn(queue)},
                                   {"Attributes.entry.1.key", "FilterPolicy"},
                                   {"Attributes.entry.1.value", R"({"type":["user.deleted"]})"}})
                .status,
            200);
  stub_.release("ListSubscriptionsByTopic");
  const Error refused = joining.get();
  EXPECT_EQ(refused.code(), ErrorCode::ok) << refused.what();
  EXPECT_EQ(subscription_attribute("FilterPolicy"), R"({"type":["user.created","user.deleted"]})");
  EXPECT_NE(subscription_attribute("RedrivePolicy").find(stub_.queue_arn(dead_queue)), std::string::npos);
}

// SQS has no peek: whoever looks by receiving hides messages from their consumers, and counts as an attempt.
TEST_F(AwsTopology, LookingReceivesNothing) {
  transport_ = open(with_shelf());
  (void)subscribe();
  publish(2);
  EXPECT_EQ(transport_->describe("").at(0).groups.at(0).lag, 2U);
  (void)transport_->shelf({stream, "g"}, {});
  EXPECT_EQ(stub_.requests("ReceiveMessage"), 0);
}

TEST_F(AwsTopology, FiltersAreWidenedToTheUnion) {
  (void)subscribe(10, {"user.created"});
  (void)open()->subscribe(interest(10, {"user.deleted"}));
  const std::string filter = subscription_attribute("FilterPolicy");
  EXPECT_NE(filter.find("user.created"), std::string::npos) << filter;
  EXPECT_NE(filter.find("user.deleted"), std::string::npos) << filter;
  set_subscription("FilterPolicy", R"({"tenant":["a"]})");
  (void)open()->subscribe(interest(10, {"user.created"}));
  EXPECT_EQ(subscription_attribute("FilterPolicy"), R"({"tenant":["a"]})") << "somebody else wrote it";
  EXPECT_TRUE(told("a filter that somebody else wrote"));
}

TEST_F(AwsTopology, AFilterThatARaceNarrowedIsWidenedAgain) {
  const auto subscription = subscribe(10, {"user.created"});
  set_subscription("FilterPolicy", R"({"type":["user.deleted"]})");  // As one does that read it before we wrote.
  advance(Millis(16'000));
  (void)subscription->fetch(Millis(0), {});
  const std::string filter = subscription_attribute("FilterPolicy");
  EXPECT_NE(filter.find("user.created"), std::string::npos) << filter;
  EXPECT_NE(filter.find("user.deleted"), std::string::npos) << filter;
}

TEST_F(AwsTopology, MoreTypesThanAFilterTakesAreAllTypesAndStaySo) {
  std::vector<std::string> many;
  for (int i = 0; i < 151; ++i) many.push_back("user.t" + std::to_string(i));
  (void)subscribe(10, many);
  (void)open()->subscribe(interest(10, {"user.created"}));
  const std::string filter = subscription_attribute("FilterPolicy");
  EXPECT_TRUE(filter.empty() || filter == "{}") << "the others' types must still come: " << filter;
}

TEST_F(AwsTopology, CheckMakesNothingAndNamesWhatIsMissing) {
  const auto checking = open("&topology=check");
  const Error missing = refusal([&] { (void)checking->subscribe(interest()); });
  EXPECT_EQ(missing.code(), ErrorCode::not_found);
  EXPECT_NE(std::string(missing.what()).find(dead_queue), std::string::npos) << missing.what();
  EXPECT_TRUE(stub_.queues().empty());
  (void)subscribe();
  EXPECT_EQ(refusal([&] { (void)checking->subscribe(interest()); }).code(), ErrorCode::ok);
  set_queue(queue, "Policy", "");
  const Error differs = refusal([&] { (void)checking->subscribe(interest()); });
  EXPECT_EQ(differs.code(), ErrorCode::conflict);
  EXPECT_EQ(attribute(queue, "Policy"), "");
}

TEST_F(AwsTopology, NoneLooksAtNothing) {
  (void)subscribe();
  set_queue(queue, "Policy", "");
  (void)open("&topology=none&account=" + stub_.account())->subscribe(interest());
  EXPECT_EQ(attribute(queue, "Policy"), "");
}

TEST_F(AwsTopology, ANameThatIsNotFreeYetIsWaitedFor) {
  (void)subscribe();
  ASSERT_EQ(sqs("DeleteQueue", {}).status, 200);
  const Error early = refusal([&] { (void)subscribe(); });
  EXPECT_TRUE(early.retryable()) << "a service waits and tries again: " << early.what();
  EXPECT_NE(std::string(early.what()).find("60"), std::string::npos) << early.what();
  advance(Millis(61'000));
  EXPECT_EQ(refusal([&] { (void)subscribe(); }).code(), ErrorCode::ok);
}

TEST_F(AwsTopology, ACommandHasOneOwner) {
  auto mail = interest();
  mail.streams = {"commands:send.email"};
  mail.service = "mail";
  const auto owner = transport_->subscribe(mail);
  mail.service = "other";
  const Error second = refusal([&] { (void)open()->subscribe(mail); });
  EXPECT_EQ(second.code(), ErrorCode::conflict);
  EXPECT_NE(std::string(second.what()).find("belongs to the service mail"), std::string::npos) << second.what();
}

TEST_F(AwsTopology, OfTwoServicesAtOnceOneOwnsTheCommand) {
  for (int round = 0; round < 10; ++round) {
    std::vector<std::future<ErrorCode>> all;
    for (const char* name : {"one", "two"}) {
      all.push_back(std::async(std::launch::async, [this, name, round] {
        auto mine = interest();
        mine.service = name;
        mine.streams = {"commands:send.n" + std::to_string(round)};
        return refusal([&] { (void)open()->subscribe(mine); }).code();
      }));
    }
    std::multiset<ErrorCode> codes;
    for (auto& each : all) codes.insert(each.get());
    EXPECT_EQ(codes, (std::multiset{ErrorCode::ok, ErrorCode::conflict})) << round;
  }
}

TEST_F(AwsTopology, TheOwnerOfACommandIsTold) {
  auto mine = interest();
  mine.streams = {"commands:send.email"};
  const auto subscription = transport_->subscribe(mine);
  EXPECT_EQ(transport_->describe("commands:send.email").at(0).groups.at(0).owner, "g");
}

// Each may have read its own name after it wrote it, and before the other wrote.
TEST_F(AwsTopology, WhoLostACommandInTheMomentOfTakingItFindsOut) {
  auto mine = interest();
  mine.streams = {"commands:send.email"};
  const auto subscription = transport_->subscribe(mine);
  using Json = support::aws::Json;
  ASSERT_EQ(sqs("TagQueue", {{"Tags", Json::object({{"tidings:owner", Json("two")}})}}, stub_.queues().at(0)).status,
            200);
  EXPECT_TRUE(subscription->fetch(Millis(0), {}).deliveries.empty());
  advance(Millis(16'000));
  const Error refused = refusal([&] { (void)subscription->fetch(Millis(0), {}); });
  EXPECT_EQ(refused.code(), ErrorCode::conflict) << refused.what();
  EXPECT_NE(std::string(refused.what()).find("two"), std::string::npos) << refused.what();
}

TEST_F(AwsTopology, TwoInstancesAtOnceShareAQueue) {
  std::vector<std::future<ErrorCode>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(std::async(std::launch::async, [this] {
      return refusal([&] { (void)open()->subscribe(interest(10, {"user.created"})); }).code();
    }));
  }
  for (auto& each : all) EXPECT_EQ(each.get(), ErrorCode::ok);
  publish(1);
  EXPECT_EQ(stub_.messages(queue).size(), 1U);
  EXPECT_EQ(stub_.subscriptions(topic).size(), 1U);
}

TEST_F(AwsTopology, ARefusalNamesThePermissionAndNoSecret) {
  stub_.deny("sqs:CreateQueue");
  const Error denied = refusal([&] { (void)subscribe(); });
  EXPECT_EQ(denied.code(), ErrorCode::unauthorized);
  EXPECT_NE(std::string(denied.what()).find("CreateQueue"), std::string::npos) << denied.what();
  EXPECT_EQ(std::string(denied.what()).find(aws_secret), std::string::npos);
  stub_.allow("sqs:CreateQueue");
  stub_.remove_key(aws_key);
  const Error unknown = refusal([&] { (void)subscribe(); });
  EXPECT_EQ(unknown.code(), ErrorCode::unauthorized);
  EXPECT_EQ(std::string(unknown.what()).find(aws_secret), std::string::npos);
  EXPECT_FALSE(told(aws_secret));
}

TEST_F(AwsTopology, TheDoctorNamesEachMissingPermissionWithItsPolicy) {
  (void)subscribe();
  const auto row = [&](const std::string& start) {
    for (Check& each : transport_->diagnose()) {
      if (each.check.starts_with(start)) return each;
    }
    return Check{"there is no row " + start, false, "", ""};
  };
  for (const char* policy : {"consumer's policy", "publisher's policy", "operator's policy"})
    EXPECT_TRUE(row(policy).ok) << policy << ": " << row(policy).detail;
  for (const auto& [policy, action] :
       {std::pair{"consumer's policy", "sqs:ReceiveMessage"}, std::pair{"consumer's policy", "sqs:DeleteMessage"},
        std::pair{"consumer's policy", "sqs:ChangeMessageVisibility"}, std::pair{"publisher's policy", "sns:Publish"},
        std::pair{"operator's policy", "sqs:CreateQueue"}, std::pair{"operator's policy", "sqs:SetQueueAttributes"},
        std::pair{"operator's policy", "sns:CreateTopic"}, std::pair{"operator's policy", "sns:Subscribe"},
        std::pair{"queues", "sqs:ListQueues"}}) {
    stub_.deny(action);
    const Check check = row(policy);
    EXPECT_FALSE(check.ok) << policy << " without " << action;
    const std::string words = check.detail.substr(0, check.detail.find("; may"));
    const std::string bare = std::string(action).substr(4);
    EXPECT_NE(words.find(bare), std::string::npos) << words;
    stub_.allow(action);
  }
  EXPECT_EQ(stub_.queue_attributes(queue).at("VisibilityTimeout"), "30") << "asking changed nothing";
}

TEST_F(AwsTopology, AWrongClockIsCorrected) {
  testing::VirtualClock late;
  late.jump_wall(-std::chrono::hours(2));
  Environment environment = environment_;
  environment.clock = &late;
  for (const char* code : {"SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired"}) {
    stub_.set_skew_code(code);
    EXPECT_EQ(refusal([&] { (void)open_transport(url(), environment)->subscribe(interest()); }).code(), ErrorCode::ok)
        << code;
  }
}

TEST_F(AwsTopology, NobodyReachesAnotherMachine) {
  const auto reach = [] {
    Environment quiet;
    quiet.log = [](LogLevel, std::string_view) {};
    const auto outside = open_transport("aws://eu-west-1?endpoint=http://192.0.2.1:9", quiet);
    Outgoing item;
    item.stream = stream;
    item.id = "evt";
    item.envelope = "{}";
    Result result;
    outside->publish({&item, 1}, Level::replicated, Millis(1), {&result, 1});
    return result.code;
  };
  ::testing::TestPartResultArray found;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &found);
    EXPECT_NE(reach(), ErrorCode::ok);
  }
  ASSERT_GE(found.size(), 1) << "the guard said nothing";
  EXPECT_NE(std::string(found.GetTestPartResult(0).message()).find("192.0.2.1"), std::string::npos);
}

TEST_F(AwsShelf, WithoutOneEachVerbIsRefusedInASentence) {
  (void)subscribe();
  const GroupRef group{stream, "g"};
  GroupChange pause;
  pause.kind = GroupChange::Kind::pause;
  const std::function<void()> verbs[] = {[&] { (void)transport_->shelf(group, {}); },
                                         [&] { (void)transport_->move(group, {}, ShelfAction::replace); },
                                         [&] { transport_->change(group, pause); }, [&] { (void)transport_->read({}); },
                                         [&] { transport_->shelve(group, {}, {}); }};
  for (const auto& verb : verbs) {
    const Error refused = refusal(verb);
    EXPECT_EQ(refused.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(refused.what()).find("=URL"), std::string::npos) << refused.what();
  }
  EXPECT_EQ(transport_->capabilities().longest_delay, std::chrono::minutes(15));
}

TEST_F(AwsShelf, HoldsLongDelays) {
  transport_ = open(with_shelf());
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(settle(*subscription, one.at(0), Kind::again, std::chrono::hours(20)).code, ErrorCode::ok);
  EXPECT_EQ(stub_.messages(queue).size(), 0U) << "it lies on the shelf";
  advance(std::chrono::hours(19));
  EXPECT_TRUE(subscription->fetch(Millis(0), {}).deliveries.empty());
  advance(std::chrono::hours(2));
  (void)transport_->tend({}, {});
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U);
  EXPECT_EQ(settle(*subscription, again[0]).code, ErrorCode::ok);
}

TEST_F(AwsShelf, HoldsDeadLettersThatAreListedEditedAndHandedOut) {
  transport_ = open(with_shelf());
  const auto subscription = subscribe();
  publish(2);
  for (const Delivery& each : fetch(*subscription, 2))
    ASSERT_EQ(settle(*subscription, each, Kind::dead, {}, "no such user").code, ErrorCode::ok);
  const GroupRef group{stream, "g"};
  const auto letters = transport_->shelf(group, {});
  ASSERT_EQ(letters.size(), 2U);
  EXPECT_EQ(letters[0].reason, "rejected");
  EXPECT_EQ(letters[0].error, "no such user");
  ShelfQuery first;
  first.ids = {letters[0].id};
  const std::string corrected = envelope(77);
  EXPECT_EQ(transport_->move(group, first, ShelfAction::replace,
                             {.id = "evt_77", .type = "user.created", .envelope = corrected}),
            1U);
  EXPECT_EQ(transport_->move(group, {}, ShelfAction::hand_out), 1U);
  std::set<std::string> came;
  for (const Delivery& each : fetch(*subscription, 2)) {
    came.emplace(each.envelope);
    EXPECT_EQ(each.origin, Origin::redrive);
    EXPECT_EQ(settle(*subscription, each).code, ErrorCode::ok);
  }
  EXPECT_TRUE(came.contains(corrected));
  EXPECT_EQ(came.size(), 2U);
}

TEST_F(AwsShelf, APausedStreamTakesNoRoomFromAnother) {
  transport_ = open(with_shelf());
  auto both = interest(2);
  both.streams = {stream, "events:order"};
  const auto subscription = transport_->subscribe(both);
  (void)subscription->fetch(Millis(50), {});
  GroupChange change;
  change.kind = GroupChange::Kind::pause;
  transport_->change({stream, "g"}, change);
  (void)subscription->fetch(Millis(400), {});  // The shelf is looked at four times a second.
  publish(5);
  publish(3, "events:order");
  for (std::size_t came = 0; came < 3;) {
    const auto some = fetch(*subscription, 1);
    ASSERT_FALSE(some.empty());
    came += some.size();
    for (const Delivery& each : some) {
      EXPECT_EQ(each.stream, 1U);
      (void)settle(*subscription, each);
    }
  }
  change.kind = GroupChange::Kind::resume;
  transport_->change({stream, "g"}, change);
  EXPECT_GE(fetch(*subscription, 1).size(), 1U);
}

// What the queues bring is handled all the same; what should be set aside stays where it is until it can be.
TEST_F(AwsShelf, OneThatIsDownKeepsNobodyFromTheQueues) {
  support::RedisServer server({.aof = support::Aof::always});
  transport_ = open("&shelf=" + server.url());
  const auto subscription = subscribe();
  for (const bool hangs : {false, true}) {
    hangs ? server.suspend() : server.kill();
    publish(3);
    const auto all = fetch(*subscription, 3);
    ASSERT_EQ(all.size(), 3U) << "hangs: " << hangs;
    EXPECT_TRUE(told("the shelf"));
    EXPECT_EQ(settle(*subscription, all[0]).code, ErrorCode::ok);
    const Result refused = settle(*subscription, all[1], Kind::dead);
    EXPECT_EQ(refused.code, hangs ? ErrorCode::timeout : ErrorCode::unavailable) << refused.message;
    EXPECT_TRUE(refused.retryable);
    EXPECT_EQ(stub_.messages(queue).size(), 2U);
    hangs ? server.resume() : server.restart();
    EXPECT_EQ(settle(*subscription, all[1], Kind::dead).code, ErrorCode::ok);
    EXPECT_EQ(settle(*subscription, all[2]).code, ErrorCode::ok);
    EXPECT_EQ(transport_->move({stream, "g"}, {}, ShelfAction::hand_out), 1U);
    const auto again = fetch(*subscription, 1);
    ASSERT_EQ(again.size(), 1U) << "the shelf is read again";
    EXPECT_EQ(settle(*subscription, again[0]).code, ErrorCode::ok);
  }
}

}  // namespace
}  // namespace tidings::transport
