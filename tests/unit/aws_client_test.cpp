// Calls: signed, repeated where it helps, with AWS's time and with new keys; and what a caller is told in the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <tidings/error.hpp>

#include "aws_responder.hpp"
#include "transport/aws/client.hpp"

namespace tidings::transport::aws {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view date_of_start = "Thu, 25 Jan 2024 10:30:00 GMT";
const Wall start = *parse_time("2024-01-25T10:30:00Z");

/// Stands where it is put.
class Standing : public Clock {
 public:
  explicit Standing(Wall now) : now_(now) {}
  [[nodiscard]] Wall wall() const noexcept override { return now_; }
  [[nodiscard]] Steady steady() const noexcept override { return {}; }

 private:
  Wall now_;
};

/// A client whose AWS is a responder, and whose machine has keys in its environment and nothing else.
class AwsClient : public testing::Test {
 protected:
  AwsClient() {
    around_.variable = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      return found == variables_.end() ? std::nullopt : std::optional(found->second);
    };
    around_.read_file = [](const std::string&) { return std::nullopt; };
    around_.write_file = [](const std::string&, std::string_view) { return false; };
    around_.run_process = [](const std::string&, WaitClock::time_point) { return ProcessOutput{}; };
    around_.now = [this] { return clock_.wall(); };
  }
  [[nodiscard]] std::unique_ptr<Client> client(const Responder& server) {
    Environment environment;
    environment.clock = &clock_;
    ClientOptions options{.region = "eu-west-1", .endpoint = server.url()};
    options.backoff = {.first = 1ms, .throttled = 2ms, .longest = 5ms};
    return std::make_unique<Client>(options, environment, &around_);
  }
  static WaitClock::time_point soon() { return WaitClock::now() + 20s; }
  static Call list_queues() { return {.service = Service::sqs, .operation = "ListQueues", .body = "{}"}; }
  /// The time that a request was signed with.
  static std::string time_of(const Asked& asked) { return asked.headers.at("x-amz-date"); }

