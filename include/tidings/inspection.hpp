// The values that cross the seam when people and tools look at streams and groups, and change them. See transport.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tidings/delivery.hpp>
#include <tidings/stream.hpp>
#include <tidings/time.hpp>

namespace tidings::transport {

/// What read() looks at, in publish order.
struct ReadRange {
  std::string stream{};
  Position from{};                      ///< Inclusive; {0,0} is the beginning.
  std::optional<Position> to{};         ///< Inclusive.
  std::optional<Wall> from_time{}, to_time{};  ///< By stored_at, both inclusive.
  std::string id{}, correlation{}, type{};     ///< Only events that match all that are not empty.
  std::size_t limit = 1000;             ///< Most records of one page.
  bool last = false;                    ///< The last `limit` matching events instead of the first.
  Millis wait{0};                       ///< With nothing to return, waits this long for something to be published.
};

/// One page of read().
struct Page {
  std::vector<Record> records{};
  Position next{};      ///< Where the next page starts.
  bool end = false;     ///< Nothing stands at or after `next` now.
};

/// Where a delivery that is not settled, or a dead letter, stands.
enum class ShelfState : std::uint8_t { waiting, leased, retrying, dead };

/// Selects items of a group. All that is given must match.
struct ShelfQuery {
  std::vector<std::string> ids{};        ///< Event ids, or keys of items; empty: any.
  std::vector<ShelfState> states{};      ///< Empty: any.
  std::string reason{};                  ///< Of dead letters.
  std::string after{};                   ///< Only items behind this key, for paging.
  std::size_t limit = 1000;
};

/// One item of a group: something leased, waiting, retrying or dead.
struct ShelfItem {
  std::string key{};        ///< Unique in its group; orders the list.
  std::string id{};         ///< The event's id; empty when it cannot be decoded.
  std::string type{};
  std::string stream{}, group{};
  ShelfState state = ShelfState::waiting;
  Origin origin = Origin::live;
  std::uint64_t run = 0;
  std::string reason{}, error{};
  std::uint32_t attempts = 0;   ///< Dead: failures counted. Otherwise the running attempt (failures + 1).
  std::uint32_t crashes = 0;
  std::optional<Wall> first_failed{}, last_failed{};
  std::optional<Wall> due{};    ///< Retrying: when it comes back. Leased: the lease's end.
  std::string owner{};          ///< Leased: Interest::instance.
  Position position{};          ///< Its place in the stream; {0,0} when it was injected.
  std::string envelope{};       ///< The bytes.
};

/// What move() does with the items that match.
enum class ShelfAction : std::uint8_t {
  hand_out,  ///< Dead letters and retrying items come out at once, with attempts and crashes at 0 (origin redrive).
  drop,      ///< Removes dead letters for ever.
  replace,   ///< Hands `replacement` out in the place of the one matching dead letter.
};

/// A change to a group.
struct GroupChange {
  enum class Kind : std::uint8_t { create, seek, pause, resume, remove } kind = Kind::create;
  Start at{};           ///< create, seek. A seek moves the cursor only; what is leased or retrying stays.
  bool force = false;   ///< remove: even though unsettled work or dead letters would be lost.
  std::string owner{};  ///< create, on a command stream: the owning service.
};

/// The state of one group.
struct GroupInfo {
  std::string stream{}, group{}, owner{};
  Position cursor{};                          ///< The next event that will be handed out first.
  std::optional<std::uint64_t> lag{};         ///< Not handed out yet; unknown is unknown.
  std::uint64_t pending = 0;                  ///< Leased, or waiting to be handed out again at once.
  std::uint64_t retrying = 0;                 ///< Waiting for their due time after a failure.
  std::uint64_t dead_letters = 0;
  std::optional<std::uint64_t> handled{};     ///< Unknown where the engine does not count it.
  std::optional<std::uint64_t> ignored{};
  std::optional<Millis> oldest_age{};         ///< Of the oldest event that is not settled; empty when there is none.
  std::uint32_t consumers = 0;                ///< Live subscriptions.
  std::vector<std::string> types{};           ///< The union of their types, sorted.
  bool paused = false;
};

/// The state of one stream.
struct StreamInfo {
  std::string name{};
  std::uint64_t length = 0, bytes = 0;
  std::optional<Wall> oldest{}, newest{};     ///< stored_at of the first and last event.
  Position first{}, end{};                    ///< The oldest event, and the place of the next one.
  std::vector<GroupInfo> groups{};
};

/// What may be removed. Nothing is, unless asked for.
struct Retention {
  std::optional<Millis> age{};                 ///< Events older than this …
  std::optional<std::uint64_t> bytes{};        ///< … or beyond this size of a stream, oldest first …
  std::vector<std::string> pass_groups{};      ///< … never past a group, unless it is named here; then with a gap record.
};

/// One finding of diagnose().
struct Check {
  std::string check{};
  bool ok = true;
  std::string detail{}, advice{};
};

}  // namespace tidings::transport
