// What the stand-in for SNS delivers, and what it drops.
#include "aws/text.hpp"
#include "aws_stub_fixture.hpp"

namespace tidings::support {
namespace {

using Fields = AwsClient::Fields;

class AwsTopics : public AwsStubTest {
 protected:
  void SetUp() override {
    topic = client.sns("CreateTopic", {{"Name", "t"}}).element("TopicArn");
    ASSERT_EQ(topic, stub.topic_arn("t"));
    make_queue("q");
  }
  [[nodiscard]] std::string policy(const std::string& queue, const std::string& source,
                                   const std::string& effect = "Allow") const {
    return Json::object(
               {{"Version", "2012-10-17"},
                {"Statement",
                 Json::array({Json::object(
                     {{"Effect", effect},
                      {"Principal", Json::object({{"Service", "sns.amazonaws.com"}})},
                      {"Action", "sqs:SendMessage"},
                      {"Resource", stub.queue_arn(queue)},
                      {"Condition", Json::object({{"ArnEquals", Json::object({{"aws:SourceArn", source}})}})}})})}})
        .text();
  }
  void admit(const std::string& queue) { set_policy(queue, policy(queue, topic)); }
  void set_policy(const std::string& queue, const std::string& value) {
    ASSERT_EQ(sqs("SetQueueAttributes", on(queue, {{"Attributes", Json::object({{"Policy", value}})}})).status, 200);
  }
  AwsReply subscribe(const std::string& queue,
                     const std::vector<std::pair<std::string, std::string>>& attributes = {}) {
    Fields fields{{"TopicArn", topic},
                  {"Protocol", "sqs"},
                  {"Endpoint", stub.queue_arn(queue)},
                  {"ReturnSubscriptionArn", "true"}};
    int number = 0;
    for (const auto& [name, value] : attributes) {
      const std::string start = "Attributes.entry." + std::to_string(++number);
      fields.emplace_back(start + ".key", name);
      fields.emplace_back(start + ".value", value);
    }
    return client.sns("Subscribe", fields);
  }
  static void add_attributes(Fields& fields, const std::string& before,
                             const std::vector<std::pair<std::string, std::string>>& attributes) {
    int number = 0;
    for (const auto& [name, value] : attributes) {
      const std::string start = before + "MessageAttributes.entry." + std::to_string(++number);
      fields.emplace_back(start + ".Name", name);
      const bool numeric = value.find_first_not_of("0123456789.") == std::string::npos;
      fields.emplace_back(start + ".Value.DataType", numeric ? "Number" : "String");
      fields.emplace_back(start + ".Value.StringValue", value);
    }
  }
  AwsReply publish(const std::string& message,
                   const std::vector<std::pair<std::string, std::string>>& attributes = {}) {
    Fields fields{{"TopicArn", topic}, {"Message", message}};
    add_attributes(fields, "", attributes);
    return client.sns("Publish", fields);
  }
  std::vector<std::string> arrived(const std::string& queue) {
    std::vector<std::string> out;
    for (const AwsMessage& each : stub.sent(queue)) out.push_back(each.body);
    return out;
  }
  std::string set(const std::string& arn, const std::string& name, const std::string& value) {
    return xml_error(client.sns("SetSubscriptionAttributes",
                                {{"SubscriptionArn", arn}, {"AttributeName", name}, {"AttributeValue", value}}));
  }
  std::string topic{};
};

TEST_F(AwsTopics, AreCreatedListedAndDeleted) {
  EXPECT_EQ(client.sns("CreateTopic", {{"Name", "t"}}).element("TopicArn"), topic);
  EXPECT_EQ(xml_error(client.sns(
                "CreateTopic",
                {{"Name", "t"}, {"Attributes.entry.1.key", "DisplayName"}, {"Attributes.entry.1.value", "x"}})),
            "400 InvalidParameter");
  EXPECT_EQ(xml_error(client.sns("CreateTopic", {{"Name", "events:orders"}})), "400 InvalidParameter");
  EXPECT_EQ(xml_error(client.sns("GetTopicAttributes", {{"TopicArn", stub.topic_arn("nowhere")}})), "404 NotFound");
  EXPECT_EQ(client
                .sns("SetTopicAttributes",
                     {{"TopicArn", topic}, {"AttributeName", "DisplayName"}, {"AttributeValue", "a & b"}})
                .status,
            200);
  EXPECT_NE(client.sns("GetTopicAttributes", {{"TopicArn", topic}}).body.find("<value>a &amp; b</value>"),
            std::string::npos);
  EXPECT_EQ(
      client.sns("TagResource", {{"ResourceArn", topic}, {"Tags.member.1.Key", "k"}, {"Tags.member.1.Value", "v"}})
          .status,
      200);
  EXPECT_EQ(client.sns("ListTagsForResource", {{"ResourceArn", topic}}).element("Value"), "v");
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(client.sns("CreateTopic", {{"Name", "more" + std::to_string(i)}}).status, 200);
  const AwsReply first = client.sns("ListTopics", {});
  EXPECT_EQ(first.elements("TopicArn").all.size(), 100U);
  const AwsReply second = client.sns("ListTopics", {{"NextToken", first.element("NextToken")}});
  EXPECT_EQ(second.elements("TopicArn").all.size(), 1U);
  EXPECT_EQ(second.element("NextToken"), "");
  EXPECT_EQ(client.sns("DeleteTopic", {{"TopicArn", topic}}).status, 200);
  EXPECT_EQ(xml_error(publish("x")), "404 NotFound");
}

TEST_F(AwsTopics, AreSubscribedOnceAndDifferencesRefused) {
  const AwsReply first = subscribe("q", {{"RawMessageDelivery", "true"}});
  const std::string arn = first.element("SubscriptionArn");
  EXPECT_TRUE(arn.starts_with(topic + ":")) << first.body;
  EXPECT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).element("SubscriptionArn"), arn);
  EXPECT_EQ(xml_error(subscribe("q", {{"RawMessageDelivery", "false"}})), "400 InvalidParameter");
  EXPECT_EQ(stub.subscriptions("t").size(), 1U);
  EXPECT_EQ(set(arn, "RawMessageDelivery", "false"), "200 ");
  EXPECT_EQ(set(arn, "RawMessageDelivery", "perhaps"), "400 InvalidParameter");
  EXPECT_EQ(set(arn, "Colour", "red"), "400 InvalidParameter");
  EXPECT_EQ(set(arn + "x", "RawMessageDelivery", "true"), "404 NotFound");
  EXPECT_NE(client.sns("GetSubscriptionAttributes", {{"SubscriptionArn", arn}}).body.find(stub.queue_arn("q")),
            std::string::npos);
  EXPECT_EQ(client.sns("ListSubscriptionsByTopic", {{"TopicArn", topic}}).element("SubscriptionArn"), arn);
  EXPECT_EQ(client.sns("ListSubscriptions", {}).element("Endpoint"), stub.queue_arn("q"));
  EXPECT_EQ(client.sns("Unsubscribe", {{"SubscriptionArn", arn}}).status, 200);
  EXPECT_TRUE(stub.subscriptions("t").empty());
}

