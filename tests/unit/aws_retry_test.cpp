// What refusals mean, and how long the wait before another attempt is.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "transport/aws/retry.hpp"

namespace tidings::transport::aws {
namespace {

using namespace std::chrono_literals;

/// Always the same.
class Fixed : public Random {
 public:
  explicit Fixed(std::uint64_t value) : value_(value) {}
  std::uint64_t next() noexcept override { return value_; }

 private:
  std::uint64_t value_;
};

TEST(AwsRetry, ReadsBothSpellingsOfSqs) {
  const Refusal newer = read_json_refusal(
      400, R"({"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."})",
      "AWS.SimpleQueueService.NonExistentQueue;Sender");
  EXPECT_EQ(newer.code, "QueueDoesNotExist");
  EXPECT_EQ(newer.message, "The specified queue does not exist.");
  EXPECT_TRUE(newer.is("AWS.SimpleQueueService.NonExistentQueue"));
  EXPECT_TRUE(newer.is("QueueDoesNotExist"));
  EXPECT_EQ(fault_of(newer), Fault::not_found);
  // Either alone says enough.
  EXPECT_EQ(fault_of(read_json_refusal(400, "{}", "AWS.SimpleQueueService.NonExistentQueue;Sender")), Fault::not_found);
  EXPECT_EQ(fault_of(read_json_refusal(400, R"({"__type":"QueueDoesNotExist"})", "")), Fault::not_found);
  EXPECT_EQ(fault_of(read_json_refusal(400, R"({"__type":"com.amazonaws.sqs#RequestThrottled","Message":"slow"})",
                                       "RequestThrottled;Sender")),
            Fault::throttled);
  EXPECT_EQ(read_json_refusal(403, R"({"Message":"with a capital"})", "").message, "with a capital");
}

TEST(AwsRetry, ANameThatIsNewMayHaveAnOlderOne) {
  EXPECT_EQ(fault_of({.status = 400, .code = "NobodyKnowsIt", .query_code = "QueueDoesNotExist"}), Fault::not_found);
  EXPECT_EQ(fault_of({.status = 400, .code = "QueueDoesNotExist", .query_code = "NobodyKnowsIt"}), Fault::not_found);
}

TEST(AwsRetry, ReadsRefusalsInXml) {
  const Refusal refusal =
      read_xml_refusal(403,
                       "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>"
                       "<Code>AuthorizationError</Code><Message>User: x is not &quot;authorized&quot;</Message></Error>"
                       "<RequestId>r-1</RequestId></ErrorResponse>");
  EXPECT_EQ(refusal.code, "AuthorizationError");
  EXPECT_EQ(refusal.message, "User: x is not \"authorized\"");
  EXPECT_EQ(refusal.request_id, "r-1");
  EXPECT_EQ(fault_of(refusal), Fault::denied);
}

TEST(AwsRetry, WhatIsNeitherIsJudgedByItsStatus) {
  for (const int status : {500, 502, 503, 504}) {
    EXPECT_EQ(fault_of(read_json_refusal(status, "<html>Bad gateway</html>", "")), Fault::passing);
    EXPECT_EQ(fault_of(read_xml_refusal(status, "upstream")), Fault::passing);
  }
  EXPECT_EQ(fault_of(read_xml_refusal(429, "")), Fault::throttled);
  EXPECT_EQ(fault_of(read_xml_refusal(403, "")), Fault::denied);
  EXPECT_EQ(fault_of(read_xml_refusal(404, "")), Fault::not_found);
  EXPECT_EQ(fault_of(read_xml_refusal(413, "")), Fault::too_large);
  EXPECT_EQ(fault_of(read_xml_refusal(400, "")), Fault::sender);
  EXPECT_EQ(fault_of({.status = 200}), Fault::none);
}

TEST(AwsRetry, KnowsTheNames) {
  const auto of = [](const char* code, int status = 400) { return fault_of({.status = status, .code = code}); };
  for (const char* code : {"Throttling", "ThrottlingException", "Throttling.User", "ThrottledException",
                           "RequestThrottled", "RequestLimitExceeded", "KmsThrottled", "KMSThrottlingException"}) {
    EXPECT_EQ(of(code), Fault::throttled) << code;
  }
  EXPECT_EQ(of("Throttling", 503), Fault::throttled) << "not done, unlike another 503";
  for (const char* code :
       {"RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"}) {
    EXPECT_EQ(of(code, 403), Fault::skewed) << code;
  }
  for (const char* code : {"ExpiredToken", "ExpiredTokenException"}) EXPECT_EQ(of(code, 403), Fault::expired) << code;
  for (const char* code : {"AccessDenied", "AccessDeniedException", "AuthorizationError", "InvalidClientTokenId",
                           "UnrecognizedClientException", "KmsAccessDenied"}) {
    EXPECT_EQ(of(code), Fault::denied) << code;
  }
  EXPECT_EQ(of("NotFound", 404), Fault::not_found);
  EXPECT_EQ(of("QueueNameExists"), Fault::conflict);
  EXPECT_EQ(of("AWS.SimpleQueueService.QueueDeletedRecently"), Fault::conflict);
  EXPECT_EQ(of("OverLimit", 403), Fault::full);
  EXPECT_EQ(of("BatchRequestTooLong"), Fault::too_large);
  EXPECT_EQ(of("ReceiptHandleIsInvalid", 404), Fault::stale);
  EXPECT_EQ(of("InvalidAttributeValue"), Fault::sender);
}

TEST(AwsRetry, AnEntrysFlagSaysWhetherRepeatingHelps) {
  EXPECT_EQ(fault_of_entry("InternalError", false), Fault::passing);
  EXPECT_EQ(fault_of_entry("Whatever", false), Fault::passing);
  EXPECT_EQ(fault_of_entry("RequestThrottled", false), Fault::throttled);
  EXPECT_EQ(fault_of_entry("Whatever", true), Fault::sender);
  EXPECT_EQ(fault_of_entry("InternalError", true), Fault::sender);
  EXPECT_EQ(fault_of_entry("ReceiptHandleIsInvalid", true), Fault::stale);
  EXPECT_EQ(fault_of_entry("AccessDenied", true), Fault::denied);
}

TEST(AwsRetry, WaitsGrowAndAreBounded) {
  const Backoff backoff{.first = 10ms, .throttled = 100ms, .longest = 1s};
  Fixed none(0);
  EXPECT_EQ(wait_before(5, Fault::passing, none, 0ms, backoff), 0ms);
  EXPECT_EQ(wait_before(5, Fault::passing, none, 3s, backoff), 3s) << "AWS asked for it";
  for (const auto& [repetition, bound] :
       {std::pair(1U, 10), {2U, 20}, {3U, 40}, {7U, 640}, {8U, 1000}, {1000U, 1000}}) {
    Fixed largest(static_cast<std::uint64_t>(bound));
    EXPECT_EQ(wait_before(repetition, Fault::passing, largest, 0ms, backoff), Millis(bound));
    Fixed beyond(static_cast<std::uint64_t>(bound) + 1);
    EXPECT_EQ(wait_before(repetition, Fault::passing, beyond, 0ms, backoff), 0ms);
  }
  Fixed hundred(100);
  EXPECT_EQ(wait_before(1, Fault::throttled, hundred, 0ms, backoff), 100ms);
}

TEST(AwsRetry, ReadsRetryAfter) {
  EXPECT_EQ(retry_after("2"), 2s);
  EXPECT_EQ(retry_after("100000"), 60s);
  for (const char* wrong : {"", "-1", "2s", "Thu, 25 Jan 2024 10:30:00 GMT"}) EXPECT_EQ(retry_after(wrong), 0ms);
}

}  // namespace
}  // namespace tidings::transport::aws
