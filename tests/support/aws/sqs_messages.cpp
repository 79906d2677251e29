// The calls that send, receive, hide and delete messages.
#include <algorithm>

#include "attributes.hpp"
#include "sqs.hpp"
#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr std::size_t most_batch_bytes = std::size_t{1} << 20U;
constexpr std::size_t most_entries = 10;

[[noreturn]] void refuse_attribute(const std::string& message) { refuse_parameter(message); }

/// Attributes as JSON has them: a type, and a text or base64.
MessageAttributes attributes_of(const Arguments& entry, const std::string& member) {
  MessageAttributes out;
  const Json* all = entry.json().find(member);
  if (all == nullptr) return out;
  if (all->members() == nullptr) throw Refusal{400, "SerializationException", member + " is of another type.", {}};
  for (const auto& [name, json] : *all->members()) {
    const Arguments given(json);
    AwsAttribute attribute{given.text("DataType").value_or(""), given.text("StringValue").value_or("")};
    if (const auto encoded = given.text("BinaryValue")) {
      const auto bytes = from_base64(*encoded);
      if (!bytes) throw Refusal{400, "SerializationException", "BinaryValue is not base64.", {}};
      attribute.value = *bytes;
    }
    if (is_binary(attribute) != given.text("BinaryValue").has_value())
      refuse_attribute("Message (user) attribute '" + name + "' has a value of another type than " + attribute.type +
                       ".");
    if (const std::string wrong = wrong_attribute(name, attribute); !wrong.empty()) refuse_attribute(wrong);
    out.emplace(name, std::move(attribute));
  }
  return out;
}

MessageAttributes system_attributes_of(const Arguments& entry) {
  MessageAttributes out = attributes_of(entry, "MessageSystemAttributes");
  for (const auto& [name, attribute] : out) {
    if (name != "AWSTraceHeader" || attribute.type != "String")
      refuse_attribute("Message system attribute name '" + name + "' is invalid.");
  }
  return out;
}

/// Of an entry of a batch, before anything is checked.
std::size_t bytes_of(const Json& entry) {
  std::size_t size = 0;
  if (const Json* body = entry.find("MessageBody"); body != nullptr && body->string() != nullptr)
    size += body->string()->size();
  return size;
}

Json json_of(const AwsAttribute& attribute) {
  Json out = Json::object({{"DataType", attribute.type}});
  return is_binary(attribute) ? out.set("BinaryValue", base64(attribute.value))
                              : out.set("StringValue", attribute.value);
}

std::string milliseconds_of(Wall time) { return std::to_string(time.time_since_epoch().count()); }

bool valid_entry_id(const std::string& id) {
  return !id.empty() && id.size() <= 80 && std::all_of(id.begin(), id.end(), [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
           each == '-' || each == '_';
  });
}

void check_token(const std::string& name, const std::string& value) {
  const bool good = value.size() <= 128 &&
                    std::all_of(value.begin(), value.end(), [](char each) { return each > ' ' && each <= '~'; });
  if (!good) refuse_parameter(name + " can only include alphanumeric and punctuation characters. 1 to 128 in length.");
}

/// Whether an attribute was asked for: all of them, by name, or by the beginning of its name.
bool asked(const std::vector<std::string>& names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& each) {
    if (each == "All" || each == ".*") return true;
    return each.ends_with(".*") ? name.starts_with(each.substr(0, each.size() - 2)) : each == name;
  });
}

}  // namespace

Json Sqs::send_one(Queue& queue, const Call& call, const Arguments& entry) {
  Parcel parcel{.body = entry.required("MessageBody")};
  parcel.delay = entry.seconds("DelaySeconds", 0, 900);
  parcel.attributes = attributes_of(entry, "MessageAttributes");
  parcel.system = system_attributes_of(entry);
  if (!acceptable_characters(parcel.body)) {
    throw Refusal{400, "InvalidMessageContents", "Invalid binary character was found in the message body.", {}};
  }
  if (parcel.attributes.size() > 10)
    refuse_parameter("Number of message attributes [" + std::to_string(parcel.attributes.size()) +
                     "] exceeds the allowed maximum [10].");
  if (static_cast<std::int64_t>(parcel.body.size() + size_of(parcel.attributes)) > queue.number("MaximumMessageSize")) {
    refuse_parameter("One or more parameters are invalid. Reason: Message must be shorter than " +
                     queue.attributes.at("MaximumMessageSize") + " bytes.");
  }
  parcel.group = entry.text("MessageGroupId").value_or("");
  parcel.deduplication = entry.text("MessageDeduplicationId").value_or("");
  check_token("MessageGroupId", parcel.group);
  check_token("MessageDeduplicationId", parcel.deduplication);
  const auto not_here = [](const std::string& name, const std::string& value) {
    refuse_parameter("Value " + value + " for parameter " + name +
                     " is invalid. Reason: The request include parameter that is not valid for this queue type.");
  };
  if (queue.fifo()) {
    if (parcel.group.empty()) refuse_missing("MessageGroupId");
    if (parcel.deduplication.empty() && !queue.flag("ContentBasedDeduplication")) {
      refuse_parameter(
          "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
          "provided explicitly");
    }
    if (parcel.delay) not_here("DelaySeconds", std::to_string(parcel.delay->count() / 1000));
  } else if (!parcel.deduplication.empty()) {
    not_here("MessageDeduplicationId", parcel.deduplication);
  }
  Json out = Json::object({{"MD5OfMessageBody", world_.faults.checked(md5(parcel.body))}});
  if (!parcel.attributes.empty()) out.set("MD5OfMessageAttributes", md5_of(parcel.attributes));
  if (!parcel.system.empty()) out.set("MD5OfMessageSystemAttributes", md5_of(parcel.system));
  const Queue::Receipt receipt = queue.send(std::move(parcel), call.principal);
  out.set("MessageId", receipt.id);
  if (!receipt.sequence.empty()) out.set("SequenceNumber", receipt.sequence);
  return out;
}

