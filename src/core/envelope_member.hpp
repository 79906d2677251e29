// A look at one member of an envelope that was validated before it was stored.
#pragma once

#include <string>
#include <string_view>

namespace tidings::core {

/// The string at the top level under `name`, unescaped; empty when there is none or the text is not an envelope.
[[nodiscard]] std::string envelope_member(std::string_view envelope, std::string_view name);

/// The same as a view into the envelope; empty also where the text would have to be unescaped.
[[nodiscard]] std::string_view envelope_text(std::string_view envelope, std::string_view name) noexcept;

}  // namespace tidings::core
