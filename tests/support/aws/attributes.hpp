// Attributes of messages, alike in SQS and SNS: what they may be, how large they are, and AWS's digest of them.
#pragma once

#include <string>

#include "queue.hpp"

namespace tidings::support::aws {

/// What is wrong with one of them; empty when nothing is. A binary value is its bytes.
[[nodiscard]] std::string wrong_attribute(const std::string& name, const AwsAttribute& attribute);
[[nodiscard]] inline bool is_binary(const AwsAttribute& attribute) { return attribute.type.starts_with("Binary"); }
/// Names, types and values.
[[nodiscard]] std::size_t size_of(const MessageAttributes& attributes);
/// Lower-case digits.
[[nodiscard]] std::string md5_of(const MessageAttributes& attributes);

}  // namespace tidings::support::aws
