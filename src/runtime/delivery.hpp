// What becomes of a delivery: the decision, without threads, clocks or engines.
#pragma once

#include <cstdint>
#include <string_view>

#include <tidings/delivery.hpp>
#include <tidings/service.hpp>

namespace tidings::runtime {

/// How one handling of a delivery ended.
enum class Ending : std::uint8_t {
  returned,     ///< The handler returned.
  ignored,      ///< Nobody in the group handles the type.
  elsewhere,    ///< Another instance of the group handles the type, this one does not.
  released,     ///< The handler gave it back, or was stopped through no fault of the event.
  failed,       ///< The handler threw.
  again,        ///< The handler asked for another try after a delay.
  rejected,     ///< The handler threw Reject.
  timed_out,    ///< The handler's time ran out.
  undecodable,  ///< The bytes are not an event of this type.
  unsupported,  ///< The event's major version is above the handler's.
  crashed,      ///< Processes died holding it, too often; the handler was not called.
};

/// The settlement that follows.
struct Verdict {
  transport::Settlement::Kind kind = transport::Settlement::Kind::done;
  Millis after{};
  bool counted = true;
  std::string_view reason{};  ///< Of a dead letter.
};

/// What an ending means for a delivery in its `attempt`-th attempt. `asked` is the delay of Again. `random` decides the
/// jitter, so that the same input always gives the same verdict.
[[nodiscard]] Verdict decide(Ending ending, std::uint32_t attempt, Millis asked, const HandlerOptions& policy,
                             std::uint64_t random) noexcept;

/// The delay before the next try after `failures` failures.
[[nodiscard]] Millis backoff_delay(const Backoff& backoff, std::uint32_t failures, std::uint64_t random) noexcept;

/// The pause before the next try to reach an engine: doubles from 100 ms to 5 s, its upper half at random, so that it
/// is never a hot loop.
[[nodiscard]] Millis reconnect_delay(std::uint32_t failures, std::uint64_t random) noexcept;

/// Whether a handler of version `handler` may see an event of version `event`: majors (before the first dot) are
/// compared as numbers, and must be equal where they are not numbers. An empty `handler` takes every version.
[[nodiscard]] bool version_supported(std::string_view handler, std::string_view event) noexcept;

}  // namespace tidings::runtime
