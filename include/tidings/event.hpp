// The event: the envelope of ADR-005, and its text.
//
//   auto event = tidings::decode<UserCreated>(text);        // typed: event.data.email
//   tidings::Event any = tidings::decode<tidings::Json>(text);  // untyped: any.data.text()
//   std::string text = tidings::encode(any);                // the same bytes for `data`, unknown members kept
#pragma once

#include <string>
#include <string_view>

#include <tidings/describe.hpp>
#include <tidings/json.hpp>
#include <tidings/time.hpp>

namespace tidings {

/// An event or command with data of type `T`. Member names are the wire's.
template <class T = Json>
struct DomainEvent {
  std::string id{};             ///< Unique; `evt_` + ULID when Tidings made it, else any non-empty text.
  std::string type{};           ///< `user.created`.
  std::string version{};        ///< The schema's version, `1.0`.
  Wall timestamp{};             ///< When it was published; ISO 8601 UTC on the wire.
  std::string source{};         ///< The service that published it.
  std::string correlationId{};  ///< The request that it belongs to, the same through all that follows from it.
  T data{};                     ///< What happened.
  Fields metadata{};            ///< Flat; ours are causationId, traceparent, tracestate and partitionKey.
  Fields extra{};               ///< Members of the envelope that the ADR does not know, kept as they came.
};

/// An event whose data is not looked into: what tools and catch-all handlers see.
using Event = DomainEvent<Json>;

/// Reads an envelope. `text` need not be padded or validated: the envelope and, for a typed `T`, the data it describes
/// are checked as they are read; call validate_json() first for text that comes from outside, since members that nobody
/// reads are not checked here. Throws Error{invalid} with the path of the fault (`/data/email: expected string, got
/// number`). Does not compare `type` with `T`'s.
template <class T>
[[nodiscard]] DomainEvent<T> decode(std::string_view text);

/// The same for text behind which `json_padding` more bytes can be read (their value does not matter): saves a copy.
template <class T>
[[nodiscard]] DomainEvent<T> decode_padded(std::string_view text);

/// Bytes that must be readable behind the text of decode_padded().
inline constexpr std::size_t json_padding = 64;

/// Writes an envelope, members in the ADR's order, `metadata` left out when empty. Throws Error{invalid} when a string
/// is not UTF-8 or a number is not finite.
template <class T>
[[nodiscard]] std::string encode(const DomainEvent<T>& event);

/// Appends what encode() returns.
template <class T>
void encode_to(std::string& out, const DomainEvent<T>& event);

/// Appends the JSON of one described value: a struct, or anything that may be a member of one.
template <class T>
void write_json(std::string& out, const T& value);

/// Reads one described value from JSON text. Throws Error{invalid} with the path of the fault.
template <class T>
[[nodiscard]] T read_json(std::string_view text);

}  // namespace tidings

#include <tidings/detail/codec.hpp>
