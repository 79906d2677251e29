// JSON text that passes through untouched.
//
// `Json` holds one JSON value as the exact bytes it arrived in: numbers keep their digits, members their order. Use it
// for a member whose shape is not yours to know. `Fields` is an ordered JSON object of such values: an event's metadata,
// and the unknown members of an envelope, which survive a round trip.
//
//   struct Imported { std::string id; tidings::Json original; };
//   TIDINGS_EVENT(Imported, "record.imported", "1.0", id, original)
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidings {

/// One JSON value as text. A default-constructed one is `null`. Construction does not look at the text; what is
/// published is validated in full by validate_json(), so bad text surfaces as Error{invalid} there.
class Json {
 public:
  Json() : text_("null") {}
  /// Takes JSON text as it is, for example `{"a":1}`; to make a JSON string of any text use Json::string().
  explicit Json(std::string text) : text_(std::move(text)) {}
  /// A JSON string whose value is `value`, quoted and escaped.
  [[nodiscard]] static Json string(std::string_view value);
  /// The exact bytes.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The value when this is a JSON string, unescaped; nothing otherwise.
  [[nodiscard]] std::optional<std::string> as_string() const;
  bool operator==(const Json&) const = default;

 private:
  std::string text_;
};

/// An ordered JSON object whose values are kept as text. Small: looking a name up is a walk.
class Fields {
 public:
  using Member = std::pair<std::string, Json>;
  /// The value of `name`, or nullptr. The pointer lives until the next change.
  [[nodiscard]] const Json* find(std::string_view name) const noexcept;
  /// The unescaped value of `name` when it is a JSON string.
  [[nodiscard]] std::optional<std::string> string(std::string_view name) const;
  /// Sets `name` to `value`, in its place when it exists, else at the end.
  Fields& set(std::string_view name, Json value);
  /// Sets `name` to a JSON string.
  Fields& set_string(std::string_view name, std::string_view value) { return set(name, Json::string(value)); }
  /// Adds `name` at the end without looking whether it is there already: for readers of text whose keys are known to
  /// be distinct.
  Fields& append(std::string_view name, Json value);
  /// Removes `name` if it is there.
  void erase(std::string_view name);
  [[nodiscard]] bool empty() const noexcept { return members_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }
  [[nodiscard]] auto begin() const noexcept { return members_.begin(); }
  [[nodiscard]] auto end() const noexcept { return members_.end(); }
  bool operator==(const Fields&) const = default;

 private:
  std::vector<Member> members_;
};

/// What JSON that enters from outside must keep to.
struct JsonLimits {
  std::size_t bytes = 1U << 20;  ///< Largest text.
  std::size_t depth = 64;        ///< Deepest nesting of objects and arrays.
};

/// Checks one JSON text in full: grammar, depth, size, UTF-8, escapes (also lone surrogates), duplicate keys at every
/// level, numbers beyond the range of a double. Integers of any length pass. Throws Error{invalid} (Error{too_large}
/// above `limits.bytes`) whose message holds the path of the fault: `/data/items/0: duplicate key "sku"`.
void validate_json(std::string_view text, const JsonLimits& limits = {});

/// Appends `value` to `out` as a JSON string with quotes; escapes what JSON demands and nothing else. Throws
/// Error{invalid} when `value` is not UTF-8.
void append_json_string(std::string& out, std::string_view value);

}  // namespace tidings
