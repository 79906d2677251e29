// The claim check: an event too large for a message lies in a store, and the message says where. Pure; payloads.hpp
// stores and fetches.
//
//   const PayloadPlace place = payload_place("s3://events/large");
//   const std::string key = payload_key(place, "events:user", "evt_1", digest);  // large/events-user/evt_1.<digest>
//   write_pointer(place, key, size);  // the message's body
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "transport/aws/md5.hpp"

namespace tidings::transport::aws {

/// SNS: 256 KiB for a message with its attributes, and for all of a batch. SQS takes more, but what is published must
/// fit whoever joins later.
inline constexpr std::size_t largest_message = 256U << 10;
/// What the attributes of ours take at most: their names, values and types.
inline constexpr std::size_t attributes_room = 1U << 10;
/// What is larger goes into the store, where there is one.
inline constexpr std::size_t largest_inline = largest_message - attributes_room;
/// The most that a store takes: who publishes and who handles it holds all of it in memory.
inline constexpr std::size_t largest_payload = 64U << 20;

/// Where payloads lie.
struct PayloadPlace {
  enum class Kind : std::uint8_t { none, file, s3 };
  Kind kind = Kind::none;
  std::string folder{};            ///< Of files; absolute.
  std::string bucket{}, prefix{};  ///< Of S3; the prefix without slashes around it, perhaps empty.
};

/// Reads `payloads=`: `file:///DIRECTORY` or `s3://BUCKET/PREFIX`. Throws Error{invalid}.
[[nodiscard]] PayloadPlace payload_place(std::string_view url);

/// What a payload is called: a safe name of a file and of an object, whatever the id holds. The same event with the
/// same bytes always has the same name.
[[nodiscard]] std::string payload_key(const PayloadPlace& place, std::string_view stream, std::string_view id,
                                      std::string_view sha256);

/// The message's body.
[[nodiscard]] std::string write_pointer(const PayloadPlace& place, std::string_view key, std::size_t bytes);
/// The attribute by which other clients know that it is one; its name is empty for a store that they cannot read.
[[nodiscard]] MessageAttribute pointer_attribute(const PayloadPlace& place, std::size_t bytes);
/// The older name of that attribute, which is read too.
inline constexpr std::string_view size_attribute = "ExtendedPayloadSize", older_size_attribute = "SQSLargePayloadSize";

/// Whether a message's body is a pointer. An envelope never is.
[[nodiscard]] bool is_pointer(std::string_view body) noexcept;

/// What a pointer says.
struct Pointer {
  std::string key{};
  std::string sha256{};     ///< In the name of what we stored; empty for others' objects, which are not verified.
  std::uint64_t bytes = 0;  ///< 0: not said.
  std::string refused{};    ///< Why it is not followed, in words; empty when it may be.
};
[[nodiscard]] Pointer read_pointer(const PayloadPlace& place, std::string_view body);

}  // namespace tidings::transport::aws
