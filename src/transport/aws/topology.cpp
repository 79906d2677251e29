#include "transport/aws/topology.hpp"

#include <algorithm>
#include <tidings/stream.hpp>

#include "transport/aws/policy.hpp"

namespace tidings::transport::aws {
namespace {

constexpr Millis longest_call{10'000};
constexpr std::string_view owner_tag = "tidings:owner", types_tag = "tidings:types";
// Dead letters are kept as long as SQS can, since nobody may look for days; what waits to be handled for less, so that
// it reaches the dead letters with time left.
constexpr std::string_view dead_retention = "1209600", queue_retention = "345600";

std::string value_of(const Attributes& attributes, std::string_view name) {
  const auto found = attributes.find(name);
  return found == attributes.end() ? std::string() : found->second;
}

std::string arn_of(const Attributes& attributes) { return value_of(attributes, "QueueArn"); }

}  // namespace

std::string partition_of(std::string_view region) {
  if (region.starts_with("cn-")) return "aws-cn";
  if (region.starts_with("us-gov-")) return "aws-us-gov";
  return "aws";
}

// Who waits for longer looks in between whether he should stop.
Reply Topology::ask(Service service, std::string_view operation, const std::string& body,
                    WaitClock::time_point deadline) {
  return client_.run({.service = service, .operation = operation, .body = body},
                     std::min(deadline, WaitClock::now() + longest_call));
}

Reply Topology::call(Service service, std::string_view operation, const std::string& body, std::string_view about,
                     WaitClock::time_point deadline) {
  Reply reply = ask(service, operation, body, deadline);
  if (!reply.ok()) throw reply.error(operation, about);
  return reply;
}

void Topology::differs(const std::string& what, const std::string& mend) {
  if (mode_ == TopologyMode::create) return tell(what + "; " + mend);
  throw Error(ErrorCode::conflict,
              "aws: " + what + "; start once with topology=create, which mends it, or do so by hand");
}

std::string Topology::account(WaitClock::time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (!account_.empty()) return account_;
  }
  std::string body;
  sns::write_get_caller_identity(body);
  const Reply reply = call(Service::sts, "GetCallerIdentity", body, {}, deadline);
  const std::string found = sns::read_caller_identity(reply.body).account;
  const std::lock_guard lock(mutex_);
  return account_ = found;
}

std::string Topology::topic_arn_of(const std::string& name, WaitClock::time_point deadline) {
  std::string body;
  if (mode_ == TopologyMode::create) {
    sns::write_create_topic(body, name, {}, {});
    return sns::read_topic_arn(call(Service::sns, "CreateTopic", body, name, deadline).body);
  }
  std::string arn =
      "arn:" + partition_of(client_.region()) + ":sns:" + client_.region() + ":" + account(deadline) + ":" + name;
  if (mode_ == TopologyMode::none) return arn;
  sns::write_get_topic_attributes(body, arn);
  (void)call(Service::sns, "GetTopicAttributes", body, arn, deadline);
  return arn;
}

std::string Topology::topic(std::string_view stream, WaitClock::time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = places_.find(stream); found != places_.end()) return found->second;
  }
  const std::string arn = topic_arn_of(names_.topic(stream), deadline);
  const std::lock_guard lock(mutex_);
  return places_[std::string(stream)] = arn;
}

std::string Topology::command_queue(std::string_view stream, WaitClock::time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = places_.find(stream); found != places_.end()) return found->second;
  }
  // Commands may be sent before their service has started for the first time.
  const Queue queue =
      make(names_.queue(stream, "commands"), names_.dead_letter_queue(stream, "commands"), {}, deadline);
  const std::lock_guard lock(mutex_);
  return places_[std::string(stream)] = queue.url;
}

void Topology::forget(std::string_view stream) {
  const std::lock_guard lock(mutex_);
  if (const auto found = places_.find(stream); found != places_.end()) places_.erase(found);
}

