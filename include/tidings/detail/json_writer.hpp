// How values become JSON text: the part of the writer that knows no types. Not for applications.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <tidings/detail/json_reader.hpp>
#include <tidings/json.hpp>
#include <tidings/time.hpp>

namespace tidings::detail {

/// Objects and arrays around `data` in an envelope: what write_json() counts its own depth on.
inline constexpr std::size_t data_depth = 1;
/// What the reader allows, and the writer therefore keeps to.
inline constexpr std::size_t deepest = JsonLimits{}.depth;

/// Copies what is short, as nearly all parts are: a call would cost more. The second word overlaps the first.
inline void copy_short(char* to, const char* from, std::size_t size) noexcept {
  const auto copy_ends = [&](auto first) {
    auto last = first;
    std::memcpy(&first, from, sizeof first);
    std::memcpy(&last, from + size - sizeof last, sizeof last);
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + size - sizeof last, &last, sizeof last);
  };
  if (size > 16) {
    std::memcpy(to, from, size);
  } else if (size >= 8) {
    copy_ends(std::uint64_t{});
  } else if (size >= 4) {
    copy_ends(std::uint32_t{});
  } else {
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
  }
}

/// Text that is put together from many small parts on the stack and appended at once: growing a std::string costs more
/// than copying what is short. What is added is only known to stand in the text after flush().
class Gathered {
 public:
  explicit Gathered(std::string& out) noexcept : out_(out) {}
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;

  /// Adds `text` as it is.
  void raw(std::string_view text) {
    if (make_room(text.size())) {
      put(text);
    } else {
      out_.append(text);
    }
  }
  /// Adds a JSON string, as append_json_string() does.
  void string(std::string_view value);
  /// The same of a text in which nothing needs an escape.
  void quoted(std::string_view text);
  void number(std::int64_t value);
  void number(std::uint64_t value);
  /// The text, for whoever appends to it himself.
  [[nodiscard]] std::string& flush() {
    out_.append(text_, used_);
    used_ = 0;
    return out_;
  }

 private:
  /// Room for `size` characters; false when there is never as much.
  [[nodiscard]] bool make_room(std::size_t size) {
    if (size <= sizeof text_ - used_) return true;
    (void)flush();
    return size <= sizeof text_;
  }
  void put(char c) noexcept { text_[used_++] = c; }
  void put(std::string_view text) noexcept {
    copy_short(text_ + used_, text.data(), text.size());
    used_ += text.size();
  }
  template <class Number>
  void put_number(Number value);

  std::string& out_;
  std::size_t used_ = 0;
  char text_[512];
};

void write_signed(std::string& out, std::int64_t value);
void write_unsigned(std::string& out, std::uint64_t value);
/// The shortest digits that read back as the same number. Throws Error{invalid} when it is not finite.
void write_double(std::string& out, double value);
void write_float(std::string& out, float value);
inline void write_bool(std::string& out, bool value) { out += value ? "true" : "false"; }
/// Appends the text as it is, once it is known to be one JSON value that stays within the depth.
void write_raw(std::string& out, std::string_view text, std::size_t depth);
/// Throws Error{invalid} when a value with `depth` objects and arrays around it cannot be one itself.
void check_depth(std::size_t depth);
/// Writes a struct. An absent optional is left out.
void write_members(std::string& out, std::span<const MemberForm> members, const void* object, std::size_t depth);
/// Writes `"name":` with what separates it from the member before.
void write_key(std::string& out, std::string_view name);

/// The parts of an envelope. Borrowed.
struct EnvelopeSource {
  std::string_view id{}, type{}, version{};
  Wall timestamp{};
  std::string_view source{}, correlation_id{};
  const Fields* metadata = nullptr;
  const Fields* extra = nullptr;
  void (*write_data)(std::string& out, const void* data) = nullptr;
  const void* data = nullptr;
};

/// Appends an envelope; `out` is what it was before when it throws.
void write_envelope(std::string& out, const EnvelopeSource& source);

}  // namespace tidings::detail
