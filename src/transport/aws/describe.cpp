// What the account holds, as far as AWS tells, and whether it is sound.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <tidings/stream.hpp>

#include "transport/aws/policy.hpp"
#include "transport/aws/store.hpp"

namespace tidings::transport::aws {
namespace {

std::string value_of(const Attributes& attributes, std::string_view name) {
  const auto found = attributes.find(name);
  return found == attributes.end() ? std::string() : found->second;
}

std::uint64_t number_of(const Attributes& attributes, std::string_view name) {
  return std::strtoull(value_of(attributes, name).c_str(), nullptr, 10);
}

// Every page of a listing.
template <class Write, class Read>
std::vector<std::string> list(Store& store, Service service, std::string_view operation, const Write& write,
                              const Read& read) {
  std::vector<std::string> all;
  std::string token, body;
  do {
    write(body, token);
    auto [names, next] = read(store.topology().call(service, operation, body, {}, deadline_in(patience)).body);
    all.insert(all.end(), std::make_move_iterator(names.begin()), std::make_move_iterator(names.end()));
    token = next;
  } while (!token.empty());
  return all;
}

std::vector<std::string> list_queues(Store& store) {
  const std::string prefix = store.topology().names().prefix() + "-";
  return list(
      store, Service::sqs, "ListQueues",
      [&](std::string& body, const std::string& token) { sqs::write_list_queues(body, prefix, token); },
      [](std::string_view body) {
        sqs::QueuePage page = sqs::read_queues(body);
        return std::pair(std::move(page.urls), std::move(page.next));
      });
}

std::vector<std::string> list_topics(Store& store) {
  return list(
      store, Service::sns, "ListTopics",
      [](std::string& body, const std::string& token) { sns::write_list_topics(body, token); },
      [](std::string_view body) {
        sns::TopicPage page = sns::read_topics(body);
        return std::pair(std::move(page.arns), std::move(page.next));
      });
}

GroupInfo info_of(Store& store, const std::string& url, const Names::Queue& names) {
  const Attributes has = store.topology().queue_attributes(url, deadline_in(patience));
  GroupInfo info;
  info.stream = names.stream;
  info.group = names.group;
  info.lag = number_of(has, "ApproximateNumberOfMessages");
  info.pending = number_of(has, "ApproximateNumberOfMessagesNotVisible");
  info.retrying = number_of(has, "ApproximateNumberOfMessagesDelayed");
  const std::string dead = store.topology().find_queue(
      store.topology().names().dead_letter_queue(names.stream, names.group), deadline_in(patience));
  if (!dead.empty()) {
    const Attributes letters = store.topology().queue_attributes(dead, deadline_in(patience));
    // Whoever looks at them hides them for a moment.
    for (const char* state : {"", "NotVisible", "Delayed"})
      info.dead_letters += number_of(letters, std::string("ApproximateNumberOfMessages") + state);
  }
  if (is_command_stream(names.stream)) info.owner = store.topology().owner_of(url, deadline_in(patience));
  return info;
}

// What the shelf holds of a group counts too; and who reads, only it knows.
void add_shelf(Store& store, GroupInfo& info) {
  if (store.shelf() == nullptr) return;
  for (const StreamInfo& stream : store.shelf()->describe(info.stream)) {
    for (const GroupInfo& group : stream.groups) {
      if (group.group != info.group) continue;
      info.pending += group.pending;
      info.retrying += group.retrying;
      info.dead_letters += group.dead_letters;
      info.consumers = group.consumers;
      info.types = group.types;
      info.paused = group.paused;
      if (!group.owner.empty()) info.owner = group.owner;
    }
  }
}

}  // namespace

std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream) {
  std::map<std::string, StreamInfo> found;
  const auto wanted = [&](const std::string& name) { return stream.empty() || stream == name; };
  for (const std::string& arn : list_topics(store)) {
    const auto name = store.topology().names().stream_of_topic(arn.substr(arn.rfind(':') + 1));
    if (name && wanted(*name)) found[*name].name = *name;
  }
  for (const std::string& url : list_queues(store)) {
    const auto names = store.topology().names().group_of_queue(sqs::name_of_url(url));
    if (!names || !wanted(names->stream)) continue;
    StreamInfo& info = found[names->stream];
    info.name = names->stream;
    GroupInfo group = info_of(store, url, *names);
    add_shelf(store, group);
    info.groups.push_back(std::move(group));
  }
  std::vector<StreamInfo> all;
  for (auto& [name, info] : found) {
    if (store.archive() != nullptr) {
      for (const StreamInfo& kept : store.archive()->describe(name)) {
        info.length = kept.length;
        info.oldest = kept.oldest;
        info.newest = kept.newest;
        info.first = kept.first;
        info.end = kept.end;
      }
    }
    std::sort(info.groups.begin(), info.groups.end(), [](const auto& a, const auto& b) { return a.group < b.group; });
    all.push_back(std::move(info));
  }
  return all;
}

