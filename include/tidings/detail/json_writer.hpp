// How values become JSON text: the part of the writer that knows no types. Not for applications.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
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
