#include <tidings/json.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include <tidings/error.hpp>

#include "core/json_text.hpp"

namespace tidings {
namespace {

constexpr std::uint64_t each_byte = 0x0101010101010101;
constexpr std::uint64_t high_bits = 0x8080808080808080;

/// Marks the bytes of a word that a JSON string cannot hold as they are. Exact for ASCII, which the caller makes sure
/// of.
std::uint64_t must_escape(std::uint64_t word) noexcept {
  const std::uint64_t control = word - each_byte * 0x20;
  const std::uint64_t quote = (word ^ each_byte * '"') - each_byte;
  const std::uint64_t slash = (word ^ each_byte * '\\') - each_byte;
  return (control | quote | slash) & ~word & high_bits;
}

struct Scan {
  bool ascii = true;
  bool clean = true;
};

std::uint64_t load8(const char* from) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Up to seven bytes as a word; what is not there counts as a letter.
std::uint64_t load_short(const char* from, std::size_t size) noexcept {
  std::uint64_t word = each_byte * 'a';
  for (std::size_t i = 0; i < size; ++i) word = word << 8 | static_cast<unsigned char>(from[i]);
  return word;
}

/// Looks at eight bytes at a time for what needs more than copying. The last word overlaps the one before.
Scan scan(std::string_view text) noexcept {
  if (text.size() < 8) {
    const std::uint64_t word = load_short(text.data(), text.size());
    return {(word & high_bits) == 0, must_escape(word) == 0};
  }
  std::uint64_t high = load8(text.data() + text.size() - 8);
  std::uint64_t special = must_escape(high);
  for (std::size_t i = 0; i + 8 < text.size(); i += 8) {
    const std::uint64_t word = load8(text.data() + i);
    high |= word;
    special |= must_escape(word);
  }
  return {(high & high_bits) == 0, special == 0};
}

void append_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += digits[static_cast<unsigned char>(c) >> 4];
          out += digits[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view value) {
  const Scan found = scan(value);
  if (!found.ascii && !core::is_utf8(value)) {
    throw Error(ErrorCode::invalid, "the text \"" + core::for_message(value) +
                                        "\" is not UTF-8, which JSON demands; convert it, or write it in base64");
  }
  if (found.clean) {
    // Grows once: the quotes at both ends are there already.
    const std::size_t before = out.size();
    out.append(value.size() + 2, '"');
    value.copy(out.data() + before + 1, value.size());
    return;
  }
  out += '"';
  append_escaped(out, value);
  out += '"';
}

Json Json::string(std::string_view value) {
  std::string text;
  append_json_string(text, value);
  return Json(std::move(text));
}

std::optional<std::string> Json::as_string() const {
  constexpr std::string_view space = " \t\n\r";
  std::string_view text = text_;
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(space) - first + 1);
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
  std::string out;
  if (!core::unescape(text.substr(1, text.size() - 2), out)) return std::nullopt;
  return out;
}

const Json* Fields::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const Member& member) { return member.first == name; });
  return found == members_.end() ? nullptr : &found->second;
}

std::optional<std::string> Fields::string(std::string_view name) const {
  const Json* const value = find(name);
  return value == nullptr ? std::nullopt : value->as_string();
}

Fields& Fields::set(std::string_view name, Json value) {
  for (Member& member : members_) {
    if (member.first != name) continue;
    member.second = std::move(value);
    return *this;
  }
  return append(name, std::move(value));
}

Fields& Fields::append(std::string_view name, Json value) {
  members_.emplace_back(std::string(name), std::move(value));
  return *this;
}

void Fields::erase(std::string_view name) {
  std::erase_if(members_, [&](const Member& member) { return member.first == name; });
}

}  // namespace tidings
