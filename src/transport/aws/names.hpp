// What streams and groups are called on AWS. Pure.
//
//   Names names("prod");
//   names.topic("events:user");               // prod-events-user
//   names.queue("events:user", "search");     // prod-search-events-user
//   names.queue("commands:send.email", "x");  // prod-commands-send_email
//
// AWS allows letters, digits, `-` and `_` only, at most 80 of them in a queue's name
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-quotas.html). A dot of a command's
// type becomes `_`, and an `_` of its own is doubled. No two streams or groups meet: a service whose name would make
// that possible is refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidings::transport::aws {

class Names {
 public:
  /// Throws Error{invalid} for a prefix that is empty, or not of letters, digits, `-` and `_`.
  explicit Names(std::string prefix);

  [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }
  /// Of an event stream.
  [[nodiscard]] std::string topic(std::string_view stream) const;
  /// Where a group of an event stream reads; of a command stream, the one queue that it is. Throws Error{invalid} for a
  /// name that is too long, with what to shorten, and for a service whose queue could be another's.
  [[nodiscard]] std::string queue(std::string_view stream, std::string_view group) const;
  /// Where SQS puts what was received far too often, and where dead letters go that have no shelf.
  [[nodiscard]] std::string dead_letter_queue(std::string_view stream, std::string_view group) const;

  /// The stream of a topic; nothing for a topic that is not ours.
  [[nodiscard]] std::optional<std::string> stream_of_topic(std::string_view topic) const;
  /// The stream and the group of a queue; nothing for one that is not ours, and for a dead-letter queue.
  struct Queue {
    std::string stream{}, group{};
    bool operator==(const Queue&) const = default;
  };
  [[nodiscard]] std::optional<Queue> group_of_queue(std::string_view queue) const;

 private:
  std::string prefix_;
};

}  // namespace tidings::transport::aws
