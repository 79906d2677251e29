// A second validate_json(), byte by byte: what the library's faster one is compared with.
#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include "core/json_text.hpp"

namespace tidings::plain {

inline bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

class Validator {
 public:
  Validator(std::string_view text, const JsonLimits& limits)
      : text_(text),
        at_(text.data()),
        end_(text.data() + text.size()),
        depth_(limits.depth),
        utf8_(core::is_utf8(text)) {
    open_.reserve(8);
    keys_.reserve(24);
  }

  void run() {
    if (text_.starts_with("\xEF\xBB\xBF")) refuse("a byte order mark stands before the value; remove it");
    skip_space();
    value();
    while (!open_.empty()) next();
    skip_space();
    if (at_ != end_) refuse("something follows the value");
  }

 private:
  /// An object or array that is not closed yet.
  struct Level {
    bool object = false;
    bool fresh = true;          ///< Nothing in it yet.
    std::size_t index = 0;      ///< Of the element that is being read.
    std::size_t first_key = 0;  ///< Where its keys begin in keys_.
  };

  [[noreturn]] void refuse(const std::string& why) const {
    std::string path;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      const Level& level = open_[i];
      if (!level.object) {
        if (!level.fresh) core::append_pointer(path, std::to_string(level.index));
        continue;
      }
      // The member that is being read is the last key of the level, which ends where the next object's keys begin.
      std::size_t last = keys_.size();
      for (std::size_t j = i + 1; j < open_.size(); ++j) {
        if (open_[j].object) {
          last = open_[j].first_key;
          break;
        }
      }
      if (last > level.first_key) core::append_pointer(path, std::string(keys_[last - 1]));
    }
    throw Error(ErrorCode::invalid,
                (path.empty() ? "JSON" : path) + ": " + why + " (byte " + std::to_string(at_ - text_.data()) + ")");
  }

  void skip_space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  char peek() const noexcept { return at_ == end_ ? '\0' : *at_; }

  void value() {
    switch (peek()) {
      case '{':
        open(true);
        break;
      case '[':
        open(false);
        break;
      case '"':
        string();
        break;
      case 't':
        word("true");
        break;
      case 'f':
        word("false");
        break;
      case 'n':
        word("null");
        break;
      default:
        if (at_ == end_) refuse("the text ends where a value should stand");
        number();
    }
  }

  void open(bool object) {
    if (open_.size() >= depth_) refuse("nested deeper than " + std::to_string(depth_) + " levels; flatten the event");
    open_.push_back({.object = object, .fresh = true, .index = 0, .first_key = keys_.size()});
    ++at_;
  }

  void close() {
    const Level level = open_.back();
    if (level.object) {
      check_distinct(level.first_key);
      keys_.resize(level.first_key);
    }
    open_.pop_back();
    ++at_;
  }

  /// Reads one member, element or closing bracket of the innermost level.
  void next() {
    Level& level = open_.back();
    skip_space();
    const char closing = level.object ? '}' : ']';
    if (peek() == closing) return close();
    if (!level.fresh) {
      if (at_ == end_) refuse(level.object ? "the text ends inside an object" : "the text ends inside an array");
      if (*at_ != ',') refuse(level.object ? "expected , or } after a member" : "expected , or ] after an element");
      ++at_;
      skip_space();
      ++level.index;
    }
    level.fresh = false;
    if (level.object) member_name();
    value();
  }

  void member_name() {
    if (peek() != '"') refuse("expected a member's name in quotes");
    const std::string_view body = string();
    if (body.find('\\') == std::string_view::npos) {
      keys_.push_back(body);
    } else {
      std::string unescaped;
      // string() has seen that every escape is one.
      static_cast<void>(core::unescape(body, unescaped));
      keys_.push_back(unescaped_.emplace_back(std::move(unescaped)));
    }
    skip_space();
    if (peek() != ':') refuse("expected : after the member's name");
    ++at_;
    skip_space();
  }