namespace {

// Without making it.
std::string topic_of(Store& store, const std::string& stream) {
  if (is_command_stream(stream)) return {};
  const std::string name = store.topology().names().topic(stream);
  for (std::string& arn : list_topics(store)) {
    if (arn.substr(arn.rfind(':') + 1) == name) return std::move(arn);
  }
  throw Error(ErrorCode::not_found, "aws: there is no topic " + name + "; start a program once with topology=create");
}

void check_queue(Store& store, const std::string& url, const Names::Queue& names, std::vector<Check>& checks) {
  const std::string name(sqs::name_of_url(url));
  const Attributes has = store.topology().queue_attributes(url, deadline_in(patience));
  const auto redrive = read_redrive(value_of(has, "RedrivePolicy"));
  const std::string dead_name = store.topology().names().dead_letter_queue(names.stream, names.group);
  checks.push_back({"dead letters of " + name, !store.topology().find_queue(dead_name, deadline_in(patience)).empty(),
                    "whether " + dead_name + " exists", "start its service once with topology=create, which makes it"});
  checks.push_back({"redrive of " + name, redrive && redrive->receives >= native_limit,
                    redrive ? "after " + std::to_string(redrive->receives) + " receives to " + redrive->target : "none",
                    "start a program once with topology=create; receives count also where nothing failed"});
  if (is_command_stream(names.stream)) return;
  const std::string arn = value_of(has, "QueueArn");
  const std::string topic = topic_of(store, names.stream);
  checks.push_back({"policy of " + name, lets_topic_send(value_of(has, "Policy"), arn, topic),
                    "whether " + topic + " may send to it", "start a program once with topology=create"});
  const std::string subscription = store.topology().find_subscription(topic, arn, deadline_in(patience));
  checks.push_back({"subscription of " + name, !subscription.empty(),
                    subscription.empty() ? "none: nothing comes" : subscription,
                    "start its service once with topology=create"});
  if (subscription.empty()) return;
  const Attributes set = store.topology().subscription_attributes(subscription, deadline_in(patience));
  checks.push_back({"redrive of the subscription of " + name, read_redrive(value_of(set, "RedrivePolicy")).has_value(),
                    value_of(set, "RedrivePolicy"), "without one SNS drops what it may not deliver"});
  const std::string dead = store.topology().find_queue(
      store.topology().names().dead_letter_queue(names.stream, names.group), deadline_in(patience));
  if (dead.empty()) return;
  const Attributes dead_has = store.topology().queue_attributes(dead, deadline_in(patience));
  checks.push_back({"policy of " + std::string(sqs::name_of_url(dead)),
                    lets_topic_send(value_of(dead_has, "Policy"), value_of(dead_has, "QueueArn"), topic),
                    "whether " + topic + " may send to it", "start a program once with topology=create"});
}

}  // namespace

std::vector<Check> check_account(Store& store) {
  std::vector<Check> checks;
  std::optional<Error> unanswered;
  const auto attempt = [&](const std::string& what, const auto& step) {
    try {
      step();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout) unanswered.emplace(error);
      checks.push_back({what, false, error.what(),
                        error.code() == ErrorCode::unauthorized
                            ? "see the message; tidings doctor --print iam writes a policy with all that is needed"
                            : "see the message"});
    }
  };
  attempt("credentials", [&] {
    const std::string account = store.topology().account(deadline_in(Millis(5'000)));
    checks.push_back(
        {"credentials", true, "account " + account + ", keys from " + store.client().credential_source(), ""});
  });
  // In a network of its own, STS may be out of reach, and the rest not.
  const auto place = [&](Service service) { return store.client().endpoint(service); };
  if (unanswered && place(Service::sts) == place(Service::sns) && place(Service::sts) == place(Service::sqs))
    throw Error(*unanswered);
  if (!unanswered) {
    const Millis offset = store.client().clock_offset();
    const bool near = std::chrono::abs(offset) < std::chrono::minutes(1);
    checks.push_back({"clock of AWS", near, std::to_string(offset.count()) + " ms ahead of this machine's",
                      near ? "" : "let NTP set this machine's clock; requests are signed with AWS's time meanwhile"});
  }
  attempt("topics", [&] {
    checks.push_back({"topics", true, std::to_string(list_topics(store).size()) + " in the account", ""});
  });
  attempt("queues", [&] {
    const std::vector<std::string> urls = list_queues(store);
    checks.push_back({"queues", true, std::to_string(urls.size()) + " under this prefix", ""});
    for (const std::string& url : urls) {
      const auto names = store.topology().names().group_of_queue(sqs::name_of_url(url));
      if (!names) continue;
      // Each on its own, since what is looked at may itself be what is not allowed.
      attempt("permissions on " + std::string(sqs::name_of_url(url)),
              [&] { check_permissions(store, url, topic_of(store, names->stream), checks); });
      attempt("queue " + std::string(sqs::name_of_url(url)), [&] { check_queue(store, url, *names, checks); });
    }
  });
  attempt("payloads", [&] { check_payloads(store, checks); });
  checks.push_back({"shelf", true,
                    store.shelf() == nullptr ? "none" : std::string(store.shelf()->capabilities().engine),
                    "shelf=URL makes dead letters listable, pauses, and delays beyond 15 minutes"});
  return checks;
}

}  // namespace tidings::transport::aws
