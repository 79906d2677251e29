// JSON as a tree, as the calls of a stand-in for AWS read and write it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tidings::support::aws {

/// A value. Objects keep the order of their members; a lookup finds the first of a name.
class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(bool value) : value_(value) {}
  Json(int value) : value_(std::int64_t{value}) {}
  Json(std::int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  /// Without these braces around one object would be ambiguous.
  [[nodiscard]] static Json object(Object members = {}) { return Json(std::move(members)); }
  [[nodiscard]] static Json array(Array elements = {}) { return Json(std::move(elements)); }

  /// Nothing for what is not one whole JSON value.
  [[nodiscard]] static std::optional<Json> parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&value_); }
  [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&value_); }
  [[nodiscard]] std::optional<double> number() const;
  [[nodiscard]] const std::string* string() const { return std::get_if<std::string>(&value_); }
  [[nodiscard]] const Array* elements() const { return std::get_if<Array>(&value_); }
  [[nodiscard]] const Object* members() const { return std::get_if<Object>(&value_); }
  /// A member that is there and not null; null for all else.
  [[nodiscard]] const Json* find(std::string_view name) const;

  /// Adds a member to an object, or to nothing, which becomes one.
  Json& set(std::string name, Json value);
  /// Adds an element to an array, or to nothing, which becomes one.
  Json& add(Json value);

  bool operator==(const Json& other) const = default;

 private:
  void write(std::string& out) const;

  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> value_{nullptr};
};

}  // namespace tidings::support::aws
