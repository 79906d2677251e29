// A look at one member of an envelope that was validated before it was stored.
#pragma once

#include <string>
#include <string_view>

namespace tidings::transport::sqlite {

/// The string at the top level under `name`, unescaped; empty when there is none or the text is not an envelope.
[[nodiscard]] std::string envelope_member(std::string_view envelope, std::string_view name);

}  // namespace tidings::transport::sqlite
