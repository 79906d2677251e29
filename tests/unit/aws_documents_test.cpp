// The documents for whoever sets up accounts: valid, and complete as far as the code says.
#include <gtest/gtest.h>

#include <tidings/aws_documents.hpp>
#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "support/aws/json.hpp"

namespace tidings {
namespace {

const AwsPlan& plan() {
  static const AwsPlan made{.prefix = "prod",
                            .region = "eu-west-1",
                            .account = "123456789012",
                            .service = "search",
                            .streams = {"events:user", "commands:send.email"},
                            .payloads = "s3://events/large"};
  return made;
}

// The operations that the transport names in its calls.
std::set<std::string> operations() {
  std::set<std::string> all;
  const std::regex call(
      R"re((?:operation\s*=\s*(?:[a-z.]+ \? )?|Service::s[qn]s,\s*)"([A-Z][A-Za-z]+)"(?: : "([A-Za-z]+)")?)re");
  for (const auto& file : std::filesystem::directory_iterator(AWS_SOURCES)) {
    std::stringstream text;
    text << std::ifstream(file.path()).rdbuf();
    const std::string code = text.str();
    for (std::sregex_iterator found(code.begin(), code.end(), call), end; found != end; ++found) {
      all.insert((*found)[1]);
      if ((*found)[2].matched) all.insert((*found)[2]);
    }
  }
  return all;
}

TEST(AwsDocuments, APolicyHasEveryActionThatTheCodeUses) {
  const std::string policy = aws_iam_policy(plan(), "operator");
  ASSERT_TRUE(support::aws::Json::parse(policy)) << policy;
  const auto found = operations();
  ASSERT_GE(found.size(), 18U);
  // One action stands for a batch too; everybody may ask who he is.
  const std::map<std::string, std::string> actions{{"PublishBatch", "Publish"},
                                                   {"SendMessageBatch", "SendMessage"},
                                                   {"DeleteMessageBatch", "DeleteMessage"},
                                                   {"ChangeMessageVisibilityBatch", "ChangeMessageVisibility"}};
  for (const std::string& each : found) {
    const auto action = actions.find(each);
    const std::string name = action == actions.end() ? each : action->second;
    EXPECT_TRUE(policy.find("\"sqs:" + name + "\"") != policy.npos ||
                policy.find("\"sns:" + name + "\"") != policy.npos || policy.find("\"s3:" + name + "\"") != policy.npos)
        << each << " is called, and no statement allows it";
  }
}

TEST(AwsDocuments, ARoleHasWhatItNeedsAndNoMore) {
  const std::string publisher = aws_iam_policy(plan(), "publisher"), consumer = aws_iam_policy(plan(), "consumer");
  for (const std::string& each : {publisher, consumer}) ASSERT_TRUE(support::aws::Json::parse(each)) << each;
  EXPECT_NE(publisher.find("sns:Publish"), std::string::npos);
  EXPECT_NE(publisher.find("arn:aws:sns:eu-west-1:123456789012:prod-events-user"), std::string::npos);
  EXPECT_EQ(publisher.find("sqs:ReceiveMessage"), std::string::npos);
  EXPECT_NE(consumer.find("arn:aws:sqs:eu-west-1:123456789012:prod-search-events-user-dlq"), std::string::npos);
  EXPECT_EQ(consumer.find("sqs:CreateQueue"), std::string::npos);
  EXPECT_THROW((void)aws_iam_policy(plan(), "guest"), Error);
  EXPECT_THROW((void)aws_iam_policy({}, "publisher"), Error);
}

TEST(AwsDocuments, APublisherStoresPayloadsAndAConsumerFetchesThemToo) {
  AwsPlan with = plan();
  const std::string publisher = aws_iam_policy(with, "publisher"), consumer = aws_iam_policy(with, "consumer");
  for (const std::string& each : {publisher, consumer}) {
    ASSERT_TRUE(support::aws::Json::parse(each)) << each;
    EXPECT_NE(each.find(R"("s3:PutObject"],"Resource":["arn:aws:s3:::events/large/*"])"), std::string::npos) << each;
  }
  EXPECT_EQ(publisher.find("s3:GetObject"), std::string::npos);
  EXPECT_NE(consumer.find(R"("s3:GetObject"],"Resource":["arn:aws:s3:::events/large/*"])"), std::string::npos);
  EXPECT_NE(consumer.find(R"("s3:ListBucket"],"Resource":["arn:aws:s3:::events"])"), std::string::npos);
  for (const char* none : {"", "file:///var/lib/payloads"}) {
    with.payloads = none;
    EXPECT_EQ(aws_iam_policy(with, "operator").find("s3:"), std::string::npos);
  }
  with.payloads = "ftp://events";
  EXPECT_THROW((void)aws_iam_policy(with, "operator"), Error);
}

TEST(AwsDocuments, ATemplateMakesWhatTheTransportMakes) {
  const auto document = support::aws::Json::parse(aws_cloudformation(plan()));
  ASSERT_TRUE(document) << aws_cloudformation(plan());
  const auto* parts = document->find("Resources");
  ASSERT_NE(parts, nullptr);
  std::map<std::string, int> kinds;
  for (const auto& [name, part] : *parts->members()) {
    ++kinds[*part.find("Type")->string()];
    EXPECT_TRUE(std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0; })) << name;
  }
  EXPECT_EQ(kinds, (std::map<std::string, int>{{"AWS::SNS::Topic", 1},
                                               {"AWS::SQS::Queue", 4},
                                               {"AWS::SQS::QueuePolicy", 2},
                                               {"AWS::SNS::Subscription", 1}}));
  const std::string text = document->text();
  for (const char* each : {"\"maxReceiveCount\":1000", "1209600", "\"RawMessageDelivery\":true", "\"tidings:owner\"",
                           "\"prod-search-events-user-dlq\"", "\"DependsOn\""})
    EXPECT_NE(text.find(each), std::string::npos) << each;
}

}  // namespace
}  // namespace tidings
