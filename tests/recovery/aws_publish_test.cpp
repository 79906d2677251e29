// What is published on AWS: batches, their entries, and what becomes of those that fail; on a strict stand-in.
#include <atomic>

#include "aws_recovery.hpp"

namespace tidings::transport {
namespace {

class AwsPublisher : public AwsRecovery {};

TEST_F(AwsPublisher, AnAnswerThatWasLostIsToldAndTheIdStays) {
  (void)subscribe();
  stub_.drop("PublishBatch", 1, support::AwsDrop::after);
  auto results = try_publish(*transport_, {envelope(1)});
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_TRUE(results[0].ambiguous);
  const auto stored = stub_.messages(queue);
  ASSERT_EQ(stored.size(), 2U);
  EXPECT_EQ(stored[0].body, stored[1].body) << "the same id";
  stub_.drop("PublishBatch", 1, support::AwsDrop::before);
  results = try_publish(*transport_, {envelope(2)});
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(stub_.messages(queue).size(), 3U);
}

TEST_F(AwsPublisher, DoubtStaysWithAnEntryThatIsSentOnceMore) {
  (void)subscribe();
  stub_.drop("PublishBatch", 1, support::AwsDrop::after);
  std::atomic<int> seen{0};
  stub_.fail_entries(
      "PublishBatch", [&](const std::string&, const std::string&) { return ++seen == 2; },
      {false, "InternalError", "told to"}, 1);
  const auto results = try_publish(*transport_, {envelope(1)});
  EXPECT_EQ(results[0].code, ErrorCode::ok) << results[0].message;
  EXPECT_TRUE(results[0].ambiguous) << "the first attempt stored it";
}

TEST_F(AwsPublisher, EntriesAreRepeatedOneByOne) {
  (void)subscribe();
  stub_.fail_entries("PublishBatch", std::vector<std::string>{"1"}, {false, "InternalError", "told to"}, 1);
  for (const Result& each : try_publish(*transport_, {envelope(1), envelope(2), envelope(3)}))
    EXPECT_EQ(each.code, ErrorCode::ok) << each.message;
  EXPECT_EQ(stub_.messages(queue).size(), 3U) << "nothing twice";
  stub_.fail_entries("PublishBatch", std::vector<std::string>{"0"}, {true, "InvalidParameter", "told to"}, 1);
  const int asked = stub_.requests("PublishBatch");
  EXPECT_EQ(try_publish(*transport_, {envelope(4)})[0].code, ErrorCode::invalid);
  EXPECT_EQ(stub_.requests("PublishBatch"), asked + 1);
}

TEST_F(AwsPublisher, EntriesOfACommandAreRepeatedOneByOne) {
  auto mail = interest();
  mail.streams = {"commands:send.email"};
  const auto subscription = transport_->subscribe(mail);
  stub_.fail_entries("SendMessageBatch", std::vector<std::string>{"1"}, {false, "InternalError", "told to"}, 1);
  for (const Result& each : try_publish(*transport_, {envelope(1), envelope(2), envelope(3)}, mail.streams[0]))
    EXPECT_EQ(each.code, ErrorCode::ok) << each.message;
  EXPECT_EQ(stub_.messages("t-commands-send_email").size(), 3U) << "nothing twice, and nothing lost";
  EXPECT_EQ(stub_.requests("SendMessageBatch"), 2);
}

TEST_F(AwsPublisher, WhatSqsRejectsIsRefusedAlone) {
  (void)subscribe();
  std::string control = envelope(2);
  control[control.size() - 2] = '\x01';
  const auto results = try_publish(*transport_, {envelope(1), control, envelope(3)});
  EXPECT_EQ(results[0].code, ErrorCode::ok) << results[0].message;
  EXPECT_EQ(results[1].code, ErrorCode::invalid) << results[1].message;
  EXPECT_NE(results[1].message.find("control character"), std::string::npos) << results[1].message;
  EXPECT_EQ(results[2].code, ErrorCode::ok) << results[2].message;
  EXPECT_EQ(stub_.requests("PublishBatch"), 1) << "it is refused before it is sent";
}

TEST_F(AwsPublisher, BatchesAreCutByCountAndByBytes) {
  (void)subscribe();
  std::vector<std::string> many;
  for (int i = 0; i < 25; ++i) many.push_back(envelope(i));
  for (const Result& each : try_publish(*transport_, many)) EXPECT_EQ(each.code, ErrorCode::ok) << each.message;
  EXPECT_EQ(stub_.requests("PublishBatch"), 3);
  std::vector<std::string> large;
  for (int i = 0; i < 4; ++i) large.push_back(envelope(100 + i, "user.created", 100'000));
  for (const Result& each : try_publish(*transport_, large)) EXPECT_EQ(each.code, ErrorCode::ok) << each.message;
  EXPECT_EQ(stub_.requests("PublishBatch"), 5) << "two of 100,000 bytes fit in 256 KiB, three do not";
  const int asked = stub_.requests();
  EXPECT_EQ(try_publish(*transport_, {envelope(9, "user.created", 262'144)})[0].code, ErrorCode::too_large);
  EXPECT_EQ(stub_.requests(), asked) << "refused before it is sent";
}

TEST_F(AwsPublisher, OneThatIsRefusedDoesNotRefuseItsNeighbours) {
  (void)subscribe();
  stub_.fail_next("PublishBatch", 1, {.status = 400, .code = "BatchRequestTooLong", .message = "told to"});
  for (const Result& each : try_publish(*transport_, {envelope(1), envelope(2)}))
    EXPECT_EQ(each.code, ErrorCode::ok) << each.message;
}

TEST_F(AwsPublisher, AStreamThatIsDeniedDoesNotRefuseAnother) {
  (void)subscribe();
  stub_.deny("sns:CreateTopic", "*t-events-order");
  const std::string one = envelope(1), two = envelope(2);
  const Outgoing items[] = {{.stream = "events:order", .id = "evt_1", .type = "order.placed", .envelope = one},
                            {.stream = stream, .id = "evt_2", .type = "user.created", .envelope = two}};
  std::vector<Result> results(2);
  transport_->publish(items, Level::replicated, Millis(5'000), results);
  EXPECT_EQ(results[0].code, ErrorCode::unauthorized);
  EXPECT_EQ(results[1].code, ErrorCode::ok) << results[1].message;
}

TEST_F(AwsPublisher, WhatIsUnderWayAtTheDeadlineIsNeverOk) {
  (void)subscribe();
  stub_.delay("PublishBatch");
  std::vector<Result> results = try_publish(*transport_, {envelope(1)}, stream, "", Millis(300));
  EXPECT_EQ(results[0].code, ErrorCode::timeout);
  stub_.release("PublishBatch");
}

TEST_F(AwsPublisher, OnlyTheTypeIsAnAttribute) {
  (void)subscribe();
  publish(1);
  EXPECT_EQ(stub_.messages(queue).at(0).attributes.size(), 1U) << "SNS discards what has more than ten";
  EXPECT_EQ(stub_.undelivered(), 0);
}

TEST_F(AwsPublisher, ABodyThatWasStoredOtherwiseIsSentAgain) {
  auto mail = interest();
  mail.streams = {"commands:send.email"};
  const auto subscription = transport_->subscribe(mail);
  stub_.corrupt_md5(1);
  const auto results = try_publish(*transport_, {envelope(1)}, "commands:send.email");
  EXPECT_EQ(results[0].code, ErrorCode::ok) << results[0].message;
  EXPECT_TRUE(results[0].ambiguous);
}

TEST_F(AwsPublisher, ThrottlesAndDownTimesAreWaitedOut) {
  (void)subscribe();
  for (const auto& [status, code] : {std::pair{400, "Throttling"}, std::pair{503, "ServiceUnavailable"},
                                     std::pair{500, "InternalFailure"}, std::pair{429, "ThrottledException"}}) {
    stub_.fail_next("PublishBatch", 2, {.status = status, .code = code, .message = "told to"});
    EXPECT_EQ(try_publish(*transport_, {envelope(1)})[0].code, ErrorCode::ok) << code;
  }
}

}  // namespace
}  // namespace tidings::transport