Json Sqs::send_message(Call& call, const Arguments& arguments) {
  return send_one(queue_of(call, arguments, "SendMessage"), call, arguments);
}

// Lists that would be empty are left out.
Json Sqs::each_entry(Call& call, const Arguments& arguments, const char* body,
                     const std::function<Json(const Arguments&)>& task) {
  const Json::Array& entries = arguments.objects("Entries");
  if (entries.empty())
    throw Refusal{400, "EmptyBatchRequest", "There should be at least one entry in the request.", {}};
  if (entries.size() > most_entries) {
    throw Refusal{400,
                  "TooManyEntriesInBatchRequest",
                  "Maximum number of entries per request are 10. You have sent " + std::to_string(entries.size()) + ".",
                  {}};
  }
  std::set<std::string> ids;
  for (const Json& each : entries) {
    const std::string id = Arguments(each).required("Id");
    if (!valid_entry_id(id)) {
      throw Refusal{400,
                    "InvalidBatchEntryId",
                    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at "
                    "most 80 letters long.",
                    {}};
    }
    if (!ids.insert(id).second) throw Refusal{400, "BatchEntryIdsNotDistinct", "Id " + id + " repeated.", {}};
  }
  Json successful, failed;
  for (const Json& each : entries) {
    const Arguments entry(each);
    const std::string id = entry.required("Id");
    const auto fail = [&](bool sender, const std::string& code, const std::string& message) {
      failed.add(Json::object({{"Id", id}, {"SenderFault", sender}, {"Code", code}, {"Message", message}}));
    };
    if (const auto ordered = world_.faults.take_entry_failure(call.operation, id, entry.text(body).value_or(""))) {
      fail(ordered->sender_fault, ordered->code, ordered->message);
      continue;
    }
    try {
      Json done = task(entry);
      successful.add(done.set("Id", id));
    } catch (const Refusal& refusal) {
      if (refusal.code == "SerializationException") throw;
      fail(true, sqs_code(refusal.code).query, refusal.message);
    }
  }
  Json out = Json::object();
  if (!successful.is_null()) out.set("Successful", successful);
  if (!failed.is_null()) out.set("Failed", failed);
  return out;
}

Json Sqs::send_message_batch(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "SendMessage");
  std::size_t bytes = 0;
  for (const Json& each : arguments.objects("Entries")) {
    bytes += bytes_of(each);
    try {
      bytes += size_of(attributes_of(Arguments(each), "MessageAttributes"));
    } catch (const Refusal& refusal) {
      // Of an entry that fails for its attributes, alone, later.
      if (refusal.code == "SerializationException") throw;
    }
  }
  if (bytes > most_batch_bytes) {
    throw Refusal{
        400,
        "BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent " + std::to_string(bytes) + " bytes.",
        {}};
  }
  return each_entry(call, arguments, "MessageBody",
                    [&](const Arguments& entry) { return send_one(queue, call, entry); });
}

