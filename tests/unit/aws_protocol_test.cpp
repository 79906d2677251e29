// The languages of SQS and SNS: what is asked, and what is read of the answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include "transport/aws/sns.hpp"
#include "transport/aws/sqs.hpp"
#include "transport/aws/xml.hpp"

namespace tidings::transport::aws {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr std::string_view queue = "https://sqs.eu-west-1.amazonaws.com/1/orders";

TEST(AwsMd5, AgreesWithWhatAwsSaid) {
  EXPECT_EQ(md5_hex("derp"), "58fd9edd83341c29f1aebba81c31e257");
  const auto of = [](std::vector<MessageAttribute> attributes) { return md5_of_attributes(attributes); };
  EXPECT_EQ(of({{"SOME_Valid.attribute-Name", "1493147359900", "Number"}}), "36655e7e9d7c0e8479fa3f3f42247ae7");
  EXPECT_EQ(of({{"timestamp", "1493147359900", "Number.java.lang.Long"}}), "2e2e4876d8e0bd6b8c2c8f556831c349");
  EXPECT_EQ(of({{"timestamp", "1493147359901", "Number"}}), "994258b45346a2cc3f9cbb611aa7af30");
  EXPECT_EQ(of({{"b", "2", "String"}, {"a", "1", "String"}}), of({{"a", "1", "String"}, {"b", "2", "String"}}));
  EXPECT_NE(of({{"a", "1", "String"}}), of({{"a", "1", "Binary"}}));
}

TEST(AwsSqs, WritesWhatIsAskedOfQueues) {
  std::string out;
  sqs::write_create_queue(out, "orders", {{"VisibilityTimeout", "30"}}, {{"owner", "tidings"}});
  EXPECT_EQ(out, R"({"QueueName":"orders","Attributes":{"VisibilityTimeout":"30"},"tags":{"owner":"tidings"}})");
  sqs::write_create_queue(out, "orders", {}, {});
  EXPECT_EQ(out, R"({"QueueName":"orders"})");
  sqs::write_get_queue_url(out, "orders");
  EXPECT_EQ(out, R"({"QueueName":"orders"})");
  sqs::write_get_queue_attributes(out, "u");
  EXPECT_EQ(out, R"({"QueueUrl":"u","AttributeNames":["All"]})");
  sqs::write_set_queue_attributes(out, "u", {{"Policy", R"({"a":1})"}});
  EXPECT_EQ(out, R"({"QueueUrl":"u","Attributes":{"Policy":"{\"a\":1}"}})");
  sqs::write_list_queues(out, "prod-", "", 100);
  EXPECT_EQ(out, R"({"QueueNamePrefix":"prod-","MaxResults":100})");
  sqs::write_list_queues(out, "", "t/=", 1000);
  EXPECT_EQ(out, R"({"NextToken":"t/=","MaxResults":1000})");
  sqs::write_tag_queue(out, "u", {{"a", "b"}, {"c", "d"}});
  EXPECT_EQ(out, R"({"QueueUrl":"u","Tags":{"a":"b","c":"d"}})");
  sqs::write_list_queue_tags(out, "u");
  EXPECT_EQ(out, R"({"QueueUrl":"u"})");
  sqs::write_delete_queue(out, "u");
  EXPECT_EQ(out, R"({"QueueUrl":"u"})");
  sqs::write_start_message_move_task(out, "arn:dlq", "", 0);
  EXPECT_EQ(out, R"({"SourceArn":"arn:dlq"})");
  sqs::write_start_message_move_task(out, "arn:dlq", "arn:q", 50);
  EXPECT_EQ(out, R"({"SourceArn":"arn:dlq","DestinationArn":"arn:q","MaxNumberOfMessagesPerSecond":50})");
}

