// The JSON documents that AWS keeps as attributes of queues and subscriptions: read, compared and completed. Pure.
//
// What others wrote into them stays as it is. Two documents that say the same in other words are the same: AWS gives
// back what it was given, but people and tools write them too.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace tidings::transport::aws {

/// Whether a queue's access policy lets the topic send to the queue.
[[nodiscard]] bool lets_topic_send(std::string_view policy, std::string_view queue_arn, std::string_view topic_arn);
/// The policy with a statement that lets it, in the place of an older one of the same name; all else untouched. Throws
/// Error{conflict} for a policy that is no JSON object, which only its owner can mend.
[[nodiscard]] std::string with_topic(std::string_view policy, std::string_view queue_arn, std::string_view topic_arn);

/// Where what cannot be delivered goes.
struct Redrive {
  std::string target{};        ///< The ARN of a queue.
  std::uint32_t receives = 0;  ///< After how many receives; 0 on a subscription, which has no such count.
  bool operator==(const Redrive&) const = default;
};
/// Nothing for an empty text and for one that is none.
[[nodiscard]] std::optional<Redrive> read_redrive(std::string_view text);
[[nodiscard]] std::string write_redrive(const Redrive& redrive);

/// The types that a subscription's filter lets through; nothing where it lets everything through, or where it is of a
/// kind that we did not write.
[[nodiscard]] std::optional<std::set<std::string>> read_filter(std::string_view text);
/// Empty, which means everything, for no types and for more than SNS allows in a filter.
[[nodiscard]] std::string write_filter(const std::set<std::string>& types);

}  // namespace tidings::transport::aws
