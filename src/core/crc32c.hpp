// CRC-32C (Castagnoli), the checksum of stored blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidings::core {

/// The checksum of `bytes`; `seed` is the checksum of what stood before them, so that pieces can be chained. Uses the
/// processor's instruction where it has one.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

/// The same by table, on any processor; what crc32c() is tested against.
[[nodiscard]] std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

}  // namespace tidings::core
