#include <tidings/aws_documents.hpp>

#include <functional>

#include <tidings/error.hpp>
#include <tidings/json.hpp>
#include <tidings/stream.hpp>

#include "transport/aws/claim.hpp"
#include "transport/aws/names.hpp"
#include "transport/aws/topology.hpp"

namespace tidings {
namespace {

using transport::aws::Names;

std::string quoted(std::string_view text) { return Json::string(text).text(); }

std::string list(const std::vector<std::string>& items, const std::function<std::string(std::string_view)>& each) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() > 1 ? "," : "") + each(item);
  return out + "]";
}

std::string statement(std::string_view name, const std::vector<std::string>& actions,
                      const std::vector<std::string>& resources) {
  return R"({"Sid":)" + quoted(name) + R"(,"Effect":"Allow","Action":)" + list(actions, quoted) + R"(,"Resource":)" +
         list(resources, quoted) + "}";
}

// The ARNs of a plan.
struct Places {
  std::vector<std::string> topics{}, queues{}, command_queues{}, dead{};
};

Places places_of(const AwsPlan& plan) {
  const Names names(plan.prefix);
  const std::string region = plan.region.empty() ? "*" : plan.region,
                    account = plan.account.empty() ? "*" : plan.account;
  const auto arn = [&](std::string_view service, const std::string& name) {
    return "arn:" + transport::aws::partition_of(plan.region) + ":" + std::string(service) + ":" + region + ":" +
           account + ":" + name;
  };
  Places all;
  for (const std::string& stream : plan.streams) {
    const bool commands = is_command_stream(stream);
    if (!commands) all.topics.push_back(arn("sns", names.topic(stream)));
    if (!commands && plan.service.empty()) continue;
    const std::string_view group = group_of(stream, plan.service);
    all.queues.push_back(arn("sqs", names.queue(stream, group)));
    all.dead.push_back(arn("sqs", names.dead_letter_queue(stream, group)));
    if (commands) all.command_queues.push_back(all.queues.back());
  }
  if (!all.topics.empty() || !all.queues.empty()) return all;
  throw Error(ErrorCode::invalid, "a document needs at least one stream: --stream events:user");
}

}  // namespace

namespace {

// The statements for a bucket of payloads; none for a folder. Who consumes publishes too: outputs and dead letters.
void allow_payloads(const AwsPlan& plan, bool consumes, std::vector<std::string>& all) {
  if (plan.payloads.empty()) return;
  const transport::aws::PayloadPlace place = transport::aws::payload_place(plan.payloads);
  if (place.kind != transport::aws::PayloadPlace::Kind::s3) return;
  const std::string bucket = "arn:" + transport::aws::partition_of(plan.region) + ":s3:::" + place.bucket;
  const std::string objects = bucket + "/" + (place.prefix.empty() ? "" : place.prefix + "/") + "*";
  all.push_back(statement("StorePayloads", {"s3:PutObject"}, {objects}));
  if (!consumes) return;
  all.push_back(statement("FetchPayloads", {"s3:GetObject"}, {objects}));
  // Without it S3 says of an object that is gone that it may not be read, and its message would be tried on and on.
  all.push_back(statement("SeeThatPayloadsAreGone", {"s3:ListBucket"}, {bucket}));
}

}  // namespace

std::string aws_iam_policy(const AwsPlan& plan, std::string_view role) {
  const bool makes = role == "operator", consumes = makes || role == "consumer";
  if (!consumes && role != "publisher") {
    throw Error(ErrorCode::invalid, "\"" + std::string(role) + "\" is none of publisher, consumer and operator");
  }
  const Places places = places_of(plan);
  std::vector<std::string> queues = places.queues;
  queues.insert(queues.end(), places.dead.begin(), places.dead.end());
  std::vector<std::string> all;
  const auto allow = [&](std::string_view name, const std::vector<std::string>& actions,
                         const std::vector<std::string>& resources) {
    if (!resources.empty()) all.push_back(statement(name, actions, resources));
  };
  allow("Publish", {"sns:Publish", "sns:GetTopicAttributes"}, places.topics);
  allow("Send", {"sqs:SendMessage"}, places.command_queues);
  allow("FindQueues", {"sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ListQueueTags"}, queues);
  if (consumes) {
    allow("Consume", {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}, places.queues);
    allow("Bury", {"sqs:SendMessage"}, queues);
    allow("SeeSubscriptions", {"sns:ListSubscriptionsByTopic"}, places.topics);
    // A subscription's ARN ends in an id that nobody knows before.
    allow("SeeFilters", {"sns:GetSubscriptionAttributes"}, {"*"});
  }
  if (makes) {
    allow("MakeQueues", {"sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:DeleteQueue"}, queues);
    allow("Redrive",
          {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:StartMessageMoveTask",
           "sqs:ListMessageMoveTasks"},
          places.dead);
    allow("MakeTopics", {"sns:CreateTopic", "sns:Subscribe"}, places.topics);
    allow("Mend", {"sns:SetSubscriptionAttributes", "sns:Unsubscribe"}, {"*"});
    allow("List", {"sqs:ListQueues", "sns:ListTopics"}, {"*"});
  }
  allow_payloads(plan, consumes, all);
  return R"({"Version":"2012-10-17","Statement":)" +
         list(all, [](std::string_view each) { return std::string(each); }) + "}";
}

