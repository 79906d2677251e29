// Envelopes as the runtime meets them: written from parts without a DomainEvent, and checked where others made them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tidings/event.hpp>
#include <tidings/json.hpp>
#include <tidings/time.hpp>

namespace tidings::core {

/// The parts of an envelope that is about to be written. Borrowed for the call; empty members of the second group are
/// left out.
struct EnvelopeView {
  std::string_view id{}, type{}, version{};
  Wall timestamp{};
  std::string_view source{}, correlation_id{};

  std::string_view causation_id{}, traceparent{}, tracestate{}, key{};
  const Fields* metadata = nullptr;  ///< Further members of `metadata`; may not name one of the four above.

  void (*write_data)(std::string& out, const void* data) = nullptr;  ///< Appends the JSON of `data`.
  const void* data = nullptr;
};

/// Appends the envelope. Throws Error{invalid} when a string is not UTF-8, a value is not JSON, or `metadata` names one
/// of Tidings' own members; `out` is then what it was before.
void append_envelope(std::string& out, const EnvelopeView& view);

/// An envelope that came from outside. `missing` says which members were not there (see EnvelopePart) and are empty.
struct CheckedEnvelope {
  Event event{};
  std::uint32_t missing = 0;
};

/// Bits of CheckedEnvelope::missing.
enum EnvelopePart : std::uint32_t {
  part_id = 1,
  part_version = 2,
  part_timestamp = 4,
  part_source = 8,
  part_correlation_id = 16,
};

/// validate_json() and decode<Json>() in one: what a whole envelope from outside must pass. Throws Error{invalid} or
/// Error{too_large} with the path of the fault.
[[nodiscard]] Event check_envelope(std::string_view text, const JsonLimits& limits = {});

/// The same, but id, version, timestamp, source and correlationId may be missing (not empty or wrong): the publisher
/// fills them in. type and data must be there.
[[nodiscard]] CheckedEnvelope check_partial_envelope(std::string_view text, const JsonLimits& limits = {});

}  // namespace tidings::core
