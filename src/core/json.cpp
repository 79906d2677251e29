#include <tidings/json.hpp>

#include <algorithm>
#include <cstring>

#include <tidings/error.hpp>

#include "core/json_scan.hpp"
#include "core/json_text.hpp"

namespace tidings {
namespace {

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
  unsigned high = 0;
  const bool clean = core::is_plain(value, high);
  constexpr std::size_t longest_copied_twice = 64;
  if (clean && high == 0 && value.size() <= longest_copied_twice) {
    // Grows once: what is short is put together before.
    char text[longest_copied_twice + 2];
    text[0] = '"';
    value.copy(text + 1, value.size());
    text[value.size() + 1] = '"';
    out.append(text, value.size() + 2);
    return;
  }
  if ((high != 0 || !clean) && !core::is_utf8(value)) {
    throw Error(ErrorCode::invalid, "the text \"" + core::for_message(value) +
                                        "\" is not UTF-8, which JSON demands; convert it, or write it in base64");
  }
  if (clean) {
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
