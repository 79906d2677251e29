// Envelopes as the runtime meets them: written from parts without a DomainEvent, and checked where others made them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tidings/event.hpp>
#include <tidings/id.hpp>
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
  Random* random = nullptr;  ///< What ids are made of where `id` or `correlation_id` are empty.
};

/// Where an id stands in a text that it was written into. `size` is 0 where it does not stand there as it is, since
/// something in it needed an escape.
struct IdPlace {
  std::size_t at = 0, size = 0;
};
struct EnvelopeIds {
  IdPlace id{}, correlation{};
};

/// From the beginning of an envelope to its data, with ids of Tidings' own: but for these the same in many events in a
/// row.
class EnvelopeHead {
 public:
  /// Makes it that of `view`. Throws Error{invalid} when a string is not UTF-8.
  void fit(const EnvelopeView& view);
  /// All of it, with ids that nobody had before; their times are the timestamp.
  [[nodiscard]] std::string_view renewed(Random& random) noexcept;
  /// What stands between the two ids and their quotes.
  [[nodiscard]] std::string_view middle() const noexcept;

  /// Where the ids begin.
  static constexpr std::size_t id_at = 7;
  [[nodiscard]] std::size_t correlation_at() const noexcept;

 private:
  std::string type_{}, version_{}, source_{}, text_{};
  Wall timestamp_{};
};

/// Appends the envelope, and says where in `out` its ids stand. Throws Error{invalid} when a string is not UTF-8, a
/// value is not JSON, or `metadata` names one of Tidings' own members; `out` is then what it was before.
EnvelopeIds append_envelope(std::string& out, const EnvelopeView& view);
/// The same of one in a row, whose head was made to fit before.
EnvelopeIds append_envelope(std::string& out, const EnvelopeView& view, EnvelopeHead& head);

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
