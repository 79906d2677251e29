// From a typed value to what a transport stores.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <tidings/bus.hpp>

#include "core/envelope.hpp"

namespace tidings::runtime {

/// What a message takes over from the bus, or from the event that caused it. Borrowed.
struct Inherited {
  std::string_view source{};
  std::string_view id{};           ///< Used when the options name none; empty: a fresh one.
  std::string_view correlation{};  ///< The same.
  std::string_view causation{};
  std::string_view traceparent{};
  std::string_view tracestate{};
  std::size_t largest = 1U << 20;  ///< Bytes of one envelope.
  std::optional<Wall> now{};       ///< Of a batch, so that the clock is read once for all of it.
};

/// Where the parts of one message stand in the arena that it was written into. Offsets, since an arena grows.
struct Encoded {
  struct Part {
    std::size_t at = 0, size = 0;
  };
  std::string_view stream{};          ///< Interned: lives as long as the process.
  std::string_view type{};            ///< Of the declaration, or interned.
  Part id{}, correlation{}, key{};    ///< The ids stand in the envelope itself, if they may.
  std::size_t envelope = 0, end = 0;  ///< Where it begins and ends.
};

/// Writes messages of one type, with the same options. Borrows all that it is given.
class MessageWriter {
 public:
  /// Of `data` only the type counts.
  MessageWriter(const detail::TypedData& data, const PublishOptions& options, const Inherited& inherited,
                const Environment& environment);
  /// Makes the head that of these messages; append() wants it so.
  void fit(core::EnvelopeHead& head) const { head.fit(view_); }
  /// append_message() of `object`.
  [[nodiscard]] Encoded append(std::string& arena, const void* object, core::EnvelopeHead& head);

 private:
  core::EnvelopeView view_{};
  std::size_t largest_;
  std::string_view stream_;
};

/// Writes one message behind what stands in `arena`. On failure the arena is as it was. Throws Error{invalid} for
/// options that cannot be, Error{too_large} above `inherited.largest`.
[[nodiscard]] Encoded append_message(std::string& arena, const detail::TypedData& data, const PublishOptions& options,
                                     const Inherited& inherited, const Environment& environment);

/// What a transport is given; borrows from the arena.
[[nodiscard]] inline transport::Outgoing outgoing(const std::string& arena, const Encoded& message) noexcept {
  const auto part = [&arena](Encoded::Part place) { return std::string_view(arena.data() + place.at, place.size); };
  return {.stream = message.stream,
          .id = part(message.id),
          .type = message.type,
          .correlation = part(message.correlation),
          .key = part(message.key),
          .envelope = part({message.envelope, message.end - message.envelope})};
}

/// A correlation id for a request that begins here: `req_` + ULID.
[[nodiscard]] std::string new_correlation_id(Wall now, Random& random);

/// The stream of a declared type. The view lives as long as the process, so only for types that are written in code.
[[nodiscard]] std::string_view stream_of(MessageKind kind, std::string_view type);

}  // namespace tidings::runtime