std::string Topology::find_queue(const std::string& name, WaitClock::time_point deadline) {
  std::string body;
  sqs::write_get_queue_url(body, name);
  const Reply reply = ask(Service::sqs, "GetQueueUrl", body, deadline);
  if (reply.fault == Fault::not_found) return {};
  if (!reply.ok()) throw reply.error("GetQueueUrl", name);
  return sqs::read_queue_url(reply.body);
}

Attributes Topology::queue_attributes(const std::string& url, WaitClock::time_point deadline) {
  std::string body;
  sqs::write_get_queue_attributes(body, url);
  return sqs::read_attributes(call(Service::sqs, "GetQueueAttributes", body, sqs::name_of_url(url), deadline).body);
}

// The URL of a queue, which is made where it may be. Asked for without attributes, an existing one is never in conflict
// with what somebody set.
std::string Topology::make_queue(const std::string& name, bool& made, std::string_view owner,
                                 WaitClock::time_point deadline) {
  std::string url = find_queue(name, deadline);
  if (!url.empty()) return url;
  if (mode_ != TopologyMode::create) {
    throw Error(ErrorCode::not_found, "aws: there is no queue " + name +
                                          ", and this program may not make one (topology=" +
                                          (mode_ == TopologyMode::none ? "none" : "check") +
                                          "); make it, or start once with topology=create");
  }
  made = true;
  const bool dead = name.ends_with("-dlq");
  std::string body;
  sqs::write_create_queue(body, name,
                          {{"MessageRetentionPeriod", std::string(dead ? dead_retention : queue_retention)}},
                          owner.empty() ? Attributes{} : Attributes{{std::string(owner_tag), std::string(owner)}});
  const Reply reply = ask(Service::sqs, "CreateQueue", body, deadline);
  if (reply.fault == Fault::conflict) {
    // Another process may have made it a moment ago; or it was deleted less than a minute ago, which passes.
    url = find_queue(name, deadline);
    if (!url.empty()) return url;
    throw Error(ErrorCode::unavailable, true, reply.error("CreateQueue", name).what());
  }
  if (!reply.ok()) throw reply.error("CreateQueue", name);
  return sqs::read_queue_url(reply.body);
}

// A queue with the one of its dead letters.
Queue Topology::make(const std::string& name, const std::string& dead_name, std::string_view owner,
                     WaitClock::time_point deadline) {
  Queue queue{.name = name};
  if (mode_ == TopologyMode::none) {
    queue.url = make_queue(name, queue.made, owner, deadline);
    queue.dead_url = find_queue(dead_name, deadline);
    return queue;
  }
  queue.dead_url = make_queue(dead_name, queue.dead_made, {}, deadline);
  queue.url = make_queue(name, queue.made, owner, deadline);
  const Attributes has = queue_attributes(queue.url, deadline), dead_has = queue_attributes(queue.dead_url, deadline);
  queue.arn = arn_of(has);
  if (value_of(dead_has, "MessageRetentionPeriod") < dead_retention &&
      value_of(dead_has, "MessageRetentionPeriod").size() <= dead_retention.size() && !queue.dead_made) {
    tell(dead_name + " keeps dead letters for less than 14 days, counted from when they were published first");
  }
  mend_queue(queue, has, {}, arn_of(dead_has), deadline);
  return queue;
}

