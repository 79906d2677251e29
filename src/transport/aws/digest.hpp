// The digests that AWS asks for: SHA-256 for signatures, MD5 for the check of what SQS stored, SHA-1 for names of
// files.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace tidings::transport::aws {

using Sha256 = std::array<unsigned char, 32>;

/// SHA-256 of the parts, one after the other.
[[nodiscard]] Sha256 sha256(std::initializer_list<std::string_view> parts);
/// HMAC-SHA-256 of `text`; a key is of any length.
[[nodiscard]] Sha256 hmac_sha256(std::string_view key, std::string_view text);
/// The bytes of a digest as the key of the next.
[[nodiscard]] inline std::string_view as_key(const Sha256& digest) noexcept {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}
/// In lower-case hexadecimal digits.
[[nodiscard]] std::string hex(std::string_view bytes);
[[nodiscard]] inline std::string hex(const Sha256& digest) { return hex(as_key(digest)); }
[[nodiscard]] std::string base64(std::string_view bytes);
/// In lower-case hexadecimal digits, as SQS and the cache of the command line write them.
[[nodiscard]] std::string md5_hex(std::string_view text);
[[nodiscard]] std::string sha1_hex(std::string_view text);

}  // namespace tidings::transport::aws