  std::map<std::string, std::string> variables_{
      {"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "S3CR3T"}, {"AWS_SESSION_TOKEN", "T0K3N"}};
  Standing clock_{start};
  Surroundings around_{};
};

/// Answers the first requests one way and all others well.
Responder::Handler first(unsigned count, Answer answer) {
  auto left = std::make_shared<std::atomic<int>>(static_cast<int>(count));
  return [left, answer](const Asked&) { return (*left)-- > 0 ? answer : Answer{.body = "{}"}; };
}

Answer refusal(int status, const std::string& type, const std::string& message = "no") {
  return {.status = status, .body = R"({"__type":"com.amazonaws.sqs#)" + type + R"(","message":")" + message + "\"}"};
}

TEST_F(AwsClient, SpeaksBothLanguages) {
  Responder server([](const Asked& asked) { return Answer{.body = asked.body}; });
  const auto aws = client(server);
  Reply reply = aws->run(list_queues(), soon());
  ASSERT_TRUE(reply.ok()) << reply.safe;
  EXPECT_EQ(reply.body, "{}");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.attempts, 1U);
  EXPECT_FALSE(reply.ambiguous);
  reply = aws->run({.service = Service::sns, .operation = "ListTopics", .body = "Action=ListTopics"}, soon());
  ASSERT_TRUE(reply.ok());
  const std::vector<Asked> asked = server.asked();
  EXPECT_EQ(asked[0].method, "POST");
  EXPECT_EQ(asked[0].target, "/");
  EXPECT_EQ(asked[0].headers.at("content-type"), "application/x-amz-json-1.0");
  EXPECT_EQ(asked[0].headers.at("x-amz-target"), "AmazonSQS.ListQueues");
  EXPECT_EQ(asked[0].headers.at("x-amz-security-token"), "T0K3N");
  EXPECT_THAT(asked[0].headers.at("authorization"),
              AllOf(HasSubstr("Credential=AKID/20240125/eu-west-1/sqs/aws4_request"),
                    HasSubstr("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target")));
  EXPECT_THAT(asked[1].headers.at("content-type"), HasSubstr("application/x-www-form-urlencoded"));
  EXPECT_FALSE(asked[1].headers.contains("x-amz-target"));
  EXPECT_THAT(asked[1].headers.at("authorization"), HasSubstr("/eu-west-1/sns/aws4_request"));
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(aws->requests(), 2U);
  EXPECT_EQ(aws->credential_source(), "environment");
}

TEST_F(AwsClient, GoesToTheEndpointWhateverAQueuesUrlSays) {
  Responder server([](const Asked&) { return Answer{.body = "{}"}; });
  const Call call{.service = Service::sqs,
                  .operation = "ReceiveMessage",
                  .body = R"({"QueueUrl":"http://127.0.0.1:1/123456789012/orders"})"};
  const Reply reply = client(server)->run(call, soon());
  ASSERT_TRUE(reply.ok()) << reply.safe;
  EXPECT_EQ(server.asked().at(0).target, "/");
  EXPECT_EQ(server.asked().at(0).headers.at("host"), server.host());
}

TEST_F(AwsClient, WhatIsSignedIsWhatIsSent) {
  Responder server([](const Asked&) { return Answer{.body = "{}"}; });
  const auto aws = client(server);
  ASSERT_TRUE(aws->run(list_queues(), soon()).ok());
  const Asked asked = server.asked().at(0);
  EXPECT_EQ(asked.headers.at("host"), server.host());
  std::vector<HeaderView> headers;
  for (const char* name : {"content-type", "host", "x-amz-target"}) headers.emplace_back(name, asked.headers.at(name));
  Signer signer;
  EXPECT_EQ(asked.headers.at("authorization"),
            signer
                .sign({.headers = headers, .body = asked.body}, {"AKID", "S3CR3T", "T0K3N"}, {"eu-west-1", "sqs"},
                      std::chrono::floor<std::chrono::seconds>(start))
                .authorization);
}

TEST_F(AwsClient, WhatPassesIsAskedForAgain) {
  for (const int status : {500, 502, 503, 504}) {
    Responder server(first(3, {.status = status, .body = "<html>"}));
    const Reply reply = client(server)->run(list_queues(), soon());
    EXPECT_TRUE(reply.ok()) << reply.safe;
    EXPECT_EQ(reply.attempts, 4U);
    EXPECT_TRUE(reply.ambiguous) << "a " << status << " may have done it";
  }
}

TEST_F(AwsClient, WhatIsThrottledWasNotDone) {
  for (const char* code : {"RequestThrottled", "ThrottlingException", "KmsThrottled"}) {
    Responder server(first(2, refusal(400, code)));
    const Reply reply = client(server)->run(list_queues(), soon());
    EXPECT_TRUE(reply.ok()) << reply.safe;
    EXPECT_EQ(reply.attempts, 3U);
    EXPECT_FALSE(reply.ambiguous);
  }
}

TEST_F(AwsClient, WhatIsWrongIsAskedForOnce) {
  for (const auto& [status, code, fault] : {std::tuple(400, "InvalidAttributeValue", Fault::sender),
                                            {400, "QueueDoesNotExist", Fault::not_found},
                                            {403, "AccessDeniedException", Fault::denied},
                                            {403, "OverLimit", Fault::full}}) {
    Responder server(first(9, refusal(status, code)));
    const Reply reply = client(server)->run(list_queues(), soon());
    EXPECT_EQ(reply.fault, fault);
    EXPECT_EQ(reply.attempts, 1U);
    EXPECT_EQ(server.asked().size(), 1U);
  }
}

TEST_F(AwsClient, RepeatsUntilTheDeadline) {
  Responder server([](const Asked&) { return Answer{.status = 503, .body = ""}; });
  const Reply reply = client(server)->run(list_queues(), WaitClock::now() + 60ms);
  EXPECT_FALSE(reply.ok());
  EXPECT_GT(server.asked().size(), 1U);
  EXPECT_TRUE(reply.error("ListQueues").retryable());
}

TEST_F(AwsClient, WhatAwsSaidIsToldWhenNoTimeIsLeftToAskAgain) {
  Responder server([](const Asked&) { return Answer{.status = 503, .body = "", .headers = {"Retry-After: 30"}}; });
  const Reply reply = client(server)->run(list_queues(), WaitClock::now() + 20s);
  EXPECT_EQ(reply.fault, Fault::passing);
  EXPECT_EQ(reply.attempts, 1U);
  const Error error = reply.error("ListQueues");
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_TRUE(error.retryable());
  EXPECT_THAT(error.what(), HasSubstr("aws: ListQueues: AWS answered 503; it may"));
}

TEST_F(AwsClient, AnAttemptThatHangsIsRepeatedAndMayHaveBeenDone) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> count{0};
  Responder server([&](const Asked&) {
    if (count++ == 0) released.wait();
    return Answer{.body = "{}"};
  });
  Call call = list_queues();
  call.limit = 50ms;
  const Reply reply = client(server)->run(call, soon());
  EXPECT_TRUE(reply.ok()) << reply.safe;
  EXPECT_EQ(reply.attempts, 2U);
  EXPECT_TRUE(reply.ambiguous);
  release.set_value();
}

TEST_F(AwsClient, WhatMayNotBeDoneTwiceIsNotRepeatedWhenInDoubt) {
  Responder server([](const Asked&) { return Answer{.hang_up = true}; });
  Call call = list_queues();
  call.idempotent = false;
  const Reply reply = client(server)->run(call, soon());
  EXPECT_EQ(reply.fault, Fault::passing);
  EXPECT_EQ(reply.attempts, 1U);
  EXPECT_TRUE(reply.ambiguous);
  EXPECT_THAT(reply.error("StartMessageMoveTask").what(), HasSubstr("it may have been carried out all the same"));
  // libcurl does not repeat it either, as it does with what a kept connection ends on.
  Responder cut([](const Asked& asked) {
    return asked.body == "{}" && asked.connection == 1 ? Answer{.body = "{}"} : Answer{.hang_up = true};
  });
  const auto aws = client(cut);
  ASSERT_TRUE(aws->run(list_queues(), soon()).ok());
  call.body = "{\"again\":1}";
  EXPECT_FALSE(aws->run(call, soon()).ok());
  EXPECT_EQ(cut.asked().size(), 2U);
  call.body = "{}";
  // What was not done is.
  Responder busy(first(1, refusal(400, "RequestThrottled")));
  EXPECT_TRUE(client(busy)->run(call, soon()).ok());
}

TEST_F(AwsClient, TheDeadlineIsToldAsOne) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  Responder server([&](const Asked&) {
    released.wait();
    return Answer{};
  });
  const Reply reply = client(server)->run(list_queues(), WaitClock::now() + 50ms);
  EXPECT_EQ(reply.fault, Fault::timeout);
  EXPECT_TRUE(reply.ambiguous);
  EXPECT_EQ(reply.error("ListQueues").code(), ErrorCode::timeout);
  release.set_value();
}

TEST_F(AwsClient, TakesTheTimeFromAwsAndKeepsIt) {
  clock_ = Standing(start - 20min);
  const std::string of_start = "20240125T103000Z";
  Responder server([&](const Asked& asked) {
    if (time_of(asked) == of_start) return Answer{.body = "{}"};
    Answer answer = refusal(403, "RequestTimeTooSkewed");
    answer.headers.push_back("Date: " + std::string(date_of_start));
    return answer;
  });
  const auto aws = client(server);
  const Reply reply = aws->run(list_queues(), soon());
  EXPECT_TRUE(reply.ok()) << reply.safe;
  EXPECT_EQ(reply.attempts, 2U);
  EXPECT_FALSE(reply.ambiguous);
  EXPECT_EQ(aws->clock_offset(), 20min);
  EXPECT_EQ(aws->run(list_queues(), soon()).attempts, 1U) << "the offset is kept";
}

TEST_F(AwsClient, SignsAgainOnceOnly) {
  Answer answer = refusal(403, "RequestTimeTooSkewed");
  answer.headers.push_back("Date: " + std::string(date_of_start));
  Responder server([&](const Asked&) { return answer; });
  const Reply reply = client(server)->run(list_queues(), soon());
  EXPECT_EQ(reply.fault, Fault::skewed);
  EXPECT_EQ(reply.attempts, 2U);
  EXPECT_EQ(reply.error("ListQueues").code(), ErrorCode::unauthorized);
}

TEST_F(AwsClient, AWrongSecretIsNoMatterOfTime) {
  // What was signed stands in such an answer, the token among it.
  Answer answer = refusal(403, "InvalidSignatureException",
                          "The signature does not match.\\n\\nThe Canonical String for this request should have been "
                          "'POST\\n/\\n\\nx-amz-security-token:T0K3N'");
  answer.headers.push_back("Date: " + std::string(date_of_start));
  Responder server([&](const Asked&) { return answer; });
  const Reply reply = client(server)->run(list_queues(), soon());
  EXPECT_EQ(reply.attempts, 1U);
  const Error error = reply.error("ListQueues");
  EXPECT_THAT(error.what(), AllOf(HasSubstr("InvalidSignatureException"), HasSubstr("secret access key"),
                                  Not(HasSubstr("T0K3N")), Not(HasSubstr("S3CR3T")), Not(HasSubstr("Canonical"))));
}

TEST_F(AwsClient, ExpiredKeysAreRenewedOnce) {
  Responder server([&](const Asked& asked) {
    if (asked.headers.at("x-amz-security-token") == "NEW") return Answer{.body = "{}"};
    variables_["AWS_SESSION_TOKEN"] = "NEW";  // Somebody put new ones there.
    return refusal(403, "ExpiredTokenException", "The security token T0K3N is expired");
  });
  const auto aws = client(server);
  const Reply reply = aws->run(list_queues(), soon());
  EXPECT_TRUE(reply.ok()) << reply.safe;
  EXPECT_EQ(reply.attempts, 2U);
  EXPECT_FALSE(reply.ambiguous);

  Responder strict(
      [](const Asked&) { return refusal(403, "ExpiredTokenException", "The security token NEW is expired"); });
  const Reply again = client(strict)->run(list_queues(), soon());
  EXPECT_EQ(again.attempts, 2U);
  EXPECT_EQ(again.fault, Fault::expired);
  EXPECT_THAT(again.error("ListQueues").what(), AllOf(HasSubstr("renew the credentials"), Not(HasSubstr("NEW"))));
}

TEST_F(AwsClient, WithoutCredentialsNothingIsSent) {
  variables_ = {{"AWS_EC2_METADATA_DISABLED", "true"}};
  Responder server([](const Asked&) { return Answer{}; });
  const Reply reply = client(server)->run(list_queues(), soon());
  EXPECT_FALSE(reply.ok());
  const Error error = reply.error("ListQueues");
  EXPECT_EQ(error.code(), ErrorCode::unauthorized);
  EXPECT_THAT(error.what(), HasSubstr("aws: ListQueues: no credentials: "));
  EXPECT_TRUE(server.asked().empty());
}

TEST_F(AwsClient, TheEndpointLendsTheKeysToo) {
  variables_ = {{"AWS_WEB_IDENTITY_TOKEN_FILE", "/token"}, {"AWS_ROLE_ARN", "arn:r"}};
  around_.read_file = [](const std::string&) { return "T0K3N"; };
  const std::string lent =
      "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>LENT</AccessKeyId>"
      "<SecretAccessKey>S3CR3T</SecretAccessKey><SessionToken>T0K3N</SessionToken>"
      "<Expiration>2024-01-25T11:30:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
      "</AssumeRoleWithWebIdentityResponse>";
  Responder server([&](const Asked& asked) { return Answer{.body = asked.body.starts_with("Action=") ? lent : "{}"}; });
  EXPECT_TRUE(client(server)->run(list_queues(), soon()).ok()) << "nobody else may see the token";
  EXPECT_EQ(server.asked().size(), 2U);
}

TEST_F(AwsClient, ErrorsNameWhatFailedAndWhatToDo) {
  Responder server([](const Asked&) {
    Answer answer = refusal(403, "AccessDeniedException",
                            "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage");
    answer.headers = {"x-amzn-RequestId: r-1"};
    return answer;
  });
  const Reply reply = client(server)->run(list_queues(), soon());
  EXPECT_STREQ(reply.error("SendMessageBatch", "prod-mail-events-user").what(),
               "aws: SendMessageBatch of prod-mail-events-user: AWS answered 403 AccessDeniedException (User: "
               "arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage), request r-1; let the policy of "
               "these credentials allow it");
}

TEST_F(AwsClient, AKeyThatAwsDoesNotKnowIsNoMissingRight) {
  for (const char* code : {"InvalidClientTokenId", "UnrecognizedClientException"}) {
    Responder server([&](const Asked&) { return refusal(403, code, "The security token included is invalid."); });
    const Error error = client(server)->run(list_queues(), soon()).error("ListQueues");
    EXPECT_EQ(error.code(), ErrorCode::unauthorized);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("check the access key"), Not(HasSubstr("policy"))));
  }
}