// Gives a queue what it lacks; says what it has otherwise than it should be.
void Topology::mend_queue(const Queue& queue, const Attributes& has, const std::string& topic_arn,
                          const std::string& dead_arn, WaitClock::time_point deadline) {
  Attributes wanted;
  if (!dead_arn.empty()) {
    const auto redrive = read_redrive(value_of(has, "RedrivePolicy"));
    const Redrive ours{.target = dead_arn, .receives = native_limit};
    if (!redrive) {
      if (!queue.made) differs(queue.name + " has no redrive policy", "it was given one");
      wanted["RedrivePolicy"] = write_redrive(ours);
    } else if (redrive->target != dead_arn) {
      tell(queue.name + " sends what is received too often to " + redrive->target + ", which somebody else set; left");
    } else if (redrive->receives < native_limit) {
      differs(queue.name + " gives up after " + std::to_string(redrive->receives) +
                  " receives, which also count where nothing failed",
              "it was raised to " + std::to_string(native_limit));
      wanted["RedrivePolicy"] = write_redrive(ours);
    }
  }
  const std::string policy = value_of(has, "Policy");
  if (!topic_arn.empty() && !lets_topic_send(policy, queue.arn, topic_arn)) {
    if (!queue.made) differs(topic_arn + " may not send to " + queue.name, "it was allowed to");
    wanted["Policy"] = with_topic(policy, queue.arn, topic_arn);
  }
  if (wanted.empty()) return;
  std::string body;
  sqs::write_set_queue_attributes(body, queue.url, wanted);
  (void)call(Service::sqs, "SetQueueAttributes", body, queue.name, deadline);
}

Queue Topology::join(std::string_view stream, std::string_view service, const std::vector<std::string>& types,
                     WaitClock::time_point deadline) {
  const std::string_view group = group_of(stream, service);
  const std::string name = names_.queue(stream, group), dead_name = names_.dead_letter_queue(stream, group);
  // Made with its owner, of two services that start at once only one has it.
  Queue queue = make(name, dead_name, is_command_stream(stream) ? service : std::string_view(), deadline);
  if (is_command_stream(stream)) {
    if (mode_ != TopologyMode::none) own(queue, stream, service, deadline);
    return queue;
  }
  if (mode_ == TopologyMode::none) return queue;
  const std::string topic_arn = topic(stream, deadline);
  const Attributes dead_has = queue_attributes(queue.dead_url, deadline);
  const std::string dead_arn = arn_of(dead_has);
  const Queue dead{.name = dead_name, .url = queue.dead_url, .arn = dead_arn, .made = queue.dead_made};
  // First may the topic send, to the dead letters also, then it is asked to: SNS drops what it may not deliver.
  mend_queue(dead, dead_has, topic_arn, {}, deadline);
  mend_queue(queue, queue_attributes(queue.url, deadline), topic_arn, {}, deadline);
  subscribe(queue, topic_arn, dead_arn, types, deadline);
  return queue;
}

Attributes Topology::tags_of(const Queue& queue, WaitClock::time_point deadline) {
  std::string body;
  sqs::write_list_queue_tags(body, queue.url);
  return sqs::read_tags(call(Service::sqs, "ListQueueTags", body, queue.name, deadline).body);
}

std::string Topology::owner_of(const std::string& url, WaitClock::time_point deadline) {
  std::string body;
  sqs::write_list_queue_tags(body, url);
  const Reply reply = ask(Service::sqs, "ListQueueTags", body, deadline);
  if (reply.fault == Fault::denied || reply.fault == Fault::not_found) return {};
  if (!reply.ok()) throw reply.error("ListQueueTags", sqs::name_of_url(url));
  return value_of(sqs::read_tags(reply.body), owner_tag);
}

void Topology::tag(const Queue& queue, std::string_view name, std::string_view value, WaitClock::time_point deadline) {
  std::string body;
  sqs::write_tag_queue(body, queue.url, {{std::string(name), std::string(value)}});
  (void)call(Service::sqs, "TagQueue", body, queue.name, deadline);
}

// Whether some instance handles all types, which a filter could not say; a tag does.
bool Topology::takes_everything(const Queue& queue, const std::vector<std::string>& types,
                                WaitClock::time_point deadline) {
  if (value_of(tags_of(queue, deadline), types_tag) == "*") return true;
  // More types than a filter takes are as good as all of them.
  if (!write_filter({types.begin(), types.end()}).empty() || types.empty()) return false;
  if (mode_ == TopologyMode::create) tag(queue, types_tag, "*", deadline);
  return true;
}

