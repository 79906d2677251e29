#include "core/json_scan.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <deque>

namespace tidings::core {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

}  // namespace

bool JsonScan::overflows(std::string_view text) noexcept {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc::result_out_of_range) return false;
  // from_chars says "out of range" of both; the decimal point's place tells which. Leading zeros do not count.
  const auto mark = text.find_first_of("eE");
  std::int64_t exponent = 0;
  if (mark != std::string_view::npos) {
    std::string_view digits = text.substr(mark + 1);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    if (parsed.ec != std::errc{}) return !digits.starts_with('-');
    exponent = std::clamp<std::int64_t>(exponent, -1'000'000'000, 1'000'000'000);
  }
  const std::string_view mantissa = text.substr(0, mark);
  const auto point = std::min(mantissa.find('.'), mantissa.size());
  const auto significant = mantissa.find_first_of("123456789");
  if (significant == std::string_view::npos) return false;
  return exponent + static_cast<std::int64_t>(point) - static_cast<std::int64_t>(significant) > 0;
}

/// What a skip() remembers of what is open. Kept by the thread, so that a walk allocates nothing as a rule.
struct JsonScan::Open {
  /// An object or array that is not closed yet.
  struct Level {
    bool object = false;
    bool fresh = true;          ///< Nothing in it yet.
    std::size_t index = 0;      ///< Of the element that is being read.
    std::size_t first_key = 0;  ///< Where its keys begin in `keys`.
  };
  std::vector<Level> levels{};
  std::vector<std::string_view> keys{};
  std::deque<std::string> unescaped{};  ///< What `keys` points to where that is not the text.
  std::string scratch{}, duplicate{};

  void clear() {
    levels.clear();
    keys.clear();
    if (!unescaped.empty()) unescaped.clear();
    // One huge text must not keep its memory for ever.
    if (keys.capacity() > 4096) keys.shrink_to_fit();
    if (scratch.capacity() > 4096) std::string().swap(scratch);
  }
};

JsonScan::Open& JsonScan::open() {
  thread_local Open of_thread;
  return of_thread;
}

std::string_view find_twice(std::string_view* first, std::size_t count) {
  if (count <= 12) {
    for (std::size_t i = 1; i < count; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (first[i] == first[j]) return first[i];
      }
    }
    return {};
  }
  std::sort(first, first + count);
  const auto same = std::adjacent_find(first, first + count);
  return same == first + count ? std::string_view{} : *same;
}

const char* JsonScan::word(std::string_view expected) noexcept {
  if (!rest(at_).starts_with(expected)) return "expected a value";
  at_ += expected.size();
  const bool goes_on = at_ != end_ && (std::isalnum(static_cast<unsigned char>(*at_)) != 0 || *at_ == '_');
  return goes_on ? "expected a value" : nullptr;
}

const char* JsonScan::digits() noexcept {
  if (!is_digit(peek())) return "a number lacks a digit";
  while (at_ != end_ && is_digit(*at_)) ++at_;
  return nullptr;
}

const char* JsonScan::number(bool& integer) noexcept {
  const char* const first = at_;
  integer = true;
  if (peek() == '-') ++at_;
  if (at_ == first && !is_digit(peek())) return "expected a value";
  if (peek() == '0') {
    ++at_;
    if (is_digit(peek())) return "a number begins with 0";
  } else if (const char* const why = digits()) {
    return why;
  }
  if (peek() == '.') {
    integer = false;
    ++at_;
    if (const char* const why = digits()) return why;
  }
  if (peek() == 'e' || peek() == 'E') {
    integer = false;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    if (const char* const why = digits()) return why;
  }
  return nullptr;
}

const char* JsonScan::skip(std::size_t depth) {
  Open& state = open();
  state.clear();
  if (const char* const why = scalar_or_open(state, depth)) return why;
  while (!state.levels.empty()) {
    if (const char* const why = next(state, depth)) return why;
  }
  return nullptr;
}

const char* JsonScan::scalar_or_open(Open& state, std::size_t depth) {
  switch (peek()) {
    case '{':
    case '[':
      if (state.levels.size() >= depth) return too_deep.data();
      state.levels.push_back({.object = *at_ == '{', .fresh = true, .index = 0, .first_key = state.keys.size()});
      ++at_;
      return nullptr;
    case '"': {
      String found;
      if (const char* const why = string(found)) return why;
      if (!found.escaped || unescape(found.body, state.scratch)) return nullptr;
      --at_;
      return "a string holds an escape that is none, or half a surrogate pair";
    }
    case 't':
      return word("true");
    case 'f':
      return word("false");
    case 'n':
      return word("null");
    default: {
      if (at_ == end_) return "the text ends where a value should stand";
      const char* const first = at_;
      bool integer = true;
      if (const char* const why = number(integer)) return why;
      if (integer || !overflows({first, static_cast<std::size_t>(at_ - first)})) return nullptr;
      return "a number is beyond the range of a double; write it as a string";
    }
  }
}

// Reads one member, element or closing bracket of the innermost level.
const char* JsonScan::next(Open& state, std::size_t depth) {
  Open::Level& level = state.levels.back();
  space();
  if (peek() == (level.object ? '}' : ']')) return close(state);
  if (!level.fresh) {
    if (at_ == end_) return level.object ? "the text ends inside an object" : "the text ends inside an array";
    if (*at_ != ',') return level.object ? "expected , or } after a member" : "expected , or ] after an element";
    ++at_;
    space();
    ++level.index;
  }
  level.fresh = false;
  if (level.object) {
    if (const char* const why = member_name(state)) return why;
  }
  return scalar_or_open(state, depth);
}

const char* JsonScan::member_name(Open& state) {
  if (peek() != '"') return "expected a member's name in quotes";
  String name;
  if (const char* const why = string(name)) return why;
  if (name.escaped) {
    if (!unescape(name.body, state.scratch)) {
      --at_;
      return "a string holds an escape that is none, or half a surrogate pair";
    }
    name.body = state.unescaped.emplace_back(state.scratch);
  }
  state.keys.push_back(name.body);
  space();
  if (!take(':')) return "expected : after the member's name";
  space();
  return nullptr;
}

const char* JsonScan::close(Open& state) {
  const Open::Level level = state.levels.back();
  if (level.object) {
    std::string_view twice;
    if (distinct_) twice = find_twice(state.keys.data() + level.first_key, state.keys.size() - level.first_key);
    if (twice.data() != nullptr) {
      state.duplicate = "duplicate key \"" + for_message(twice) + '"';
      state.keys.resize(level.first_key);  // The path names the object, not its last member.
      return state.duplicate.c_str();
    }
    state.keys.resize(level.first_key);
  }
  state.levels.pop_back();
  ++at_;
  return nullptr;
}

std::string JsonScan::fault_pointer() {
  const Open& state = open();
  std::string path;
  for (std::size_t i = 0; i < state.levels.size(); ++i) {
    const Open::Level& level = state.levels[i];
    if (!level.object) {
      if (!level.fresh) append_pointer(path, std::to_string(level.index));
      continue;
    }
    // The member that is being read is the last key of the level, which ends where the next object's keys begin.
    std::size_t last = state.keys.size();
    for (std::size_t j = i + 1; j < state.levels.size(); ++j) {
      if (state.levels[j].object) {
        last = state.levels[j].first_key;
        break;
      }
    }
    if (last > level.first_key) append_pointer(path, std::string(state.keys[last - 1]));
  }
  return path;
}

}  // namespace tidings::core
