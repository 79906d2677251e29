// One strict walk over JSON text, token by token: what validation and decoding share, so that a text is walked once.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/json_text.hpp"

namespace tidings::core {

/// What ends a plain run in a string: quote, backslash, control characters.
[[nodiscard]] constexpr bool ends_plain_run(char c) noexcept {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}

/// Eight bytes at a time, on any machine.
struct PlainWord {
  static constexpr std::size_t width = 8;
  /// How many of `width` bytes stand before the first that ends a plain run; `width` when none does. `high` becomes
  /// other than 0 when one of these is beyond ASCII, and perhaps when one behind them is.
  static std::size_t count(const char* from, unsigned& high) noexcept {
    constexpr std::uint64_t each_byte = 0x0101010101010101, high_bits = 0x8080808080808080;
    std::uint64_t word = 0;
    std::memcpy(&word, from, sizeof word);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    high |= (word & high_bits) != 0 ? 1U : 0U;
    // A borrow may mark bytes behind a stop, never before the first.
    const std::uint64_t found =
        (word - each_byte * 0x20) | ((word ^ each_byte * '"') - each_byte) | ((word ^ each_byte * '\\') - each_byte);
    return static_cast<std::size_t>(std::countr_zero(found & ~word & high_bits)) / 8;
  }
};

#ifdef __SSE2__
/// The same for sixteen.
struct PlainVector {
  static constexpr std::size_t width = 16;
  static std::size_t count(const char* from, unsigned& high) noexcept {
    __m128i block;
    std::memcpy(&block, from, sizeof block);
    const __m128i last_control = _mm_set1_epi8(0x1f);
    const __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(block, last_control), last_control);
    const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    const __m128i slash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    const auto stops = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, slash))));
    const auto plain = static_cast<unsigned>(std::countr_zero(stops | 0x10000U));
    high |= static_cast<unsigned>(_mm_movemask_epi8(block)) & ((1U << plain) - 1);
    return plain;
  }
};
using PlainRun = PlainVector;
#else
using PlainRun = PlainWord;
#endif

