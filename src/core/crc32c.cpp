#include "core/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace tidings::core {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // Reflected.

constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ polynomial : crc >> 1;
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = before >> 8 ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr auto tables = make_tables();

/// Advances the raw register (not inverted) over `size` bytes, eight at a time.
std::uint32_t by_table(std::uint32_t crc, const unsigned char* data, std::size_t size) noexcept {
  for (; size >= 8; data += 8, size -= 8) {
    const std::uint32_t low =
        crc ^ (static_cast<std::uint32_t>(data[0]) | static_cast<std::uint32_t>(data[1]) << 8 |
               static_cast<std::uint32_t>(data[2]) << 16 | static_cast<std::uint32_t>(data[3]) << 24);
    crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^ tables[4][low >> 24] ^
          tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
  }
  for (; size > 0; ++data, --size) crc = crc >> 8 ^ tables[0][(crc ^ *data) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

/// Moves a register over `Length` zero bytes: what joins streams that were checked side by side. The move is linear, so
/// four tables of its bytes' images are enough.
template <std::size_t Length>
struct Skip {
  std::array<std::array<std::uint32_t, 256>, 4> images{};

  Skip() noexcept {
    const std::array<unsigned char, Length> zeros{};
    std::array<std::uint32_t, 32> basis{};
    for (unsigned bit = 0; bit < 32; ++bit) basis[bit] = by_table(1U << bit, zeros.data(), Length);
    for (unsigned part = 0; part < 4; ++part) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        std::uint32_t image = 0;
        for (unsigned bit = 0; bit < 8; ++bit) {
          if ((byte >> bit & 1U) != 0) image ^= basis[part * 8 + bit];
        }
        images[part][byte] = image;
      }
    }
  }
  std::uint32_t operator()(std::uint32_t crc) const noexcept {
    return images[0][crc & 0xFF] ^ images[1][crc >> 8 & 0xFF] ^ images[2][crc >> 16 & 0xFF] ^ images[3][crc >> 24];
  }
};

std::uint64_t load(const unsigned char* from) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Three streams at once, since the instruction takes three cycles and one can start in each.
template <std::size_t Length>
__attribute__((target("sse4.2"))) std::uint32_t three_ways(std::uint32_t crc, const unsigned char*& data,
                                                           std::size_t& size) {
  static const Skip<Length> skip;
  while (size >= 3 * Length) {
    std::uint64_t first = crc;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < Length; i += 8) {
      first = _mm_crc32_u64(first, load(data + i));
      second = _mm_crc32_u64(second, load(data + Length + i));
      third = _mm_crc32_u64(third, load(data + 2 * Length + i));
    }
    crc = skip(skip(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second)) ^
          static_cast<std::uint32_t>(third);
    data += 3 * Length;
    size -= 3 * Length;
  }
  return crc;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t crc, const unsigned char* data,
                                                               std::size_t size) {
  if (size >= 3 * 1024) crc = three_ways<1024>(crc, data, size);
  if (size >= 3 * 128) crc = three_ways<128>(crc, data, size);
  std::uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, load(data));
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++data, --size) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

bool has_instruction() noexcept {
  static const bool has = __builtin_cpu_supports("sse4.2") != 0;
  return has;
}

#endif

const unsigned char* raw(std::span<const std::byte> bytes) noexcept {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
  return ~by_table(~seed, raw(bytes), bytes.size());
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
#if defined(__x86_64__)
  if (has_instruction()) return ~by_instruction(~seed, raw(bytes), bytes.size());
#endif
  return crc32c_portable(bytes, seed);
}

}  // namespace tidings::core
