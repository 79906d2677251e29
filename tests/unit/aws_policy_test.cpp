#include <gtest/gtest.h>

#include <tidings/error.hpp>

#include "transport/aws/names.hpp"
#include "transport/aws/policy.hpp"

namespace tidings::transport::aws {
namespace {

constexpr const char *queue = "arn:aws:sqs:eu-west-1:123456789012:prod-search-events-user",
                     *topic = "arn:aws:sns:eu-west-1:123456789012:prod-events-user";

TEST(AwsNames, AreThoseOfTheDesign) {
  const Names names("prod");
  EXPECT_EQ(names.topic("events:user"), "prod-events-user");
  EXPECT_EQ(names.queue("events:user", "search"), "prod-search-events-user");
  EXPECT_EQ(names.dead_letter_queue("events:user", "search"), "prod-search-events-user-dlq");
  EXPECT_EQ(names.queue("commands:send.email", "commands"), "prod-commands-send_email");
  EXPECT_EQ(names.queue("commands:send_email.now", "commands"), "prod-commands-send__email_now");
}

// Others may have names under our prefix; they are no streams, and keep nobody from listing ours.
TEST(AwsNames, OfOthersAreNoStreams) {
  const Names names("p");
  for (const char* name : {"p-g-events-x.fifo", "p-commands-", "p-g-events-", "p-g-events-A b"})
    EXPECT_FALSE(names.group_of_queue(name)) << name;
  EXPECT_FALSE(names.stream_of_topic("p-events-x.fifo"));
  EXPECT_FALSE(names.stream_of_topic("p-events-"));
}

TEST(AwsNames, AreReadBack) {
  const Names names("prod");
  for (const auto& [stream, group] : {std::pair{"events:user", "search"}, std::pair{"events:events-user", "a"},
                                      std::pair{"events:b-events-c", "a"}, std::pair{"events:_x_", "a_b-c"}}) {
    EXPECT_EQ(names.group_of_queue(names.queue(stream, group)), (Names::Queue{stream, group})) << stream;
    EXPECT_EQ(names.stream_of_topic(names.topic(stream)), stream);
  }
  for (const char* stream : {"commands:send.email", "commands:send_email", "commands:a_.b", "commands:__a.b__.c-d"}) {
    EXPECT_EQ(names.group_of_queue(names.queue(stream, "commands")), (Names::Queue{stream, "commands"})) << stream;
  }
  EXPECT_FALSE(names.group_of_queue("prod-search-events-user-dlq"));
  EXPECT_FALSE(names.group_of_queue("test-search-events-user"));
  EXPECT_FALSE(names.group_of_queue("prod-events-user"));
  EXPECT_FALSE(names.stream_of_topic("prod-events-"));
}

TEST(AwsNames, OfTwoStreamsNeverMeet) {
  const Names names("p");
  // `a-events-b` reading `c` would have the queue of `a` reading `b-events-c`.
  for (const char* service : {"a-events-b", "events", "a-events", "events-a", "commands", "x-dlq"}) {
    EXPECT_THROW((void)names.queue("events:c", service), Error) << service;
  }
  EXPECT_NO_THROW((void)names.queue("events:c", "myevents"));
  EXPECT_THROW((void)names.queue("commands:a._b", "commands"), Error);
}

TEST(AwsNames, ThatAreTooLongSaySo) {
  const Names names("p");
  EXPECT_NO_THROW((void)names.queue("events:" + std::string(30, 'c'), std::string(36, 's')));
  try {
    (void)names.queue("events:" + std::string(31, 'c'), std::string(36, 's'));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    EXPECT_NE(std::string(error.what()).find("81 characters"), std::string::npos) << error.what();
  }
  for (const char* prefix : {"", "a.b", "a b", "a:b"}) EXPECT_THROW(Names{prefix}, Error) << prefix;
}

TEST(AwsPolicy, IsWrittenWhereThereIsNone) {
  const std::string policy = with_topic("", queue, topic);
  EXPECT_TRUE(lets_topic_send(policy, queue, topic));
  EXPECT_FALSE(lets_topic_send(policy, queue, "arn:aws:sns:eu-west-1:123456789012:other"));
  EXPECT_FALSE(lets_topic_send(policy, "arn:aws:sqs:eu-west-1:123456789012:other", topic));
  EXPECT_FALSE(lets_topic_send("", queue, topic));
}

TEST(AwsPolicy, KeepsWhatOthersWrote) {
  const std::string theirs =
      R"({"Version":"2012-10-17","Id":"mine","Statement":[{"Sid":"Owner","Effect":"Allow","Principal":{"AWS":)"
      R"("arn:aws:iam::123456789012:root"},"Action":"sqs:*","Resource":"*"},{"Sid":"TidingsTopic","Effect":"Allow",)"
      R"("Principal":"*","Action":"sqs:ReceiveMessage","Resource":"*"}],"Other":{"a":[1, 2]}})";
  EXPECT_FALSE(lets_topic_send(theirs, queue, topic));
  const std::string merged = with_topic(theirs, queue, topic);
  EXPECT_TRUE(lets_topic_send(merged, queue, topic));
  EXPECT_NE(merged.find(R"({"Sid":"Owner","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"})"),
            std::string::npos);
  EXPECT_NE(merged.find(R"("Other":{"a":[1, 2]})"), std::string::npos);
  EXPECT_NE(merged.find(R"("Id":"mine")"), std::string::npos);
  EXPECT_EQ(merged.find("ReceiveMessage"), std::string::npos) << "an older statement of our name is replaced";
  EXPECT_EQ(with_topic(merged, queue, topic), merged);
  // A single statement need not be in an array.
  const std::string single =
      R"({"Statement":{"Sid":"One","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}})";
  EXPECT_TRUE(lets_topic_send(with_topic(single, queue, topic), queue, topic));
  EXPECT_NE(with_topic(single, queue, topic).find(R"("Sid":"One")"), std::string::npos);
  EXPECT_THROW((void)with_topic("not json", queue, topic), Error);
}

