// What the stand-in for SQS refuses, hides, counts and moves.
#include <thread>

#include "aws/text.hpp"
#include "aws_stub_fixture.hpp"

namespace tidings::support {
namespace {

using namespace std::chrono_literals;

class AwsQueues : public AwsStubTest {
 protected:
  using Strings = std::vector<std::string>;
  std::string create(const std::string& name, Json::Object attributes = {}) {
    return error(
        sqs("CreateQueue", Json::object({{"QueueName", name}, {"Attributes", Json::object(std::move(attributes))}})));
  }
  std::string set(const std::string& queue, const std::string& name, const std::string& value) {
    return error(sqs("SetQueueAttributes", on(queue, {{"Attributes", Json::object({{name, value}})}})));
  }
  static Json::Array entries(int count, const std::string& body = "x") {
    Json::Array out;
    for (int i = 0; i < count; ++i)
      out.push_back(Json::object({{"Id", "id" + std::to_string(i)}, {"MessageBody", body}}));
    return out;
  }
  std::string batch(const std::string& queue, Json::Array list) {
    return error(sqs("SendMessageBatch", on(queue, {{"Entries", Json(std::move(list))}})));
  }
  std::string hide(const std::string& queue, const std::string& handle, int seconds) {
    return error(
        sqs("ChangeMessageVisibility", on(queue, {{"ReceiptHandle", handle}, {"VisibilityTimeout", seconds}})));
  }
  std::string remove(const std::string& queue, const std::string& handle) {
    return error(sqs("DeleteMessage", on(queue, {{"ReceiptHandle", handle}})));
  }
  void make_pair(int most) {
    make_queue("dead");
    make_queue("q", {{"RedrivePolicy", redrive("dead", most)}});
  }
  [[nodiscard]] std::string redrive(const std::string& dead, int most) const {
    return Json::object({{"deadLetterTargetArn", stub.queue_arn(dead)}, {"maxReceiveCount", most}}).text();
  }
  static constexpr const char* good = "200  ";
  static constexpr const char* bad_parameter = "400 InvalidParameterValueException InvalidParameterValue;Sender";
  static constexpr const char* bad_value = "400 InvalidAttributeValue InvalidAttributeValue;Sender";
  static constexpr const char* missing_parameter = "400 MissingRequiredParameterException MissingParameter;Sender";
};

TEST_F(AwsQueues, AreCreatedOnceAndNamedByRules) {
  EXPECT_EQ(create("orders", {{"VisibilityTimeout", "60"}}), good);
  EXPECT_EQ(create("orders", {{"VisibilityTimeout", "60"}}), good);
  EXPECT_EQ(create("orders"), good);
  EXPECT_EQ(create("orders", {{"VisibilityTimeout", "61"}}), "400 QueueNameExists QueueAlreadyExists;Sender");
  EXPECT_EQ(create("events:orders"), bad_parameter);
  EXPECT_EQ(create(std::string(81, 'a')), bad_parameter);
  EXPECT_EQ(create(std::string(80, 'a')), good);
  EXPECT_EQ(create("orders.fifo"), bad_parameter);
  EXPECT_EQ(create("fast", {{"FifoQueue", "true"}}), bad_parameter);
  EXPECT_EQ(create("fast", {{"DeduplicationScope", "queue"}}), "400 InvalidAttributeName InvalidAttributeName;Sender");
  EXPECT_EQ(create("orders.fifo", {{"FifoQueue", "true"}}), good);
  EXPECT_EQ(create("other", {{"Colour", "red"}}), "400 InvalidAttributeName InvalidAttributeName;Sender");
}

TEST_F(AwsQueues, WaitAMinuteAfterTheirEnd) {
  make_queue("q");
  EXPECT_EQ(error(sqs("DeleteQueue", on("q"))), good);
  EXPECT_EQ(error(sqs("GetQueueUrl", Json::object({{"QueueName", "q"}}))),
            "400 QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue;Sender");
  EXPECT_EQ(create("q"), "400 QueueDeletedRecently AWS.SimpleQueueService.QueueDeletedRecently;Sender");
  advance(60s);
  EXPECT_EQ(create("q"), good);
}

TEST_F(AwsQueues, GiveOnlyTheAttributesAskedFor) {
  make_queue("q", {{"DelaySeconds", "5"}});
  send("q", "x");
  EXPECT_EQ(sqs("GetQueueAttributes", on("q")).json().find("Attributes"), nullptr);
  const Json some =
      *sqs("GetQueueAttributes", on("q", {{"AttributeNames", Json::array({"QueueArn", "RedrivePolicy"})}}))
           .json()
           .find("Attributes");
  EXPECT_EQ(some.members()->size(), 1U);
  EXPECT_EQ(text(some, "QueueArn"), stub.queue_arn("q"));
  const Json all =
      *sqs("GetQueueAttributes", on("q", {{"AttributeNames", Json::array({"All"})}})).json().find("Attributes");
  EXPECT_EQ(text(all, "ApproximateNumberOfMessages"), "0");
  EXPECT_EQ(text(all, "ApproximateNumberOfMessagesDelayed"), "1");
  EXPECT_EQ(text(all, "CreatedTimestamp"), std::to_string(now().time_since_epoch() / 1s));
  EXPECT_EQ(text(all, "MessageRetentionPeriod"), "345600");
  EXPECT_EQ(error(sqs("GetQueueAttributes", on("q", {{"AttributeNames", Json::array({"Colour"})}}))),
            "400 InvalidAttributeName InvalidAttributeName;Sender");
}

TEST_F(AwsQueues, CheckWhatIsSet) {
  make_queue("q");
  make_queue("dead");
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"DelaySeconds", "901"},
                                                        {"MaximumMessageSize", "1023"},
                                                        {"MessageRetentionPeriod", "59"},
                                                        {"VisibilityTimeout", "43201"},
                                                        {"ReceiveMessageWaitTimeSeconds", "21"},
                                                        {"Policy", "{}"},
                                                        {"RedrivePolicy", "{}"},
                                                        {"RedrivePolicy", "nothing"}}) {
    EXPECT_EQ(set("q", name, value), bad_value) << name;
  }
  EXPECT_EQ(set("q", "RedrivePolicy", redrive("nowhere", 3)), bad_parameter);
  EXPECT_EQ(set("q", "RedrivePolicy", redrive("dead", 1001)), bad_parameter);
  EXPECT_EQ(set("q", "RedrivePolicy", redrive("dead", 1000)), good);
  EXPECT_EQ(stub.queue_attributes("q").at("RedrivePolicy"), redrive("dead", 1000));
  EXPECT_EQ(set("q", "RedrivePolicy", ""), good);
  EXPECT_FALSE(stub.queue_attributes("q").contains("RedrivePolicy"));
  make_queue("dead.fifo", {{"FifoQueue", "true"}});
  EXPECT_EQ(set("q", "RedrivePolicy", redrive("dead.fifo", 3)), bad_parameter);
}

