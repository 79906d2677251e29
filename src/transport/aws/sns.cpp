#include "transport/aws/sns.hpp"

#include <charconv>

#include <tidings/error.hpp>

#include "transport/aws/signature.hpp"
#include "transport/aws/xml.hpp"

namespace tidings::transport::aws::sns {
namespace {

/// The name of a field in a form, put together from its parts: `Tags.member.1.Key`.
void field(std::string& out, std::string_view name, std::string_view value) {
  out.append("&").append(name) += '=';
  append_encoded(out, value);
}

void append_number(std::string& out, std::size_t value) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  static_cast<void>(error);  // Twenty digits hold every value.
  out.append(digits, end);
}

/// `&list.N` where `list` is `Tags.member`, and then one field of it; places count from 1.
void field_of(std::string& out, std::string_view list, std::size_t place, std::string_view name,
              std::string_view value) {
  out.append("&").append(list) += '.';
  append_number(out, place + 1);
  out.append(".").append(name) += '=';
  append_encoded(out, value);
}

void begin(std::string& out, std::string_view action) {
  out.assign("Action=").append(action).append("&Version=2010-03-31");
}

void pairs(std::string& out, std::string_view list, std::string_view key, std::string_view value,
           const Attributes& attributes) {
  std::size_t place = 0;
  for (const auto& [name, text] : attributes) {
    field_of(out, list, place, key, name);
    field_of(out, list, place, value, text);
    ++place;
  }
}

/// The element `Operation + "Result"` of a reply to that operation.
XmlElement result_of(std::string_view body, std::string_view operation) {
  auto root = parse_xml(body);
  const std::string response = std::string(operation) + "Response", result = std::string(operation) + "Result";
  if (!root || root->name != response) throw unreadable(operation);
  for (XmlElement& each : root->children) {
    if (each.name == result) return std::move(each);
  }
  throw unreadable(operation);
}

std::string needed(const XmlElement& result, std::string_view operation, std::string_view name) {
  const std::string_view text = result.at(name);
  if (text.empty()) throw unreadable(operation);
  return std::string(text);
}

}  // namespace

void write_create_topic(std::string& out, std::string_view name, const Attributes& attributes, const Attributes& tags) {
  begin(out, "CreateTopic");
  field(out, "Name", name);
  pairs(out, "Attributes.entry", "key", "value", attributes);
  pairs(out, "Tags.member", "Key", "Value", tags);
}

void write_get_topic_attributes(std::string& out, std::string_view topic_arn) {
  begin(out, "GetTopicAttributes");
  field(out, "TopicArn", topic_arn);
}

void write_set_topic_attributes(std::string& out, std::string_view topic_arn, std::string_view name,
                                std::string_view value) {
  begin(out, "SetTopicAttributes");
  field(out, "TopicArn", topic_arn);
  field(out, "AttributeName", name);
  field(out, "AttributeValue", value);
}

void write_delete_topic(std::string& out, std::string_view topic_arn) {
  begin(out, "DeleteTopic");
  field(out, "TopicArn", topic_arn);
}

void write_list_topics(std::string& out, std::string_view token) {
  begin(out, "ListTopics");
  if (!token.empty()) field(out, "NextToken", token);
}

void write_subscribe(std::string& out, std::string_view topic_arn, std::string_view protocol, std::string_view endpoint,
                     const Attributes& attributes) {
  begin(out, "Subscribe");
  field(out, "TopicArn", topic_arn);
  field(out, "Protocol", protocol);
  field(out, "Endpoint", endpoint);
  field(out, "ReturnSubscriptionArn", "true");
  pairs(out, "Attributes.entry", "key", "value", attributes);
}

void write_unsubscribe(std::string& out, std::string_view subscription_arn) {
  begin(out, "Unsubscribe");
  field(out, "SubscriptionArn", subscription_arn);
}

void write_list_subscriptions_by_topic(std::string& out, std::string_view topic_arn, std::string_view token) {
  begin(out, "ListSubscriptionsByTopic");
  field(out, "TopicArn", topic_arn);
  if (!token.empty()) field(out, "NextToken", token);
}

void write_get_subscription_attributes(std::string& out, std::string_view subscription_arn) {
  begin(out, "GetSubscriptionAttributes");
  field(out, "SubscriptionArn", subscription_arn);
}

