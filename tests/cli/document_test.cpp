// doctor --print: documents for whoever sets up accounts on AWS, written without asking anybody there.
#include "moving.hpp"

namespace tidings::cli_test {

class Documents : public MovingTest {
 protected:
  /// What is printed for an endpoint that must not be asked.
  std::string print(Words words) {
    words.insert(words.begin(), {"doctor", "-u", aws_url(aws_) + "&account=123456789012", "--print"});
    std::string text = expect_ok(words);
    EXPECT_EQ(aws_.connections(), 0) << "it asked AWS";
    EXPECT_EQ(expect_ok(words), text) << "it differs from one run to the next";
    EXPECT_EQ(lines(text).size(), 1U);
    return text;
  }

  support::AwsStub aws_{};
};

const std::string sqs = "arn:aws:sqs:eu-west-1:123456789012:t-", sns = "arn:aws:sns:eu-west-1:123456789012:t-";

TEST_F(Documents, APolicyForEachRole) {
  std::map<std::string, std::string> policies;
  for (const char* role : {"publisher", "consumer", "operator"}) {
    policies[role] = print(
        {"iam", "--role", role, "--service", "search", "--stream", "events:user", "--stream", "commands:send.email"});
    EXPECT_EQ(names(policies[role]), "Version Statement");
    for (const std::string& each : elements(value(policies[role], "Statement"))) {
      EXPECT_EQ(names(each), "Sid Effect Action Resource");
      EXPECT_EQ(value(each, "Effect"), "Allow");
      EXPECT_FALSE(elements(value(each, "Action")).empty() || elements(value(each, "Resource")).empty()) << each;
    }
    for (const std::string& place : {sns + "events-user", sqs + "search-events-user", sqs + "search-events-user-dlq",
                                     sqs + "commands-send_email", sqs + "commands-send_email-dlq"}) {
      EXPECT_NE(policies[role].find("\"" + place + "\""), std::string::npos) << role << " " << place;
    }
  }
  const auto may = [&](const char* role, const char* action) {
    return policies[role].find(action) != std::string::npos;
  };
  EXPECT_TRUE(may("publisher", "sns:Publish") && !may("publisher", "sqs:ReceiveMessage"));
  EXPECT_TRUE(may("consumer", "sqs:ReceiveMessage") && !may("consumer", "sqs:CreateQueue"));
  EXPECT_TRUE(may("operator", "sqs:CreateQueue"));
  EXPECT_EQ(print({"iam", "--service", "search", "--stream", "events:user", "--stream", "commands:send.email"}),
            policies["operator"]);
}

TEST_F(Documents, ATemplateHoldsEveryPart) {
  const Words words{"cloudformation", "--service",          "search", "--stream", "events:user",
                    "--stream",       "commands:send.email"};
  const std::string text = print(words);
  EXPECT_EQ(names(text), "AWSTemplateFormatVersion Description Resources");
  std::multiset<std::string> types;
  for (const auto& [name, part] : members(value(text, "Resources"))) types.insert(value(part.text(), "Type"));
  EXPECT_EQ(types, (std::multiset<std::string>{"AWS::SNS::Subscription", "AWS::SNS::Topic", "AWS::SQS::Queue",
                                               "AWS::SQS::Queue", "AWS::SQS::Queue", "AWS::SQS::Queue",
                                               "AWS::SQS::QueuePolicy", "AWS::SQS::QueuePolicy"}));
  for (const char* name : {"t-events-user", "t-search-events-user", "t-search-events-user-dlq", "t-commands-send_email",
                           "t-commands-send_email-dlq", "tidings:owner"}) {
    EXPECT_NE(text.find("\"" + std::string(name) + "\""), std::string::npos) << name;
  }
  Words twice = words;
  twice.insert(twice.end(), {"--stream", "events:user"});
  EXPECT_EQ(print(twice), text) << "a stream that is named twice is one";
}

TEST_F(Documents, WrongUseIsUsageAndPrintsNothing) {
  const std::string url = aws_url(aws_);
  for (const Words& words : std::vector<Words>{
           {"-u", url, "--print", "xml", "--stream", "events:user"},
           {"-u", url, "--print", "iam"},
           {"-u", url, "--print", "cloudformation"},
           {"-u", url, "--print", "iam", "--stream", "user"},
           {"-u", url, "--print", "iam", "--stream", "events:user", "--role", "king"},
           {"-u", url, "--print", "iam", "--stream", "events:user", "--role", "consumer"},
           {"-u", url, "--print", "iam", "--stream", "events:user", "--service", "a b"},
           {"-u", url, "--print", "iam", "--stream", "events:user", "--service", "commands-x"},
           {"-u", url, "--print", "cloudformation", "--stream", "events:user", "--role", "operator"},
           {"-u", "aws://eu-west-1?prefix=a.b", "--print", "iam", "--stream", "events:user"},
           {"-u", file_url("a.db"), "--print", "iam", "--stream", "events:user"},
           {"-u", "redis://127.0.0.1:1", "--print", "cloudformation", "--stream", "events:user"},
           {"-u", url, "--role", "consumer"},
           {"-u", url, "--service", "search"},
           {"-u", url, "--stream", "events:user"},
       }) {
    Words all{"doctor"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = tidings(all);
    EXPECT_EQ(outcome.code, 2) << words.back() << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_FALSE(outcome.err.empty());
  }
  EXPECT_EQ(aws_.connections(), 0);
}

}  // namespace tidings::cli_test
