// Dead letters as the contract shows them.
#pragma once

#include <string>
#include <string_view>
#include <tidings/transport.hpp>

namespace tidings::cli {

/// Standard base64, with padding.
[[nodiscard]] std::string base64(std::string_view bytes);

/// Whether the bytes of a dead letter are an event that can be shown and edited.
[[nodiscard]] bool is_decodable(const transport::ShelfItem& item);

/// A dead letter as the contract's object: `event` is its bytes, or `bytes` in base64 when they are no event.
[[nodiscard]] std::string dead_letter_json(const transport::ShelfItem& item);

}  // namespace tidings::cli