namespace {

// A template's names of its parts are letters and digits; what else a name holds is written as its code.
std::string logical(std::string_view kind, std::string_view name) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out(kind);
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c < 'X');
    if (plain) {
      out += c;
    } else {
      (out += 'X') += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
  return out;
}

std::string reference(const std::string& of) { return R"({"Ref":)" + quoted(of) + "}"; }
std::string arn_of(const std::string& of) { return R"({"Fn::GetAtt":[)" + quoted(of) + R"(,"Arn"]})"; }

std::string part(const std::string& name, std::string_view type, const std::string& properties) {
  return quoted(name) + R"(:{"Type":)" + quoted(type) + R"(,"Properties":{)" + properties + "}}";
}

}  // namespace

std::string aws_cloudformation(const AwsPlan& plan) {
  (void)places_of(plan);
  const Names names(plan.prefix);
  std::vector<std::string> parts;
  for (const std::string& stream : plan.streams) {
    const bool commands = is_command_stream(stream);
    const std::string topic = logical("Topic", stream), queue = logical("Queue", stream),
                      dead = logical("Dead", stream);
    if (!commands) parts.push_back(part(topic, "AWS::SNS::Topic", R"("TopicName":)" + quoted(names.topic(stream))));
    if (!commands && plan.service.empty()) continue;
    const std::string_view group = group_of(stream, plan.service);
    parts.push_back(part(
        dead, "AWS::SQS::Queue",
        R"("QueueName":)" + quoted(names.dead_letter_queue(stream, group)) + R"(,"MessageRetentionPeriod":1209600)"));
    const std::string tags = commands && !plan.service.empty()
                                 ? R"(,"Tags":[{"Key":"tidings:owner","Value":)" + quoted(plan.service) + "}]"
                                 : std::string();
    parts.push_back(part(queue, "AWS::SQS::Queue",
                         R"("QueueName":)" + quoted(names.queue(stream, group)) +
                             R"(,"MessageRetentionPeriod":345600,"RedrivePolicy":{"deadLetterTargetArn":)" +
                             arn_of(dead) + R"(,"maxReceiveCount":)" + std::to_string(transport::aws::native_limit) +
                             "}" + tags));
    if (commands) continue;
    const std::string allowed = logical("Policy", stream), allowed_dead = logical("DeadPolicy", stream);
    for (const auto& [name, to] : {std::pair(allowed, queue), std::pair(allowed_dead, dead)}) {
      parts.push_back(part(
          name, "AWS::SQS::QueuePolicy",
          R"("Queues":[)" + reference(to) +
              R"(],"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Sid":"TidingsTopic","Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":)" +
              arn_of(to) + R"(,"Condition":{"ArnEquals":{"aws:SourceArn":)" + reference(topic) + "}}}]}"));
    }
    // Only behind the policies: SNS drops what it may not deliver.
    std::string subscription =
        part(logical("Subscription", stream), "AWS::SNS::Subscription",
             R"("TopicArn":)" + reference(topic) + R"(,"Protocol":"sqs","Endpoint":)" + arn_of(queue) +
                 R"(,"RawMessageDelivery":true,"RedrivePolicy":{"deadLetterTargetArn":)" + arn_of(dead) + "}");
    subscription.insert(subscription.size() - 1,
                        R"(,"DependsOn":[)" + quoted(allowed) + "," + quoted(allowed_dead) + "]");
    parts.push_back(std::move(subscription));
  }
  std::string out =
      R"({"AWSTemplateFormatVersion":"2010-09-09","Description":"Topics and queues of Tidings","Resources":{)";
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i > 0 ? "," : "") + parts[i];
  return out + "}}";
}

}  // namespace tidings
