#include "core/envelope_member.hpp"

#include <tidings/event.hpp>

namespace tidings::core {
namespace {

// Returns the place behind the string whose opening quote is at `at`.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

}  // namespace

namespace {

// The string at the top level under `name`, with its quotes; empty when there is none.
std::string_view find_token(std::string_view envelope, std::string_view name) noexcept {
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
      return token;
    }
  }
  return {};
}

}  // namespace

std::string_view envelope_text(std::string_view envelope, std::string_view name) noexcept {
  const std::string_view token = find_token(envelope, name);
  if (token.size() < 2 || token.find('\\') != std::string_view::npos) return {};
  return token.substr(1, token.size() - 2);
}

std::string envelope_member(std::string_view envelope, std::string_view name) {
  const std::string_view token = find_token(envelope, name);
  if (token.size() < 2) return {};
  if (token.find('\\') == std::string_view::npos) return std::string(token.substr(1, token.size() - 2));
  try {
    return read_json<std::string>(token);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace tidings::core
