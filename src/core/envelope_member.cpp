#include "core/envelope_member.hpp"

#include <tidings/event.hpp>

#include "core/json_scan.hpp"

namespace tidings::core {
namespace {

// What find_token() finds where only strings stand before it and there is no space, which is how nearly all envelopes
// begin; empty where it is not found that way.
std::string_view find_early(std::string_view envelope, std::string_view name) noexcept {
  JsonScan scan(envelope, 0, false);
  if (!scan.take('{')) return {};
  do {
    const bool found = scan.take_name(name);
    if (!found && (scan.peek() != '"' || !scan.glance() || !scan.take(':'))) return {};
    const char* const begin = scan.at();
    if (scan.peek() != '"' || !scan.glance()) return {};
    if (found) return {begin, static_cast<std::size_t>(scan.at() - begin)};
  } while (scan.take(','));
  return {};
}

// The string at the top level under `name`, with its quotes; empty when there is none.
std::string_view find_token(std::string_view envelope, std::string_view name) noexcept {
  if (const std::string_view early = find_early(envelope, name); !early.empty()) return early;
  int depth = 0;
  bool want_key = false;
  std::string_view key;
  JsonScan scan(envelope, 0, false);
  while (!scan.ended()) {
    const char c = scan.peek();
    if (c != '"') {
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      if (depth == 1 && (c == '{' || c == ',')) want_key = true;
      if (c == ':') want_key = false;
      scan.step();
      continue;
    }
    const char* const begin = scan.at();
    if (!scan.glance()) return {};
    if (depth != 1) continue;
    const std::string_view token(begin, static_cast<std::size_t>(scan.at() - begin));
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
