// Filter policies of subscriptions, on the attributes of messages.
#pragma once

#include <optional>
#include <string>

#include "json.hpp"
#include "queue.hpp"

namespace tidings::support::aws {

/// What is wrong with a policy, AWS's limits included; empty when nothing is.
[[nodiscard]] std::string wrong_filter(const std::string& policy);
/// Whether a subscription with this policy, which is not wrong, gets a message with these attributes.
[[nodiscard]] bool accepts(const std::string& policy, const MessageAttributes& attributes);

}  // namespace tidings::support::aws
