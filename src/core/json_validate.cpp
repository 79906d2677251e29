// One strict pass over text from outside. simdjson's readers let duplicate keys through, and its DOM refuses integers
// beyond 64 bits, which JavaScript writes; this pass refuses exactly what the wire does.

#include <string>
#include <string_view>

#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include "core/json_scan.hpp"

namespace tidings {
namespace {

[[noreturn]] void refuse(const std::string& path, std::string_view why, const char* at, std::string_view text) {
  throw Error(ErrorCode::invalid, (path.empty() ? "JSON" : path) + ": " + std::string(why) + " (byte " +
                                      std::to_string(at - text.data()) + ")");
}

}  // namespace

void validate_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    throw Error(ErrorCode::too_large, "the JSON text has " + std::to_string(text.size()) + " bytes, the limit is " +
                                          std::to_string(limits.bytes) + "; shrink the event or raise the limit");
  }
  core::JsonScan scan(text, 0, true);
  if (text.starts_with("\xEF\xBB\xBF")) {
    refuse({}, "a byte order mark stands before the value; remove it", scan.at(), text);
  }
  scan.space();
  if (const char* const why = scan.skip(limits.depth)) {
    std::string said = why;
    if (said == core::JsonScan::too_deep) {
      said = "nested deeper than " + std::to_string(limits.depth) + " levels; flatten the event";
    }
    refuse(core::JsonScan::fault_pointer(), said, scan.at(), text);
  }
  scan.space();
  if (!scan.ended()) refuse({}, "something follows the value", scan.at(), text);
}

}  // namespace tidings