TEST(AwsPolicy, OfOthersMayLetTheTopicSendToo) {
  const auto policy = [](const std::string& principal, const std::string& action, const std::string& condition) {
    return R"({"Statement":[{"Effect":"Allow","Principal":)" + principal + R"(,"Action":)" + action +
           R"(,"Resource":")" + queue + R"(","Condition":)" + condition + "}]}";
  };
  const std::string service = R"({"Service":["sns.amazonaws.com","s3.amazonaws.com"]})",
                    here = R"({"ArnLike":{"AWS:SourceArn":"arn:aws:sns:*:123456789012:prod-*"}})";
  EXPECT_TRUE(lets_topic_send(policy(service, R"(["SQS:SendMessage"])", here), queue, topic));
  EXPECT_TRUE(lets_topic_send(policy(R"("*")", R"("sqs:*")", here), queue, topic));
  EXPECT_FALSE(lets_topic_send(policy(R"({"Service":"s3.amazonaws.com"})", R"("sqs:*")", here), queue, topic));
  EXPECT_FALSE(lets_topic_send(policy(service, R"("sqs:ReceiveMessage")", here), queue, topic));
  EXPECT_FALSE(
      lets_topic_send(policy(service, R"("sqs:*")", R"({"Bool":{"aws:SecureTransport":"true"}})"), queue, topic))
      << "what we do not know may not hold";
}

TEST(AwsPolicy, OfRedrivingIsReadInEverySpelling) {
  const Redrive redrive{.target = "arn:aws:sqs:eu-west-1:1:q-dlq", .receives = 1000};
  EXPECT_EQ(read_redrive(write_redrive(redrive)), redrive);
  EXPECT_EQ(read_redrive(R"({"maxReceiveCount":"1000","deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1:q-dlq"})"),
            redrive);
  EXPECT_EQ(write_redrive({.target = "t"}), R"({"deadLetterTargetArn":"t"})");
  for (const char* text : {"", "{}", "x", R"({"maxReceiveCount":3})"}) EXPECT_FALSE(read_redrive(text)) << text;
}

TEST(AwsPolicy, OfFilteringNamesTypes) {
  EXPECT_EQ(write_filter({"user.created", "user.deleted"}), R"({"type":["user.created","user.deleted"]})");
  EXPECT_EQ(read_filter(R"({"type":["user.deleted", "user.created"]})"),
            (std::set<std::string>{"user.created", "user.deleted"}));
  EXPECT_EQ(write_filter({}), "");
  EXPECT_EQ(write_filter({"*", "user.created"}), "");
  std::set<std::string> many;
  for (int i = 0; i < 151; ++i) many.insert("t" + std::to_string(i));
  EXPECT_EQ(write_filter(many), "") << "SNS allows 150 combinations";
  for (const char* text : {"", R"({"type":[{"prefix":"user."}]})", R"({"type":["a"],"source":["b"]})", "x"}) {
    EXPECT_FALSE(read_filter(text)) << text;
  }
}

}  // namespace
}  // namespace tidings::transport::aws
