// Text that is put together from many small parts on the stack and appended at once: growing a std::string costs more
// than copying what is short.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include <tidings/json.hpp>
#include <tidings/time.hpp>

#include "core/json_scan.hpp"

namespace tidings::core {

/// Writes the 24 characters that append_time() appends.
void write_time(char* out, Wall time) noexcept;

/// What is added is only known to stand in the text after flush().
class Gathered {
 public:
  explicit Gathered(std::string& out) noexcept : out_(out) {}
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;

  /// Adds what is written in code, which is short.
  template <std::size_t size>
  void literal(const char (&text)[size]) {
    static_assert(size <= 64);
    if (room() < size - 1) flush();
    std::memcpy(text_ + used_, text, size - 1);
    used_ += size - 1;
  }
  /// Adds `text` as it is.
  void raw(std::string_view text) {
    if (text.size() > room()) {
      flush();
      if (text.size() > room()) {
        out_.append(text);
        return;
      }
    }
    put(text);
  }
  /// Adds a JSON string, as append_json_string() does.
  void string(std::string_view value) {
    unsigned high = 0;
    if (value.size() + 2 > room() || !is_plain(value, high) || high != 0) {
      flush();
      append_json_string(out_, value);
      return;
    }
    text_[used_++] = '"';
    put(value);
    text_[used_++] = '"';
  }
  void time(Wall time) {
    if (room() < 24) flush();
    write_time(text_ + used_, time);
    used_ += 24;
  }
  void flush() {
    out_.append(text_, used_);
    used_ = 0;
  }

 private:
  [[nodiscard]] std::size_t room() const noexcept { return sizeof text_ - used_; }
  void put(std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(text_ + used_, text.data(), text.size());
    used_ += text.size();
  }

  std::string& out_;
  std::size_t used_ = 0;
  char text_[512];
};

}  // namespace tidings::core