TEST_F(AwsQueues, AreListedInPagesTaggedAndPurged) {
  for (const char* each : {"a1", "a2", "a3", "b1"}) make_queue(each);
  const Json first = sqs("ListQueues", Json::object({{"QueueNamePrefix", "a"}, {"MaxResults", 2}})).json();
  EXPECT_EQ(first.find("QueueUrls")->elements()->size(), 2U);
  const Json second =
      sqs("ListQueues",
          Json::object({{"QueueNamePrefix", "a"}, {"MaxResults", 2}, {"NextToken", text(first, "NextToken")}}))
          .json();
  EXPECT_EQ(second.find("QueueUrls")->elements()->size(), 1U);
  EXPECT_EQ(second.find("NextToken"), nullptr);
  EXPECT_EQ(sqs("ListQueues", Json::object({{"QueueNamePrefix", "c"}})).body, "{}");
  EXPECT_EQ(error(sqs("TagQueue", on("a1", {{"Tags", Json::object({{"k", "v"}, {"l", "w"}})}}))), good);
  EXPECT_EQ(error(sqs("UntagQueue", on("a1", {{"TagKeys", Json::array({"k"})}}))), good);
  EXPECT_EQ(sqs("ListQueueTags", on("a1")).body, R"({"Tags":{"l":"w"}})");
  send("a1", "x");
  EXPECT_EQ(error(sqs("PurgeQueue", on("a1"))), good);
  EXPECT_TRUE(stub.messages("a1").empty());
  EXPECT_EQ(error(sqs("PurgeQueue", on("a1"))),
            "403 PurgeQueueInProgress AWS.SimpleQueueService.PurgeQueueInProgress;Sender");
}

