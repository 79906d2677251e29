#include "core/acceptable.hpp"

#include <string>

namespace tidings::core {

bool acceptable(const transport::Outgoing& event, std::optional<std::string_view> stream,
                const transport::Capabilities& limits, transport::Result& result) {
  const auto refuse = [&](ErrorCode code, const std::string& why) {
    result = {.code = code, .message = std::string(event.id) + " for " + std::string(event.stream) + ": " + why};
    return false;
  };
  if (event.envelope.size() > limits.largest_event) {
    return refuse(ErrorCode::too_large, std::to_string(event.envelope.size()) + " bytes, and at most " +
                                            std::to_string(limits.largest_event) +
                                            " are allowed; store large data elsewhere and send its address");
  }
  if (event.envelope.empty()) return refuse(ErrorCode::invalid, "the envelope is empty; encode the event first");
  if (event.type.size() > 200 || event.type.find('\n') != std::string_view::npos) {
    return refuse(ErrorCode::invalid,
                  "the type is not one; use names of [A-Za-z0-9_-] joined by dots, at most 200 bytes");
  }
  if (!stream) return true;
  try {
    check_stream(*stream);
  } catch (const Error& error) {
    return refuse(error.code(), error.what());
  }
  return true;
}

}  // namespace tidings::core