TEST_F(AwsTopics, DeliverOnlyWhereThePolicyAllows) {
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).status, 200);
  EXPECT_EQ(publish("no policy").status, 200);
  set_policy("q", policy("q", stub.topic_arn("another")));
  EXPECT_EQ(publish("another topic").status, 200);
  set_policy("q", policy("another", topic));
  EXPECT_EQ(publish("another queue").status, 200);
  set_policy("q", policy("q", topic, "Deny"));
  EXPECT_EQ(publish("denied").status, 200);
  EXPECT_EQ(stub.undelivered(), 4);
  admit("q");
  EXPECT_EQ(publish("allowed").status, 200);
  EXPECT_EQ(arrived("q"), (std::vector<std::string>{"allowed"}));
}

TEST_F(AwsTopics, ReadPoliciesAsTheyAreWritten) {
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).status, 200);
  const auto passes = [&](Json statement) {
    statement.set("Effect", "Allow");
    if (statement.find("Resource") == nullptr) statement.set("Resource", stub.queue_arn("q"));
    if (statement.find("Principal") == nullptr)
      statement.set("Principal", Json::object({{"Service", "sns.amazonaws.com"}}));
    if (statement.find("Action") == nullptr) statement.set("Action", "sqs:SendMessage");
    // Beside others that say nothing of this.
    const Json other = Json::object({{"Effect", "Allow"},
                                     {"Principal", Json::object({{"AWS", "123456789012"}})},
                                     {"Action", "sqs:*"},
                                     {"Resource", "*"}});
    set_policy("q", Json::object({{"Statement", Json::array({other, statement})}}).text());
    const std::size_t before = stub.sent("q").size();
    EXPECT_EQ(publish("x").status, 200);
    return stub.sent("q").size() == before + 1;
  };
  const auto source = [](const char* kind, const std::string& arn) {
    return Json::object({{"Condition", Json::object({{kind, Json::object({{"aws:SourceArn", arn}})}})}});
  };
  const std::string prefix = "arn:aws:sns:" + stub.region() + ":" + stub.account() + ":";
  EXPECT_TRUE(passes(Json::object()));
  EXPECT_TRUE(passes(source("ArnLike", prefix + "*")));
  EXPECT_TRUE(passes(source("ArnEquals", prefix + "?")));
  EXPECT_FALSE(passes(source("ArnLike", "arn:aws:sns:*")));
  EXPECT_FALSE(passes(source("StringEquals", prefix + "*")));
  EXPECT_TRUE(passes(source("StringEquals", topic)));
  EXPECT_FALSE(passes(source("DateLessThan", topic)));
  EXPECT_TRUE(passes(Json::object({{"Action", Json::array({"SQS:Send*", "sqs:GetQueueUrl"})}})));
  EXPECT_FALSE(passes(Json::object({{"Action", "sqs:ReceiveMessage"}})));
  EXPECT_TRUE(passes(Json::object({{"Principal", "*"}, {"Resource", "arn:aws:sqs:*:*:*"}})));
  EXPECT_FALSE(passes(Json::object({{"Principal", Json::object({{"Service", "events.amazonaws.com"}})}})));
}

