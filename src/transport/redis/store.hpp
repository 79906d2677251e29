// What the parts of an open Redis transport share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/environment.hpp>
#include <tidings/inspection.hpp>
#include <tidings/transport.hpp>

#include "core/growing_publish.hpp"
#include "transport/redis/nodes.hpp"
#include "transport/redis/partitions.hpp"

namespace tidings::transport::redis {

class Store {
 public:
  Store(Endpoint endpoint, const Environment& environment, WaitClock::time_point deadline)
      : nodes_(std::move(endpoint), deadline),
        environment_(environment),
        partitions_(nodes_, nodes_.endpoint().partitions, environment_.log),
        capabilities_(probe()) {}

  [[nodiscard]] const Capabilities& capabilities() const noexcept { return capabilities_; }
  /// The level at which settlements store their outputs where that takes a call of its own.
  [[nodiscard]] Level output_level() const noexcept {
    return nodes_.endpoint().level.value_or(capabilities_.levels.back());
  }
  /// How many replicas make an event `replicated`.
  [[nodiscard]] std::uint32_t replicas() const noexcept { return nodes_.endpoint().replicas; }
  /// Whether `disk` is something to wait for (WAITAOF), rather than what every reply means.
  [[nodiscard]] bool waits_for_disk() const noexcept { return waits_for_disk_; }
  /// A setting of the server that owns `key`; empty where one may not ask.
  [[nodiscard]] std::string setting(std::string_view key, std::string_view name, Millis within = Millis(10'000));

  [[nodiscard]] Nodes& nodes() noexcept { return nodes_; }
  [[nodiscard]] Partitions& partitions() noexcept { return partitions_; }
  /// Runs a script on `group` of `stream`; an error reply is thrown.
  Replies eval(Script script, std::string_view stream, std::string_view group, std::vector<std::string> arguments,
               WaitClock::time_point deadline);
  [[nodiscard]] const Environment& environment() const noexcept { return environment_; }
  /// The command of that, to be sent over a connection of one's own; its reply is an error where the script is unknown.
  [[nodiscard]] Commands script_command(Script script, std::string_view stream, std::string_view group,
                                        std::vector<std::string> arguments) const;
  /// The time as scripts want it: nothing, so that the server's clock counts for all, unless a clock was injected.
  [[nodiscard]] std::string now_word() const;
  /// The same in milliseconds; asks the server of `stream` where its clock counts.
  [[nodiscard]] std::int64_t now_ms(std::string_view stream, Millis within = Millis(10'000));
  /// The id under which an event is added: the server's choice, or one of an injected clock.
  [[nodiscard]] std::string id_word() const;

 private:
  [[nodiscard]] bool injected() const noexcept { return environment_.clock != &system_clock(); }
  [[nodiscard]] std::int64_t injected_ms() const noexcept;
  [[nodiscard]] Capabilities probe();

  Nodes nodes_;
  Environment environment_;
  Partitions partitions_;
  bool waits_for_disk_ = false;
  const Capabilities capabilities_;
};

/// The number that stands behind `name:` in the reply to INFO; 0 where there is none.
[[nodiscard]] std::int64_t info_number(std::string_view info, std::string_view name);

/// `{events:user}:retry:search`: the key of a group's `part`.
[[nodiscard]] std::string group_key(std::string_view stream, std::string_view part, std::string_view group);

/// The id as a position, and back.
[[nodiscard]] inline Position position_of(EntryId id) noexcept { return {id.milliseconds, id.sequence}; }
[[nodiscard]] inline EntryId id_of(Position position) noexcept { return {position.major, position.minor}; }
/// The id right before the first event that `start` means, as XGROUP wants it.
[[nodiscard]] std::string start_word(const Start& start);

/// An entry of a stream: its id, its event and what a group knows of it.
struct Entry {
  EntryId id{};
  std::string_view envelope{};
  std::uint32_t attempts = 0, crashes = 0;  ///< Failures and deaths so far.
  Origin origin = Origin::live;
  std::uint64_t run = 0;
  EntryId position{};
  std::string_view reason{}, error{}, first{}, last{};
};

/// How an entry of a group's own streams writes where a delivery comes from.
[[nodiscard]] std::string_view origin_word(Origin origin) noexcept;

/// Reads `[id, [field, value …]]`; false for a deleted entry (no fields) or anything else. What has no field `event`
/// gives its first value: the bytes that a dead letter shows. `ours`: an entry of a group's own streams, whose other
/// fields count; in the public stream anybody may write what he likes.
[[nodiscard]] bool read_entry(const Reply& reply, Entry& entry, bool ours);

// doctor.cpp
/// What may be wrong with how the servers are set up.
[[nodiscard]] std::vector<Check> check_servers(Store& store);

// publish.cpp
/// Stores events as Transport::publish has it.
void add_events(Store& store, std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results);

/// The same as GrowingPublish has it.
void add_growing(Store& store, const core::MoreEvents& more, Level level, Millis within, std::vector<Outgoing>& items,
                 std::vector<Result>& results);

/// Whether an event can be stored at all; its Result says why not. `named`: its stream's name is known to be one.
[[nodiscard]] bool acceptable(const Outgoing& event, const Capabilities& limits, Result& result, bool named = false);

// groups.cpp
[[nodiscard]] std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream);
/// All streams that stand on the servers, each partition by its own name. `unreached` says why those of a node are
/// missing, if they are.
[[nodiscard]] std::vector<std::string> list_partitions(Store& store, std::optional<Error>& unreached);
[[nodiscard]] std::vector<std::string> list_groups(Store& store, std::string_view stream);
[[nodiscard]] std::vector<ShelfItem> list_shelf(Store& store, GroupRef group, const ShelfQuery& query);
std::size_t move_items(Store& store, GroupRef group, const ShelfQuery& query, ShelfAction action,
                       const Outgoing& replacement);
/// Throws Error{not_found} unless there is this group.
void check_group(Store& store, GroupRef group);
void shelve_items(Store& store, GroupRef group, std::span<const ShelfItem> items, std::span<Result> results);
void change_group(Store& store, GroupRef group, const GroupChange& change);
[[nodiscard]] Page read_stream(Store& store, const ReadRange& range, const std::stop_token& stop);
/// How long calls of tools and upkeep may take.
inline constexpr Millis patience{10'000};

}  // namespace tidings::transport::redis