/// Whether `size` bytes are the same. Names are short: a call would cost more than comparing them.
[[nodiscard]] inline bool same_bytes(const char* a, const char* b, std::size_t size) noexcept {
  const auto same = [&](auto word, std::size_t at) {
    auto other = word;
    std::memcpy(&word, a + at, sizeof word);
    std::memcpy(&other, b + at, sizeof other);
    return word == other;
  };
  if (size > 16) return std::memcmp(a, b, size) == 0;
  // The second word overlaps the first.
  if (size >= 8) return same(std::uint64_t{}, 0) && same(std::uint64_t{}, size - 8);
  if (size >= 4) return same(std::uint32_t{}, 0) && same(std::uint32_t{}, size - 4);
  for (std::size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

/// Whether nothing in `text` ends a plain run. `high` becomes other than 0 when there may be bytes beyond ASCII; it
/// says nothing of what stands behind a byte that does end one.
[[nodiscard]] inline bool is_plain(std::string_view text, unsigned& high) noexcept {
  if (text.size() >= PlainRun::width) {
    const char* const last = text.data() + text.size() - PlainRun::width;
    for (const char* at = text.data(); at < last; at += PlainRun::width) {
      if (PlainRun::count(at, high) < PlainRun::width) return false;
    }
    // Overlaps the one before.
    return PlainRun::count(last, high) == PlainRun::width;
  }
  if (text.size() >= PlainWord::width) {
    const bool front = PlainWord::count(text.data(), high) == PlainWord::width;
    return PlainWord::count(text.data() + text.size() - PlainWord::width, high) == PlainWord::width && front;
  }
  // Filled up with what is plain.
  char word[PlainWord::width] = {'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'};
  if (!text.empty()) std::memcpy(word, text.data(), text.size());
  return PlainWord::count(word, high) == PlainWord::width;
}

/// Whether two of these are equal, and then one of them; empty data() otherwise. Sorts them where they are many, so
/// that no input makes this slow.
[[nodiscard]] std::string_view find_twice(std::string_view* first, std::size_t count);

/// A place in a text that moves on token by token. Members that return a `const char*` return what is wrong, as
/// messages say it, or null; the place is then that of the fault.
class JsonScan {
 public:
  /// The fault of what is nested too deeply, for whoever wants to name the limit.
  static constexpr std::string_view too_deep = "nested too deeply";

  struct String {
    std::string_view body{};  ///< Between the quotes, escapes and all.
    bool escaped = false;     ///< There are escapes, which nobody has looked at.
  };

  /// `behind`: so many bytes behind the text can be read too. `distinct`: skip() refuses duplicate keys.
  JsonScan(std::string_view text, std::size_t behind, bool distinct) noexcept
      : at_(text.data()), end_(at_ + text.size()), readable_(end_ + behind), distinct_(distinct) {}

  [[nodiscard]] const char* at() const noexcept { return at_; }
  [[nodiscard]] bool ended() const noexcept { return at_ == end_; }
  [[nodiscard]] bool distinct() const noexcept { return distinct_; }
  /// The byte here; 0 at the end.
  [[nodiscard]] char peek() const noexcept { return byte(at_); }
  [[nodiscard]] char byte(const char* at) const noexcept { return at == end_ ? '\0' : *at; }
  void step() noexcept { ++at_; }
  /// Everything from `from` to the end.
  [[nodiscard]] std::string_view rest(const char* from) const noexcept {
    return {from, static_cast<std::size_t>(end_ - from)};
  }
  void space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  /// Goes past `expected`, which was known to be likely; false when it is not here.
  bool take(char expected) noexcept {
    if (at_ == end_ || *at_ != expected) return false;
    ++at_;
    return true;
  }

  /// Goes past the string whose opening quote is here.
  [[nodiscard]] const char* string(String& out) noexcept {
    const char* const first = at_ + 1;
    const char* at = first;
    unsigned high = 0;
    out.escaped = false;
    for (;;) {
      at = plain(at, high);
      if (at >= end_) return fault(end_, "the text ends inside a string");
      if (*at == '"') break;
      if (*at != '\\') return fault(at, "a control character stands in a string; escape it");
      out.escaped = true;
      if (end_ - at >= 2) high |= static_cast<unsigned char>(*++at) & 0x80U;
      ++at;
    }
    out.body = {first, static_cast<std::size_t>(at - first)};
    if (high != 0 && !is_utf8(out.body)) return fault(at, "a string is not UTF-8; convert it");
    at_ = at + 1;
    return nullptr;
  }
  /// Goes past the member's name `name`, without an escape, and its colon; false, and nothing is changed, when
  /// something else is here.
  bool take_name(std::string_view name) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < name.size() + 3 || *at_ != '"') return false;
    const char* const behind = at_ + 1 + name.size();
    if (behind[0] != '"' || behind[1] != ':' || !same_bytes(at_ + 1, name.data(), name.size())) return false;
    at_ = behind + 2;
    return true;
  }
  /// Goes past the string whose opening quote is here, whatever stands in it; false when it does not end.
  [[nodiscard]] bool glance() noexcept {
    unsigned high = 0;
    for (const char* at = at_ + 1; (at = plain(at, high)) < end_; at += *at == '\\' && end_ - at >= 2 ? 2 : 1) {
      if (*at != '"') continue;
      at_ = at + 1;
      return true;
    }
    return false;
  }
  /// Goes past `expected`, a word that stands for a value.
  [[nodiscard]] const char* word(std::string_view expected) noexcept;
  /// Goes past a number of any length. `integer`: it has neither a fraction nor an exponent.
  [[nodiscard]] const char* number(bool& integer) noexcept;
  /// Whether a number that is no integer is too large for a double. One that is too small is merely zero.
  [[nodiscard]] static bool overflows(std::string_view number) noexcept;
  /// Goes past a value of any kind, in which at most `depth` objects and arrays stand in each other. Integers of any
  /// length pass as they are, whoever reads one says whether it fits; other numbers beyond a double are refused.
  [[nodiscard]] const char* skip(std::size_t depth);

  /// Where in the value the last skip() was when it found a fault: a JSON pointer, empty for the value itself.
  [[nodiscard]] static std::string fault_pointer();

 private:
  const char* plain(const char* at, unsigned& high) const noexcept {
    for (;;) {
      if (static_cast<std::size_t>(readable_ - at) < PlainRun::width) [[unlikely]]
        return plain_slow(at, high);
      const std::size_t count = PlainRun::count(at, high);
      at += count;
      if (count < PlainRun::width) return at;
      if (at >= end_) return end_;
    }
  }
  const char* plain_slow(const char* at, unsigned& high) const noexcept {
    while (at < end_ && !ends_plain_run(*at)) high |= static_cast<unsigned char>(*at++) & 0x80U;
    return at;
  }
  const char* fault(const char* at, const char* why) noexcept {
    at_ = at;
    return why;
  }
  [[nodiscard]] const char* digits() noexcept;
  struct Open;
  [[nodiscard]] static Open& open();
  [[nodiscard]] const char* scalar_or_open(Open& state, std::size_t depth);
  [[nodiscard]] const char* next(Open& state, std::size_t depth);
  [[nodiscard]] const char* member_name(Open& state);
  [[nodiscard]] const char* close(Open& state);

  const char* at_;
  const char* end_;
  const char* readable_;
  bool distinct_;
};

}  // namespace tidings::core