TEST(AwsSqs, WritesMessages) {
  std::string out;
  const std::vector<MessageAttribute> attributes{{"type", "user.created", "String"}, {"raw", {"\0\xff", 2}, "Binary"}};
  const std::vector<sqs::Outbound> messages{
      {.body = "{\"a\":\"\\u0001 \\\\\"}\n", .attributes = attributes, .delay_seconds = 5},
      {.body = "\x01\x1f\t\xc3\xbc", .group = "g", .deduplication = "d"}};
  sqs::write_send_message_batch(out, "u", messages);
  EXPECT_EQ(out, R"({"QueueUrl":"u","Entries":[{"Id":"0","MessageBody":"{\"a\":\"\\u0001 \\\\\"}\n","DelaySeconds":5,)"
                 R"("MessageAttributes":{"type":{"DataType":"String","StringValue":"user.created"},)"
                 R"("raw":{"DataType":"Binary","BinaryValue":"AP8="}}},)"
                 "{\"Id\":\"1\",\"MessageBody\":\"\\u0001\\u001f\\t\xc3\xbc\",\"MessageGroupId\":\"g\","
                 "\"MessageDeduplicationId\":\"d\"}]}");
  EXPECT_NO_THROW(validate_json(out));
}

TEST(AwsSqs, EveryByteOfABodyComesBack) {
  std::string body;
  for (int c = 0; c < 0x80; ++c) body += static_cast<char>(c);
  body += "ü€𝄞";
  std::string out;
  const sqs::Outbound message{.body = body};
  sqs::write_send_message_batch(out, queue, {&message, 1});
  const std::size_t from = out.find("\"MessageBody\":") + 14;
  const Json written(out.substr(from, out.size() - from - 3));
  EXPECT_EQ(written.as_string(), body);
}

TEST(AwsSqs, AsksForAttributesSinceNoneComeUnasked) {
  std::string out;
  sqs::write_receive_message(out, "u", {.most = 3, .wait_seconds = 20, .visibility_seconds = 30});
  EXPECT_EQ(out, R"({"QueueUrl":"u","MaxNumberOfMessages":3,"WaitTimeSeconds":20,"VisibilityTimeout":30,)"
                 R"("MessageAttributeNames":["All"],"MessageSystemAttributeNames":["All"]})");
}

TEST(AwsSqs, WritesSettlements) {
  std::string out;
  const std::vector<std::string_view> receipts{"r0", "r+/="};
  sqs::write_delete_message_batch(out, "u", receipts);
  EXPECT_EQ(out, R"({"QueueUrl":"u","Entries":[{"Id":"0","ReceiptHandle":"r0"},{"Id":"1","ReceiptHandle":"r+/="}]})");
  const std::vector<sqs::Visibility> changes{{"r0", 0}, {"r1", 43200}};
  sqs::write_change_message_visibility_batch(out, "u", changes);
  EXPECT_EQ(out, R"({"QueueUrl":"u","Entries":[{"Id":"0","ReceiptHandle":"r0","VisibilityTimeout":0},)"
                 R"({"Id":"1","ReceiptHandle":"r1","VisibilityTimeout":43200}]})");
}

TEST(AwsSqs, ReadsQueues) {
  EXPECT_EQ(sqs::read_queue_url(R"({"QueueUrl":"https:\/\/q"})"), "https://q");
  EXPECT_THROW(static_cast<void>(sqs::read_queue_url("{}")), Error);
  EXPECT_THROW(static_cast<void>(sqs::read_queue_url("<html>")), Error);
  EXPECT_THAT(sqs::read_attributes(R"({"Attributes":{"QueueArn":"arn","Policy":"{\"a\":1}"},"New":[1]})"),
              ElementsAre(Pair("Policy", R"({"a":1})"), Pair("QueueArn", "arn")));
  EXPECT_THAT(sqs::read_tags(R"({"Tags":{"a":"b"}})"), ElementsAre(Pair("a", "b")));
  EXPECT_TRUE(sqs::read_tags("{}").empty());
  const sqs::QueuePage page = sqs::read_queues(R"({"NextToken":"n","QueueUrls":["a","b"]})");
  EXPECT_THAT(page.urls, ElementsAre("a", "b"));
  EXPECT_EQ(page.next, "n");
  EXPECT_TRUE(sqs::read_queues("{}").urls.empty());
  EXPECT_TRUE(sqs::read_queues(R"({"NextToken":null,"QueueUrls":null})").urls.empty());
  EXPECT_EQ(sqs::read_task_handle(R"({"TaskHandle":"t"})"), "t");
}