Json Sqs::written(const Queue::Received& received, const Queue& queue, const Arguments& arguments) {
  const Stored& message = received.message;
  Json out = Json::object({{"MessageId", message.id},
                           {"ReceiptHandle", received.handle},
                           {"MD5OfBody", world_.faults.checked(md5(message.body))},
                           {"Body", message.body}});
  std::vector<std::string> names = arguments.list("MessageSystemAttributeNames");
  for (std::string& older : arguments.list("AttributeNames")) names.push_back(std::move(older));
  std::map<std::string, std::string> system{
      {"SenderId", message.sender},
      {"SentTimestamp", milliseconds_of(message.sent)},
      {"ApproximateReceiveCount", std::to_string(message.receives)},
      {"ApproximateFirstReceiveTimestamp", milliseconds_of(message.first_received)}};
  if (!message.group.empty()) system["MessageGroupId"] = message.group;
  if (queue.fifo()) system["MessageDeduplicationId"] = message.deduplication;
  if (queue.fifo()) system["SequenceNumber"] = message.sequence;
  if (!message.dead_letter_source.empty()) system["DeadLetterQueueSourceArn"] = message.dead_letter_source;
  for (const auto& [name, attribute] : message.system) system[name] = attribute.value;
  Json chosen;
  for (const auto& [name, value] : system) {
    if (std::find(names.begin(), names.end(), name) != names.end() ||
        std::find(names.begin(), names.end(), "All") != names.end()) {
      chosen.set(name, value);
    }
  }
  if (!chosen.is_null()) out.set("Attributes", chosen);
  // The digest is one of those that were asked for.
  MessageAttributes wanted;
  for (const auto& each : message.attributes) {
    if (asked(arguments.list("MessageAttributeNames"), each.first)) wanted.insert(each);
  }
  if (wanted.empty()) return out;
  Json attributes;
  for (const auto& [name, attribute] : wanted) attributes.set(name, json_of(attribute));
  return out.set("MD5OfMessageAttributes", md5_of(wanted)).set("MessageAttributes", attributes);
}

Json Sqs::receive_message(Call& call, const Arguments& arguments) {
  static const std::set<std::string> known{"All",
                                           "SenderId",
                                           "SentTimestamp",
                                           "ApproximateReceiveCount",
                                           "ApproximateFirstReceiveTimestamp",
                                           "SequenceNumber",
                                           "MessageDeduplicationId",
                                           "MessageGroupId",
                                           "AWSTraceHeader",
                                           "DeadLetterQueueSourceArn"};
  Queue* queue = &queue_of(call, arguments, "ReceiveMessage");
  for (const char* list : {"AttributeNames", "MessageSystemAttributeNames"}) {
    for (const std::string& name : arguments.list(list)) {
      if (!known.contains(name)) throw Refusal{400, "InvalidAttributeName", "Unknown Attribute " + name + ".", {}};
    }
  }
  const auto most = arguments.integer("MaxNumberOfMessages").value_or(1);
  if (most < 1 || most > 10) {
    refuse_parameter("Value " + std::to_string(most) +
                     " for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.");
  }
  const Millis visibility =
      arguments.seconds("VisibilityTimeout", 0, 43'200).value_or(queue->duration("VisibilityTimeout"));
  const Millis wait =
      arguments.seconds("WaitTimeSeconds", 0, 20).value_or(queue->duration("ReceiveMessageWaitTimeSeconds"));
  const Wall until = world_.now() + wait;
  std::vector<Queue::Received> received;
  for (;;) {
    // Whoever has hung up gets nothing, and so takes nothing away from others.
    if (call.http.gone()) break;
    queue = &queue_of(call, arguments, "ReceiveMessage");
    advance_tasks();
    const bool full = queue->in_flight() >= static_cast<std::size_t>(world_.faults.most_in_flight);
    if (full && wait == Millis::zero() && !queue->fifo())
      throw Refusal{403, "OverLimit", "Too many messages in flight: " + std::to_string(queue->in_flight()) + ".", {}};
    Queue* dead = queue->dead_letter_arn().empty() ? nullptr : by_arn(queue->dead_letter_arn());
    received = queue->receive(static_cast<std::size_t>(most), visibility, dead);
    if (!received.empty() || world_.now() >= until) break;
    ++world_.polls;
    world_.watched.notify_all();
    const bool goes_on = world_.await_change(call.lock, std::min({until, queue->next_due(), next_task_due()}));
    --world_.polls;
    if (!goes_on) break;
  }
  Json messages;
  for (const Queue::Received& each : received) messages.add(written(each, *queue, arguments));
  return messages.is_null() ? Json::object() : Json::object({{"Messages", messages}});
}

Json Sqs::delete_message(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "DeleteMessage");
  queue.remove(arguments.required("ReceiptHandle"));
  return Json::object();
}

Json Sqs::delete_message_batch(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "DeleteMessage");
  return each_entry(call, arguments, "ReceiptHandle", [&](const Arguments& entry) {
    queue.remove(entry.required("ReceiptHandle"));
    return Json::object();
  });
}

Json Sqs::change_one(Queue& queue, const Arguments& entry) {
  const std::string handle = entry.required("ReceiptHandle");
  const auto timeout = entry.seconds("VisibilityTimeout", 0, 43'200);
  if (!timeout) refuse_missing("VisibilityTimeout");
  queue.change_visibility(handle, *timeout);
  return Json::object();
}

Json Sqs::change_visibility(Call& call, const Arguments& arguments) {
  return change_one(queue_of(call, arguments, "ChangeMessageVisibility"), arguments);
}

Json Sqs::change_visibility_batch(Call& call, const Arguments& arguments) {
  Queue& queue = queue_of(call, arguments, "ChangeMessageVisibility");
  return each_entry(call, arguments, "ReceiptHandle", [&](const Arguments& entry) { return change_one(queue, entry); });
}

}  // namespace tidings::support::aws
