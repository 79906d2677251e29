// What SQS answers.

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>

#include <tidings/detail/json_reader.hpp>
#include <tidings/error.hpp>

#include "core/json_text.hpp"
#include "transport/aws/sqs.hpp"

namespace tidings::transport::aws::sqs {
namespace {

using detail::JsonKind;
using detail::JsonPath;
using detail::JsonValue;
using detail::ReadFunction;

/// Reads a reply that is one object, member by member.
void read_object(std::string_view body, std::string_view operation, ReadFunction each, void* target) {
  struct Whole {
    ReadFunction each;
    void* target;
  } whole{each, target};
  try {
    const std::string padded = detail::padded_copy(body);
    detail::read_document(
        std::string_view(padded).substr(0, body.size()),
        [](JsonValue& value, const JsonPath& path, void* to) {
          const Whole& all = *static_cast<Whole*>(to);
          detail::read_entries(value, path, all.each, all.target);
        },
        &whole);
  } catch (const Error&) {
    throw unreadable(operation);
  }
}

bool is_null(JsonValue& value, const JsonPath& path) { return detail::kind_of(value, path) == JsonKind::null; }

void read_map(JsonValue& value, const JsonPath& path, Attributes& out) {
  if (is_null(value, path)) return;
  detail::read_entries(
      value, path,
      [](JsonValue& each, const JsonPath& at, void* to) {
        detail::read_string(each, at, (*static_cast<Attributes*>(to))[std::string(at.key)]);
      },
      &out);
}

/// The string member that a reply is about.
std::string read_one(std::string_view body, std::string_view operation, std::string_view name) {
  struct Wanted {
    std::string_view name;
    std::string value{};
  } wanted{name};
  read_object(
      body, operation,
      [](JsonValue& value, const JsonPath& path, void* to) {
        Wanted& want = *static_cast<Wanted*>(to);
        if (path.key == want.name) detail::read_string(value, path, want.value);
      },
      &wanted);
  if (wanted.value.empty()) throw unreadable(operation);
  return wanted.value;
}

Attributes read_maps(std::string_view body, std::string_view operation, std::string_view name) {
  struct Wanted {
    std::string_view name;
    Attributes values{};
  } wanted{name};
  read_object(
      body, operation,
      [](JsonValue& value, const JsonPath& path, void* to) {
        Wanted& want = *static_cast<Wanted*>(to);
        if (path.key == want.name) read_map(value, path, want.values);
      },
      &wanted);
  return wanted.values;
}

/// An entry of a batch's reply, whichever list it stands in.
struct Entry {
  std::string id{}, code{}, message{}, message_id{}, body_md5{}, attributes_md5{};
  bool sender_fault = false;
};

void read_entry_member(JsonValue& value, const JsonPath& path, void* target) {
  Entry& out = *static_cast<Entry*>(target);
  constexpr std::pair<std::string_view, std::string Entry::*> texts[] = {
      {"Id", &Entry::id},
      {"Code", &Entry::code},
      {"Message", &Entry::message},
      {"MessageId", &Entry::message_id},
      {"MD5OfMessageBody", &Entry::body_md5},
      {"MD5OfMessageAttributes", &Entry::attributes_md5}};
  for (const auto& [name, member] : texts) {
    if (path.key == name && !is_null(value, path)) return detail::read_string(value, path, out.*member);
  }
  if (path.key == "SenderFault") out.sender_fault = detail::read_bool(value, path);
}

struct EntryTarget {
  BatchReading* reading;
  std::span<const Outbound> messages;  ///< Of a SendMessageBatch.
};

void check_stored(const EntryTarget& to, const Entry& entry, EntryResult& result, std::size_t place) {
  result.message_id = entry.message_id;
  if (to.messages.empty()) return;
  const Outbound& message = to.messages[place];
  const auto changed = [&](const char* code, const char* what) {
    result.fault = Fault::passing;
    result.code = code;
    result.message = what;
  };
  if (md5_hex(message.body) != entry.body_md5) changed("BodyChanged", "SQS stored another body than was sent");
  if (!message.attributes.empty() && md5_of_attributes(message.attributes) != entry.attributes_md5) {
    changed("AttributesChanged", "SQS stored other attributes than were sent");
  }
}

void read_succeeded(JsonValue& value, const JsonPath& path, void* target) {
  const EntryTarget& to = *static_cast<EntryTarget*>(target);
  Entry entry;
  detail::read_entries(value, path, read_entry_member, &entry);
  EntryResult* const result = to.reading->succeeded(entry.id);
  if (result == nullptr) return;
  std::size_t place = 0;
  std::from_chars(entry.id.data(), entry.id.data() + entry.id.size(), place);
  check_stored(to, entry, *result, place);
}

void read_failed(JsonValue& value, const JsonPath& path, void* target) {
  Entry entry;
  detail::read_entries(value, path, read_entry_member, &entry);
  static_cast<EntryTarget*>(target)->reading->failed(entry.id, entry.sender_fault, std::move(entry.code),
                                                     std::move(entry.message));
}

void read_batch_member(JsonValue& value, const JsonPath& path, void* target) {
  if (is_null(value, path)) return;
  if (path.key == "Successful") return detail::read_elements(value, path, read_succeeded, target);
  if (path.key == "Failed") return detail::read_elements(value, path, read_failed, target);
}

bool decode_base64(std::string& text) {
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return false;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<std::size_t>(size) - padding);
  text = std::move(out);
  return true;
}

void read_attribute_member(JsonValue& value, const JsonPath& path, void* target) {
  MessageAttribute& out = *static_cast<MessageAttribute*>(target);
  if (path.key == "DataType") return detail::read_string(value, path, out.type);
  if (path.key == "StringValue" && !is_null(value, path)) return detail::read_string(value, path, out.value);
  if (path.key != "BinaryValue" || is_null(value, path)) return;
  detail::read_string(value, path, out.value);
  if (!decode_base64(out.value)) detail::refuse_value(path, "not base64");
}

std::uint64_t number(std::string_view text) noexcept {
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

void read_system_attribute(JsonValue& value, const JsonPath& path, void* target) {
  Inbound& out = *static_cast<Inbound*>(target);
  std::string text;
  detail::read_string(value, path, text);
  constexpr std::pair<std::string_view, std::string Inbound::*> texts[] = {
      {"MessageGroupId", &Inbound::group},
      {"MessageDeduplicationId", &Inbound::deduplication},
      {"SequenceNumber", &Inbound::sequence},
      {"DeadLetterQueueSourceArn", &Inbound::dead_letter_source}};
  for (const auto& [name, member] : texts) {
    if (path.key == name) {
      out.*member = std::move(text);
      return;
    }
  }
  const Wall time = Wall(Millis(number(text)));
  if (path.key == "ApproximateReceiveCount") {
    out.receives = static_cast<std::uint32_t>(number(text));
  } else if (path.key == "SentTimestamp") {
    out.sent = time;
  } else if (path.key == "ApproximateFirstReceiveTimestamp") {
    out.first_received = time;
  } else {
    out.others.emplace(path.key, std::move(text));
  }
}

void read_task_member(JsonValue& value, const JsonPath& path, void* target) {
  MoveTask& out = *static_cast<MoveTask*>(target);
  if (is_null(value, path)) return;
  if (path.key == "Status") return detail::read_string(value, path, out.status);
  if (path.key == "FailureReason") return detail::read_string(value, path, out.failure);
  if (path.key == "ApproximateNumberOfMessagesMoved") out.moved = number(detail::read_raw(value, path));
}

struct Receiving {
  Inbound message{};
  std::string body_md5{}, attributes_md5{};
};

void read_message_member(JsonValue& value, const JsonPath& path, void* target) {
  Receiving& out = *static_cast<Receiving*>(target);
  if (is_null(value, path)) return;
  if (path.key == "Body") return detail::read_string(value, path, out.message.body);
  if (path.key == "ReceiptHandle") return detail::read_string(value, path, out.message.receipt);
  if (path.key == "MessageId") return detail::read_string(value, path, out.message.id);
  if (path.key == "MD5OfBody") return detail::read_string(value, path, out.body_md5);
  if (path.key == "MD5OfMessageAttributes") return detail::read_string(value, path, out.attributes_md5);
  if (path.key == "Attributes") return detail::read_entries(value, path, read_system_attribute, &out.message);
  if (path.key != "MessageAttributes") return;
  detail::read_entries(
      value, path,
      [](JsonValue& each, const JsonPath& at, void* to) {
        auto& attributes = static_cast<Inbound*>(to)->attributes;
        detail::read_entries(each, at, read_attribute_member,
                             &attributes.emplace_back(MessageAttribute{.name = std::string(at.key)}));
      },
      &out.message);
}

void read_message(JsonValue& value, const JsonPath& path, void* target) {
  Receiving reading;
  detail::read_entries(value, path, read_message_member, &reading);
  Inbound& message = reading.message;
  message.intact = md5_hex(message.body) == reading.body_md5 &&
                   (reading.attributes_md5.empty() || md5_of_attributes(message.attributes) == reading.attributes_md5);
  static_cast<std::vector<Inbound>*>(target)->push_back(std::move(message));
}

}  // namespace

std::string read_queue_url(std::string_view body) { return read_one(body, "CreateQueue or GetQueueUrl", "QueueUrl"); }
std::string read_task_handle(std::string_view body) { return read_one(body, "StartMessageMoveTask", "TaskHandle"); }
Attributes read_attributes(std::string_view body) { return read_maps(body, "GetQueueAttributes", "Attributes"); }
Attributes read_tags(std::string_view body) { return read_maps(body, "ListQueueTags", "Tags"); }

std::optional<MoveTask> read_message_move_tasks(std::string_view body) {
  std::optional<MoveTask> first;
  read_object(
      body, "ListMessageMoveTasks",
      [](JsonValue& value, const JsonPath& path, void* to) {
        if (path.key != "Results" || is_null(value, path)) return;
        detail::read_elements(
            value, path,
            [](JsonValue& each, const JsonPath& at, void* found) {
              auto& task = *static_cast<std::optional<MoveTask>*>(found);
              MoveTask reading;
              detail::read_entries(each, at, read_task_member, &reading);
              if (!task) task = std::move(reading);
            },
            to);
      },
      &first);
  return first;
}

QueuePage read_queues(std::string_view body) {
  QueuePage out;
  read_object(
      body, "ListQueues",
      [](JsonValue& value, const JsonPath& path, void* to) {
        QueuePage& page = *static_cast<QueuePage*>(to);
        if (is_null(value, path)) return;
        if (path.key == "NextToken") return detail::read_string(value, path, page.next);
        if (path.key != "QueueUrls") return;
        detail::read_elements(
            value, path,
            [](JsonValue& each, const JsonPath& at, void* urls) {
              detail::read_string(each, at, static_cast<std::vector<std::string>*>(urls)->emplace_back());
            },
            &page.urls);
      },
      &out);
  return out;
}

void read_send_message_batch(std::string_view body, std::span<const Outbound> messages,
                             std::span<EntryResult> results) {
  BatchReading reading(results);
  EntryTarget target{&reading, messages};
  read_object(body, "SendMessageBatch", read_batch_member, &target);
}

void read_entries(std::string_view body, std::span<EntryResult> results) {
  BatchReading reading(results);
  EntryTarget target{&reading, {}};
  read_object(body, "a batch", read_batch_member, &target);
}

const std::string* Inbound::attribute(std::string_view name) const noexcept {
  const auto found = std::find_if(attributes.begin(), attributes.end(),
                                  [&](const MessageAttribute& each) { return each.name == name; });
  return found == attributes.end() ? nullptr : &found->value;
}

std::vector<Inbound> read_receive_message(std::string_view body) {
  std::vector<Inbound> out;
  out.reserve(largest_batch);
  read_object(
      body, "ReceiveMessage",
      [](JsonValue& value, const JsonPath& path, void* to) {
        if (path.key == "Messages" && !is_null(value, path)) detail::read_elements(value, path, read_message, to);
      },
      &out);
  return out;
}

}  // namespace tidings::transport::aws::sqs