TEST_F(AwsQueues, RefuseWhatIsTooLargeOrCannotBeXml) {
  make_queue("q");
  const std::size_t most = std::size_t{1} << 20U;
  const auto sent = [&](const std::string& body) {
    return error(sqs("SendMessage", on("q", {{"MessageBody", body}})));
  };
  EXPECT_EQ(sent(std::string(most, 'x')), good);
  EXPECT_EQ(sent(std::string(most + 1, 'x')), bad_parameter);
  EXPECT_EQ(sent(""), missing_parameter);
  for (const std::string& each :
       {std::string("\x01"), std::string("a\x0b"), std::string("\x1f"), std::string("\xef\xbf\xbe")})
    EXPECT_EQ(sent(each), "400 InvalidMessageContents InvalidMessageContents;Sender");
  EXPECT_EQ(sent("\t\n\r \xf0\x9f\x98\x80"), good);
  EXPECT_EQ(error(sqs("SendMessage", on("q", {{"MessageBody", "x"}, {"DelaySeconds", 901}}))), bad_parameter);
  EXPECT_EQ(error(sqs("SendMessage", on("q", {{"MessageBody", "x"}, {"MessageDeduplicationId", "d"}}))), bad_parameter);
  EXPECT_EQ(error(sqs("SendMessage", on("nowhere", {{"MessageBody", "x"}}))),
            "400 QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue;Sender");
}

