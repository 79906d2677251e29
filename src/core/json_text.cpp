#include "core/json_text.hpp"

#include <simdjson.h>

#include <cstdint>

namespace tidings::core {
namespace {

/// Reads four hexadecimal digits; negative when they are not there.
std::int32_t hex4(std::string_view text) noexcept {
  if (text.size() < 4) return -1;
  std::int32_t value = 0;
  for (char c : text.substr(0, 4)) {
    if (c >= '0' && c <= '9') {
      value = value << 4 | (c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | (c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      value = value << 4 | (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Reads what follows `\u`, with the second half of a pair, and takes it off `body`.
bool take_code_point(std::string_view& body, std::string& out) {
  const std::int32_t first = hex4(body);
  if (first < 0) return false;
  body.remove_prefix(4);
  auto code = static_cast<std::uint32_t>(first);
  if (code >= 0xDC00 && code <= 0xDFFF) return false;
  if (code >= 0xD800 && code <= 0xDBFF) {
    if (!body.starts_with("\\u")) return false;
    const std::int32_t second = hex4(body.substr(2));
    if (second < 0xDC00 || second > 0xDFFF) return false;
    body.remove_prefix(6);
    code = 0x10000 + ((code - 0xD800) << 10) + (static_cast<std::uint32_t>(second) - 0xDC00);
  }
  append_utf8(out, code);
  return true;
}

}  // namespace

bool unescape(std::string_view body, std::string& out) {
  out.clear();
  for (;;) {
    const auto slash = body.find('\\');
    out.append(body.substr(0, slash));
    if (slash == std::string_view::npos) return true;
    if (slash + 1 >= body.size()) return false;
    const char kind = body[slash + 1];
    body.remove_prefix(slash + 2);
    switch (kind) {
      case '"':
      case '\\':
      case '/':
        out += kind;
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u':
        if (!take_code_point(body, out)) return false;
        break;
      default:
        return false;
    }
  }
}

bool is_utf8(std::string_view text) noexcept { return simdjson::validate_utf8(text.data(), text.size()); }

std::string for_message(std::string_view text, std::size_t most) {
  std::string out;
  std::size_t end = text.size() <= most ? text.size() : most;
  // Not in the middle of a character.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  for (char c : text.substr(0, end)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (!is_utf8(out)) {
    for (char& c : out) c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
  }
  if (end < text.size()) out += "…";
  return out;
}

void append_pointer(std::string& out, std::string_view key) {
  out += '/';
  for (char c : for_message(key, 200)) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
}

}  // namespace tidings::core