TEST_F(AwsClient, WhereNothingListensTheEndpointIsToldAsToBeChecked) {
  auto server = std::make_unique<Responder>([](const Asked&) { return Answer{}; });
  const auto asking = client(*server);
  server.reset();
  const Error error = asking->run(list_queues(), WaitClock::now() + 60ms).error("ListQueues");
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_TRUE(error.retryable());
  EXPECT_THAT(error.what(), HasSubstr("check the endpoint, the region and the network"));
}

TEST_F(AwsClient, ManyCallsRunBesideEachOther) {
  std::atomic<int> count{0};
  Responder server([&](const Asked& asked) {
    return count++ % 3 == 0 ? Answer{.status = 503, .body = ""} : Answer{.body = asked.body};
  });
  const auto aws = client(server);
  std::vector<std::string> bodies;
  for (int i = 0; i < 30; ++i) bodies.push_back("{\"n\":" + std::to_string(i) + "}");
  std::vector<Call> calls(30, list_queues());
  for (std::size_t i = 0; i < calls.size(); ++i) calls[i].body = bodies[i];
  std::vector<Reply> replies(calls.size());
  aws->run(calls, replies, soon());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_TRUE(replies[i].ok()) << replies[i].safe;
    EXPECT_EQ(replies[i].body, bodies[i]);
  }
}

