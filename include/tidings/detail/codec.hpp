// What decode(), encode(), read_json() and write_json() do for a type. Not for applications.
#pragma once

#include <string>
#include <string_view>

#include <tidings/detail/codec_read.hpp>
#include <tidings/detail/codec_write.hpp>
#include <tidings/event.hpp>

namespace tidings {

namespace detail {

/// decode_padded(), and with `distinct` validate_json() in the same walk, but for the text's size. Of what `event` held
/// before only texts that every envelope has may be left, which are replaced.
template <class T>
void decode_into(DomainEvent<T>& event, std::string_view padded, bool distinct) {
  EnvelopeTarget target{&event.id,     &event.type,          &event.version,  &event.timestamp,
                        &event.source, &event.correlationId, &event.metadata, &event.extra,
                        &read_into<T>, &event.data};
  target.distinct = distinct;
  read_envelope(padded, target);
}

/// The same into a new event.
template <class T>
[[nodiscard]] DomainEvent<T> decode_once(std::string_view padded, bool distinct) {
  DomainEvent<T> event;
  decode_into(event, padded, distinct);
  return event;
}

}  // namespace detail

template <class T>
DomainEvent<T> decode_padded(std::string_view text) {
  return detail::decode_once<T>(text, false);
}

template <class T>
DomainEvent<T> decode(std::string_view text) {
  return decode_padded<T>(std::string_view(detail::padded_copy(text)).substr(0, text.size()));
}

template <class T>
void encode_to(std::string& out, const DomainEvent<T>& event) {
  detail::write_envelope(
      out, {event.id, event.type, event.version, event.timestamp, event.source, event.correlationId, &event.metadata,
            &event.extra, [](std::string& to, const void* data) { write_json(to, *static_cast<const T*>(data)); },
            &event.data});
}

template <class T>
std::string encode(const DomainEvent<T>& event) {
  std::string out;
  encode_to(out, event);
  return out;
}

template <class T>
void write_json(std::string& out, const T& value) {
  detail::write_value(out, value, detail::data_depth);
}

template <class T>
T read_json(std::string_view text) {
  T value{};
  const std::string padded = detail::padded_copy(text);
  detail::read_document(std::string_view(padded).substr(0, text.size()), &detail::read_into<T>, &value);
  return value;
}

}  // namespace tidings
