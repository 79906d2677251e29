// Identifiers: event ids that Tidings makes, and the randomness that they and the backoff's jitter come from.
//
// Ours are `evt_` and a ULID (26 characters of Crockford's base 32: 48 bits of milliseconds, 80 random bits), so they
// sort by time. Ids of others are any non-empty string and are never interpreted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <tidings/time.hpp>

namespace tidings {

/// The source of randomness. Implementations are safe to call from any thread.
class Random {
 public:
  virtual ~Random() = default;
  /// 64 uniform bits.
  [[nodiscard]] virtual std::uint64_t next() noexcept = 0;
};

/// A generator seeded by the operating system, one state a thread; reseeded in a forked child. Lives for ever.
[[nodiscard]] Random& system_random() noexcept;

/// A fresh event id: `evt_` + ULID of `now`.
[[nodiscard]] std::string new_event_id(Wall now, Random& random);

/// What the id of an event published by a handler is derived from; every member but `run` and `ordinal` is borrowed.
struct Derivation {
  std::string_view cause_source{};   ///< `source` of the event being handled.
  std::string_view cause_id{};       ///< `id` of the event being handled.
  Wall cause_time{};                 ///< `timestamp` of the event being handled; the ULID's milliseconds.
  std::string_view group{};          ///< The handling group.
  std::uint64_t run = 0;             ///< 0 live and redrive; one value per replay.
  std::uint64_t ordinal = 0;         ///< 0 for the handler's first output, 1 for its second …
};

/// The derived id: `evt_` + ULID of the cause's milliseconds and the first 80 bits of SHA-256 over, in this order and
/// each preceded by its length as 8 bytes little-endian: cause source, cause id, group, run and ordinal (these two as
/// 8 bytes little-endian). The same handling of the same event always derives the same ids, so a repeat is recognised.
[[nodiscard]] std::string derived_event_id(const Derivation& from);

/// The 26 characters of a ULID. `entropy` is 10 bytes, most significant first. Times before 1970 count as 1970.
[[nodiscard]] std::string ulid(Wall time, const std::array<std::uint8_t, 10>& entropy);

}  // namespace tidings
