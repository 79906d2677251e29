// What is asked of SQS.

#include <array>
#include <charconv>

#include "core/json_text.hpp"
#include "transport/aws/sqs.hpp"

namespace tidings::transport::aws::sqs {
namespace {

/// What stands in a string for a byte: nothing for what stands for itself.
struct Escape {
  unsigned char size = 0;
  char text[6] = {};
};

constexpr std::array<Escape, 256> make_escapes() {
  std::array<Escape, 256> table{};
  constexpr char digits[] = "0123456789abcdef";
  for (unsigned c = 0; c < 0x20; ++c) table[c] = {6, {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}};
  table['"'] = {2, {'\\', '"'}};
  table['\\'] = {2, {'\\', '\\'}};
  table['\n'] = {2, {'\\', 'n'}};
  table['\r'] = {2, {'\\', 'r'}};
  table['\t'] = {2, {'\\', 't'}};
  return table;
}
constexpr std::array<Escape, 256> escapes = make_escapes();

/// Bodies are JSON themselves, and full of quotes: they are written byte by byte into room that suffices for any.
void append_string(std::string& out, std::string_view text) {
  const std::size_t before = out.size();
  out.resize(before + 6 * text.size() + 2);
  char* at = out.data() + before;
  *at++ = '"';
  for (const char c : text) {
    const Escape& escape = escapes[static_cast<unsigned char>(c)];
    if (escape.size == 0) [[likely]] {
      *at++ = c;
    } else {
      for (unsigned i = 0; i < escape.size; ++i) *at++ = escape.text[i];
    }
  }
  *at++ = '"';
  out.resize(static_cast<std::size_t>(at - out.data()));
}

void append_number(std::string& out, std::uint64_t value) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  static_cast<void>(error);  // Twenty digits hold every value.
  out.append(digits, end);
}

/// `"name":` with what separates it from the member before. Names are plain.
void key(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out.append("\"").append(name).append("\":");
}
void member(std::string& out, std::string_view name, std::string_view value) {
  key(out, name);
  append_string(out, value);
}
void member(std::string& out, std::string_view name, unsigned value) {
  key(out, name);
  append_number(out, value);
}
void member(std::string& out, std::string_view name, const Attributes& values) {
  key(out, name);
  out += '{';
  for (const auto& [each, value] : values) {
    if (out.back() != '{') out += ',';
    append_string(out, each);
    out += ':';
    append_string(out, value);
  }
  out += '}';
}

void begin(std::string& out) { out.assign("{"); }
void begin(std::string& out, std::string_view queue_url) {
  begin(out);
  member(out, "QueueUrl", queue_url);
}

/// `"Entries":[` and what each of `count` entries begins with: its id.
template <class Entry>
void entries(std::string& out, std::size_t count, Entry write) {
  key(out, "Entries");
  out += '[';
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    out += R"({"Id":")";
    append_number(out, i);
    out += '"';
    write(i);
    out += '}';
  }
  out += "]}";
}

void write_message_attributes(std::string& out, std::span<const MessageAttribute> attributes) {
  if (attributes.empty()) return;
  key(out, "MessageAttributes");
  out += '{';
  for (const MessageAttribute& each : attributes) {
    if (out.back() != '{') out += ',';
    append_string(out, each.name);
    out += ":{";
    member(out, "DataType", each.type);
    each.binary() ? member(out, "BinaryValue", base64(each.value)) : member(out, "StringValue", each.value);
    out += '}';
  }
  out += '}';
}

}  // namespace

void write_create_queue(std::string& out, std::string_view name, const Attributes& attributes, const Attributes& tags) {
  begin(out);
  member(out, "QueueName", name);
  if (!attributes.empty()) member(out, "Attributes", attributes);
  if (!tags.empty()) member(out, "tags", tags);  // In lower case, here alone.
  out += '}';
}

void write_get_queue_url(std::string& out, std::string_view name) {
  begin(out);
  member(out, "QueueName", name);
  out += '}';
}

void write_get_queue_attributes(std::string& out, std::string_view queue_url) {
  begin(out, queue_url);
  out += R"(,"AttributeNames":["All"]})";
}

