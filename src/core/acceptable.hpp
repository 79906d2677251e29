// What every transport asks of an event before it is stored.
#pragma once

#include <optional>
#include <string_view>

#include <tidings/delivery.hpp>

namespace tidings::core {

/// Whether an event can be stored at all; its Result says why not. `stream`: the name that is checked, since the event's
/// own may be one of the engine's; nothing where it is known to be one.
[[nodiscard]] bool acceptable(const transport::Outgoing& event, std::optional<std::string_view> stream,
                              const transport::Capabilities& limits, transport::Result& result);

}  // namespace tidings::core
