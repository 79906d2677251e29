// Strings inside JSON text: what they say once their escapes are undone.
#pragma once

#include <string>
#include <string_view>

namespace tidings::core {

/// Undoes the escapes of `body`, a JSON string without its quotes, into `out`. False for an escape that JSON does not
/// know and for a lone surrogate; `out` is then of no use.
[[nodiscard]] bool unescape(std::string_view body, std::string& out);

/// Whether `text` is UTF-8.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// `text` as messages show it: at most `most` bytes, without control characters.
[[nodiscard]] std::string for_message(std::string_view text, std::size_t most = 60);

/// Appends `/key` with the two escapes of a JSON pointer.
void append_pointer(std::string& out, std::string_view key);

}  // namespace tidings::core
