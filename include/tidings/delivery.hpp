// The values that cross the seam when events move: what is published, handed out and settled. See transport.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/error.hpp>
#include <tidings/stream.hpp>
#include <tidings/time.hpp>

namespace tidings::transport {

/// What this engine really offers, constant from open to close.
struct Capabilities {
  enum class Order : std::uint8_t { none, one_owner, per_key };
  enum class Attempts : std::uint8_t { exact, upper_bound };
  std::string_view engine{};                    ///< "memory", "sqlite", "redis", "aws".
  std::vector<Level> levels{};                  ///< Weakest first; the last is the default.
  Order order = Order::none;                    ///< Whether order by key is offered.
  Attempts attempts = Attempts::exact;          ///< Whether failures are counted exactly.
  bool counts_crashes = true;                   ///< Deaths are seen, and told as Delivery::crashes.
  bool from_beginning = true;                   ///< A new group can read what was published before it.
  bool read = true;                             ///< read() works.
  bool inject = true;                           ///< inject() works: replay to one group.
  bool shelf = true;                            ///< shelf() and move() work.
  bool atomic_outputs = true;                   ///< A settlement's outputs are stored in its own transaction.
  bool barrier = false;                         ///< publish() of nothing is a barrier: see Transport::publish.
  bool type_filter = false;                     ///< The engine filters types itself; `ignored` is then unknown.
  bool exact_lag = true;                        ///< Lag is counted, not estimated.
  bool several_processes = true;                ///< Other processes can share the streams.
  Millis longest_delay{Millis::max()};          ///< Of Settlement::after.
  Millis longest_lease{Millis::max()};          ///< Of Interest::lease.
  std::size_t largest_event = 1U << 20;         ///< Bytes of one envelope.
  std::size_t largest_batch = 65536;            ///< Events of one publish().
  std::size_t largest_batch_bytes = 64U << 20;  ///< Bytes of one publish().
};

/// Names a delivery within the subscription that fetched it. Dead once settled or lost.
struct AckToken {
  std::uint64_t lease = 0;  ///< The engine's row for the range or item.
  std::uint32_t index = 0;  ///< The event within it.
  std::uint32_t epoch = 0;  ///< Grows whenever ownership changes: the fence.
  auto operator<=>(const AckToken&) const = default;
};

/// What became of one item of a batch call.
struct Result {
  ErrorCode code = ErrorCode::ok;  ///< ok: stored, or settled.
  bool retryable = false;          ///< The same item may succeed later.
  bool ambiguous = false;          ///< It was sent twice under one id, because the first answer was lost.
  bool stale = false;              ///< A settlement of what this subscription no longer holds: nothing was changed.
  Position position{};             ///< Of a stored event.
  std::string message{};           ///< Empty when ok.
};

/// A group of a stream.
struct GroupRef {
  std::string_view stream{};
  std::string_view group{};
};

/// One event to store. `correlation` and `key` may be empty.
struct Outgoing {
  std::string_view stream{};
  std::string_view id{};
  std::string_view type{};
  std::string_view correlation{};
  std::string_view key{};       ///< metadata.partitionKey.
  std::string_view envelope{};  ///< Validated JSON.
};

/// Where a delivery comes from.
enum class Origin : std::uint8_t { live, retry, redrive, replay };

/// An event as it stands in the log.
struct Record {
  std::shared_ptr<const std::byte[]> block{};  ///< Owns the views; `envelope` is followed by 64 readable bytes.
  std::string_view envelope{};
  std::string_view type{};  ///< As published; empty when the engine does not know it.
  Position position{};
  Wall stored_at{};        ///< When its batch was stored.
  bool validated = false;  ///< False: bytes that others may have written; validate before use.
  bool damaged = false;    ///< The bytes fail their checksum; never decode them.
};

/// A record handed to one subscription under its lease.
struct Delivery : Record {
  AckToken token{};
  std::uint32_t stream = 0;   ///< Index into Interest::streams.
  std::uint32_t attempt = 1;  ///< Counted failures + 1.
  std::uint32_t crashes = 0;  ///< Deaths while it was held.
  std::uint64_t run = 0;      ///< 0 live and redrive; one value per replay.
  Origin origin = Origin::live;
  std::string_view damage{};  ///< Of a damaged one: why, where it is not its checksum. Lives as long as the envelope.
  bool alone = false;         ///< A process died holding it. It comes alone: see Subscription::fetch.
};

/// Events that a retention allowed by name removed before this group had them.
struct Gap {
  std::uint32_t stream = 0;  ///< Index into Interest::streams.
  Position first{}, last{};  ///< Both missing, with all between.
};

/// What fetch() returns.
struct Batch {
  std::vector<Delivery> deliveries{};
  std::vector<Gap> gaps{};
  bool paused = false;  ///< At least one of the streams' groups is paused.
  /// The union of the types that the group's live subscriptions named in Interest::types, sorted; "*" stands for every
  /// type. Shared and never changed; null when the engine cannot know.
  std::shared_ptr<const std::vector<std::string>> types{};
};

/// The runtime's verdict on one delivery.
struct Settlement {
  enum class Kind : std::uint8_t {
    done,     ///< Handled; counts in `handled`.
    ignored,  ///< Of a type that nobody in the group handles; counts in `ignored`.
    release,  ///< Given back uncounted, at once or after `after`; goes out again to any subscription of the group.
    again,    ///< A failed attempt, counted; comes back after `after`.
    dead,     ///< To the dead letters with `reason` and `error`; counts its attempt when `counted`.
  } kind = Kind::done;
  AckToken token{};                     ///< Of the delivery that is settled.
  Millis after{};                       ///< release, again: how long until it goes out.
  bool counted = true;                  ///< dead: whether this delivery was an attempt that failed.
  std::string_view reason{};            ///< dead: attempts_exhausted, rejected, crashed, timed_out, undecodable …
  std::string_view error{};             ///< again, dead: the error's text; engines may cut it at 4 KiB.
  std::span<const Outgoing> outputs{};  ///< done: stored no later than the settlement.
};

/// What a service wants: one subscription over all its streams.
struct Interest {
  std::string service{};               ///< The group on event streams, the owner on command streams (see group_of).
  std::vector<std::string> streams{};  ///< `events:…` and `commands:…`, distinct.
  std::vector<std::string> types{};    ///< Handled types; "*" for all.
  Start start{};                       ///< For groups that do not exist yet.
  std::size_t events = 512;            ///< Bound on unsettled deliveries …
  std::size_t bytes = 8U << 20;        ///< … and on their bytes; one larger event still comes, alone in its batch.
  Millis lease{30'000};                ///< How long deliveries stay ours without renew().
  std::string instance{};              ///< Shown as the owner: `host:pid:number`. Empty: the transport makes one.
};

}  // namespace tidings::transport