TEST(AwsSqs, ReadsTheOutcomeOfEachEntry) {
  const std::vector<MessageAttribute> attributes{{"timestamp", "1493147359901", "Number"}};
  std::vector<sqs::Outbound> messages(6, {.body = "derp"});
  messages[1].attributes = messages[2].attributes = attributes;
  std::vector<EntryResult> results(6);
  sqs::read_send_message_batch(
      R"({"Failed":[{"Id":"3","SenderFault":true,"Code":"InvalidMessageContents","Message":"no"},)"
      R"({"Id":"4","SenderFault":false,"Code":"InternalError"}],"Successful":[)"
      R"({"Id":"1","MessageId":"m1","MD5OfMessageBody":"58fd9edd83341c29f1aebba81c31e257",)"
      R"("MD5OfMessageAttributes":"994258b45346a2cc3f9cbb611aa7af30"},)"
      R"({"Id":"0","MessageId":"m0","MD5OfMessageBody":"00fd9edd83341c29f1aebba81c31e257"},)"
      R"({"Id":"2","MessageId":"m2","MD5OfMessageBody":"58fd9edd83341c29f1aebba81c31e257"},{"Id":"17"},{"Id":"x"}]})",
      messages, results);
  EXPECT_EQ(results[0].code, "BodyChanged");
  EXPECT_EQ(results[0].fault, Fault::passing);
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(results[1].message_id, "m1");
  EXPECT_EQ(results[2].code, "AttributesChanged");
  EXPECT_EQ(results[3].fault, Fault::sender);
  EXPECT_TRUE(results[3].sender_fault);
  EXPECT_EQ(results[3].message, "no");
  EXPECT_EQ(results[4].fault, Fault::passing);
  EXPECT_EQ(results[5].fault, Fault::passing) << "nothing was said of it";
  EXPECT_EQ(results[5].code, "Missing");

  std::vector<EntryResult> settled(2);
  sqs::read_entries(
      R"({"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","SenderFault":true,"Code":"MessageNotInflight"}]})", settled);
  EXPECT_TRUE(settled[0].ok());
  EXPECT_EQ(settled[1].fault, Fault::stale);
}

TEST(AwsSqs, ReadsMessages) {
  const std::vector<sqs::Inbound> messages = sqs::read_receive_message(
      R"({"Messages":[{"MessageId":"m","ReceiptHandle":"r","MD5OfBody":"58fd9edd83341c29f1aebba81c31e257","Body":"derp",)"
      R"("MD5OfMessageAttributes":"994258b45346a2cc3f9cbb611aa7af30",)"
      R"("MessageAttributes":{"timestamp":{"StringValue":"1493147359901","DataType":"Number"}},)"
      R"("Attributes":{"ApproximateReceiveCount":"3","SentTimestamp":"1706178600123","SenderId":"AIDA",)"
      R"("ApproximateFirstReceiveTimestamp":"1706178601000","MessageGroupId":"g","SequenceNumber":"18",)"
      R"("DeadLetterQueueSourceArn":"arn"}},)"
      R"({"MessageId":"n","ReceiptHandle":"s","MD5OfBody":"00000000000000000000000000000000","Body":"a\u00fc\n\"",)"
      R"("MessageAttributes":{"b":{"BinaryValue":"AP8=","DataType":"Binary"}}}]})");
  ASSERT_EQ(messages.size(), 2U);
  const sqs::Inbound& first = messages[0];
  EXPECT_EQ(first.id, "m");
  EXPECT_EQ(first.receipt, "r");
  EXPECT_EQ(first.body, "derp");
  EXPECT_TRUE(first.intact);
  EXPECT_THAT(first.attributes, ElementsAre(MessageAttribute{"timestamp", "1493147359901", "Number"}));
  EXPECT_EQ(first.receives, 3U);
  EXPECT_EQ(first.sent, Wall(Millis(1706178600123)));
  EXPECT_EQ(first.first_received, Wall(Millis(1706178601000)));
  EXPECT_EQ(first.group, "g");
  EXPECT_EQ(first.sequence, "18");
  EXPECT_EQ(first.dead_letter_source, "arn");
  EXPECT_THAT(first.others, ElementsAre(Pair("SenderId", "AIDA")));
  EXPECT_EQ(messages[1].body, "aü\n\"");
  EXPECT_FALSE(messages[1].intact);
  EXPECT_EQ(messages[1].attributes.at(0).value, std::string("\0\xff", 2));
  EXPECT_TRUE(sqs::read_receive_message("{}").empty());
  EXPECT_TRUE(sqs::read_receive_message(R"({"Messages":[]})").empty());
  EXPECT_THROW(static_cast<void>(sqs::read_receive_message(R"({"Messages":[{]})")), Error);
}