void write_set_queue_attributes(std::string& out, std::string_view queue_url, const Attributes& attributes) {
  begin(out, queue_url);
  member(out, "Attributes", attributes);
  out += '}';
}

void write_list_queues(std::string& out, std::string_view prefix, std::string_view token, unsigned most) {
  begin(out);
  if (!prefix.empty()) member(out, "QueueNamePrefix", prefix);
  if (!token.empty()) member(out, "NextToken", token);
  member(out, "MaxResults", most);
  out += '}';
}

void write_tag_queue(std::string& out, std::string_view queue_url, const Attributes& tags) {
  begin(out, queue_url);
  member(out, "Tags", tags);
  out += '}';
}

void write_list_queue_tags(std::string& out, std::string_view queue_url) {
  begin(out, queue_url);
  out += '}';
}

void write_delete_queue(std::string& out, std::string_view queue_url) {
  begin(out, queue_url);
  out += '}';
}

void write_list_message_move_tasks(std::string& out, std::string_view from_arn) {
  begin(out);
  member(out, "SourceArn", from_arn);
  out += '}';
}

void write_start_message_move_task(std::string& out, std::string_view from_arn, std::string_view to_arn,
                                   unsigned per_second) {
  begin(out);
  member(out, "SourceArn", from_arn);
  if (!to_arn.empty()) member(out, "DestinationArn", to_arn);
  if (per_second > 0) member(out, "MaxNumberOfMessagesPerSecond", per_second);
  out += '}';
}

void write_send_message_batch(std::string& out, std::string_view queue_url, std::span<const Outbound> messages) {
  begin(out, queue_url);
  entries(out, messages.size(), [&](std::size_t i) {
    const Outbound& message = messages[i];
    member(out, "MessageBody", message.body);
    if (message.delay_seconds) member(out, "DelaySeconds", *message.delay_seconds);
    if (!message.group.empty()) member(out, "MessageGroupId", message.group);
    if (!message.deduplication.empty()) member(out, "MessageDeduplicationId", message.deduplication);
    write_message_attributes(out, message.attributes);
  });
}

void write_receive_message(std::string& out, std::string_view queue_url, const Receive& receive) {
  begin(out, queue_url);
  member(out, "MaxNumberOfMessages", receive.most);
  member(out, "WaitTimeSeconds", receive.wait_seconds);
  if (receive.visibility_seconds) member(out, "VisibilityTimeout", *receive.visibility_seconds);
  out += R"(,"MessageAttributeNames":["All"],"MessageSystemAttributeNames":["All"]})";
}

void write_delete_message_batch(std::string& out, std::string_view queue_url,
                                std::span<const std::string_view> receipts) {
  begin(out, queue_url);
  entries(out, receipts.size(), [&](std::size_t i) { member(out, "ReceiptHandle", receipts[i]); });
}

void write_change_message_visibility_batch(std::string& out, std::string_view queue_url,
                                           std::span<const Visibility> changes) {
  begin(out, queue_url);
  entries(out, changes.size(), [&](std::size_t i) {
    member(out, "ReceiptHandle", changes[i].receipt);
    member(out, "VisibilityTimeout", changes[i].seconds);
  });
}

bool takes_body(std::string_view text) noexcept {
  if (text.empty() || !core::is_utf8(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') return false;
    // U+FFFE and U+FFFF.
    if (byte == 0xef && text.substr(i + 1, 1) == "\xbf" && static_cast<unsigned char>(text[i + 2]) >= 0xbe)
      return false;
  }
  return true;
}

std::size_t size_of(const Outbound& message) noexcept {
  std::size_t size = message.body.size();
  for (const MessageAttribute& each : message.attributes)
    size += each.name.size() + each.type.size() + each.value.size();
  return size;
}

std::string_view name_of_url(std::string_view queue_url) noexcept {
  const std::size_t slash = queue_url.rfind('/');
  return slash == std::string_view::npos ? queue_url : queue_url.substr(slash + 1);
}

}  // namespace tidings::transport::aws::sqs
