// What topics take in, and where it goes.
#include <algorithm>

#include "attributes.hpp"
#include "filter.hpp"
#include "policy.hpp"
#include "sns.hpp"

namespace tidings::support::aws {
namespace {

constexpr std::size_t most_bytes = std::size_t{256} << 10U;
constexpr std::size_t most_entries = 10, most_raw_attributes = 10;

[[noreturn]] void refuse(const std::string& message) {
  throw Refusal{400, "InvalidParameter", "Invalid parameter: " + message, {}};
}

[[noreturn]] void refuse_batch(const std::string& code, const std::string& message) {
  throw Refusal{400, code, message, {}};
}

MessageAttributes attributes_of(const Fields& fields) {
  MessageAttributes out;
  for (const Fields& each : fields.list("MessageAttributes.entry")) {
    const std::string name = each.text("Name");
    AwsAttribute attribute{each.text("Value.DataType"), each.text("Value.StringValue")};
    if (each.has("Value.BinaryValue")) {
      const auto bytes = from_base64(each.text("Value.BinaryValue"));
      if (!bytes) refuse("MessageAttributes Reason: BinaryValue is not base64");
      attribute.value = *bytes;
    }
    const std::string wrong = wrong_attribute(name, attribute);
    if (!wrong.empty() || is_binary(attribute) != each.has("Value.BinaryValue")) {
      throw Refusal{400,
                    "ParameterValueInvalid",
                    wrong.empty() ? "The message attribute '" + name + "' has a value of another type." : wrong,
                    {}};
    }
    out.emplace(name, std::move(attribute));
  }
  return out;
}

/// What queues are sent of a message that differs by protocol.
std::string structured(const std::string& message) {
  const auto json = Json::parse(message);
  const Json* base = json ? json->find("default") : nullptr;
  if (base == nullptr || base->string() == nullptr) refuse("Message Structure - No default entry in JSON message body");
  const Json* own = json->find("sqs");
  return own != nullptr && own->string() != nullptr ? *own->string() : *base->string();
}

}  // namespace

Sns::Post Sns::post_of(const Topic& topic, const Fields& fields) const {
  Post post{.id = uuid(),
            .message = fields.text("Message"),
            .subject = fields.text("Subject"),
            .group = fields.text("MessageGroupId"),
            .deduplication = fields.text("MessageDeduplicationId"),
            .attributes = attributes_of(fields)};
  if (post.message.empty()) refuse("Empty message");
  if (post.message.size() + size_of(post.attributes) > most_bytes) refuse("Message too long");
  if (fields.has("MessageStructure")) {
    if (fields.text("MessageStructure") != "json") refuse("MessageStructure");
    post.message = structured(post.message);
  }
  if (topic.fifo()) {
    if (post.group.empty()) refuse("The MessageGroupId parameter is required for FIFO topics");
    const auto content = topic.attributes.find("ContentBasedDeduplication");
    const bool by_content = content != topic.attributes.end() && content->second == "true";
    if (post.deduplication.empty() && !by_content)
      refuse(
          "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
          "explicitly");
    if (post.deduplication.empty()) post.deduplication = hex(sha256(post.message));
  } else if (!post.deduplication.empty()) {
    refuse(
        "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for "
        "this topic type");
  }
  return post;
}

std::string Sns::publish(Call& call, const Fields& fields) {
  const std::string target = fields.has("TargetArn") ? fields.text("TargetArn") : fields.required("TopicArn");
  const Topic& topic = topic_of(call, target, "Publish");
  const Post post = post_of(topic, fields);
  deliver(topic, post);
  return element("MessageId", post.id);
}

std::string Sns::publish_batch(Call& call, const Fields& fields) {
  const Topic& topic = topic_of(call, fields.required("TopicArn"), "Publish");
  const std::vector<Fields> entries = fields.list("PublishBatchRequestEntries.member");
  if (entries.empty()) refuse_batch("EmptyBatchRequest", "The batch request doesn't contain any entries.");
  if (entries.size() > most_entries)
    refuse_batch("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.");
  std::set<std::string> ids;
  std::size_t bytes = 0;
  for (const Fields& each : entries) {
    const std::string id = each.required("Id");
    const bool good = id.size() <= 80 && std::all_of(id.begin(), id.end(), [](char letter) {
                        return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                               (letter >= '0' && letter <= '9') || letter == '-' || letter == '_';
                      });
    if (!good)
      refuse_batch("InvalidBatchEntryId",
                   "The Id of a batch entry in a batch request doesn't abide by the specification.");
    if (!ids.insert(id).second)
      refuse_batch("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.");
    bytes += each.text("Message").size();
    for (const Fields& attribute : each.list("MessageAttributes.entry")) {
      bytes += attribute.text("Name").size() + attribute.text("Value.DataType").size();
      bytes += attribute.text("Value.StringValue").size() +
               from_base64(attribute.text("Value.BinaryValue")).value_or("").size();
    }
  }
  if (bytes > most_bytes)
    refuse_batch("BatchRequestTooLong", "The length of all the batch messages put together is more than the limit.");
  std::string successful, failed;
  for (const Fields& each : entries) {
    const std::string id = each.required("Id");
    const auto fail = [&](bool sender, const std::string& code, const std::string& message) {
      failed += enclosed("member", element("Id", id) + element("Code", code) + element("Message", message) +
                                       element("SenderFault", sender ? "true" : "false"));
    };
    if (const auto ordered = world_.faults.take_entry_failure(call.operation, id, each.text("Message"))) {
      fail(ordered->sender_fault, ordered->code, ordered->message);
      continue;
    }
    try {
      const Post post = post_of(topic, each);
      deliver(topic, post);
      successful += enclosed("member", element("Id", id) + element("MessageId", post.id));
    } catch (const Refusal& refusal) {
      fail(true, refusal.code, refusal.message);
    }
  }
  return enclosed("Successful", successful) + enclosed("Failed", failed);
}

void Sns::deliver(const Topic& topic, const Post& post) {
  for (const auto& [arn, subscription] : subscriptions_) {
    if (subscription.topic_arn == topic.arn) deliver(topic, post, subscription);
  }
}

// What a queue does not take goes to the subscription's dead-letter queue if that takes it, and is lost else: nobody is
// told. A message that raw delivery cannot carry is lost in any case.
void Sns::deliver(const Topic& topic, const Post& post, const AwsSubscription& subscription) {
  const auto setting = [&](const char* name) {
    const auto found = subscription.attributes.find(name);
    return found == subscription.attributes.end() ? std::string() : found->second;
  };
  if (const std::string filter = setting("FilterPolicy"); !filter.empty() && !accepts(filter, post.attributes)) return;
  const bool raw = setting("RawMessageDelivery") == "true";
  if (raw && post.attributes.size() > most_raw_attributes) {
    ++world_.undelivered;
    return;
  }
  Parcel parcel{.id = {},
                .body = raw ? post.message : envelope(topic, post, subscription),
                .attributes = raw ? post.attributes : MessageAttributes{},
                .system = {},
                .group = post.group,
                .deduplication = post.deduplication};
  if (hand_over(subscription.endpoint, topic.arn, parcel)) return;
  const std::string redrive = setting("RedrivePolicy");
  if (!redrive.empty() && hand_over(*Json::parse(redrive)->find("deadLetterTargetArn")->string(), topic.arn, parcel))
    return;
  ++world_.undelivered;
}

bool Sns::hand_over(const std::string& queue_arn, const std::string& topic_arn, const Parcel& parcel) {
  Queue* queue = sqs_.by_arn(queue_arn);
  if (queue == nullptr) return false;
  const auto text = queue->attributes.find("Policy");
  const auto policy = text == queue->attributes.end() ? std::nullopt : Policy::parse(text->second);
  if (!policy || !policy->lets_deliver(queue_arn, topic_arn, world_.options.account)) return false;
  if (static_cast<std::int64_t>(parcel.body.size() + size_of(parcel.attributes)) > queue->number("MaximumMessageSize"))
    return false;
  if (queue->fifo() && parcel.group.empty()) return false;
  Parcel copy = parcel;
  if (!queue->fifo()) copy.deduplication.clear();
  (void)queue->send(std::move(copy), "AIDASNSSERVICE");
  return true;
}

std::string Sns::envelope(const Topic& topic, const Post& post, const AwsSubscription& subscription) const {
  const std::string base = "http://127.0.0.1:" + std::to_string(world_.port);
  Json out = Json::object({{"Type", "Notification"}, {"MessageId", post.id}, {"TopicArn", topic.arn}});
  if (!post.subject.empty()) out.set("Subject", post.subject);
  out.set("Message", post.message).set("Timestamp", iso_time(world_.now(), true));
  out.set("SignatureVersion", "1").set("Signature", base64(sha256(post.id)));
  out.set("SigningCertURL", base + "/SimpleNotificationService.pem");
  out.set("UnsubscribeURL", base + "/?Action=Unsubscribe&SubscriptionArn=" + subscription.arn);
  Json attributes;
  for (const auto& [name, attribute] : post.attributes) {
    attributes.set(name, Json::object({{"Type", attribute.type},
                                       {"Value", is_binary(attribute) ? base64(attribute.value) : attribute.value}}));
  }
  if (!attributes.is_null()) out.set("MessageAttributes", attributes);
  return out.text();
}

}  // namespace tidings::support::aws