void write_set_subscription_attributes(std::string& out, std::string_view subscription_arn, std::string_view name,
                                       std::string_view value) {
  begin(out, "SetSubscriptionAttributes");
  field(out, "SubscriptionArn", subscription_arn);
  field(out, "AttributeName", name);
  field(out, "AttributeValue", value);
}

void write_publish_batch(std::string& out, std::string_view topic_arn, std::span<const Outbound> messages) {
  constexpr std::string_view list = "PublishBatchRequestEntries.member";
  begin(out, "PublishBatch");
  field(out, "TopicArn", topic_arn);
  std::string name;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Outbound& message = messages[i];
    field_of(out, list, i, "Id", std::to_string(i));
    field_of(out, list, i, "Message", message.body);
    if (!message.group.empty()) field_of(out, list, i, "MessageGroupId", message.group);
    if (!message.deduplication.empty()) field_of(out, list, i, "MessageDeduplicationId", message.deduplication);
    for (std::size_t k = 0; k < message.attributes.size(); ++k) {
      const MessageAttribute& attribute = message.attributes[k];
      name.assign("MessageAttributes.entry.");
      append_number(name, k + 1);
      const std::size_t common = name.size();
      field_of(out, list, i, name.append(".Name"), attribute.name);
      name.resize(common);
      field_of(out, list, i, name.append(".Value.DataType"), attribute.type);
      name.resize(common);
      field_of(out, list, i, name.append(".Value.StringValue"), attribute.value);
    }
  }
}

std::string read_topic_arn(std::string_view body) {
  return needed(result_of(body, "CreateTopic"), "CreateTopic", "TopicArn");
}

std::string read_subscription_arn(std::string_view body) {
  return needed(result_of(body, "Subscribe"), "Subscribe", "SubscriptionArn");
}

Attributes read_attributes(std::string_view body) {
  const bool topic = body.find("<GetTopicAttributesResponse") != std::string_view::npos;
  const std::string_view operation = topic ? "GetTopicAttributes" : "GetSubscriptionAttributes";
  const XmlElement result = result_of(body, operation);
  const XmlElement* const attributes = result.child("Attributes");
  if (attributes == nullptr) throw unreadable(operation);
  Attributes out;
  for (const XmlElement& entry : attributes->children) out.emplace(entry.at("key"), entry.at("value"));
  return out;
}

TopicPage read_topics(std::string_view body) {
  const XmlElement result = result_of(body, "ListTopics");
  TopicPage out{.next = std::string(result.at("NextToken"))};
  if (const XmlElement* const topics = result.child("Topics")) {
    for (const XmlElement& each : topics->children) out.arns.emplace_back(each.at("TopicArn"));
  }
  return out;
}

SubscriptionPage read_subscriptions(std::string_view body) {
  const XmlElement result = result_of(body, "ListSubscriptionsByTopic");
  SubscriptionPage out{.next = std::string(result.at("NextToken"))};
  if (const XmlElement* const all = result.child("Subscriptions")) {
    for (const XmlElement& each : all->children) {
      out.subscriptions.push_back({std::string(each.at("SubscriptionArn")), std::string(each.at("Protocol")),
                                   std::string(each.at("Endpoint")), std::string(each.at("TopicArn")),
                                   std::string(each.at("Owner"))});
    }
  }
  return out;
}

void read_publish_batch(std::string_view body, std::span<EntryResult> results) {
  const XmlElement result = result_of(body, "PublishBatch");
  BatchReading reading(results);
  if (const XmlElement* const good = result.child("Successful")) {
    for (const XmlElement& each : good->children) {
      if (EntryResult* const entry = reading.succeeded(each.at("Id"))) entry->message_id = each.at("MessageId");
    }
  }
  if (const XmlElement* const bad = result.child("Failed")) {
    for (const XmlElement& each : bad->children) {
      reading.failed(each.at("Id"), each.at("SenderFault") == "true", std::string(each.at("Code")),
                     std::string(each.at("Message")));
    }
  }
}

void write_get_caller_identity(std::string& out) { out.assign("Action=GetCallerIdentity&Version=2011-06-15"); }

Identity read_caller_identity(std::string_view body) {
  const XmlElement result = result_of(body, "GetCallerIdentity");
  return {needed(result, "GetCallerIdentity", "Account"), needed(result, "GetCallerIdentity", "Arn"),
          std::string(result.at("UserId"))};
}

}  // namespace tidings::transport::aws::sns
