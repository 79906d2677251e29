// The language of SQS: request bodies and replies in JSON. Pure; client.hpp sends and receives them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/time.hpp>

#include "transport/aws/batch.hpp"
#include "transport/aws/md5.hpp"

namespace tidings::transport::aws {

/// Attributes of a queue, a topic or a subscription, and tags.
using Attributes = std::map<std::string, std::string, std::less<>>;

namespace sqs {

// Each writes the body of the operation of that name into `out`, whose memory is used again.

void write_create_queue(std::string& out, std::string_view name, const Attributes& attributes, const Attributes& tags);
void write_get_queue_url(std::string& out, std::string_view name);
/// All of them.
void write_get_queue_attributes(std::string& out, std::string_view queue_url);
void write_set_queue_attributes(std::string& out, std::string_view queue_url, const Attributes& attributes);
/// `token` is empty for the first page; `most` is at most 1000.
void write_list_queues(std::string& out, std::string_view prefix, std::string_view token, unsigned most = 1000);
void write_tag_queue(std::string& out, std::string_view queue_url, const Attributes& tags);
void write_list_queue_tags(std::string& out, std::string_view queue_url);
void write_delete_queue(std::string& out, std::string_view queue_url);
/// From a dead-letter queue to `to`, or to where its messages came from when that is empty. `per_second` 0: AWS
/// decides.
void write_start_message_move_task(std::string& out, std::string_view from_arn, std::string_view to_arn,
                                   unsigned per_second = 0);

/// The last one alone.
void write_list_message_move_tasks(std::string& out, std::string_view from_arn);

/// A message to send. Borrowed.
struct Outbound {
  std::string_view body{};
  std::span<const MessageAttribute> attributes{};
  std::optional<unsigned> delay_seconds{};  ///< Up to 900; not on a FIFO queue.
  std::string_view group{};                 ///< Of a FIFO queue; on a standard one a share, not an order.
  std::string_view deduplication{};
};

/// Of at most largest_batch messages.
void write_send_message_batch(std::string& out, std::string_view queue_url, std::span<const Outbound> messages);

/// What to ask for. `wait` is at most 20 s; all message attributes and system attributes are asked for, since AWS
/// returns none unasked.
struct Receive {
  unsigned most = largest_batch;
  unsigned wait_seconds = 20;
  std::optional<unsigned> visibility_seconds{};  ///< Nothing: the queue's.
};
void write_receive_message(std::string& out, std::string_view queue_url, const Receive& receive);

void write_delete_message_batch(std::string& out, std::string_view queue_url,
                                std::span<const std::string_view> receipts);

/// How long a message in flight stays hidden, from now on; 0 gives it back.
struct Visibility {
  std::string_view receipt{};
  unsigned seconds = 0;
};
void write_change_message_visibility_batch(std::string& out, std::string_view queue_url,
                                           std::span<const Visibility> changes);

// Replies. Each throws Error{unavailable} when the text is none.

[[nodiscard]] std::string read_queue_url(std::string_view body);  ///< Of CreateQueue and GetQueueUrl.
[[nodiscard]] Attributes read_attributes(std::string_view body);
[[nodiscard]] Attributes read_tags(std::string_view body);
[[nodiscard]] std::string read_task_handle(std::string_view body);

/// How far a move task is.
struct MoveTask {
  std::string status{}, failure{};  ///< `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`, and why.
  std::uint64_t moved = 0;          ///< About so many.
};
/// The first one; nothing when there never was one.
[[nodiscard]] std::optional<MoveTask> read_message_move_tasks(std::string_view body);

struct QueuePage {
  std::vector<std::string> urls{};
  std::string next{};  ///< Empty on the last page.
};
[[nodiscard]] QueuePage read_queues(std::string_view body);

/// Outcomes in the order of the messages. One that was stored otherwise than it was sent, by its MD5, has `passing` and
/// the code `BodyChanged` or `AttributesChanged`.
void read_send_message_batch(std::string_view body, std::span<const Outbound> messages, std::span<EntryResult> results);
/// Of DeleteMessageBatch and ChangeMessageVisibilityBatch.
void read_entries(std::string_view body, std::span<EntryResult> results);

/// A message in flight.
struct Inbound {
  std::string id{}, receipt{}, body{};
  bool intact = true;  ///< Body and attributes are those that AWS took the MD5 of.
  std::vector<MessageAttribute> attributes{};
  std::uint32_t receives = 0;  ///< This one among them.
  Wall sent{}, first_received{};
  std::string group{}, deduplication{}, sequence{};  ///< Of a FIFO queue (and the share of a standard one).
  std::string dead_letter_source{};                  ///< The ARN of the queue that redrove it here.
  Attributes others{};                               ///< System attributes that have no member here.
  /// The value of the message's attribute of that name; null when it has none.
  [[nodiscard]] const std::string* attribute(std::string_view name) const noexcept;
};
[[nodiscard]] std::vector<Inbound> read_receive_message(std::string_view body);

/// Whether SQS takes the text as a body: UTF-8, without the characters that it rejects.
[[nodiscard]] bool takes_body(std::string_view text) noexcept;

/// Bytes that a message counts for in the limits of a message and of a batch.
[[nodiscard]] std::size_t size_of(const Outbound& message) noexcept;

/// The name at the end of a queue's URL.
[[nodiscard]] std::string_view name_of_url(std::string_view queue_url) noexcept;

}  // namespace sqs
}  // namespace tidings::transport::aws
