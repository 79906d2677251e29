#include "attributes.hpp"

#include <algorithm>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

void append_counted(std::string& out, std::string_view part) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>((part.size() >> shift) & 0xffU);
  out += part;
}

bool is_number(const std::string& text) {
  std::size_t read = 0;
  try {
    (void)std::stod(text, &read);
  } catch (const std::exception&) {
    return false;
  }
  return read == text.size();
}

}  // namespace

std::string wrong_attribute(const std::string& name, const AwsAttribute& attribute) {
  const bool letters = std::all_of(name.begin(), name.end(), [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
           each == '-' || each == '_' || each == '.';
  });
  const std::string prefix = lower(name);
  if (name.empty() || name.size() > 256 || !letters || name.front() == '.' || name.back() == '.' ||
      name.find("..") != std::string::npos || prefix.starts_with("aws.") || prefix.starts_with("amazon.")) {
    return "The message attribute name '" + name + "' is invalid.";
  }
  const std::string kind = attribute.type.substr(0, attribute.type.find('.'));
  if (attribute.type.size() > 256 || (kind != "String" && kind != "Number" && kind != "Binary")) {
    return "The type of message (user) attribute '" + name +
           "' is invalid. You must use only the following supported type prefixes: Binary, Number, String.";
  }
  if (attribute.value.empty()) return "Message (user) attribute '" + name + "' must contain a non-empty value.";
  if (kind == "Number" && !is_number(attribute.value))
    return "Could not cast message (user) attribute '" + name + "' value to number.";
  if (kind == "String" && !acceptable_characters(attribute.value))
    return "Message (user) attribute '" + name + "' contains invalid characters.";
  return {};
}

std::size_t size_of(const MessageAttributes& attributes) {
  std::size_t size = 0;
  for (const auto& [name, attribute] : attributes) size += name.size() + attribute.type.size() + attribute.value.size();
  return size;
}

// Sorted by name: each part with its length before it, and a byte that tells text from bytes.
std::string md5_of(const MessageAttributes& attributes) {
  std::string bytes;
  for (const auto& [name, attribute] : attributes) {
    append_counted(bytes, name);
    append_counted(bytes, attribute.type);
    bytes += is_binary(attribute) ? '\x02' : '\x01';
    append_counted(bytes, attribute.value);
  }
  return md5(bytes);
}

}  // namespace tidings::support::aws