TEST_F(AwsTopics, GiveWhatAQueueRefusesToTheDeadLetterQueueThatAllowsIt) {
  make_queue("dead");
  const std::string redrive = Json::object({{"deadLetterTargetArn", stub.queue_arn("dead")}}).text();
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}, {"RedrivePolicy", redrive}}).status, 200);
  EXPECT_EQ(publish("lost").status, 200);
  admit("dead");
  EXPECT_EQ(publish("kept").status, 200);
  EXPECT_EQ(arrived("dead"), (std::vector<std::string>{"kept"}));
  ASSERT_EQ(sqs("DeleteQueue", on("q")).status, 200);
  EXPECT_EQ(publish("kept, too").status, 200);
  EXPECT_EQ(arrived("dead").size(), 2U);
}

TEST_F(AwsTopics, RawDeliveryCarriesTenAttributesAndDropsMore) {
  admit("q");
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).status, 200);
  std::vector<std::pair<std::string, std::string>> attributes;
  for (int i = 0; i < 10; ++i) attributes.emplace_back("name" + std::to_string(i), "value");
  EXPECT_EQ(publish("ten", attributes).status, 200);
  attributes.emplace_back("one", "more");
  EXPECT_EQ(publish("eleven", attributes).status, 200);
  ASSERT_EQ(arrived("q"), (std::vector<std::string>{"ten"}));
  EXPECT_EQ(stub.sent("q").front().attributes.size(), 10U);
  EXPECT_EQ(stub.sent("q").front().attributes.at("name3"), (AwsAttribute{"String", "value"}));
  EXPECT_EQ(stub.undelivered(), 1);
}