TEST(AwsSqs, AMessageWhoseAttributesChangedIsNotIntact) {
  const std::vector<sqs::Inbound> messages = sqs::read_receive_message(
      R"({"Messages":[{"MessageId":"m","ReceiptHandle":"r","MD5OfBody":"58fd9edd83341c29f1aebba81c31e257","Body":"derp",)"
      R"("MD5OfMessageAttributes":"994258b45346a2cc3f9cbb611aa7af30",)"
      R"("MessageAttributes":{"timestamp":{"StringValue":"1493147359902","DataType":"Number"}}}]})");
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_FALSE(messages[0].intact);
}

TEST(AwsSqs, KnowsWhatItTakes) {
  EXPECT_TRUE(sqs::takes_body("{\"a\":\t\"ü€𝄞\"}\r\n"));
  EXPECT_TRUE(sqs::takes_body("\xef\xbf\xbd"));
  for (const std::string_view wrong : {std::string_view(), std::string_view("\0", 1), std::string_view("a\x0b"),
                                       std::string_view("\xef\xbf\xbe"), std::string_view("\xff")}) {
    EXPECT_FALSE(sqs::takes_body(wrong));
  }
  const std::vector<MessageAttribute> attributes{{"type", "a.b", "String"}};
  EXPECT_EQ(sqs::size_of({.body = "12345", .attributes = attributes}), 5U + 4 + 3 + 6);
  EXPECT_EQ(sqs::name_of_url(queue), "orders");
}

TEST(AwsSns, WritesForms) {
  std::string out;
  sns::write_create_topic(out, "prod-events-user", {{"KmsMasterKeyId", "k"}}, {{"a b", "c+d"}});
  EXPECT_EQ(out,
            "Action=CreateTopic&Version=2010-03-31&Name=prod-events-user&Attributes.entry.1.key=KmsMasterKeyId"
            "&Attributes.entry.1.value=k&Tags.member.1.Key=a%20b&Tags.member.1.Value=c%2Bd");
  sns::write_subscribe(out, "arn:t", "sqs", "arn:q",
                       {{"FilterPolicy", R"({"type":["a"]})"}, {"RawMessageDelivery", "true"}});
  EXPECT_EQ(out,
            "Action=Subscribe&Version=2010-03-31&TopicArn=arn%3At&Protocol=sqs&Endpoint=arn%3Aq"
            "&ReturnSubscriptionArn=true&Attributes.entry.1.key=FilterPolicy"
            "&Attributes.entry.1.value=%7B%22type%22%3A%5B%22a%22%5D%7D&Attributes.entry.2.key=RawMessageDelivery"
            "&Attributes.entry.2.value=true");
  sns::write_get_topic_attributes(out, "t");
  EXPECT_EQ(out, "Action=GetTopicAttributes&Version=2010-03-31&TopicArn=t");
  sns::write_set_topic_attributes(out, "t", "Policy", "{}");
  EXPECT_EQ(out, "Action=SetTopicAttributes&Version=2010-03-31&TopicArn=t&AttributeName=Policy&AttributeValue=%7B%7D");
  sns::write_list_topics(out, "");
  EXPECT_EQ(out, "Action=ListTopics&Version=2010-03-31");
  sns::write_list_topics(out, "n=");
  EXPECT_EQ(out, "Action=ListTopics&Version=2010-03-31&NextToken=n%3D");
  sns::write_unsubscribe(out, "s");
  EXPECT_EQ(out, "Action=Unsubscribe&Version=2010-03-31&SubscriptionArn=s");
  sns::write_list_subscriptions_by_topic(out, "t", "");
  EXPECT_EQ(out, "Action=ListSubscriptionsByTopic&Version=2010-03-31&TopicArn=t");
  sns::write_get_subscription_attributes(out, "s");
  EXPECT_EQ(out, "Action=GetSubscriptionAttributes&Version=2010-03-31&SubscriptionArn=s");
  sns::write_set_subscription_attributes(out, "s", "RawMessageDelivery", "true");
  EXPECT_EQ(out,
            "Action=SetSubscriptionAttributes&Version=2010-03-31&SubscriptionArn=s"
            "&AttributeName=RawMessageDelivery&AttributeValue=true");
  sns::write_delete_topic(out, "t");
  EXPECT_EQ(out, "Action=DeleteTopic&Version=2010-03-31&TopicArn=t");
  sns::write_get_caller_identity(out);
  EXPECT_EQ(out, "Action=GetCallerIdentity&Version=2011-06-15");
}

