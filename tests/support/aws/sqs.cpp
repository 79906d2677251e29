#include "sqs.hpp"

#include <algorithm>

#include "policy.hpp"
#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr Millis after_deletion = std::chrono::seconds(60);

[[noreturn]] void refuse_type(const std::string& name) {
  throw Refusal{400, "SerializationException", "The member " + name + " is of another type.", {}};
}

[[noreturn]] void refuse_value(const std::string& name, const std::string& why = "") {
  throw Refusal{400, "InvalidAttributeValue", "Invalid value for the parameter " + name + "." + why, {}};
}

struct Range {
  std::int64_t least, most;
};

const std::map<std::string, Range>& ranges() {
  static const std::map<std::string, Range> all{
      {"DelaySeconds", {0, 900}},
      {"MaximumMessageSize", {1024, 1'048'576}},
      {"VisibilityTimeout", {0, 43'200}},
      {"MessageRetentionPeriod", {60, 1'209'600}},
      {"KmsDataKeyReusePeriodSeconds", {60, 86'400}},
      {"ReceiveMessageWaitTimeSeconds", {0, 20}},
  };
  return all;
}

const std::map<std::string, std::vector<std::string>>& choices() {
  static const std::map<std::string, std::vector<std::string>> all{
      {"FifoQueue", {"true"}},
      {"ContentBasedDeduplication", {"true", "false"}},
      {"SqsManagedSseEnabled", {"true", "false"}},
      {"DeduplicationScope", {"messageGroup", "queue"}},
      {"FifoThroughputLimit", {"perQueue", "perMessageGroupId"}},
  };
  return all;
}

bool of_fifo(const std::string& name) {
  return name == "FifoQueue" || name == "ContentBasedDeduplication" || name == "DeduplicationScope" ||
         name == "FifoThroughputLimit";
}

void check_name(const std::string& name) {
  const std::string stem = name.ends_with(".fifo") ? name.substr(0, name.size() - 5) : name;
  const bool good = std::all_of(stem.begin(), stem.end(), [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
           each == '-' || each == '_';
  });
  if (stem.empty() || !good || name.size() > 80) {
    refuse_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
  }
}

std::string seconds_of(Wall time) {
  return std::to_string(std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count());
}

}  // namespace

std::optional<std::string> Arguments::text(const std::string& name) const {
  const Json* member = json_.find(name);
  if (member == nullptr) return std::nullopt;
  if (member->string() == nullptr) refuse_type(name);
  return *member->string();
}

std::string Arguments::required(const std::string& name) const {
  auto value = text(name);
  if (!value || value->empty()) refuse_missing(name);
  return *value;
}

std::optional<std::int64_t> Arguments::integer(const std::string& name) const {
  const Json* member = json_.find(name);
  if (member == nullptr) return std::nullopt;
  if (member->integer() == nullptr) refuse_type(name);
  return *member->integer();
}

std::map<std::string, std::string> Arguments::texts(const std::string& name) const {
  std::map<std::string, std::string> out;
  const Json* member = json_.find(name);
  if (member == nullptr) return out;
  if (member->members() == nullptr) refuse_type(name);
  for (const auto& [key, value] : *member->members()) {
    if (value.string() == nullptr) refuse_type(name);
    out[key] = *value.string();
  }
  return out;
}

std::vector<std::string> Arguments::list(const std::string& name) const {
  std::vector<std::string> out;
  const Json* member = json_.find(name);
  if (member == nullptr) return out;
  if (member->elements() == nullptr) refuse_type(name);
  for (const Json& each : *member->elements()) {
    if (each.string() == nullptr) refuse_type(name);
    out.push_back(*each.string());
  }
  return out;
}

const Json::Array& Arguments::objects(const std::string& name) const {
  static const Json::Array none{};
  const Json* member = json_.find(name);
  if (member == nullptr) return none;
  if (member->elements() == nullptr) refuse_type(name);
  for (const Json& each : *member->elements()) {
    if (each.members() == nullptr) refuse_type(name);
  }
  return *member->elements();
}

std::optional<Millis> Arguments::seconds(const std::string& name, std::int64_t least, std::int64_t most) const {
  const auto count = integer(name);
  if (!count) return std::nullopt;
  if (*count < least || *count > most) {
    refuse_parameter("Value " + std::to_string(*count) + " for parameter " + name + " is invalid. Reason: Must be >= " +
                     std::to_string(least) + " and <= " + std::to_string(most) + ", if provided.");
  }
  return std::chrono::seconds(*count);
}

Sqs::Sqs(World& world)
    : world_(world),
      operations_{{"CreateQueue", &Sqs::create_queue},
                  {"GetQueueUrl", &Sqs::get_queue_url},
                  {"GetQueueAttributes", &Sqs::get_queue_attributes},
                  {"SetQueueAttributes", &Sqs::set_queue_attributes},
                  {"ListQueues", &Sqs::list_queues},
                  {"ListDeadLetterSourceQueues", &Sqs::list_dead_letter_sources},
                  {"DeleteQueue", &Sqs::delete_queue},
                  {"PurgeQueue", &Sqs::purge_queue},
                  {"TagQueue", &Sqs::tag_queue},
                  {"UntagQueue", &Sqs::untag_queue},
                  {"ListQueueTags", &Sqs::list_queue_tags},
                  {"SendMessage", &Sqs::send_message},
                  {"SendMessageBatch", &Sqs::send_message_batch},
                  {"ReceiveMessage", &Sqs::receive_message},
                  {"DeleteMessage", &Sqs::delete_message},
                  {"DeleteMessageBatch", &Sqs::delete_message_batch},
                  {"ChangeMessageVisibility", &Sqs::change_visibility},
                  {"ChangeMessageVisibilityBatch", &Sqs::change_visibility_batch},
                  {"StartMessageMoveTask", &Sqs::start_move_task},
                  {"ListMessageMoveTasks", &Sqs::list_move_tasks},
                  {"CancelMessageMoveTask", &Sqs::cancel_move_task}} {}

Json Sqs::answer(Call& call, const Json& body) {
  advance_tasks();
  return (this->*operations_.at(call.operation))(call, Arguments(body));
}

Queue* Sqs::by_name(const std::string& name) {
  const auto found = queues_.find(name);
  return found == queues_.end() ? nullptr : found->second.get();
}

Queue* Sqs::by_arn(const std::string& arn) {
  const std::string prefix = world_.arn("sqs", "");
  return arn.starts_with(prefix) ? by_name(arn.substr(prefix.size())) : nullptr;
}

std::string Sqs::url_of(const std::string& name) const {
  return "http://127.0.0.1:" + std::to_string(world_.port) + "/" + world_.options.account + "/" + name;
}

// The host of a queue's URL says nothing: calls go to the endpoint.
Queue& Sqs::queue_of(const Call& call, const Arguments& arguments, const std::string& action) {
  const std::string url = arguments.required("QueueUrl");
  const std::vector<std::string> parts = split(url, '/');
  const bool whole = parts.size() == 5 && (parts[0] == "http:" || parts[0] == "https:") && parts[1].empty();
  if (whole)
    world_.authorize(call, "sqs:" + action, "arn:aws:sqs:" + world_.options.region + ":" + parts[3] + ":" + parts[4]);
  Queue* queue = whole && parts[3] == world_.options.account ? by_name(parts[4]) : nullptr;
  if (queue == nullptr) throw Refusal{400, "QueueDoesNotExist", "The specified queue does not exist.", {}};
  queue->refresh();
  return *queue;
}

void Sqs::check_redrive(const std::string& name, std::string& policy) {
  const auto parsed = Json::parse(policy);
  const Json* target = parsed ? parsed->find("deadLetterTargetArn") : nullptr;
  const Json* most = parsed ? parsed->find("maxReceiveCount") : nullptr;
  if (target == nullptr || target->string() == nullptr || most == nullptr) refuse_value("RedrivePolicy");
  const auto count = most->integer() != nullptr ? std::optional(*most->integer())
                                                : whole_number(most->string() ? *most->string() : "");
  const std::string quoted = "Value " + policy + " for parameter RedrivePolicy is invalid. Reason: ";
  if (!count || *count < 1 || *count > 1000) {
    refuse_parameter(quoted + "Invalid value for maxReceiveCount: must be between 1 and 1000.");
  }
  const std::string& arn = *target->string();
  const Queue* dead = by_arn(arn);
  if (dead == nullptr) refuse_parameter(quoted + "Dead letter target does not exist.");
  if (dead->name() == name) refuse_parameter(quoted + "Dead letter target may not be the queue itself.");
  if (dead->fifo() != name.ends_with(".fifo")) {
    refuse_parameter(quoted + "Dead-letter queue must be same type of queue as the source.");
  }
  policy = Json::object({{"deadLetterTargetArn", arn}, {"maxReceiveCount", *count}}).text();
}

void Sqs::check_attributes(const std::string& name, std::map<std::string, std::string>& attributes, bool creating) {
  const bool fifo = name.ends_with(".fifo");
  for (auto& [key, value] : attributes) {
    if (of_fifo(key) && !fifo) throw Refusal{400, "InvalidAttributeName", "Unknown Attribute " + key + ".", {}};
    if (const auto range = ranges().find(key); range != ranges().end()) {
      const auto count = whole_number(value);
      if (!count || *count < range->second.least || *count > range->second.most) refuse_value(key);
    } else if (const auto choice = choices().find(key); choice != choices().end()) {
      if (std::find(choice->second.begin(), choice->second.end(), value) == choice->second.end()) refuse_value(key);
      if (key == "FifoQueue" && !creating) refuse_value(key, " It cannot be changed.");
    } else if (key == "RedrivePolicy") {
      if (!value.empty()) check_redrive(name, value);
    } else if (key == "Policy") {
      if (!value.empty() && !Policy::parse(value)) refuse_value(key);
    } else if (key == "RedriveAllowPolicy") {
      if (!value.empty() && !Json::parse(value)) refuse_value(key);
    } else if (key != "KmsMasterKeyId") {
      throw Refusal{400, "InvalidAttributeName", "Unknown Attribute " + key + ".", {}};
    }
  }
}

Json Sqs::create_queue(Call& call, const Arguments& arguments) {
  const std::string name = arguments.required("QueueName");
  check_name(name);
  world_.authorize(call, "sqs:CreateQueue", world_.arn("sqs", name));
  std::map<std::string, std::string> attributes = arguments.texts("Attributes");
  const bool fifo = attributes.contains("FifoQueue") && attributes.at("FifoQueue") == "true";
  if (fifo != name.ends_with(".fifo")) {
    refuse_parameter(
        fifo ? "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
               "must end with .fifo suffix and be 1 to 80 in length."
             : "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
  }
  check_attributes(name, attributes, true);
  std::erase_if(attributes, [](const auto& each) { return each.second.empty(); });
  if (const Queue* there = by_name(name)) {
    for (const auto& [key, value] : attributes) {
      const auto found = there->attributes.find(key);
      if (found == there->attributes.end() || found->second != value) {
        throw Refusal{400,
                      "QueueNameExists",
                      "A queue already exists with the same name and a different value for attribute " + key,
                      {}};
      }
    }
    return Json::object({{"QueueUrl", url_of(name)}});
  }
  if (const auto deleted = deleted_.find(name);
      deleted != deleted_.end() && world_.now() < deleted->second + after_deletion) {
    throw Refusal{400,
                  "QueueDeletedRecently",
                  "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
                  {}};
  }
  auto queue = std::make_unique<Queue>(world_, name, std::move(attributes));
  queue->tags = arguments.texts("tags");
  queues_.emplace(name, std::move(queue));
  return Json::object({{"QueueUrl", url_of(name)}});
}

Json Sqs::get_queue_url(Call& call, const Arguments& arguments) {
  const std::string name = arguments.required("QueueName");
  world_.authorize(call, "sqs:GetQueueUrl", world_.arn("sqs", name));
  const std::string owner = arguments.text("QueueOwnerAWSAccountId").value_or(world_.options.account);
  if (by_name(name) == nullptr || owner != world_.options.account)
    throw Refusal{400, "QueueDoesNotExist", "The specified queue does not exist.", {}};
  return Json::object({{"QueueUrl", url_of(name)}});
}

std::map<std::string, std::string> Sqs::attributes(Queue& queue) const {
  queue.refresh();
  std::map<std::string, std::string> all = queue.attributes;
  all["QueueArn"] = queue.arn();
  all["CreatedTimestamp"] = seconds_of(queue.created);
  all["LastModifiedTimestamp"] = seconds_of(queue.modified);
  all["ApproximateNumberOfMessages"] = std::to_string(queue.visible());
  all["ApproximateNumberOfMessagesNotVisible"] = std::to_string(queue.in_flight());
  all["ApproximateNumberOfMessagesDelayed"] = std::to_string(queue.delayed());
  return all;
}

Json Sqs::get_queue_attributes(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "GetQueueAttributes");
  const std::map<std::string, std::string> all = attributes(queue);
  static const std::set<std::string> readable{"QueueArn",
                                              "CreatedTimestamp",
                                              "LastModifiedTimestamp",
                                              "ApproximateNumberOfMessages",
                                              "ApproximateNumberOfMessagesNotVisible",
                                              "ApproximateNumberOfMessagesDelayed"};
  static const std::set<std::string> others{"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"};
  Json found;
  for (const std::string& name : arguments.list("AttributeNames")) {
    if (name == "All") {
      found = Json();
      for (const auto& [key, value] : all) found.set(key, value);
      break;
    }
    if (!readable.contains(name) && !others.contains(name) && !ranges().contains(name) && !choices().contains(name))
      throw Refusal{400, "InvalidAttributeName", "Unknown Attribute " + name + ".", {}};
    if (const auto value = all.find(name); value != all.end()) found.set(name, value->second);
  }
  return found.is_null() ? Json::object() : Json::object({{"Attributes", found}});
}

Json Sqs::set_queue_attributes(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "SetQueueAttributes");
  std::map<std::string, std::string> attributes = arguments.texts("Attributes");
  if (attributes.empty()) refuse_missing("Attribute.Name");
  check_attributes(queue.name(), attributes, false);
  for (const auto& [key, value] : attributes) {
    // An empty policy is none.
    if (value.empty()) {
      queue.attributes.erase(key);
    } else {
      queue.attributes[key] = value;
    }
  }
  queue.modified = world_.now();
  queue.refresh();
  world_.changed();
  return Json::object();
}

// Without MaxResults AWS gives up to 1,000, and never a token.
Json Sqs::page(const std::vector<std::string>& all, const Arguments& arguments, const char* name) const {
  const auto most = arguments.integer("MaxResults");
  if (most && (*most < 1 || *most > 1000)) refuse_parameter("MaxResults must be between 1 and 1000.");
  const std::string token = arguments.text("NextToken").value_or("");
  if (!token.empty() && !most) refuse_parameter("NextToken needs MaxResults.");
  const std::string behind = from_base64(token).value_or("");
  if (behind.empty() != token.empty()) refuse_parameter("Invalid or expired next token.");
  Json found;
  std::string last;
  std::int64_t count = 0;
  Json out = Json::object();
  for (const std::string& each : all) {
    if (!behind.empty() && each <= behind) continue;
    if (count == most.value_or(1000)) {
      if (most) out.set("NextToken", base64(last));
      break;
    }
    ++count;
    last = each;
    found.add(url_of(each));
  }
  if (!found.is_null()) out.set(name, found);
  return out;
}

Json Sqs::list_queues(Call& call, const Arguments& arguments) {
  world_.authorize(call, "sqs:ListQueues", world_.arn("sqs", ""));
  const std::string prefix = arguments.text("QueueNamePrefix").value_or("");
  std::vector<std::string> all;
  for (const auto& [name, queue] : queues_) {
    if (name.starts_with(prefix)) all.push_back(name);
  }
  return page(all, arguments, "QueueUrls");
}

Json Sqs::list_dead_letter_sources(Call& call, const Arguments& arguments) {
  const Queue& dead = queue_of(call, arguments, "ListDeadLetterSourceQueues");
  std::vector<std::string> all;
  for (const auto& [name, queue] : queues_) {
    if (queue->dead_letter_arn() == dead.arn()) all.push_back(name);
  }
  return page(all, arguments, "queueUrls");
}

Json Sqs::delete_queue(Call& call, const Arguments& arguments) {
  const std::string name = queue_of(call, arguments, "DeleteQueue").name();
  queues_.erase(name);
  deleted_[name] = world_.now();
  world_.changed();
  return Json::object();
}

Json Sqs::purge_queue(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "PurgeQueue");
  if (queue.purged && world_.now() < *queue.purged + std::chrono::seconds(60)) {
    throw Refusal{403,
                  "PurgeQueueInProgress",
                  "Only one PurgeQueue operation on " + queue.name() + " is allowed every 60 seconds.",
                  {}};
  }
  queue.purge();
  return Json::object();
}

Json Sqs::tag_queue(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "TagQueue");
  const auto tags = arguments.texts("Tags");
  if (tags.empty()) refuse_missing("Tags");
  for (const auto& [key, value] : tags) queue.tags[key] = value;
  if (queue.tags.size() > 50) refuse_parameter("Too many tags added for queue " + queue.name() + ".");
  return Json::object();
}

Json Sqs::untag_queue(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "UntagQueue");
  const auto keys = arguments.list("TagKeys");
  if (keys.empty()) refuse_missing("TagKeys");
  for (const std::string& key : keys) queue.tags.erase(key);
  return Json::object();
}

Json Sqs::list_queue_tags(Call& call, const Arguments& arguments) {
  const Queue& queue = queue_of(call, arguments, "ListQueueTags");
  Json tags;
  for (const auto& [key, value] : queue.tags) tags.set(key, value);
  return tags.is_null() ? Json::object() : Json::object({{"Tags", tags}});
}

}  // namespace tidings::support::aws