TEST_F(AwsTopics, EnvelopesHoldEverythingElse) {
  admit("q");
  ASSERT_EQ(subscribe("q").status, 200);
  const std::string message_id = publish("say \"hi\"", {{"type", "user.created"}}).element("MessageId");
  const Json envelope = Json::parse(stub.sent("q").at(0).body).value();
  EXPECT_EQ(text(envelope, "Type"), "Notification");
  EXPECT_EQ(text(envelope, "MessageId"), message_id);
  EXPECT_EQ(text(envelope, "TopicArn"), topic);
  EXPECT_EQ(text(envelope, "Message"), "say \"hi\"");
  EXPECT_EQ(text(envelope, "Timestamp"), aws::iso_time(now(), true));
  EXPECT_EQ(envelope.find("MessageAttributes")->text(), R"({"type":{"Type":"String","Value":"user.created"}})");
  EXPECT_TRUE(stub.sent("q").at(0).attributes.empty());
}

TEST_F(AwsTopics, FilterByAttributes) {
  admit("q");
  const std::string arn = subscribe("q", {{"RawMessageDelivery", "true"}}).element("SubscriptionArn");
  int number = 0;
  const auto passes = [&](const std::string& policy,
                          const std::vector<std::pair<std::string, std::string>>& attributes) {
    EXPECT_EQ(set(arn, "FilterPolicy", policy), "200 ");
    const std::string body = std::to_string(++number);
    EXPECT_EQ(publish(body, attributes).status, 200);
    const auto all = arrived("q");
    return !all.empty() && all.back() == body;
  };
  const std::vector<std::pair<std::string, std::string>> created{{"type", "user.created"}, {"size", "5"}};
  EXPECT_TRUE(passes(R"({"type":["user.deleted","user.created"]})", created));
  EXPECT_FALSE(passes(R"({"type":["user.deleted"]})", created));
  EXPECT_FALSE(passes(R"({"type":["user.created"]})", {}));
  EXPECT_TRUE(passes(R"({"type":[{"prefix":"user."}]})", created));
  EXPECT_FALSE(passes(R"({"type":[{"prefix":"order."}]})", created));
  EXPECT_TRUE(passes(R"({"type":[{"anything-but":["a","b"]}]})", created));
  EXPECT_FALSE(passes(R"({"type":[{"anything-but":"user.created"}]})", created));
  EXPECT_FALSE(passes(R"({"type":[{"anything-but":{"prefix":"user."}}]})", created));
  EXPECT_TRUE(passes(R"({"type":[{"exists":true}],"other":[{"exists":false}]})", created));
  EXPECT_FALSE(passes(R"({"type":[{"exists":false}]})", created));
  EXPECT_TRUE(passes(R"({"size":[{"numeric":[">",4,"<=",5]}]})", created));
  EXPECT_FALSE(passes(R"({"size":[{"numeric":["=",4]}]})", created));
  EXPECT_TRUE(passes(R"({"size":[5.0],"type":["user.created"]})", created));
  EXPECT_TRUE(passes("{}", {}));
}

TEST_F(AwsTopics, FilterPoliciesKeepTheirLimits) {
  const std::string arn = subscribe("q").element("SubscriptionArn");
  EXPECT_EQ(set(arn, "FilterPolicy", R"({"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"]})"), "200 ");
  EXPECT_EQ(set(arn, "FilterPolicy", R"({"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]})"),
            "400 InvalidParameter");
  const auto of = [](int count) {
    Json values;
    for (int i = 0; i < count; ++i) values.add(std::to_string(i));
    return Json::object({{"a", values}}).text();
  };
  EXPECT_EQ(set(arn, "FilterPolicy", of(150)), "200 ");
  EXPECT_EQ(set(arn, "FilterPolicy", of(151)), "400 InvalidParameter");
  for (const char* wrong :
       {"nothing", R"({"a":"b"})", R"({"a":[]})", R"({"a":[{"nearly":"b"}]})", R"({"a":[{"exists":"yes"}]})"})
    EXPECT_EQ(set(arn, "FilterPolicy", wrong), "400 InvalidParameter") << wrong;
}

