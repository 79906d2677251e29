#include "filter.hpp"

#include <algorithm>

namespace tidings::support::aws {
namespace {

constexpr std::size_t most_keys = 5, most_combinations = 150;

bool compares(const std::string& sign) {
  return sign == "=" || sign == "<" || sign == "<=" || sign == ">" || sign == ">=";
}

bool scalar(const Json& value) { return value.members() == nullptr && value.elements() == nullptr; }

std::string wrong_numeric(const Json& range) {
  const Json::Array* parts = range.elements();
  if (parts == nullptr || parts->empty() || parts->size() % 2 != 0 || parts->size() > 4)
    return "Value of numeric must be a list of one or two comparisons";
  for (std::size_t i = 0; i < parts->size(); i += 2) {
    if ((*parts)[i].string() == nullptr || !compares(*(*parts)[i].string()) || !(*parts)[i + 1].number())
      return "Unrecognized numeric range operator or number";
  }
  return {};
}

std::string wrong_condition(const Json& condition) {
  if (condition.elements() != nullptr) return "Match value must be String, number, true, false, or null";
  if (scalar(condition)) return {};
  if (condition.members()->size() != 1) return "Only one key allowed in match expression";
  const auto& [name, value] = condition.members()->front();
  if (name == "exists") return value.boolean() ? "" : "exists match pattern must be either true or false.";
  if (name == "prefix" || name == "suffix" || name == "equals-ignore-case")
    return value.string() ? "" : name + " match pattern must be a string";
  if (name == "numeric") return wrong_numeric(value);
  if (name == "anything-but") {
    if (value.members() != nullptr) {
      const Json* prefix = value.find("prefix");
      return prefix != nullptr && prefix->string() != nullptr ? "" : "Unsupported anything-but pattern";
    }
    const bool scalars =
        value.elements() == nullptr ||
        (!value.elements()->empty() && std::all_of(value.elements()->begin(), value.elements()->end(), scalar));
    return scalars ? "" : "Value of anything-but must be an array or single string/number value.";
  }
  return "Unrecognized match type " + name;
}

/// What an attribute is compared as: one value, or those of an array.
Json::Array values_of(const AwsAttribute& attribute) {
  if (attribute.type.starts_with("Number")) return {Json(std::stod(attribute.value))};
  if (attribute.type == "String.Array") {
    const auto parsed = Json::parse(attribute.value);
    return parsed && parsed->elements() != nullptr ? *parsed->elements() : Json::Array{};
  }
  return {Json(attribute.value)};
}

bool equal(const Json& wanted, const Json& value) {
  if (wanted.number() || value.number()) return wanted.number() == value.number();
  return wanted == value;
}

bool in_range(const Json::Array& parts, double value) {
  for (std::size_t i = 0; i < parts.size(); i += 2) {
    const std::string& sign = *parts[i].string();
    const double bound = *parts[i + 1].number();
    const bool holds = sign == "="    ? value == bound
                       : sign == "<"  ? value < bound
                       : sign == "<=" ? value <= bound
                       : sign == ">"  ? value > bound
                                      : value >= bound;
    if (!holds) return false;
  }
  return true;
}

std::string in_lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char each) { return static_cast<char>(std::tolower(each)); });
  return text;
}

bool fits(const Json& condition, const Json& value) {
  if (scalar(condition)) return equal(condition, value);
  const auto& [name, wanted] = condition.members()->front();
  const std::string* text = value.string();
  if (name == "exists") return *wanted.boolean();
  if (name == "prefix") return text != nullptr && text->starts_with(*wanted.string());
  if (name == "suffix") return text != nullptr && text->ends_with(*wanted.string());
  if (name == "equals-ignore-case") return text != nullptr && in_lower_case(*text) == in_lower_case(*wanted.string());
  if (name == "numeric") return value.number() && in_range(*wanted.elements(), *value.number());
  if (wanted.members() != nullptr) return text != nullptr && !text->starts_with(*wanted.find("prefix")->string());
  if (wanted.elements() == nullptr) return !equal(wanted, value);
  return std::none_of(wanted.elements()->begin(), wanted.elements()->end(),
                      [&](const Json& each) { return equal(each, value); });
}

bool wants_absence(const Json& condition) {
  const Json* exists = condition.find("exists");
  return exists != nullptr && !*exists->boolean();
}

}  // namespace

std::string wrong_filter(const std::string& policy) {
  const auto parsed = Json::parse(policy);
  if (!parsed || parsed->members() == nullptr) return "failed to parse JSON. Filter policy is not an object";
  std::size_t combinations = 1;
  for (const auto& [key, conditions] : *parsed->members()) {
    if (conditions.elements() == nullptr) return "\"" + key + "\" must be an object or an array";
    if (conditions.elements()->empty()) return "Empty arrays are not allowed";
    for (const Json& each : *conditions.elements()) {
      if (std::string wrong = wrong_condition(each); !wrong.empty()) return wrong;
    }
    combinations *= conditions.elements()->size();
  }
  if (parsed->members()->size() > most_keys) return "Filter policy can not have more than 5 keys";
  if (combinations > most_combinations) return "Filter policy is too complex";
  return {};
}

// Every key must be met by one of its conditions.
bool accepts(const std::string& policy, const MessageAttributes& attributes) {
  const auto parsed = Json::parse(policy);
  return std::all_of(parsed->members()->begin(), parsed->members()->end(), [&](const Json::Member& key) {
    const Json::Array& conditions = *key.second.elements();
    const auto attribute = attributes.find(key.first);
    if (attribute == attributes.end()) return std::any_of(conditions.begin(), conditions.end(), wants_absence);
    const Json::Array values = values_of(attribute->second);
    return std::any_of(conditions.begin(), conditions.end(), [&](const Json& condition) {
      return std::any_of(values.begin(), values.end(), [&](const Json& value) { return fits(condition, value); });
    });
  });
}

}  // namespace tidings::support::aws
