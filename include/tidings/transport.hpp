// The seam between Tidings and an engine: what a transport must do. Applications do not need this header; tools, the
// conformance suite and authors of transports do. docs/decisions/seam.md writes each verb out for three engines.
//
// A transport stores events, hands them to groups under a lease, and settles what the runtime decided. It holds no
// policy: attempts, backoff, limits and timeouts are the runtime's. It starts no thread. Recovering its own connection
// is its own affair. Views passed in are borrowed for the call; what is returned owns its bytes (a Delivery's views
// live as long as its `block`). A call that fails as a whole throws tidings::Error; an item that fails says so in its
// Result.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include <tidings/delivery.hpp>
#include <tidings/inspection.hpp>

namespace tidings::transport {

/// One service's claim on its streams.
class Subscription {
 public:
  /// Gives back, uncounted, what was not settled. Never throws; what cannot be given back is found by its lease.
  virtual ~Subscription() = default;
  /// Waits up to `wait` for deliveries within the bounds of Interest; empty on time-out, at a full bound, or when
  /// `stop` fires. A delivery with `alone` comes as the only one of its batch, only while nothing else of this
  /// subscription is unsettled, and nothing else comes until it is settled. Due retries are not starved by new events,
  /// nor the other way round. One thread at a time.
  /// A wait of 0 asks for what is there now, and takes as long as the engine needs to say so. An engine that does not
  /// answer throws: only an answer says that there is nothing.
  virtual Batch fetch(Millis wait, std::stop_token stop) = 0;
  /// Settles each item, atomically with its outputs; results in the items' order. Items that this subscription no
  /// longer holds are `stale` and change nothing. Any thread, beside fetch().
  virtual void settle(std::span<const Settlement> items, std::span<Result> results) = 0;
  /// Extends the lease of all that is unsettled; returns the tokens that were lost to others since. Any thread.
  virtual std::vector<AckToken> renew() = 0;
};

/// An engine. Every member may be called from any thread; it outlives its subscriptions.
class Transport {
 public:
  virtual ~Transport() = default;
  /// What this engine offers; constant from open to close.
  [[nodiscard]] virtual const Capabilities& capabilities() const noexcept = 0;
  /// Stores each item durably at `level`; per stream in order, and per key a prefix when some fail. Returns when all
  /// are decided, at the latest after `within` (then Result::code is timeout).
  /// With Capabilities::barrier and no items it returns once all that this transport stored before, at whatever level,
  /// is durable at `level`, and throws Error when it is not: storing and syncing can then overlap.
  virtual void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) = 0;
  /// Hands copies to one group as waiting items, with attempts and crashes at 0. Used by replay.
  virtual void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> items,
                      std::span<Result> results) = 0;
  /// Joins the groups of `interest`, creating what does not exist. Throws Error{conflict} for a command stream that
  /// another service owns.
  virtual std::unique_ptr<Subscription> subscribe(const Interest& interest) = 0;
  /// Reads without a group. A stream that does not exist is empty.
  virtual Page read(const ReadRange& range, std::stop_token stop = {}) = 0;
  /// Lists items of a group in the order of their keys. Throws Error{not_found} for an unknown group.
  virtual std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) = 0;
  /// Changes dead letters and retrying items; returns how many. Each is moved once however often it is asked for.
  /// `replacement` (its stream is ignored) is read for ShelfAction::replace only.
  virtual std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action,
                           const Outgoing& replacement = {}) = 0;
  /// Puts items on a group's shelf as they stand, for an engine that has none of its own, or that is moved away from:
  /// dead letters with their reasons, retries with their due time, and what waits to be handed out. Of an item counts
  /// all but key, owner and position; a leased one waits. Repeated, it puts them twice. Throws Error{not_found} for an
  /// unknown group.
  virtual void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) = 0;
  /// Creates, seeks, pauses, resumes or removes a group. Error{not_found}, Error{conflict} as the case may be.
  virtual void change(GroupRef group, const GroupChange& change) = 0;
  /// One stream with its groups, or all of them when `stream` is empty. An unknown stream gives an empty list.
  virtual std::vector<StreamInfo> describe(std::string_view stream) = 0;
  /// One bounded slice of upkeep: takes over what dead subscriptions held, trims, checkpoints. Returns when to come
  /// again. Called now and then by every process that holds the transport open.
  virtual Millis tend(const Retention& retention, std::stop_token stop) = 0;
  /// Whether this set-up is sound; for `tidings doctor`. Throws where the engine is out of reach, and never for a
  /// finding.
  virtual std::vector<Check> diagnose() = 0;
};

}  // namespace tidings::transport