TEST_F(AwsClient, AFlightReturnsWhatIsDecidedFirst) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  Responder server([&](const Asked& asked) {
    if (asked.body == "long") released.wait();
    return Answer{.body = asked.body};
  });
  const auto aws = client(server);
  std::vector<Reply> replies(3);
  Call call = list_queues();
  {
    Client::Flight flight(*aws);
    call.body = "long";
    flight.start(call, replies[0], soon());
    call.body = "short";
    flight.start(call, replies[1], soon());
    EXPECT_EQ(flight.next(soon()), &replies[1]);
    EXPECT_EQ(flight.next(WaitClock::now() + 5ms), nullptr);
    flight.start(call, replies[2], soon());
    EXPECT_EQ(flight.next(soon()), &replies[2]);
    EXPECT_EQ(flight.under_way(), 1U);
  }
  release.set_value();
}

TEST_F(AwsClient, AStopEndsAlsoTheWaitBetweenAttempts) {
  Responder server([](const Asked&) { return Answer{.status = 503, .body = "", .headers = {"Retry-After: 30"}}; });
  const auto aws = client(server);
  std::stop_source stop;
  std::jthread stopper([&] {
    while (server.asked().empty()) std::this_thread::yield();
    stop.request_stop();
  });
  const Reply reply = aws->run(list_queues(), WaitClock::now() + 60s, stop.get_token());
  EXPECT_EQ(reply.fault, Fault::stopped);
  EXPECT_EQ(reply.error("ListQueues").code(), ErrorCode::cancelled);
}