  /// Reads a string; returns what stands between its quotes.
  std::string_view string() {
    const char* const first = ++at_;
    bool escaped = false;
    for (;;) {
      while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
      if (at_ == end_) refuse("the text ends inside a string");
      if (*at_ == '"') break;
      if (*at_ != '\\') refuse("a control character stands in a string; escape it");
      escaped = true;
      at_ += end_ - at_ >= 2 ? 2 : 1;
    }
    const std::string_view body(first, static_cast<std::size_t>(at_ - first));
    if (!utf8_ && !core::is_utf8(body)) refuse("a string is not UTF-8; convert it");
    if (escaped && !core::unescape(body, scratch_))
      refuse("a string holds an escape that is none, or half a surrogate pair");
    ++at_;
    return body;
  }

  void word(std::string_view expected) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) {
      refuse("expected a value");
    }
    at_ += expected.size();
    if (at_ != end_ && (std::isalnum(static_cast<unsigned char>(*at_)) != 0 || *at_ == '_')) refuse("expected a value");
  }

  void digits() {
    if (!is_digit(peek())) refuse("a number lacks a digit");
    while (at_ != end_ && is_digit(*at_)) ++at_;
  }

  void number() {
    const char* const first = at_;
    if (*at_ == '-') ++at_;
    if (at_ == first && !is_digit(*at_)) refuse("expected a value");
    if (peek() == '0') {
      ++at_;
      if (is_digit(peek())) refuse("a number begins with 0");
    } else {
      digits();
    }
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    // Integers of any length pass as they are; whoever reads one says whether it fits.
    if (!integer && overflows(first)) refuse("a number is beyond the range of a double; write it as a string");
  }

  /// Whether the number from `first` to here is too large for a double. One that is too small is merely zero.
  bool overflows(const char* first) const {
    double value = 0;
    const auto [stop, error] = std::from_chars(first, at_, value);
    if (error != std::errc::result_out_of_range) return false;
    // from_chars says "out of range" of both; the decimal point's place tells which. Leading zeros do not count.
    const std::string_view text(first, static_cast<std::size_t>(at_ - first));
    const auto mark = text.find_first_of("eE");
    std::int64_t exponent = 0;
    if (mark != std::string_view::npos) {
      std::string_view digits = text.substr(mark + 1);
      if (digits.starts_with('+')) digits.remove_prefix(1);
      const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
      if (parsed.ec != std::errc{}) return !digits.starts_with('-');
    }
    const std::string_view mantissa = text.substr(0, mark);
    const auto point = std::min(mantissa.find('.'), mantissa.size());
    const auto significant = mantissa.find_first_of("123456789");
    if (significant == std::string_view::npos) return false;
    return exponent + static_cast<std::int64_t>(point) - static_cast<std::int64_t>(significant) > 0;
  }

  /// Refuses two equal keys among those from `first` on. Few are compared in pairs, many are sorted: no input makes
  /// this slow.
  void check_distinct(std::size_t first) {
    const std::size_t count = keys_.size() - first;
    if (count < 2) return;
    if (count <= 12) {
      for (std::size_t i = first + 1; i < keys_.size(); ++i) {
        for (std::size_t j = first; j < i; ++j) {
          if (keys_[i] == keys_[j]) refuse_duplicate(keys_[i]);
        }
      }
      return;
    }
    std::sort(keys_.begin() + static_cast<std::ptrdiff_t>(first), keys_.end());
    const auto same = std::adjacent_find(keys_.begin() + static_cast<std::ptrdiff_t>(first), keys_.end());
    if (same != keys_.end()) refuse_duplicate(*same);
  }

  [[noreturn]] void refuse_duplicate(std::string_view key) {
    const std::string name = core::for_message(std::string(key));
    keys_.resize(open_.back().first_key);  // The path names the object, not its last member.
    refuse("duplicate key \"" + name + '"');
  }

  std::string_view text_;
  const char* at_;
  const char* end_;
  std::size_t depth_;
  bool utf8_;
  std::vector<Level> open_;
  std::vector<std::string_view> keys_;
  std::deque<std::string> unescaped_;  // What keys_ points to where that is not the text.
  std::string scratch_;
};

}  // namespace tidings::plain
