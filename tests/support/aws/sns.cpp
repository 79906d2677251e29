#include "sns.hpp"

#include <algorithm>

#include "filter.hpp"
#include "policy.hpp"

namespace tidings::support::aws {
namespace {

constexpr std::size_t page_size = 100;

[[noreturn]] void refuse(const std::string& message, const std::string& code = "InvalidParameter") {
  throw Refusal{
      code == "NotFound" ? 404 : 400, code, code == "InvalidParameter" ? "Invalid parameter: " + message : message, {}};
}

/// One page of `all` behind the token, and the token of the next.
template <class Item>
std::vector<Item> page_of(const std::vector<Item>& all, const std::string& token, std::string& next) {
  std::size_t from = 0;
  if (!token.empty()) {
    const auto number = whole_number(from_base64(token).value_or(""));
    if (!number || static_cast<std::size_t>(*number) > all.size()) refuse("NextToken");
    from = static_cast<std::size_t>(*number);
  }
  const std::size_t to = std::min(all.size(), from + page_size);
  if (to < all.size()) next = base64(std::to_string(to));
  return {all.begin() + static_cast<std::ptrdiff_t>(from), all.begin() + static_cast<std::ptrdiff_t>(to)};
}

std::string next_token(const std::string& next) { return next.empty() ? "" : element("NextToken", next); }

std::string map_xml(const std::map<std::string, std::string>& all) {
  std::string entries;
  for (const auto& [key, value] : all) entries += enclosed("entry", element("key", key) + element("value", value));
  return enclosed("Attributes", entries);
}

void check_topic_attribute(const std::string& name, const std::string& value, bool creating) {
  static const std::set<std::string> known{
      "DisplayName",      "Policy",        "DeliveryPolicy",     "KmsMasterKeyId", "ContentBasedDeduplication",
      "SignatureVersion", "TracingConfig", "FifoThroughputScope"};
  if (!known.contains(name) && !(creating && name == "FifoTopic")) refuse("AttributeName");
  const bool flag = name == "FifoTopic" || name == "ContentBasedDeduplication";
  if (flag && value != "true" && value != "false") refuse("Attributes Reason: " + name + " must be true or false");
}

}  // namespace

std::string Fields::text(const std::string& name) const {
  const auto found = all_.find(name);
  return found == all_.end() ? std::string() : found->second;
}

std::string Fields::required(const std::string& name) const {
  std::string value = text(name);
  if (value.empty()) refuse(name + " Reason: no value for required parameter");
  return value;
}

std::vector<Fields> Fields::list(const std::string& prefix) const {
  std::vector<Fields> out;
  for (int number = 1;; ++number) {
    const std::string start = prefix + "." + std::to_string(number) + ".";
    Fields fields;
    for (auto each = all_.lower_bound(start); each != all_.end() && each->first.starts_with(start); ++each)
      fields.all_.emplace(each->first.substr(start.size()), each->second);
    if (fields.all_.empty()) return out;
    out.push_back(std::move(fields));
  }
}

std::vector<std::string> Fields::values(const std::string& prefix) const {
  std::vector<std::string> out;
  for (int number = 1; has(prefix + "." + std::to_string(number)); ++number)
    out.push_back(text(prefix + "." + std::to_string(number)));
  return out;
}

std::map<std::string, std::string> Fields::pairs(const std::string& prefix, const char* key, const char* value) const {
  std::map<std::string, std::string> out;
  for (const Fields& each : list(prefix)) out[each.required(key)] = each.text(value);
  return out;
}

Sns::Sns(World& world, Sqs& sqs)
    : world_(world),
      sqs_(sqs),
      operations_{{"CreateTopic", &Sns::create_topic},
                  {"DeleteTopic", &Sns::delete_topic},
                  {"ListTopics", &Sns::list_topics},
                  {"GetTopicAttributes", &Sns::get_topic_attributes},
                  {"SetTopicAttributes", &Sns::set_topic_attributes},
                  {"Subscribe", &Sns::subscribe},
                  {"Unsubscribe", &Sns::unsubscribe},
                  {"GetSubscriptionAttributes", &Sns::get_subscription_attributes},
                  {"SetSubscriptionAttributes", &Sns::set_subscription_attributes},
                  {"ListSubscriptions", &Sns::list_subscriptions},
                  {"ListSubscriptionsByTopic", &Sns::list_subscriptions_by_topic},
                  {"TagResource", &Sns::tag_resource},
                  {"UntagResource", &Sns::untag_resource},
                  {"ListTagsForResource", &Sns::list_tags},
                  {"Publish", &Sns::publish},
                  {"PublishBatch", &Sns::publish_batch}} {}

std::string Sns::answer(Call& call, const Fields& fields) {
  sqs_.advance_tasks();
  return (this->*operations_.at(call.operation))(call, fields);
}

std::vector<std::string> Sns::topics() const {
  std::vector<std::string> out;
  for (const auto& [arn, topic] : topics_) out.push_back(arn);
  return out;
}

std::vector<AwsSubscription> Sns::subscriptions(const std::string& topic_arn) const {
  if (!topics_.contains(topic_arn)) refuse("Topic does not exist", "NotFound");
  std::vector<AwsSubscription> out;
  for (const auto& [arn, subscription] : subscriptions_) {
    if (subscription.topic_arn == topic_arn) out.push_back(subscription);
  }
  return out;
}

Sns::Topic& Sns::topic_of(const Call& call, const std::string& arn, const std::string& action) {
  const std::vector<std::string> parts = split(arn, ':');
  if (parts.size() != 6 || parts[0] != "arn" || parts[2] != "sns") refuse("TopicArn");
  world_.authorize(call, "sns:" + action, arn);
  const auto found = topics_.find(arn);
  if (found == topics_.end()) refuse("Topic does not exist", "NotFound");
  return found->second;
}

std::string Sns::create_topic(Call& call, const Fields& fields) {
  const std::string name = fields.required("Name");
  const std::string stem = name.ends_with(".fifo") ? name.substr(0, name.size() - 5) : name;
  const bool good = std::all_of(stem.begin(), stem.end(), [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
           each == '-' || each == '_';
  });
  if (!good || stem.empty() || name.size() > 256) refuse("Topic Name");
  const std::string arn = world_.arn("sns", name);
  world_.authorize(call, "sns:CreateTopic", arn);
  const auto attributes = fields.pairs("Attributes.entry", "key", "value");
  for (const auto& [key, value] : attributes) check_topic_attribute(key, value, true);
  const auto fifo = attributes.find("FifoTopic");
  if ((fifo != attributes.end() && fifo->second == "true") != name.ends_with(".fifo"))
    refuse("Topic Name Reason: FIFO topics, and no others, have names that end with .fifo");
  const auto tags = fields.pairs("Tags.member", "Key", "Value");
  if (const auto found = topics_.find(arn); found != topics_.end()) {
    for (const auto& [key, value] : attributes) {
      const auto has = found->second.attributes.find(key);
      if (has == found->second.attributes.end() || has->second != value)
        refuse("Attributes Reason: Topic already exists with different attributes");
    }
    if (!tags.empty() && tags != found->second.tags) refuse("Tags Reason: Topic already exists with different tags");
  } else {
    topics_.emplace(arn, Topic{arn, attributes, tags});
  }
  return element("TopicArn", arn);
}

std::string Sns::delete_topic(Call& call, const Fields& fields) {
  const std::string arn = fields.required("TopicArn");
  if (!topics_.contains(arn)) return {};
  (void)topic_of(call, arn, "DeleteTopic");
  std::erase_if(subscriptions_, [&](const auto& each) { return each.second.topic_arn == arn; });
  topics_.erase(arn);
  return {};
}

std::string Sns::list_topics(Call& call, const Fields& fields) {
  world_.authorize(call, "sns:ListTopics", world_.arn("sns", "*"));
  std::string members, next;
  for (const std::string& arn : page_of(topics(), fields.text("NextToken"), next))
    members += enclosed("member", element("TopicArn", arn));
  return enclosed("Topics", members) + next_token(next);
}

std::string Sns::get_topic_attributes(Call& call, const Fields& fields) {
  const Topic& topic = topic_of(call, fields.required("TopicArn"), "GetTopicAttributes");
  std::map<std::string, std::string> all = topic.attributes;
  all["TopicArn"] = topic.arn;
  all["Owner"] = world_.options.account;
  all.emplace("DisplayName", "");
  all["SubscriptionsConfirmed"] = std::to_string(subscriptions(topic.arn).size());
  all["SubscriptionsPending"] = "0";
  all["SubscriptionsDeleted"] = std::to_string(topic.deleted_subscriptions);
  return map_xml(all);
}

std::string Sns::set_topic_attributes(Call& call, const Fields& fields) {
  Topic& topic = topic_of(call, fields.required("TopicArn"), "SetTopicAttributes");
  const std::string name = fields.required("AttributeName"), value = fields.text("AttributeValue");
  check_topic_attribute(name, value, false);
  topic.attributes[name] = value;
  return {};
}

void Sns::check_subscription_attribute(const std::string& name, const std::string& value) const {
  if (name == "RawMessageDelivery") {
    if (value != "true" && value != "false")
      refuse("Attributes Reason: RawMessageDelivery: Invalid value [" + value + "]. Must be true or false.");
  } else if (name == "FilterPolicy") {
    const std::string wrong = value.empty() ? "" : wrong_filter(value);
    if (!wrong.empty()) refuse("Attributes Reason: FilterPolicy: " + wrong);
  } else if (name == "FilterPolicyScope") {
    if (value == "MessageBody") throw Refusal{501, "NotImplemented", "The stand-in filters by attributes only.", {}};
    if (value != "MessageAttributes")
      refuse("Attributes Reason: FilterPolicyScope: Invalid value [" + value +
             "]. Please use either MessageBody or MessageAttributes");
  } else if (name == "RedrivePolicy") {
    if (value.empty()) return;
    const auto policy = Json::parse(value);
    const Json* target = policy ? policy->find("deadLetterTargetArn") : nullptr;
    if (target == nullptr || target->string() == nullptr || !target->string()->starts_with("arn:aws:sqs:"))
      refuse("RedrivePolicy: deadLetterTargetArn is an invalid arn");
  } else if (name != "DeliveryPolicy") {
    refuse("AttributeName");
  }
}

std::string Sns::subscribe(Call& call, const Fields& fields) {
  const Topic& topic = topic_of(call, fields.required("TopicArn"), "Subscribe");
  const std::string protocol = fields.required("Protocol"), endpoint = fields.text("Endpoint");
  if (protocol != "sqs") throw Refusal{501, "NotImplemented", "The stand-in delivers to sqs only.", {}};
  const std::vector<std::string> parts = split(endpoint, ':');
  if (parts.size() != 6 || parts[0] != "arn" || parts[2] != "sqs") refuse("SQS endpoint ARN");
  if (endpoint.ends_with(".fifo") && !topic.fifo())
    refuse("Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics");
  auto attributes = fields.pairs("Attributes.entry", "key", "value");
  for (const auto& [name, value] : attributes) check_subscription_attribute(name, value);
  for (const auto& [arn, subscription] : subscriptions_) {
    if (subscription.topic_arn != topic.arn || subscription.endpoint != endpoint) continue;
    for (const auto& [name, value] : attributes) {
      const auto has = subscription.attributes.find(name);
      const std::string now = has != subscription.attributes.end() ? has->second
                              : name == "RawMessageDelivery"       ? "false"
                                                                   : "";
      if (now != value) refuse("Attributes Reason: Subscription already exists with different attributes");
    }
    return element("SubscriptionArn", arn);
  }
  const std::string arn = topic.arn + ":" + uuid();
  subscriptions_.emplace(arn, AwsSubscription{arn, topic.arn, endpoint, std::move(attributes)});
  return element("SubscriptionArn", arn);
}

std::string Sns::unsubscribe(Call& call, const Fields& fields) {
  const std::string arn = fields.required("SubscriptionArn");
  const auto found = subscriptions_.find(arn);
  if (found == subscriptions_.end()) return {};
  Topic& topic = topic_of(call, found->second.topic_arn, "Unsubscribe");
  ++topic.deleted_subscriptions;
  subscriptions_.erase(found);
  return {};
}

AwsSubscription& Sns::subscription_of(const Call& call, const Fields& fields, const std::string& action) {
  const std::string arn = fields.required("SubscriptionArn");
  const std::vector<std::string> parts = split(arn, ':');
  if (parts.size() != 7)
    refuse("SubscriptionArn Reason: An ARN must have at least 6 elements, not " + std::to_string(parts.size()));
  world_.authorize(call, "sns:" + action, arn.substr(0, arn.rfind(':')));
  const auto found = subscriptions_.find(arn);
  if (found == subscriptions_.end()) refuse("Subscription does not exist", "NotFound");
  return found->second;
}

std::string Sns::get_subscription_attributes(Call& call, const Fields& fields) {
  const AwsSubscription& subscription = subscription_of(call, fields, "GetSubscriptionAttributes");
  std::map<std::string, std::string> all = subscription.attributes;
  if (all.contains("FilterPolicy")) all.emplace("FilterPolicyScope", "MessageAttributes");
  all.emplace("RawMessageDelivery", "false");
  all["SubscriptionArn"] = subscription.arn;
  all["TopicArn"] = subscription.topic_arn;
  all["Protocol"] = "sqs";
  all["Endpoint"] = subscription.endpoint;
  all["Owner"] = world_.options.account;
  all["PendingConfirmation"] = "false";
  all["ConfirmationWasAuthenticated"] = "true";
  all["SubscriptionPrincipal"] = call.principal;
  return map_xml(all);
}

std::string Sns::set_subscription_attributes(Call& call, const Fields& fields) {
  AwsSubscription& subscription = subscription_of(call, fields, "SetSubscriptionAttributes");
  const std::string name = fields.required("AttributeName"), value = fields.text("AttributeValue");
  check_subscription_attribute(name, value);
  // An empty policy is none.
  if (value.empty() || (name == "FilterPolicy" && Json::parse(value)->members()->empty())) {
    subscription.attributes.erase(name);
  } else {
    subscription.attributes[name] = value;
  }
  return {};
}

std::string Sns::written(const std::vector<const AwsSubscription*>& all, const Fields& fields) const {
  std::string members, next;
  for (const AwsSubscription* each : page_of(all, fields.text("NextToken"), next)) {
    members += enclosed("member", element("TopicArn", each->topic_arn) + element("Protocol", "sqs") +
                                      element("SubscriptionArn", each->arn) + element("Owner", world_.options.account) +
                                      element("Endpoint", each->endpoint));
  }
  return enclosed("Subscriptions", members) + next_token(next);
}

std::string Sns::list_subscriptions(Call& call, const Fields& fields) {
  world_.authorize(call, "sns:ListSubscriptions", world_.arn("sns", "*"));
  std::vector<const AwsSubscription*> all;
  for (const auto& [arn, subscription] : subscriptions_) all.push_back(&subscription);
  return written(all, fields);
}

std::string Sns::list_subscriptions_by_topic(Call& call, const Fields& fields) {
  const Topic& topic = topic_of(call, fields.required("TopicArn"), "ListSubscriptionsByTopic");
  std::vector<const AwsSubscription*> all;
  for (const auto& [arn, subscription] : subscriptions_) {
    if (subscription.topic_arn == topic.arn) all.push_back(&subscription);
  }
  return written(all, fields);
}

std::string Sns::tag_resource(Call& call, const Fields& fields) {
  Topic& topic = topic_of(call, fields.required("ResourceArn"), "TagResource");
  for (const auto& [key, value] : fields.pairs("Tags.member", "Key", "Value")) topic.tags[key] = value;
  if (topic.tags.size() > 50)
    refuse("Could not complete request: tag quota of per resource exceeded", "TagLimitExceeded");
  return {};
}

std::string Sns::untag_resource(Call& call, const Fields& fields) {
  Topic& topic = topic_of(call, fields.required("ResourceArn"), "UntagResource");
  for (const std::string& key : fields.values("TagKeys.member")) topic.tags.erase(key);
  return {};
}

std::string Sns::list_tags(Call& call, const Fields& fields) {
  const Topic& topic = topic_of(call, fields.required("ResourceArn"), "ListTagsForResource");
  std::string members;
  for (const auto& [key, value] : topic.tags)
    members += enclosed("member", element("Key", key) + element("Value", value));
  return enclosed("Tags", members);
}

}  // namespace tidings::support::aws
