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
void write_enum(std::string& out, T value) {
  for (std::size_t i = 0; i < EnumForm<T>::values.size(); ++i) {
    if (EnumForm<T>::values[i] != value) continue;
    out += '"';
    out += EnumForm<T>::names[i];
    out += '"';
    return;
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
    write_enum(out, value);
  } else if constexpr (DescribedStruct<T>) {
    write_members(out, StructForm<T>::members, &value, depth);
  } else if constexpr (std::is_signed_v<T>) {
    write_signed(out, value);
  } else {
    static_assert(is_json_integer<T>, "tidings: this type has no JSON form; see tidings/describe.hpp");
    write_unsigned(out, value);
  }
}

}  // namespace tidings::detail