std::optional<std::set<std::string>> Topology::filter_of(std::string_view stream, const Queue& queue,
                                                         WaitClock::time_point deadline) {
  const std::string arn = find_subscription(topic(stream, deadline), queue.arn, deadline);
  if (arn.empty()) return std::nullopt;
  return read_filter(value_of(subscription_attributes(arn, deadline), "FilterPolicy"));
}

void Topology::look_again(std::string_view stream, Queue& queue, std::string_view service,
                          const std::vector<std::string>& types, WaitClock::time_point deadline) {
  if (mode_ != TopologyMode::create) return;
  if (is_command_stream(stream)) return own(queue, stream, service, deadline);
  if (queue.everything) return;
  queue.made = false;  // Whatever differs now is told.
  subscribe(queue, topic(stream, deadline), arn_of(queue_attributes(queue.dead_url, deadline)), types, deadline);
}

void Topology::own(const Queue& queue, std::string_view stream, std::string_view service,
                   WaitClock::time_point deadline) {
  const std::string owner = value_of(tags_of(queue, deadline), owner_tag);
  if (owner == service) return;
  if (!owner.empty()) {
    throw Error(ErrorCode::conflict, std::string(stream) + " belongs to the service " + owner + ", so " +
                                         std::string(service) +
                                         " cannot take its commands; a command has one owner: remove the group first "
                                         "to hand it over");
  }
  if (mode_ == TopologyMode::check) differs(queue.name + " has no owner", {});
  tag(queue, owner_tag, service, deadline);
  // Two that came at once both wrote; one of them stands there now.
  const std::string now = value_of(tags_of(queue, deadline), owner_tag);
  if (now != service) {
    throw Error(ErrorCode::conflict, std::string(stream) + " was taken by the service " + now +
                                         " at the same time; a command has one owner");
  }
}

std::string Topology::find_subscription(const std::string& topic_arn, const std::string& queue_arn,
                                        WaitClock::time_point deadline) {
  std::string token, body;
  do {
    sns::write_list_subscriptions_by_topic(body, topic_arn, token);
    const sns::SubscriptionPage page =
        sns::read_subscriptions(call(Service::sns, "ListSubscriptionsByTopic", body, topic_arn, deadline).body);
    for (const auto& each : page.subscriptions) {
      if (each.protocol == "sqs" && each.endpoint == queue_arn) return each.arn;
    }
    token = page.next;
  } while (!token.empty());
  return {};
}

Attributes Topology::subscription_attributes(const std::string& arn, WaitClock::time_point deadline) {
  std::string body;
  sns::write_get_subscription_attributes(body, arn);
  return sns::read_attributes(call(Service::sns, "GetSubscriptionAttributes", body, arn, deadline).body);
}

void Topology::subscribe(Queue& queue, const std::string& topic_arn, const std::string& dead_arn,
                         const std::vector<std::string>& types, WaitClock::time_point deadline) {
  queue.everything = takes_everything(queue, types, deadline);
  const std::string known = find_subscription(topic_arn, queue.arn, deadline);
  if (!known.empty()) return mend_subscription(queue, known, dead_arn, types, deadline);
  if (mode_ == TopologyMode::check) differs(queue.name + " is not subscribed to " + topic_arn, {});
  const std::set<std::string> ours(types.begin(), types.end());
  Attributes attributes{{"RawMessageDelivery", "true"}, {"RedrivePolicy", write_redrive({.target = dead_arn})}};
  if (const std::string filter = write_filter(ours); !filter.empty() && !queue.everything) {
    attributes["FilterPolicy"] = filter;
    queue.filter = ours;
  }
  std::string body;
  sns::write_subscribe(body, topic_arn, "sqs", queue.arn, attributes);
  const Reply reply = ask(Service::sns, "Subscribe", body, deadline);
  if (!reply.ok()) {
    // Another process may have subscribed it a moment ago, with a filter of its own.
    const std::string other = find_subscription(topic_arn, queue.arn, deadline);
    if (other.empty()) throw reply.error("Subscribe", queue.name);
    queue.filter.reset();
    mend_subscription(queue, other, dead_arn, types, deadline);
  }
}

