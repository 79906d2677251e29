// What commands print: data on stdout as a table, one JSON text, or JSON lines.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tidings/time.hpp>
#include <vector>

#include "commands.hpp"

namespace tidings::cli {

/// Buffered stdout. Throws OutputClosed when its reader has gone, std::runtime_error when it cannot be written
/// otherwise.
class Output {
 public:
  ~Output() = default;
  /// Appends; writes when much has gathered.
  void write(std::string_view text);
  /// Writes what has gathered.
  void flush();

 private:
  std::string buffer_;
};

/// The process's stdout.
[[nodiscard]] Output& standard_output();

/// Whether stdout is a terminal that understands escapes.
[[nodiscard]] bool fancy_output();
/// Whether stderr is a terminal: progress goes nowhere else.
[[nodiscard]] bool terminal_errors();
/// `text` with control characters made visible, for people.
[[nodiscard]] std::string printable(std::string_view text);
/// Line breaks between the tokens of a JSON text turned into spaces; nothing else changes.
[[nodiscard]] std::string one_line(std::string_view json);
/// Asks `question` on the terminal; true for yes.
[[nodiscard]] bool ask(const std::string& question);

/// One JSON object, written member by member in the order of the contract.
class JsonObject {
 public:
  JsonObject& text(std::string_view name, std::string_view value);
  /// Empty text is unknown: null.
  JsonObject& text_or_null(std::string_view name, std::string_view value);
  JsonObject& flag(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  JsonObject& time(std::string_view name, std::optional<Wall> value);
  JsonObject& texts(std::string_view name, const std::vector<std::string>& values);
  /// `json` as it is.
  JsonObject& raw(std::string_view name, std::string_view json);
  template <std::integral T>
  JsonObject& number(std::string_view name, T value) {
    return raw(name, std::to_string(value));
  }
  template <std::integral T>
  JsonObject& number(std::string_view name, std::optional<T> value) {
    return value ? number(name, *value) : raw(name, "null");
  }
  JsonObject& milliseconds(std::string_view name, std::optional<Millis> value);
  /// The whole object.
  [[nodiscard]] std::string str() const { return text_ + "}"; }

 private:
  std::string text_{"{"};
};

/// A list: an aligned table, one JSON array, or one object a line, as it was asked for.
class Listing {
 public:
  Listing(Format format, std::vector<std::string> headers) : format_(format), headers_(std::move(headers)) {}
  /// One row: its object, and its cells in the order of the headers.
  void add(const std::string& json, std::vector<std::string> cells);
  /// Prints what is left. Call it once, at the end.
  void finish();
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

 private:
  Format format_;
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_{};
  std::size_t count_ = 0;
};

/// A number, or `-` when it is unknown.
template <std::integral T>
[[nodiscard]] std::string cell(std::optional<T> value) {
  return value ? std::to_string(*value) : "-";
}
/// A time as tables show it, or `-`.
[[nodiscard]] std::string cell(std::optional<Wall> value);
/// A duration cut to what people read: `4m`, `12s`, or `-`.
[[nodiscard]] std::string cell(std::optional<Millis> value);

}  // namespace tidings::cli
