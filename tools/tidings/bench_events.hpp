// The events that benchmarks publish: a `user.created` of the ADR, on streams of their own, as large as asked for.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tidings/tidings.hpp>

namespace tidings::bench {

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)

// One C++ type a stream: a type's stream follows from its name, which is part of the type.

/// `events:bench`, which publish fills.
struct UserPublished {
  std::string userId{};
  std::string email{};
  std::optional<Role> role{};
  std::uint64_t number = 0;
};
TIDINGS_EVENT(UserPublished, "bench.created", "1.0", userId, email, role, number)

/// `events:bench-stored`, which consume reads.
struct UserStored {
  std::string userId{};
  std::string email{};
  std::optional<Role> role{};
  std::uint64_t number = 0;
};
TIDINGS_EVENT(UserStored, "bench-stored.created", "1.0", userId, email, role, number)

/// `events:bench-e2e`, from one process to another.
struct UserMoved {
  std::string userId{};
  std::string email{};
  std::optional<Role> role{};
  std::uint64_t number = 0;
};
TIDINGS_EVENT(UserMoved, "bench-e2e.created", "1.0", userId, email, role, number)

/// `events:bench-latency`, one at a time.
struct UserTimed {
  std::string userId{};
  std::string email{};
  std::optional<Role> role{};
  std::uint64_t number = 0;
};
TIDINGS_EVENT(UserTimed, "bench-latency.created", "1.0", userId, email, role, number)

/// What every envelope here says of its source.
inline constexpr std::string_view source = "bench";
/// Numbers start here, so that all of them have as many digits and all envelopes are equally long.
inline constexpr std::uint64_t first_number = 1'000'000'000;

/// Gives `event` its number, here and in the digits behind `usr_`.
template <class T>
void renumber(T& event, std::uint64_t number) {
  event.number = number;
  std::to_chars(event.userId.data() + 4, event.userId.data() + event.userId.size(), number);
}

/// An event with an address of `address` bytes.
template <class T>
[[nodiscard]] T sample(std::uint64_t number, std::size_t address) {
  constexpr std::string_view host = "@example.com";
  T event{.userId = "usr_0000000000", .email = std::string(address - host.size(), 'u'), .role = Role::CLIENT};
  event.email += host;
  renumber(event, number);
  return event;
}

/// The envelope of an event as the bus writes it, with the bus's own id, time and correlation id made up.
template <class T>
[[nodiscard]] std::string envelope(const T& data, Wall time, Random& random) {
  const MessageInfo info = message_info<T>();
  const std::string id = new_event_id(time, random);
  return encode(DomainEvent<T>{.id = id,
                               .type = std::string(info.type),
                               .version = std::string(info.version),
                               .timestamp = time,
                               .source = std::string(source),
                               .correlationId = "req_" + id.substr(4),
                               .data = data});
}

/// How long the address must be for an envelope of `size` bytes. Throws Error{invalid} when nothing so small exists.
template <class T>
[[nodiscard]] std::size_t address_for(std::size_t size) {
  constexpr std::size_t shortest = 16;
  const std::size_t least = envelope(sample<T>(first_number, shortest), system_clock().wall(), system_random()).size();
  if (size < least) {
    throw Error(ErrorCode::invalid, "no event of " + std::to_string(size) +
                                        " bytes can be made here; the smallest has " + std::to_string(least) +
                                        ": ask for --size " + std::to_string(least));
  }
  return shortest + size - least;
}

/// A sum over the fields of one event, in which each of them counts.
template <class T>
[[nodiscard]] std::uint64_t sum(const T& event) noexcept {
  std::uint64_t digits = 0;
  std::from_chars(event.userId.data() + 4, event.userId.data() + event.userId.size(), digits);
  return event.number + 3 * digits + 5 * event.email.size() + 7 * (event.role == Role::CLIENT ? 1 : 0);
}

}  // namespace tidings::bench
