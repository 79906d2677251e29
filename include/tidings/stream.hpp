// Streams: their names, positions in them, and how durable an acknowledged event is.
//
// An event of type `user.created` goes to the stream `events:user` (the type up to its first dot); a command of type
// `send.email` goes to `commands:send.email`, which one fixed group, `commands`, reads for the one service that owns
// it. Category and service names are `[A-Za-z0-9_-]+`; a type is such names joined by dots. The names are chosen so
// that no two meet on any engine: a service named `commands`, and names ending in `-dlq`, are refused.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <tidings/time.hpp>

namespace tidings {

/// How durable an acknowledged event is. Later values are stronger.
enum class Level : std::uint8_t {
  memory,      ///< Gone with the process.
  process,     ///< Survives any process's death, not a power cut.
  disk,        ///< Survives a power cut: synced before the acknowledgement.
  replicated,  ///< Confirmed by the configured number of replicas.
};

/// "memory", "process", "disk" or "replicated".
[[nodiscard]] std::string_view to_string(Level level) noexcept;

/// A place in a stream. Opaque but for its order within one stream; {0,0} means none.
struct Position {
  std::uint64_t major = 0;  ///< The offset from 1 (embedded log), or the milliseconds of a Redis stream id.
  std::uint64_t minor = 0;  ///< 0, or the sequence number of a Redis stream id.
  auto operator<=>(const Position&) const = default;
};

/// `42` where minor is 0, else `42-7`.
[[nodiscard]] std::string to_string(Position position);

/// Where a new group, or a seek, starts.
struct Start {
  enum class Kind : std::uint8_t { beginning, end, time, position } kind = Kind::beginning;  ///< Which of these.
  Wall time{};          ///< With Kind::time: the first event stored at this time or later.
  Position position{};  ///< With Kind::position: this event is the first one delivered.
};

/// The stream of an event type: `user.created` gives `events:user`. Throws Error{invalid} for a bad type.
[[nodiscard]] std::string event_stream(std::string_view type);

/// The stream of a command type: `send.email` gives `commands:send.email`. Throws Error{invalid} for a bad type.
[[nodiscard]] std::string command_stream(std::string_view type);

/// True for `commands:…`.
[[nodiscard]] bool is_command_stream(std::string_view stream) noexcept;

/// The group under which `service` reads `stream`: the service's own name, or `commands` on a command stream.
[[nodiscard]] std::string_view group_of(std::string_view stream, std::string_view service) noexcept;

/// Throws Error{invalid}, naming the rule that is broken, unless `name` may name a service or a group.
void check_service_name(std::string_view name);

/// Throws Error{invalid} unless `type` is a type: names of `[A-Za-z0-9_-]+` joined by dots, ≤ 200 bytes.
void check_type(std::string_view type);

/// Throws Error{invalid} unless `stream` is `events:<category>` or `commands:<type>`.
void check_stream(std::string_view stream);

}  // namespace tidings
