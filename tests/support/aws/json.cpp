#include "json.hpp"

#include <simdjson.h>

#include <array>
#include <cmath>
#include <cstdio>

namespace tidings::support::aws {
namespace {

Json tree_of(const simdjson::dom::element& element) {
  switch (element.type()) {
    case simdjson::dom::element_type::ARRAY: {
      Json::Array elements;
      for (const simdjson::dom::element each : simdjson::dom::array(element)) elements.push_back(tree_of(each));
      return Json(std::move(elements));
    }
    case simdjson::dom::element_type::OBJECT: {
      Json::Object members;
      for (const auto& each : simdjson::dom::object(element))
        members.emplace_back(std::string(each.key), tree_of(each.value));
      return Json(std::move(members));
    }
    case simdjson::dom::element_type::INT64:
      return Json(std::int64_t(element));
    case simdjson::dom::element_type::UINT64:
      return Json(static_cast<double>(std::uint64_t(element)));
    case simdjson::dom::element_type::DOUBLE:
      return Json(double(element));
    case simdjson::dom::element_type::STRING:
      return Json(std::string(std::string_view(element)));
    case simdjson::dom::element_type::BOOL:
      return Json(bool(element));
    case simdjson::dom::element_type::NULL_VALUE:
      break;
  }
  return {};
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char each : text) {
    if (each == '"' || each == '\\') {
      out += '\\';
      out += each;
    } else if (static_cast<unsigned char>(each) < 0x20) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(each));
      out += escape.data();
    } else {
      out += each;
    }
  }
  out += '"';
}

}  // namespace

std::optional<Json> Json::parse(std::string_view text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(text.data(), text.size(), true).get(root) != simdjson::SUCCESS) return std::nullopt;
  return tree_of(root);
}

std::string Json::text() const {
  std::string out;
  write(out);
  return out;
}

std::optional<double> Json::number() const {
  if (const std::int64_t* whole = integer()) return static_cast<double>(*whole);
  if (const double* real = std::get_if<double>(&value_)) return *real;
  return std::nullopt;
}

const Json* Json::find(std::string_view name) const {
  if (const Object* all = members()) {
    for (const auto& [key, value] : *all) {
      if (key == name) return value.is_null() ? nullptr : &value;
    }
  }
  return nullptr;
}

Json& Json::set(std::string name, Json value) {
  if (members() == nullptr) value_ = Object{};
  std::get<Object>(value_).emplace_back(std::move(name), std::move(value));
  return *this;
}

Json& Json::add(Json value) {
  if (elements() == nullptr) value_ = Array{};
  std::get<Array>(value_).push_back(std::move(value));
  return *this;
}

void Json::write(std::string& out) const {
  bool first = true;
  if (const bool* truth = boolean()) {
    out += *truth ? "true" : "false";
  } else if (const std::int64_t* whole = integer()) {
    out += std::to_string(*whole);
  } else if (const double* real = std::get_if<double>(&value_)) {
    std::array<char, 32> digits{};
    std::snprintf(digits.data(), digits.size(), "%.17g", *real);
    out += digits.data();
  } else if (const std::string* characters = string()) {
    write_string(out, *characters);
  } else if (const Array* list = elements()) {
    out += '[';
    for (const Json& each : *list) {
      if (!std::exchange(first, false)) out += ',';
      each.write(out);
    }
    out += ']';
  } else if (const Object* all = members()) {
    out += '{';
    for (const auto& [name, value] : *all) {
      if (!std::exchange(first, false)) out += ',';
      write_string(out, name);
      out += ':';
      value.write(out);
    }
    out += '}';
  } else {
    out += "null";
  }
}

}  // namespace tidings::support::aws