TEST(AwsSns, WritesMessages) {
  std::string out;
  const std::vector<MessageAttribute> attributes{{"type", "user.created", "String"}, {"n", "1", "Number"}};
  const std::vector<sns::Outbound> messages{{.body = "{\"a\":\"ü + %\"}", .attributes = attributes},
                                            {.body = "b", .group = "g", .deduplication = "d"}};
  sns::write_publish_batch(out, "t", messages);
  EXPECT_EQ(out,
            "Action=PublishBatch&Version=2010-03-31&TopicArn=t"
            "&PublishBatchRequestEntries.member.1.Id=0"
            "&PublishBatchRequestEntries.member.1.Message=%7B%22a%22%3A%22%C3%BC%20%2B%20%25%22%7D"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=type"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.DataType=String"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.StringValue=user.created"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.2.Name=n"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.2.Value.DataType=Number"
            "&PublishBatchRequestEntries.member.1.MessageAttributes.entry.2.Value.StringValue=1"
            "&PublishBatchRequestEntries.member.2.Id=1&PublishBatchRequestEntries.member.2.Message=b"
            "&PublishBatchRequestEntries.member.2.MessageGroupId=g"
            "&PublishBatchRequestEntries.member.2.MessageDeduplicationId=d");
}

std::string response(const std::string& operation, const std::string& result) {
  return "<?xml version=\"1.0\"?>\n<" + operation +
         "Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\n  <" + operation + "Result>" + result + "</" +
         operation + "Result>\n  <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></" + operation +
         "Response>\n";
}

TEST(AwsSns, ReadsReplies) {
  EXPECT_EQ(sns::read_topic_arn(response("CreateTopic", "<TopicArn>arn:t</TopicArn>")), "arn:t");
  EXPECT_THROW(static_cast<void>(sns::read_topic_arn(response("CreateTopic", ""))), Error);
  EXPECT_THROW(static_cast<void>(sns::read_topic_arn("{}")), Error);
  EXPECT_EQ(sns::read_subscription_arn(response("Subscribe", "<SubscriptionArn>arn:s</SubscriptionArn>")), "arn:s");
  const std::string entries =
      "<Attributes><entry><key>Policy</key><value>{&quot;a&quot;:&#60;1}</value></entry>"
      "<entry><key>Owner</key><value>1</value></entry></Attributes>";
  EXPECT_THAT(sns::read_attributes(response("GetTopicAttributes", entries)),
              ElementsAre(Pair("Owner", "1"), Pair("Policy", "{\"a\":<1}")));
  EXPECT_EQ(sns::read_attributes(response("GetSubscriptionAttributes", entries)).size(), 2U);
  const sns::TopicPage topics =
      sns::read_topics(response("ListTopics",
                                "<Topics><member><TopicArn>a</TopicArn></member><member><TopicArn>b</TopicArn></member>"
                                "</Topics><NextToken>n</NextToken>"));
  EXPECT_THAT(topics.arns, ElementsAre("a", "b"));
  EXPECT_EQ(topics.next, "n");
  const sns::SubscriptionPage page =
      sns::read_subscriptions(response("ListSubscriptionsByTopic",
                                       "<Subscriptions><member><TopicArn>t</TopicArn><Protocol>sqs</Protocol>"
                                       "<SubscriptionArn>s</SubscriptionArn><Owner>1</Owner><Endpoint>q</Endpoint>"
                                       "</member></Subscriptions>"));
  EXPECT_THAT(page.subscriptions, ElementsAre(sns::SubscriptionPage::Subscription{"s", "sqs", "q", "t", "1"}));
  EXPECT_EQ(page.next, "");
  const sns::Identity who = sns::read_caller_identity(
      response("GetCallerIdentity", "<Arn>arn:me</Arn><UserId>U</UserId><Account>123</Account>"));
  EXPECT_EQ(who.account, "123");
  EXPECT_EQ(who.arn, "arn:me");
}

