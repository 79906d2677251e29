// Fresh ids without a string of their own, for whoever writes many of them into a larger text.
#pragma once

#include <cstddef>
#include <string_view>

#include <tidings/id.hpp>

namespace tidings::core {

/// Characters of an id: four of its prefix and a ULID.
inline constexpr std::size_t new_id_size = 30;

/// Writes new_id_size characters: `prefix`, which has four, and a ULID of `now`.
void write_new_id(char* out, std::string_view prefix, Wall now, Random& random) noexcept;

/// Its two halves: the 14 characters that many ids of one time have in common …
void begin_id(char* out, std::string_view prefix, Wall now) noexcept;
/// … and, behind these, what nobody had before.
void renew_id(char* id, Random& random) noexcept;

}  // namespace tidings::core
