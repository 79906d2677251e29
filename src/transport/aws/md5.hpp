// The digests by which SQS says what it stored.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "transport/aws/digest.hpp"

namespace tidings::transport::aws {

/// What rides beside a message's body. Of a binary one, `value` holds the bytes.
struct MessageAttribute {
  std::string name{}, value{};
  std::string type = "String";  ///< `String`, `Number`, `Binary`, perhaps with a `.label`.
  bool operator==(const MessageAttribute&) const = default;
  [[nodiscard]] bool binary() const noexcept { return type.starts_with("Binary"); }
};

/// MD5OfMessageBody is md5_hex(body); this is MD5OfMessageAttributes.
[[nodiscard]] std::string md5_of_attributes(std::span<const MessageAttribute> attributes);

}  // namespace tidings::transport::aws