TEST(AwsSns, ReadsTheOutcomeOfEachEntry) {
  std::vector<EntryResult> results(3);
  sns::read_publish_batch(response("PublishBatch",
                                   "<Successful><member><MessageId>m</MessageId><Id>1</Id></member></Successful>"
                                   "<Failed><member><Id>0</Id><Code>InvalidParameter</Code><Message>no</Message>"
                                   "<SenderFault>true</SenderFault></member></Failed>"),
                          results);
  EXPECT_EQ(results[0].fault, Fault::sender);
  EXPECT_EQ(results[0].code, "InvalidParameter");
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(results[1].message_id, "m");
  EXPECT_EQ(results[2].code, "Missing");
}

TEST(AwsXml, ReadsTextAndUndoesEntities) {
  const auto root = parse_xml(
      "\xef\xbb\xbf<?xml version='1.0'?><!-- c --><a x='1' y=\"&lt;\"><b/>t<b>u&amp;&#x20AC;</b>"
      "<![CDATA[<&>]]><!-- d --></a> ");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->name, "a");
  EXPECT_EQ(root->text, "t<&>");
  ASSERT_EQ(root->children.size(), 2U);
  EXPECT_EQ(root->children[1].text, "u&€");
  EXPECT_EQ(root->at("b"), "");
  EXPECT_EQ(root->at("nobody/there"), "");
}

TEST(AwsXml, RefusesWhatIsNoneOrCouldNest) {
  for (const char* wrong : {"", "a", "<a>", "<a></b>", "<a/><b/>", "<a x=1/>", "<a x='1'y='2'/>", "<a>&b;</a>",
                            "<a>&#0;</a>", "<a>&#xD800;</a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "<a><![CDATA[x</a>",
                            "<a>&amp</a>", "<a/>x", "<a b='<'/>", "< a/>"}) {
    EXPECT_FALSE(parse_xml(wrong)) << wrong;
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_FALSE(parse_xml(deep));
}

TEST(AwsProtocol, EveryPrefixOfAReplyIsRefusedAndNothingBreaks) {
  const std::string json = R"({"Messages":[{"MessageId":"m","Body":"derp","Attributes":{"SentTimestamp":"1"}}]})";
  for (std::size_t size = 0; size < json.size(); ++size) {
    EXPECT_THROW(static_cast<void>(sqs::read_receive_message(json.substr(0, size))), Error);
  }
  const std::string xml = response("CreateTopic", "<TopicArn>arn:t</TopicArn>");
  for (std::size_t size = 0; size + 1 < xml.size(); ++size) {
    EXPECT_THROW(static_cast<void>(sns::read_topic_arn(xml.substr(0, size))), Error);
  }
}

TEST(AwsSqs, TenEnvelopesAreWrittenInMicroseconds) {
  const std::string envelope =
      R"({"id":"evt_01HN3Z7Q8J4M5N6P7Q8R9S0T1V","type":"user.created","version":"1.0","timestamp":"2024-01-25T10:30:00.000Z",)"
      R"("source":"user-service","correlationId":"corr_01HN3Z7Q8J4M5N6P7Q8R9S0T1V","data":{"userId":"usr_123",)"
      R"("email":"a@example.com","role":"CLIENT"}})";
  const std::vector<sqs::Outbound> messages(10, {.body = envelope});
  std::string out;
  auto best = std::chrono::nanoseconds::max();
  for (int i = 0; i < 200; ++i) {
    const auto from = std::chrono::steady_clock::now();
    sqs::write_send_message_batch(out, queue, messages);
    best = std::min<std::chrono::nanoseconds>(best, std::chrono::steady_clock::now() - from);
  }
  RecordProperty("nanoseconds", static_cast<int>(best.count()));
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(best, std::chrono::microseconds(20)) << "a wide bound, for slow machines";
#endif
}

}  // namespace
}  // namespace tidings::transport::aws
