// What every transport asks of an event before it is stored.
#pragma once

#include <string_view>

#include <tidings/delivery.hpp>

namespace tidings::core {

/// Whether an event can be stored at all; its Result says why not. `stream`: the name that is checked, where the
/// event's own is one of the engine's.
[[nodiscard]] bool acceptable(const transport::Outgoing& event, std::string_view stream,
                              const transport::Capabilities& limits, transport::Result& result);

}  // namespace tidings::core
