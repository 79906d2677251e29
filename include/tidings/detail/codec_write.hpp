// The writing half of codec_read.hpp. Not for applications.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <tidings/detail/codec_read.hpp>
#include <tidings/detail/json_writer.hpp>

namespace tidings::detail {

template <class T>
void write_value(std::string& out, const std::optional<T>& value, std::size_t depth) {
  if (value) {
    write_value(out, *value, depth);
  } else {
    out += "null";
  }
}

template <class T>
void write_value(std::string& out, const std::vector<T>& values, std::size_t depth) {
  check_depth(depth);
  out += '[';
  bool first = true;
  for (const auto& value : values) {
    if (!std::exchange(first, false)) out += ',';
    write_value(out, static_cast<const T&>(value), depth + 1);
  }
  out += ']';
}

template <class T>
void write_value(std::string& out, const std::map<std::string, T>& values, std::size_t depth) {
  check_depth(depth);
  out += '{';
  bool first = true;
  for (const auto& [key, value] : values) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, key);
    out += ':';
    write_value(out, value, depth + 1);
  }
  out += '}';
}

template <class... T>
void write_value(std::string& out, const std::variant<T...>& value, std::size_t depth) {
  std::visit([&](const auto& held) { write_value(out, held, depth); }, value);
}

/// Throws Error{invalid}: an enum holds a value that is none of its enumerators.
[[noreturn]] void refuse_enumerator(std::int64_t value);

template <class T>
[[nodiscard]] std::string_view enum_name(T value) {
  for (std::size_t i = 0; i < EnumForm<T>::values.size(); ++i) {
    if (EnumForm<T>::values[i] == value) return EnumForm<T>::names[i];
  }
  refuse_enumerator(static_cast<std::int64_t>(value));
}

template <class T>
void write_value(std::string& out, const T& value, std::size_t depth) {
  if constexpr (std::is_same_v<T, std::string>) {
    append_json_string(out, value);
  } else if constexpr (std::is_same_v<T, bool>) {
    write_bool(out, value);
  } else if constexpr (std::is_same_v<T, float>) {
    write_float(out, value);
  } else if constexpr (std::is_same_v<T, double>) {
    write_double(out, value);
  } else if constexpr (std::is_same_v<T, Json>) {
    write_raw(out, value.text(), depth);
  } else if constexpr (DescribedEnum<T>) {
    out += '"';
    out += enum_name(value);
    out += '"';
  } else if constexpr (DescribedStruct<T>) {
    write_members(out, StructForm<T>::members, &value, depth);
  } else if constexpr (std::is_signed_v<T>) {
    write_signed(out, value);
  } else {
    static_assert(is_json_integer<T>, "tidings: this type has no JSON form; see tidings/describe.hpp");
    write_unsigned(out, value);
  }
}

/// The value of a member: what is short is gathered with what stands beside it.
template <class T>
void write_member(Gathered& out, const T& value, std::size_t depth) {
  if constexpr (is_optional<T>) {
    value ? write_member(out, *value, depth) : out.raw("null");
  } else if constexpr (std::is_same_v<T, std::string>) {
    out.string(value);
  } else if constexpr (DescribedEnum<T>) {
    out.quoted(enum_name(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    out.raw(value ? "true" : "false");
  } else if constexpr (is_json_integer<T> && std::is_signed_v<T>) {
    out.number(std::int64_t{value});
  } else if constexpr (is_json_integer<T>) {
    out.number(std::uint64_t{value});
  } else {
    write_value(out.flush(), value, depth);
  }
}

}  // namespace tidings::detail