TEST_F(AwsClient, ThreadsShareOneClient) {
  Responder server([](const Asked& asked) { return Answer{.body = asked.body}; });
  const auto aws = client(server);
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) {
          const std::string body = std::to_string(t * 1000 + i);
          Call call = list_queues();
          call.body = body;
          if (aws->run(call, soon()).body == body) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 300);
  EXPECT_LE(server.connections(), 6);
}

TEST_F(AwsClient, ChoosesRegionAndEndpoints) {
  const auto make = [&](ClientOptions options) {
    return std::make_unique<Client>(std::move(options), Environment{}, &around_);
  };
  EXPECT_THROW(make({}), Error);
  EXPECT_EQ(make({.region = "eu-west-1"})->endpoint(Service::sqs), "https://sqs.eu-west-1.amazonaws.com/");
  EXPECT_EQ(make({.region = "cn-north-1"})->endpoint(Service::sns), "https://sns.cn-north-1.amazonaws.com.cn/");
  variables_["AWS_REGION"] = "us-west-2";
  EXPECT_EQ(make({})->region(), "us-west-2");
  EXPECT_EQ(make({.endpoint = "http://127.0.0.1:80/"})->endpoint(Service::sqs), "http://127.0.0.1/");
  EXPECT_EQ(make({.endpoint = "https://here:443/base/"})->endpoint(Service::sns), "https://here/base");
  EXPECT_EQ(make({.endpoint = "http://here:4566"})->endpoint(Service::sts), "http://here:4566/");
  variables_["AWS_ENDPOINT_URL"] = "http://all:4566";
  variables_["AWS_ENDPOINT_URL_SNS"] = "http://topics:1";
  EXPECT_EQ(make({})->endpoint(Service::sqs), "http://all:4566/");
  EXPECT_EQ(make({})->endpoint(Service::sns), "http://topics:1/");
  EXPECT_EQ(make({.endpoint = "http://here:1"})->endpoint(Service::sns), "http://here:1/");
  for (const char* wrong : {"here:4566", "ftp://here", "https://", "http://a b", "http://u:p@here", "http://here?x"}) {
    EXPECT_THROW(make({.endpoint = wrong}), Error) << wrong;
  }
}

}  // namespace
}  // namespace tidings::transport::aws