TEST_F(AwsQueues, BatchesKeepTheirLimits) {
  make_queue("q");
  const auto refused = [](const std::string& name) {
    return "400 " + name + " AWS.SimpleQueueService." + name + ";Sender";
  };
  EXPECT_EQ(batch("q", {}), refused("EmptyBatchRequest"));
  EXPECT_EQ(batch("q", entries(11)), refused("TooManyEntriesInBatchRequest"));
  Json::Array same = entries(1);
  same.push_back(same.front());
  EXPECT_EQ(batch("q", same), refused("BatchEntryIdsNotDistinct"));
  EXPECT_EQ(batch("q", {Json::object({{"Id", "a b"}, {"MessageBody", "x"}})}), refused("InvalidBatchEntryId"));
  EXPECT_EQ(batch("q", entries(4, std::string(262'144, 'x'))), good);
  EXPECT_EQ(batch("q", entries(5, std::string(262'144, 'x'))), refused("BatchRequestTooLong"));
  Json::Array mixed = entries(2);
  mixed.push_back(Json::object({{"Id", "bad"}, {"MessageBody", "\x01"}}));
  const Json json = sqs("SendMessageBatch", on("q", {{"Entries", Json(mixed)}})).json();
  EXPECT_EQ(json.find("Successful")->elements()->size(), 2U);
  EXPECT_EQ(text(json.find("Failed")->elements()->front(), "Code"), "InvalidMessageContents");
}

TEST_F(AwsQueues, AttributesComeOnlyWhenAskedForWithTheirDigest) {
  make_queue("q");
  const Json attributes =
      Json::object({{"test_attribute_name_1", Json::object({{"DataType", "String"}, {"StringValue", "v1"}})},
                    {"raw", Json::object({{"DataType", "Binary"}, {"BinaryValue", aws::base64("v2")}})}});
  const Json sent = sqs("SendMessage", on("q", {{"MessageBody", "x"}, {"MessageAttributes", attributes}})).json();
  const auto part = [](const std::string& value) {
    return std::string("\0\0\0", 3) + static_cast<char>(value.size()) + value;
  };
  const std::string raw = part("raw") + part("Binary") + "\x02" + part("v2");
  const std::string named = part("test_attribute_name_1") + part("String") + "\x01" + part("v1");
  EXPECT_EQ(text(sent, "MD5OfMessageAttributes"), aws::md5(raw + named));
  EXPECT_EQ(text(sent, "MD5OfMessageBody"), aws::md5("x"));
  const auto got = [&](Json::Object more) {
    more.emplace_back("VisibilityTimeout", 0);
    return sqs("ReceiveMessage", on("q", std::move(more))).json().find("Messages")->elements()->front();
  };
  const Json plain = got({});
  EXPECT_EQ(plain.find("Attributes"), nullptr);
  EXPECT_EQ(plain.find("MessageAttributes"), nullptr);
  EXPECT_EQ(plain.find("MD5OfMessageAttributes"), nullptr);
  EXPECT_EQ(text(got({{"MessageAttributeNames", Json::array({"raw"})}}), "MD5OfMessageAttributes"), aws::md5(raw));
  const Json all =
      got({{"MessageAttributeNames", Json::array({"All"})}, {"MessageSystemAttributeNames", Json::array({"All"})}});
  EXPECT_EQ(text(all, "MD5OfMessageAttributes"), aws::md5(raw + named));
  EXPECT_EQ(text(*all.find("MessageAttributes")->find("raw"), "BinaryValue"), aws::base64("v2"));
  EXPECT_EQ(text(*all.find("Attributes"), "ApproximateReceiveCount"), "3");
  EXPECT_EQ(text(*all.find("Attributes"), "SentTimestamp"), std::to_string(clock.load()));
  EXPECT_EQ(got({{"AttributeNames", Json::array({"SentTimestamp"})}}).find("Attributes")->members()->size(), 1U);
  Json eleven;
  for (int i = 0; i < 11; ++i)
    eleven.set("a" + std::to_string(i), Json::object({{"DataType", "String"}, {"StringValue", "v"}}));
  EXPECT_EQ(error(sqs("SendMessage", on("q", {{"MessageBody", "x"}, {"MessageAttributes", eleven}}))), bad_parameter);
}

TEST_F(AwsQueues, HideWhatIsReceivedAndShowItAgain) {
  make_queue("q", {{"VisibilityTimeout", "10"}});
  send("q", "a");
  const auto first = receive("q");
  ASSERT_EQ(first.size(), 1U);
  EXPECT_TRUE(receive("q").empty());
  EXPECT_EQ(stub.messages("q", AwsMessage::State::in_flight).size(), 1U);
  advance(10s);
  const auto second = receive("q", {{"VisibilityTimeout", 20}});
  ASSERT_EQ(second.size(), 1U);
  EXPECT_NE(first[0].handle, second[0].handle);
  advance(19s);
  EXPECT_TRUE(receive("q").empty());
  // The older handle works as the newer does.
  EXPECT_EQ(hide("q", first[0].handle, 0), good);
  EXPECT_EQ(receive("q").size(), 1U);
  EXPECT_EQ(remove("q", first[0].handle), good);
  EXPECT_TRUE(stub.messages("q").empty());
  EXPECT_EQ(remove("q", first[0].handle), good);
  EXPECT_EQ(hide("q", first[0].handle, 1), bad_parameter);
}

TEST_F(AwsQueues, MayIgnoreOlderHandles) {
  make_queue("q", {{"VisibilityTimeout", "10"}});
  stub.set_stale_handles_ignored(true);
  send("q", "a");
  const auto first = receive("q");
  advance(10s);
  const auto second = receive("q");
  EXPECT_EQ(remove("q", first.at(0).handle), good);
  EXPECT_EQ(stub.messages("q").size(), 1U);
  EXPECT_EQ(remove("q", second.at(0).handle), good);
  EXPECT_TRUE(stub.messages("q").empty());
}

TEST_F(AwsQueues, VisibilityEndsTwelveHoursBehindTheReceive) {
  make_queue("q");
  make_queue("other");
  send("q", "a");
  const auto got = receive("q", {{"VisibilityTimeout", 30}});
  ASSERT_EQ(got.size(), 1U);
  const std::string& handle = got[0].handle;
  EXPECT_EQ(hide("q", handle, 43'200), good);
  EXPECT_EQ(hide("q", handle, 43'201), bad_parameter);
  EXPECT_EQ(hide("q", handle, -1), bad_parameter);
  advance(1h);
  const AwsReply beyond =
      sqs("ChangeMessageVisibility", on("q", {{"ReceiptHandle", handle}, {"VisibilityTimeout", 39'601}}));
  EXPECT_EQ(error(beyond), bad_parameter);
  EXPECT_NE(beyond.body.find("Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"),
            std::string::npos);
  EXPECT_EQ(hide("q", handle, 39'600), good);
  advance(11h);
  EXPECT_EQ(hide("q", handle, 1), "400 MessageNotInflight AWS.SimpleQueueService.MessageNotInflight;Sender");
  EXPECT_EQ(hide("other", handle, 1), "404 ReceiptHandleIsInvalid ReceiptHandleIsInvalid;Sender");
  EXPECT_EQ(remove("q", "garbage"), "404 ReceiptHandleIsInvalid ReceiptHandleIsInvalid;Sender");
  const Json both =
      sqs("DeleteMessageBatch",
          on("q", {{"Entries", Json::array({Json::object({{"Id", "a"}, {"ReceiptHandle", handle}}),
                                            Json::object({{"Id", "b"}, {"ReceiptHandle", "garbage"}})})}}))
          .json();
  EXPECT_EQ(both.find("Successful")->elements()->size(), 1U);
  EXPECT_EQ(text(both.find("Failed")->elements()->front(), "Code"), "ReceiptHandleIsInvalid");
}

TEST_F(AwsQueues, LongPollsEndWithAMessageOrTheirTime) {
  make_queue("q");
  EXPECT_EQ(error(sqs("ReceiveMessage", on("q", {{"WaitTimeSeconds", 21}}))), bad_parameter);
  EXPECT_EQ(error(sqs("ReceiveMessage", on("q", {{"MaxNumberOfMessages", 11}}))), bad_parameter);
  std::vector<Got> got{{}};
  const auto poll = [&] {
    return std::thread([this, &got, c = std::make_shared<AwsClient>(client_with({.id = id, .secret = secret}))] {
      const Json json = c->sqs("ReceiveMessage", on("q", {{"WaitTimeSeconds", 20}})).json();
      got.clear();
      if (json.find("Messages") != nullptr)
        got.push_back({.body = text(json.find("Messages")->elements()->front(), "Body")});
    });
  };
  std::thread first = poll();
  EXPECT_TRUE(stub.await_polls(1));
  send("q", "a");
  first.join();
  EXPECT_EQ(bodies(got), (Strings{"a"}));
  std::thread second = poll();
  EXPECT_TRUE(stub.await_polls(1));
  advance(19s);
  EXPECT_TRUE(stub.await_polls(1));
  advance(1s);
  second.join();
  EXPECT_TRUE(got.empty());
  // The timeout of the first one ends while a third waits.
  std::thread third = poll();
  EXPECT_TRUE(stub.await_polls(1));
  advance(10s);
  third.join();
  EXPECT_EQ(bodies(got), (Strings{"a"}));
}

TEST_F(AwsQueues, LongPollsEndByTheMachinesClock) {
  AwsStub own;
  own.add_key({.id = id, .secret = secret});
  AwsClient with(own.url(), own.region(), {.id = id, .secret = secret},
                 [] { return std::chrono::floor<Millis>(std::chrono::system_clock::now()); });
  ASSERT_EQ(with.sqs("CreateQueue", Json::object({{"QueueName", "q"}})).status, 200);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(with.sqs("ReceiveMessage", Json::object({{"QueueUrl", own.queue_url("q")}, {"WaitTimeSeconds", 1}})).body,
            "{}");
  EXPECT_GE(std::chrono::steady_clock::now() - start, 990ms);
}

TEST_F(AwsQueues, DelaysAndRetentionFollowTheClock) {
  make_queue("q", {{"MessageRetentionPeriod", "60"}});
  ASSERT_EQ(sqs("SendMessage", on("q", {{"MessageBody", "late"}, {"DelaySeconds", 5}})).status, 200);
  send("q", "soon");
  EXPECT_EQ(bodies(receive("q", {{"VisibilityTimeout", 0}})), (Strings{"soon"}));
  advance(5s);
  EXPECT_EQ(receive("q", {{"VisibilityTimeout", 0}}).size(), 2U);
  advance(55s);
  EXPECT_TRUE(stub.messages("q").empty());
  EXPECT_EQ(stub.sent("q").size(), 2U);
}

TEST_F(AwsQueues, HoldOnlySoManyInFlight) {
  make_queue("q");
  stub.set_most_in_flight(2);
  ASSERT_EQ(batch("q", entries(3)), good);
  const auto got = receive("q");
  EXPECT_EQ(got.size(), 2U);
  EXPECT_EQ(error(sqs("ReceiveMessage", on("q"))), "403 OverLimit OverLimit;Sender");
  ASSERT_EQ(remove("q", got[0].handle), good);
  EXPECT_EQ(receive("q").size(), 1U);
}

TEST_F(AwsQueues, GiveUpWhatWasReceivedTooOften) {
  make_pair(2);
  send("q", "poison");
  const auto first = receive("q", {{"VisibilityTimeout", 0}});
  ASSERT_EQ(receive("q", {{"VisibilityTimeout", 0}}).size(), 1U);
  EXPECT_TRUE(receive("q").empty());
  EXPECT_TRUE(stub.messages("q").empty());
  const AwsReply reply = sqs("ReceiveMessage", on("dead", {{"AttributeNames", Json::array({"All"})}}));
  const Json json = reply.json();
  const Json& message = json.find("Messages")->elements()->front();
  EXPECT_EQ(text(message, "MessageId"), first.at(0).id);
  EXPECT_EQ(text(*message.find("Attributes"), "DeadLetterQueueSourceArn"), stub.queue_arn("q"));
  EXPECT_EQ(sqs("ListDeadLetterSourceQueues", on("dead")).json().find("queueUrls")->elements()->size(), 1U);
}

class AwsMoves : public AwsQueues {
 protected:
  void SetUp() override {
    make_pair(1);
    ASSERT_EQ(batch("q", entries(10)), good);
    ASSERT_EQ(receive("q", {{"VisibilityTimeout", 0}}).size(), 10U);
    ASSERT_TRUE(receive("q").empty());
    ASSERT_EQ(stub.messages("dead").size(), 10U);
  }
  AwsReply start(Json::Object more = {}) {
    more.emplace_back("SourceArn", stub.queue_arn("dead"));
    return sqs("StartMessageMoveTask", Json::object(std::move(more)));
  }
  Json newest() {
    const Json json = sqs("ListMessageMoveTasks", Json::object({{"SourceArn", stub.queue_arn("dead")}})).json();
    return json.find("Results")->elements()->front();
  }
};

TEST_F(AwsMoves, GoBackUnderNewIds) {
  std::vector<std::string> before;
  for (const AwsMessage& each : stub.messages("dead")) before.push_back(each.id);
  ASSERT_EQ(start().status, 200);
  EXPECT_TRUE(stub.messages("dead").empty());
  ASSERT_EQ(stub.messages("q").size(), 10U);
  for (const AwsMessage& each : stub.messages("q")) EXPECT_EQ(std::count(before.begin(), before.end(), each.id), 0);
  const Json task = newest();
  EXPECT_EQ(text(task, "Status"), "COMPLETED");
  EXPECT_EQ(*task.find("ApproximateNumberOfMessagesMoved")->integer(), 10);
  EXPECT_EQ(task.find("TaskHandle"), nullptr);
}

TEST_F(AwsMoves, KeepTheirRateOneAtATimeAndCanBeCancelled) {
  const AwsReply started = start({{"MaxNumberOfMessagesPerSecond", 2}, {"DestinationArn", stub.queue_arn("q")}});
  ASSERT_EQ(started.status, 200) << started.body;
  EXPECT_EQ(error(start()), "400 UnsupportedOperation AWS.SimpleQueueService.UnsupportedOperation;Sender");
  EXPECT_TRUE(stub.messages("q").empty());
  advance(2s);
  EXPECT_EQ(stub.messages("q").size(), 4U);
  EXPECT_EQ(text(newest(), "TaskHandle"), text(started.json(), "TaskHandle"));
  const AwsReply cancelled =
      sqs("CancelMessageMoveTask", Json::object({{"TaskHandle", text(started.json(), "TaskHandle")}}));
  EXPECT_EQ(*cancelled.json().find("ApproximateNumberOfMessagesMoved")->integer(), 4);
  advance(10s);
  EXPECT_EQ(stub.messages("q").size(), 4U);
  EXPECT_EQ(text(newest(), "Status"), "CANCELLED");
  EXPECT_EQ(start().status, 200);
}

TEST_F(AwsMoves, NeedADeadLetterQueueAndASourceOfEachMessage) {
  EXPECT_EQ(error(sqs("StartMessageMoveTask", Json::object({{"SourceArn", stub.queue_arn("q")}}))), bad_parameter);
  EXPECT_EQ(error(sqs("StartMessageMoveTask", Json::object({{"SourceArn", stub.queue_arn("nowhere")}}))),
            "404 ResourceNotFoundException ResourceNotFoundException;Sender");
  ASSERT_EQ(start().status, 200);
  send("dead", "sent here by hand");
  ASSERT_EQ(start().status, 200);
  EXPECT_EQ(text(newest(), "Status"), "FAILED");
  EXPECT_EQ(text(newest(), "FailureReason"), "CouldNotDetermineMessageSource");
  EXPECT_EQ(stub.messages("dead").size(), 1U);
}

class AwsFifo : public AwsQueues {
 protected:
  void SetUp() override { make_queue("q.fifo", {{"FifoQueue", "true"}, {"ContentBasedDeduplication", "true"}}); }
  Json put(const std::string& group, const std::string& body) {
    const AwsReply reply = sqs("SendMessage", on("q.fifo", {{"MessageBody", body}, {"MessageGroupId", group}}));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json();
  }
};

TEST_F(AwsFifo, KeepsOrderInAGroupAndLocksIt) {
  for (const char* each : {"a1", "a2", "a3"}) put("a", each);
  put("b", "b1");
  const Json two = sqs("ReceiveMessage", on("q.fifo", {{"MaxNumberOfMessages", 2}})).json();
  EXPECT_EQ(two.find("Messages")->elements()->size(), 2U);
  EXPECT_EQ(text(two.find("Messages")->elements()->at(1), "Body"), "a2");
  EXPECT_EQ(bodies(receive("q.fifo")), (Strings{"b1"}));
  for (const Json& each : *two.find("Messages")->elements())
    EXPECT_EQ(hide("q.fifo", text(each, "ReceiptHandle"), 0), good);
  const auto again = receive("q.fifo");
  EXPECT_EQ(bodies(again), (Strings{"a1", "a2", "a3"}));
  advance(30s);
  EXPECT_EQ(remove("q.fifo", again[0].handle), bad_parameter);
}

TEST_F(AwsFifo, DropsRepetitionsForFiveMinutesAndDemandsGroups) {
  const Json first = put("a", "x");
  EXPECT_EQ(text(put("a", "x"), "MessageId"), text(first, "MessageId"));
  EXPECT_EQ(stub.messages("q.fifo").size(), 1U);
  advance(5min);
  EXPECT_NE(text(put("a", "x"), "MessageId"), text(first, "MessageId"));
  EXPECT_EQ(error(sqs("SendMessage", on("q.fifo", {{"MessageBody", "x"}}))), missing_parameter);
  EXPECT_EQ(
      error(sqs("SendMessage", on("q.fifo", {{"MessageBody", "x"}, {"MessageGroupId", "a"}, {"DelaySeconds", 1}}))),
      bad_parameter);
  ASSERT_EQ(set("q.fifo", "ContentBasedDeduplication", "false"), good);
  EXPECT_EQ(error(sqs("SendMessage", on("q.fifo", {{"MessageBody", "x"}, {"MessageGroupId", "a"}}))), bad_parameter);
}

}  // namespace
}  // namespace tidings::support