TEST_F(AwsTopics, BatchesFailByEntryAndKeepTheirLimits) {
  admit("q");
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).status, 200);
  const auto batch = [&](const std::vector<std::pair<std::string, std::string>>& entries,
                         const std::string& attribute = "") {
    Fields fields{{"TopicArn", topic}};
    int number = 0;
    for (const auto& [entry, message] : entries) {
      const std::string start = "PublishBatchRequestEntries.member." + std::to_string(++number) + ".";
      fields.emplace_back(start + "Id", entry);
      fields.emplace_back(start + "Message", message);
      if (!attribute.empty()) add_attributes(fields, start, {{"name", attribute}});
    }
    return client.sns("PublishBatch", fields);
  };
  stub.fail_entries("PublishBatch", {"b"}, {.code = "InternalError"}, 1);
  const AwsReply mixed = batch({{"a", "1"}, {"b", "2"}, {"c", ""}, {"d", "4"}}, "value");
  EXPECT_EQ(mixed.status, 200);
  EXPECT_EQ(mixed.elements("MessageId").all.size(), 2U);
  EXPECT_EQ(mixed.elements("SenderFault").all, (std::vector<std::string>{"false", "true"}));
  EXPECT_EQ(mixed.elements("Code").all, (std::vector<std::string>{"InternalError", "InvalidParameter"}));
  EXPECT_EQ(arrived("q"), (std::vector<std::string>{"1", "4"}));
  EXPECT_EQ(xml_error(batch({})), "400 EmptyBatchRequest");
  EXPECT_EQ(xml_error(batch({{"a", "1"}, {"a", "2"}})), "400 BatchEntryIdsNotDistinct");
  EXPECT_EQ(xml_error(batch(std::vector<std::pair<std::string, std::string>>(11, {"a", "1"}))),
            "400 TooManyEntriesInBatchRequest");
  const std::string half(131'072, 'x');
  EXPECT_EQ(batch({{"a", half}, {"b", half}}).status, 200);
  EXPECT_EQ(xml_error(batch({{"a", half}, {"b", half}}, "v")), "400 BatchRequestTooLong");
  EXPECT_EQ(xml_error(publish(half + half + "x")), "400 InvalidParameter");
  EXPECT_EQ(xml_error(publish(half + half, {{"a", "b"}})), "400 InvalidParameter");
  EXPECT_EQ(publish(half + half).status, 200);
  EXPECT_EQ(xml_error(publish("")), "400 InvalidParameter");
}

TEST_F(AwsTopics, OfOrderPassGroupsOn) {
  topic = client
              .sns("CreateTopic",
                   {{"Name", "t.fifo"}, {"Attributes.entry.1.key", "FifoTopic"}, {"Attributes.entry.1.value", "true"}})
              .element("TopicArn");
  ASSERT_EQ(topic, stub.topic_arn("t.fifo"));
  make_queue("q.fifo", {{"FifoQueue", "true"}});
  admit("q.fifo");
  ASSERT_EQ(subscribe("q.fifo", {{"RawMessageDelivery", "true"}}).status, 200);
  EXPECT_EQ(xml_error(publish("x")), "400 InvalidParameter");
  const Fields fields{{"TopicArn", topic}, {"Message", "x"}, {"MessageGroupId", "g"}, {"MessageDeduplicationId", "d"}};
  EXPECT_EQ(client.sns("Publish", fields).status, 200);
  EXPECT_EQ(client.sns("Publish", fields).status, 200);
  ASSERT_EQ(stub.sent("q.fifo").size(), 1U);
  EXPECT_EQ(stub.sent("q.fifo").front().group, "g");
  topic = stub.topic_arn("t");
  EXPECT_EQ(xml_error(subscribe("q.fifo")), "400 InvalidParameter");
}

// Blanks come as + or as %20, and either way they arrive.
TEST_F(AwsTopics, FormsAreDecoded) {
  admit("q");
  ASSERT_EQ(subscribe("q", {{"RawMessageDelivery", "true"}}).status, 200);
  const AwsClient::Headers form{{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
  const std::string start = "Action=Publish&Version=2010-03-31&TopicArn=" + aws::percent_encoded(topic) + "&Message=";
  EXPECT_EQ(client.request("sns", "POST", "/", form, start + "a+b%20%2B%C3%BC").status, 200);
  EXPECT_EQ(arrived("q"), (std::vector<std::string>{"a b +ü"}));
}

}  // namespace
}  // namespace tidings::support
