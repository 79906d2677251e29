#include "transport/sqlite/envelope.hpp"

#include <tidings/event.hpp>

namespace tidings::transport::sqlite {
namespace {

// Returns the place behind the string whose opening quote is at `at`.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

}  // namespace

std::string envelope_member(std::string_view envelope, std::string_view name) {
  int depth = 0;
  bool want_key = false;
  std::string_view key;
  for (std::size_t at = 0; at < envelope.size();) {
    const char c = envelope[at];
    if (c != '"') {
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      if (depth == 1 && (c == '{' || c == ',')) want_key = true;
      if (c == ':') want_key = false;
      ++at;
      continue;
    }
    const std::size_t end = skip_string(envelope, at);
    if (end > envelope.size()) return {};
    const std::string_view token = envelope.substr(at, end - at);
    at = end;
    if (depth != 1) continue;
    if (want_key) {
      key = token.substr(1, token.size() - 2);
    } else if (key == name) {
      const std::string_view value = token.substr(1, token.size() - 2);
      if (value.find('\\') == std::string_view::npos) return std::string(value);
      try {
        return read_json<std::string>(token);
      } catch (const Error&) {
        return {};
      }
    }
  }
  return {};
}

}  // namespace tidings::transport::sqlite
