// Any bytes are refused with an Error, or accepted by validation and reading alike and unchanged by a round trip.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/envelope.hpp"

namespace fuzz {
struct Part {
  std::string name;
  std::variant<std::int64_t, double, bool, std::vector<std::string>, tidings::Json> value;
};
TIDINGS_STRUCT(Part, name, value)
struct Whole {
  std::vector<Part> parts;
  std::optional<std::map<std::string, std::uint8_t>> counts;
};
TIDINGS_STRUCT(Whole, parts, counts)
}  // namespace fuzz

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    // Not validated before: this may go either way.
    static_cast<void>(tidings::decode<fuzz::Whole>(text));
  } catch (const tidings::Error&) {
  }
  tidings::Event event;
  try {
    event = tidings::core::check_envelope(text);
  } catch (const tidings::Error&) {
    return 0;
  }
  const std::string again = tidings::encode(event);
  tidings::validate_json(again);
  require(tidings::decode<tidings::Json>(again).data == event.data);
  require(tidings::encode(tidings::decode<tidings::Json>(again)) == again);
  return 0;
}