// A filter is only ever widened: other instances, perhaps of another version, read from the same queue.
void Topology::mend_subscription(Queue& queue, const std::string& arn, const std::string& dead_arn,
                                 const std::vector<std::string>& types, WaitClock::time_point deadline) {
  const Attributes has = subscription_attributes(arn, deadline);
  std::string body;
  const auto set = [&](std::string_view name, const std::string& value) {
    sns::write_set_subscription_attributes(body, arn, name, value);
    (void)call(Service::sns, "SetSubscriptionAttributes", body, queue.name, deadline);
  };
  if (value_of(has, "RawMessageDelivery") != "true") {
    tell("the subscription of " + queue.name +
         " wraps each message (RawMessageDelivery is off); it is read all the same");
  }
  if (!read_redrive(value_of(has, "RedrivePolicy"))) {
    differs("the subscription of " + queue.name + " drops what cannot be delivered", "it was given a redrive policy");
    set("RedrivePolicy", write_redrive({.target = dead_arn}));
  }
  const std::string filter = value_of(has, "FilterPolicy");
  if (filter.empty() || filter == "{}") {
    // Made by hand, or by group create: who comes first says what the service handles, so that instances of other
    // versions can know it.
    const std::set<std::string> ours(types.begin(), types.end());
    const std::string text = write_filter(ours);
    if (queue.everything || text.empty() || mode_ != TopologyMode::create) return;
    set("FilterPolicy", text);
    queue.filter = ours;
    return;
  }
  auto lets = read_filter(filter);
  if (!lets) {
    tell("the subscription of " + queue.name + " has a filter that somebody else wrote: " + filter + "; left");
    return;
  }
  std::set<std::string> wanted = *lets;
  wanted.insert(types.begin(), types.end());
  if (!queue.everything && write_filter(wanted).empty()) {
    // The instances together handle more types than a filter takes.
    if (mode_ == TopologyMode::create) tag(queue, types_tag, "*", deadline);
    queue.everything = true;
  }
  if (queue.everything) wanted = {"*"};
  if (wanted != *lets) {
    std::string added;
    for (const std::string& type : wanted) {
      if (!lets->contains(type)) added += (added.empty() ? "" : ", ") + type;
    }
    differs("the filter of " + queue.name + " does not let " + added + " through",
            "it was widened, which takes effect within a minute");
    const std::string text = write_filter(wanted);
    set("FilterPolicy", text.empty() ? "{}" : text);
    if (text.empty()) return;
  }
  queue.filter = std::move(wanted);
}

void Topology::remove(std::string_view stream, std::string_view group, WaitClock::time_point deadline) {
  const std::string url = find_queue(names_.queue(stream, group), deadline);
  std::string body;
  if (!url.empty() && !is_command_stream(stream)) {
    const std::string arn = arn_of(queue_attributes(url, deadline));
    const std::string topic_arn = topic(stream, deadline);
    if (const std::string subscription = find_subscription(topic_arn, arn, deadline); !subscription.empty()) {
      sns::write_unsubscribe(body, subscription);
      (void)call(Service::sns, "Unsubscribe", body, subscription, deadline);
    }
  }
  const std::string dead_url = find_queue(names_.dead_letter_queue(stream, group), deadline);
  for (const std::string& each : {url, dead_url}) {
    if (each.empty()) continue;
    sqs::write_delete_queue(body, each);
    (void)call(Service::sqs, "DeleteQueue", body, sqs::name_of_url(each), deadline);
  }
  if (is_command_stream(stream)) forget(stream);
}

}  // namespace tidings::transport::aws
