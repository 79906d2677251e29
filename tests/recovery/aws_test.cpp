// What SQS does that a consumer must not be surprised by: each rule of receiving and settling, on a strict stand-in.
#include <future>
#include <set>
#include <thread>

#include "aws_recovery.hpp"

namespace tidings::transport {
namespace {

class AwsConsumer : public AwsRecovery {};

// The stand-in's clock stands, so that its long poll never ends by itself: any second request would be a time-out.
TEST_F(AwsConsumer, ALongPollIsWaitedForToItsEnd) {
  const auto subscription = subscribe();
  EXPECT_TRUE(subscription->fetch(Millis(21'500), {}).deliveries.empty());
  EXPECT_EQ(stub_.requests("ReceiveMessage"), 1);
}

TEST_F(AwsConsumer, APollWaitsTwentySeconds) {
  const auto subscription = subscribe();
  std::stop_source stop;
  std::jthread fetcher([&] { (void)subscription->fetch(Millis(60'000), stop.get_token()); });
  ASSERT_TRUE(stub_.await_polls(1));
  advance(Millis(19'000));
  EXPECT_EQ(stub_.requests("ReceiveMessage"), 1);
  advance(Millis(1'500));
  EXPECT_TRUE(stub_.await_requests("ReceiveMessage", 2));
  stop.request_stop();
}

// Whoever waits for two seconds may be gone then: a poll that went on would take what comes next for nobody.
TEST_F(AwsConsumer, NoPollOutlastsItsFetch) {
  const auto subscription = subscribe();
  std::stop_source stop;
  std::jthread fetcher([&] { (void)subscription->fetch(Millis(1'900), stop.get_token()); });
  ASSERT_TRUE(stub_.await_polls(1));
  advance(Millis(2'100));
  EXPECT_TRUE(stub_.await_answered("ReceiveMessage", 1));
  stop.request_stop();
}

TEST_F(AwsConsumer, NeverAsksForMoreThanThereIsRoomFor) {
  const auto subscription = subscribe(3);
  publish(8);
  const auto some = fetch(*subscription, 3);
  ASSERT_EQ(some.size(), 3U);
  const int asked = stub_.requests("ReceiveMessage");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  EXPECT_EQ(stub_.requests("ReceiveMessage"), asked) << "there is no room, so nothing is asked for";
  EXPECT_EQ(count(State::in_flight), 3U);
  EXPECT_EQ(settle(*subscription, some[0]).code, ErrorCode::ok);
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
  EXPECT_EQ(count(State::in_flight), 3U);
}

TEST_F(AwsConsumer, ShareARoomThatIsTooSmallForAllStreams) {
  auto both = interest(1);
  both.streams = {stream, "events:order"};
  const auto subscription = transport_->subscribe(both);
  publish(1, "events:order");
  publish(1);
  std::jthread time([&](const std::stop_token& stop) {
    // Each poll of a turn ends when its second is over.
    for (int polls = 1; !stop.stop_requested() && polls < 20; ++polls) {
      if (!stub_.await_requests("ReceiveMessage", polls)) return;
      advance(Millis(1'100));
    }
  });
  for (int i = 0; i < 2; ++i) {
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U) << "a stream at rest must not hold up the other";
    (void)settle(*subscription, one[0]);
  }
  time.request_stop();
  (void)subscription->fetch(Millis(50), {});  // One more poll, which the thread may be waiting for.
}

TEST_F(AwsConsumer, AStreamAtRestLeavesRoomForTheOther) {
  auto both = interest(10);
  both.streams = {stream, "events:order"};
  const auto subscription = transport_->subscribe(both);
  (void)subscription->fetch(Millis(100), {});
  EXPECT_TRUE(stub_.await_polls(2)) << "both are asked, each for half";
}

TEST_F(AwsConsumer, SeesAttributesSinceItAsksForThem) {
  const auto subscription = subscribe();
  const std::string event = envelope(1);
  const Outgoing item{.id = "evt_1", .type = "user.created", .envelope = event};
  Result result;
  transport_->inject({stream, "g"}, Origin::replay, 77, {&item, 1}, {&result, 1});
  ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].run, 77U) << "a message attribute";
  EXPECT_EQ(one[0].stored_at, clock_.wall()) << "a system attribute";
  (void)settle(*subscription, one[0], Kind::again);
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U) << "another one: how often it was received";
}

TEST_F(AwsConsumer, HeartbeatsKeepWhatIsHeldHidden) {
  const auto subscription = subscribe();
  publish(12);
  ASSERT_EQ(fetch(*subscription, 12).size(), 12U);
  for (int i = 0; i < 6; ++i) {
    advance(Millis(10'000));
    EXPECT_TRUE(subscription->renew().empty());
  }
  EXPECT_EQ(count(State::in_flight), 12U);
  EXPECT_EQ(stub_.requests(hide), 12) << "by tens";
}

TEST_F(AwsConsumer, ALostHandleIsTold) {
  const auto subscription = subscribe();
  publish(2);
  const auto both = fetch(*subscription, 2);
  ASSERT_EQ(both.size(), 2U);
  stub_.fail_entries(hide, std::vector<std::string>{"0"}, {true, "MessageNotInflight", "told to"}, 1);
  EXPECT_EQ(subscription->renew(), std::vector{both[0].token});
  stub_.fail_entries(hide, std::vector<std::string>{"0"}, {true, "ReceiptHandleIsInvalid", "told to"}, 1);
  EXPECT_EQ(subscription->renew(), std::vector{both[1].token});
  EXPECT_TRUE(settle(*subscription, both[0], Kind::again).stale);
  const int asked = stub_.requests(hide);
  EXPECT_TRUE(subscription->renew().empty());
  EXPECT_EQ(stub_.requests(hide), asked) << "nothing is renewed that is lost";
}

// AWS has deleted it, and whoever settles has not heard so yet.
TEST_F(AwsConsumer, WhatIsBeingDeletedIsNotLost) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  stub_.delay("DeleteMessageBatch");
  auto settling = std::async(std::launch::async, [&] { return settle(*subscription, one[0]); });
  ASSERT_TRUE(stub_.await_held("DeleteMessageBatch", 1));
  EXPECT_TRUE(subscription->renew().empty());
  stub_.release("DeleteMessageBatch");
  const Result result = settling.get();
  EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  EXPECT_FALSE(result.stale);
}

TEST_F(AwsConsumer, AHeartbeatThatFailedForTheMomentLosesNothing) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  stub_.fail_entries(hide, std::vector<std::string>{"0"}, {false, "InternalError", "told to"}, 1);
  EXPECT_TRUE(subscription->renew().empty());
  EXPECT_TRUE(subscription->renew().empty());
  EXPECT_EQ(settle(*subscription, one.at(0)).code, ErrorCode::ok);
}

TEST_F(AwsConsumer, TwelveHoursCountFromTheReceive) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  const auto step = Millis(20'000);
  // The last of them asks for less than a lease: SQS refuses what ends behind the 12 h.
  for (Millis passed{}; passed < std::chrono::hours(12); passed += step) {
    ASSERT_TRUE(subscription->renew().empty()) << "after " << passed.count() << " ms";
    advance(step);
  }
  EXPECT_EQ(subscription->renew(), std::vector{one[0].token});
}

TEST_F(AwsConsumer, ALeaseOfMoreThanTwelveHoursIsRefused) {
  auto longer = interest();
  longer.lease = std::chrono::hours(12) + std::chrono::seconds(1);
  try {
    (void)transport_->subscribe(longer);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_supported) << error.what();
  }
}

TEST_F(AwsConsumer, ARetryIsCutToWhatIsLeftOfTwelveHours) {
  auto whole = interest();
  whole.lease = std::chrono::hours(12);
  const auto subscription = transport_->subscribe(whole);
  publish(1);
  const auto one = fetch(*subscription, 1);
  advance(std::chrono::hours(11) + std::chrono::minutes(55));
  const Result result = settle(*subscription, one.at(0), Kind::again, std::chrono::minutes(10));
  EXPECT_EQ(result.code, ErrorCode::ok) << "SQS refuses what ends behind 12 h: " << result.message;
}

TEST_F(AwsConsumer, ARetryWaitsInItsQueueByVisibility) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  EXPECT_EQ(settle(*subscription, one.at(0), Kind::again, Millis(4'200)).code, ErrorCode::ok);
  advance(Millis(4'300));
  EXPECT_EQ(count(State::visible), 0U) << "five whole seconds, never less than was asked for";
  advance(Millis(800));
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U);
  EXPECT_FALSE(again[0].alone) << "this process knows that nobody died of it";
}

// A renewal that is repeated after the settlement would hide the retry for a whole lease.
TEST_F(AwsConsumer, ARenewalNeverOverwritesARetry) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  stub_.fail_next(hide, 1, {.status = 503, .code = "ServiceUnavailable", .message = "told to", .retry_after = 1});
  std::jthread renewer([&] { EXPECT_TRUE(subscription->renew().empty()); });
  ASSERT_TRUE(stub_.await_requests(hide, 1));
  EXPECT_EQ(settle(*subscription, one[0], Kind::again, Millis(5'000)).code, ErrorCode::ok);
  renewer.join();
  advance(Millis(6'000));
  EXPECT_EQ(count(State::visible), 1U) << "five seconds were asked for, not a lease";
}

TEST_F(AwsConsumer, ADrainGivesBackWhatHasNotStarted) {
  auto subscription = subscribe();
  publish(5);
  ASSERT_EQ(fetch(*subscription, 5).size(), 5U);
  EXPECT_EQ(count(State::visible), 0U);
  subscription.reset();
  EXPECT_EQ(count(State::visible), 5U);
  subscription = subscribe();
  for (const Delivery& each : fetch(*subscription, 5)) EXPECT_EQ(each.attempt, 1U) << "given back, uncounted";
}

TEST_F(AwsConsumer, WhatCameBetweenTwoFetchesIsGivenBackToo) {
  auto subscription = subscribe();
  (void)subscription->fetch(Millis(50), {});
  ASSERT_TRUE(stub_.await_polls(1));
  publish(1);  // It goes to the poll that is under way.
  ASSERT_TRUE(stub_.await_answered("ReceiveMessage", 1));
  subscription.reset();
  EXPECT_EQ(count(State::visible), 1U);
}

// Hung up on, it would be hidden for a lease, and come back as a second attempt.
TEST_F(AwsConsumer, AStopGivesBackWhatIsOnItsWay) {
  auto subscription = subscribe();
  publish(5);
  stub_.delay("ReceiveMessage");
  std::stop_source stop;
  auto fetching = std::async(std::launch::async, [&] { (void)subscription->fetch(Millis(60'000), stop.get_token()); });
  ASSERT_TRUE(stub_.await_held("ReceiveMessage", 1));
  stop.request_stop();
  EXPECT_EQ(fetching.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout) << "it waits for the answer";
  stub_.release("ReceiveMessage");
  fetching.get();
  subscription.reset();  // Gives back what came before the stop.
  EXPECT_EQ(count(State::visible), 5U);
}

// Nobody drives the requests while a service is busy, and the time of what was received runs all the same.
TEST_F(AwsConsumer, WhatLayInTheSocketForALeaseIsNotHandedOut) {
  const auto subscription = subscribe(1);
  (void)subscription->fetch(Millis(50), {});
  ASSERT_TRUE(stub_.await_polls(1));
  publish(1);
  ASSERT_TRUE(stub_.await_answered("ReceiveMessage", 1));
  advance(Millis(31'000));
  ASSERT_EQ(count(State::visible), 1U) << "others may have it now";
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(stub_.messages(queue).at(0).receives, 2) << "it was received once more before it was handed out";
}

TEST_F(AwsConsumer, FetchingNowDoesNotWaitForALongPoll) {
  const auto subscription = subscribe();
  (void)subscription->fetch(Millis(50), {});
  ASSERT_TRUE(stub_.await_polls(1));
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(subscription->fetch(Millis(0), {}).deliveries.empty());
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
}

TEST_F(AwsConsumer, EntriesThatFailedForTheMomentAreRepeatedAndOthersAreNot) {
  const auto subscription = subscribe();
  publish(3);
  const auto all = fetch(*subscription, 3);
  ASSERT_EQ(all.size(), 3U);
  stub_.fail_entries("DeleteMessageBatch", std::vector<std::string>{"0"}, {false, "InternalError", "told to"}, 2);
  EXPECT_EQ(settle(*subscription, all[0]).code, ErrorCode::ok);
  EXPECT_EQ(stub_.requests("DeleteMessageBatch"), 3);
  EXPECT_EQ(stub_.messages(queue).size(), 2U);
  stub_.fail_entries(hide, std::vector<std::string>{"0"}, {true, "InvalidParameterValue", "told to"}, 2);
  EXPECT_TRUE(settle(*subscription, all[1], Kind::again).stale);
  EXPECT_EQ(stub_.requests(hide), 1) << "what is our fault is not repeated";
}

TEST_F(AwsConsumer, ADeadLetterIsOursAndStandsThereBeforeTheDelete) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  stub_.fail_next("SendMessageBatch", 1, {.status = 403, .code = "AccessDenied", .message = "told to"});
  const Result refused = settle(*subscription, one.at(0), Kind::dead, {}, "unknown currency");
  EXPECT_EQ(refused.code, ErrorCode::unauthorized);
  EXPECT_EQ(stub_.requests("DeleteMessageBatch"), 0) << "nothing is deleted that is not stored";
  EXPECT_EQ(settle(*subscription, one[0], Kind::dead, {}, "unknown currency").code, ErrorCode::ok);
  EXPECT_EQ(stub_.messages(queue).size(), 0U);
  const auto letters = stub_.messages(dead_queue);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].body, envelope(0));
  EXPECT_EQ(text_of(letters[0].attributes, "reason"), "rejected");
  EXPECT_EQ(text_of(letters[0].attributes, "error"), "unknown currency");
  EXPECT_EQ(text_of(letters[0].attributes, "attempts"), "1");
}

TEST_F(AwsConsumer, WhatIsBuriedIsBuriedOnce) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  stub_.fail_entries("DeleteMessageBatch", std::vector<std::string>{"0"}, {false, "InternalError", "told to"}, 4);
  EXPECT_TRUE(settle(*subscription, one.at(0), Kind::dead).retryable);
  EXPECT_EQ(settle(*subscription, one[0], Kind::dead).code, ErrorCode::ok);
  EXPECT_EQ(stub_.messages(dead_queue).size(), 1U);
  EXPECT_EQ(stub_.messages(queue).size(), 0U);
}

TEST_F(AwsConsumer, AnErrorWithAnythingInItCanBeBuried) {
  const auto subscription = subscribe();
  publish(1);
  const auto one = fetch(*subscription, 1);
  std::string error(1023, 'e');
  error += "\xC3\xA4 and more";
  error[5] = '\1';
  const Result result = settle(*subscription, one.at(0), Kind::dead, {}, error);
  EXPECT_EQ(result.code, ErrorCode::ok) << "it would come back for ever: " << result.message;
  EXPECT_EQ(text_of(stub_.messages(dead_queue).at(0).attributes, "error"), "eeeee?" + std::string(1017, 'e'));
}

TEST_F(AwsConsumer, WhatIsNoEventCanBeBuriedHoweverLargeItIs) {
  const auto subscription = subscribe();
  const std::string large(600'000, 'x');
  ASSERT_EQ(sqs("SendMessage", {{"MessageBody", large}}).status, 200);
  const auto one = fetch(*subscription, 1);
  const Result result = settle(*subscription, one.at(0), Kind::dead, {}, "no JSON");
  EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  EXPECT_EQ(stub_.messages(dead_queue).at(0).body.size(), large.size());
}

TEST_F(AwsConsumer, WithoutAQueueForThemDeadLettersGoNowhereElse) {
  (void)subscribe();
  publish(1);
  ASSERT_EQ(sqs("DeleteQueue", {}, dead_queue).status, 200);
  transport_ = open("&topology=none&account=" + stub_.account());
  const auto subscription = subscribe();
  const auto one = fetch(*subscription, 1);
  const Result result = settle(*subscription, one.at(0), Kind::dead);
  EXPECT_EQ(result.code, ErrorCode::not_found);
  EXPECT_NE(result.message.find("-dlq"), std::string::npos) << result.message;
  EXPECT_EQ(stub_.messages(queue).size(), 1U) << "neither deleted nor published once more";
}

TEST_F(AwsConsumer, EnvelopedBodiesAreReadToo) {
  const auto subscription = subscribe();
  set_subscription("RawMessageDelivery", "false");
  publish(1);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, envelope(0));
  EXPECT_EQ(one[0].type, "user.created");
}

TEST_F(AwsConsumer, ABodyThatChangedOnTheWayIsReceivedAgain) {
  auto subscription = subscribe();
  publish(1);
  stub_.corrupt_md5(1);
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  EXPECT_TRUE(told("MD5"));
  subscription.reset();  // With its poll, of which nobody would know when it was answered.
  advance(Millis(31'000));
  subscription = subscribe();
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
}

TEST_F(AwsConsumer, DuplicatesHaveTokensOfTheirOwn) {
  const auto subscription = subscribe();
  stub_.deliver_twice(1);
  publish(1);
  const auto first = fetch(*subscription, 1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty()) << "perhaps a process died of it: it runs alone";
  EXPECT_EQ(settle(*subscription, first[0]).code, ErrorCode::ok);
  const auto second = fetch(*subscription, 1);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_TRUE(second[0].alone);
  EXPECT_EQ(settle(*subscription, second[0]).code, ErrorCode::ok) << "finished is finished";
  EXPECT_EQ(stub_.messages(queue).size(), 0U);
}

// Whoever had it may have died of it, or its lease ran out: a queue knows neither, and counts both.
TEST_F(AwsConsumer, AttemptsAreReceivesAndCrashesUnknown) {
  EXPECT_EQ(transport_->capabilities().attempts, Capabilities::Attempts::upper_bound);
  EXPECT_FALSE(transport_->capabilities().counts_crashes);
  const auto subscription = subscribe();
  publish(1);
  ASSERT_EQ(fetch(*subscription, 1).size(), 1U);
  advance(Millis(31'000));
  const auto others = open();
  const auto theirs = others->subscribe(interest());
  const auto again = fetch(*theirs, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U);
  EXPECT_EQ(again[0].crashes, 0U);
}

// Each of them may have killed two processes. Those that are given back are received afresh while that one runs, and
// do not count as killers once more.
TEST_F(AwsConsumer, OfSeveralThatMayKillOneIsKept) {
  stub_.set_out_of_order(true);
  using Json = support::aws::Json;
  (void)subscribe();
  publish(8);
  for (int death = 0; death < 2; ++death) {
    ASSERT_EQ(sqs("ReceiveMessage", {{"MaxNumberOfMessages", Json(10)}, {"VisibilityTimeout", Json(30)}}).status, 200);
    ASSERT_EQ(count(State::in_flight), 8U);
    advance(Millis(31'000));
  }
  const auto subscription = subscribe();
  publish(7);  // These come first, so that more and more are asked for at once.
  const auto fresh = fetch(*subscription, 7);
  ASSERT_EQ(fresh.size(), 7U);
  EXPECT_TRUE(subscription->fetch(Millis(0), {}).deliveries.empty()) << "nothing runs beside a suspect";
  EXPECT_EQ(count(State::in_flight), 8U);
  EXPECT_EQ(count(State::visible), 7U);
  for (const Delivery& each : fresh) EXPECT_EQ(settle(*subscription, each).code, ErrorCode::ok);
  const auto suspect = fetch(*subscription, 1);
  ASSERT_EQ(suspect.size(), 1U);
  EXPECT_TRUE(suspect[0].alone);
}

// Whatever it is, it did not kill this process's predecessor.
TEST_F(AwsConsumer, WhatComesAgainToAnOldProcessIsNotAlone) {
  const auto others = open();
  const auto theirs = others->subscribe(interest());
  const auto subscription = subscribe();
  publish(1);
  ASSERT_EQ(fetch(*theirs, 1).size(), 1U);
  advance(Millis(61'000));
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U);
  EXPECT_FALSE(again[0].alone);
}

// SQS would do as it is told, and hand out at once what somebody else works on.
TEST_F(AwsConsumer, AnOlderHandleHidesNothingThatOthersHold) {
  const auto subscription = subscribe();
  publish(1);
  const auto ours = fetch(*subscription, 1);
  ASSERT_EQ(ours.size(), 1U);
  advance(Millis(31'000));
  const auto others = open();
  const auto theirs = others->subscribe(interest());
  ASSERT_EQ(fetch(*theirs, 1).size(), 1U);
  EXPECT_TRUE(settle(*subscription, ours[0], Kind::again).stale);
  EXPECT_EQ(stub_.requests(hide), 0);
  EXPECT_EQ(count(State::in_flight), 1U) << "it is theirs";
}

TEST_F(AwsConsumer, OrderIsNotReliedOn) {
  stub_.set_out_of_order(true);
  const auto subscription = subscribe();
  publish(20);
  std::set<std::string> seen;
  for (const Delivery& each : fetch(*subscription, 20)) seen.emplace(each.envelope);
  EXPECT_EQ(seen.size(), 20U);
}

TEST_F(AwsConsumer, GroupsOfMessagesAreNotInTheWay) {
  const auto subscription = subscribe();
  ASSERT_EQ(sqs("SendMessage", {{"MessageBody", envelope(9)}, {"MessageGroupId", "a-share"}}).status, 200);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(settle(*subscription, one[0], Kind::again).code, ErrorCode::ok);
}

TEST_F(AwsConsumer, ThrottlesAndFailuresAreWaitedOut) {
  const auto subscription = subscribe();
  publish(1);
  stub_.fail_next("ReceiveMessage", 2, {.status = 400, .code = "RequestThrottled", .message = "told to"});
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  stub_.fail_next("DeleteMessageBatch", 2, {.status = 503, .code = "ServiceUnavailable", .message = "told to"});
  EXPECT_EQ(settle(*subscription, one[0]).code, ErrorCode::ok);
}

TEST_F(AwsConsumer, ATypeThatNobodyCouldLookUpIsHandedOutAllTheSame) {
  const auto subscription = subscribe(100, {"user.created"});
  stub_.deny("sns:GetSubscriptionAttributes");
  ASSERT_EQ(sqs("SendMessage", {{"MessageBody", envelope(1, "user.unknown")}}).status, 200);
  EXPECT_EQ(subscription->fetch(Millis(5'000), {}).deliveries.size(), 1U);
  EXPECT_TRUE(told("GetSubscriptionAttributes"));
}

TEST_F(AwsConsumer, AQueueThatIsGoneIsJoinedAgain) {
  const auto subscription = subscribe();
  (void)subscription->fetch(Millis(0), {});
  ASSERT_EQ(sqs("DeleteQueue", {}).status, 200);
  EXPECT_THROW((void)subscription->fetch(Millis(500), {}), Error) << "its name is not free yet";
  advance(Millis(61'000));
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  publish(1);
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
}

TEST_F(AwsConsumer, AQueueThatWasRemovedIsNotMadeAgainAtTheEnd) {
  auto subscription = subscribe();
  (void)subscription->fetch(Millis(50), {});
  ASSERT_TRUE(stub_.await_polls(1));
  ASSERT_EQ(sqs("DeleteQueue", {}).status, 200);
  ASSERT_TRUE(stub_.await_answered("ReceiveMessage", 1));
  advance(Millis(61'000));  // Its name is free.
  subscription.reset();
  for (const std::string& name : stub_.queues()) EXPECT_NE(name, queue);
}

}  // namespace
}  // namespace tidings::transport
