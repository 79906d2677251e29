#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "core/crc32c.hpp"
#include "core/envelope_member.hpp"
#include "core/failpoint.hpp"
#include "core/interest.hpp"
#include "transport/sqlite/groups.hpp"
#include "transport/sqlite/ledger.hpp"
#include "transport/sqlite/log.hpp"

namespace tidings::transport::sqlite {
namespace {

std::string item_key(std::int64_t row) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "i%012lld", static_cast<long long>(row));
  return text.data();
}

// The row of an item's key; 0 when `key` is none.
std::int64_t item_row(std::string_view key) {
  std::int64_t row = 0;
  if (key.size() < 13 || key.front() != 'i') return 0;
  const auto [end, error] = std::from_chars(key.data() + 1, key.data() + key.size(), row);
  return error == std::errc{} && end == key.data() + key.size() && row > 0 && item_key(row) == key ? row : 0;
}

std::string claim_key(std::int64_t claim, std::uint64_t position) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "c%012lld.%012llu", static_cast<long long>(claim),
                static_cast<unsigned long long>(position));
  return text.data();
}

std::optional<Wall> wall_or_nothing(const Query& row, int column) {
  if (row.null(column)) return std::nullopt;
  return Wall(Millis(row.integer(column)));
}

// The end of an owner's lease as a wall time.
std::optional<Wall> lease_end(Store& store, const Query& row, int lease, int boot) {
  if (row.null(lease)) return std::nullopt;
  const std::int64_t left =
      row.text(boot) == store.boot_id() ? std::max<std::int64_t>(0, row.integer(lease) - store.steady_ms()) : 0;
  return Wall(Millis(store.wall_ms() + left));
}

struct Claim {
  std::int64_t id = 0;
  std::uint64_t first = 0;
  Bits done;
  ShelfItem common{};
};

std::vector<Claim> read_claims(Store& store, Database& db, std::int64_t group) {
  std::vector<Claim> claims;
  Query row(
      db,
      "SELECT c.id, c.first, c.last, c.crashes, c.done, c.owner, o.instance, o.lease_until, o.boot_id FROM claims c"
      " LEFT JOIN owners o ON o.id=c.owner WHERE c.grp=? ORDER BY c.id",
      group);
  while (row.step()) {
    Claim& claim = claims.emplace_back();
    claim.id = row.integer(0);
    claim.first = static_cast<std::uint64_t>(row.integer(1));
    claim.done = Bits::from_bytes(row.blob(4), static_cast<std::uint32_t>(row.integer(2) - row.integer(1) + 1));
    claim.common.crashes = static_cast<std::uint32_t>(row.integer(3));
    claim.common.attempts = 1;
    claim.common.state = row.null(5) ? ShelfState::waiting : ShelfState::leased;
    claim.common.owner = std::string(row.text(6));
    claim.common.due = lease_end(store, row, 7, 8);
  }
  return claims;
}

void list_claims(Store& store, Database& db, GroupKey key, GroupRef ref, const ShelfQuery& query,
                 std::vector<ShelfItem>& found) {
  const auto any = [&](ShelfState state) {
    return std::find(query.states.begin(), query.states.end(), state) != query.states.end();
  };
  const bool states = query.states.empty() || any(ShelfState::leased) || any(ShelfState::waiting);
  if (!states || !query.reason.empty() || item_row(query.after) != 0) return;
  for (const Claim& claim : read_claims(store, db, key.group)) {
    std::shared_ptr<const StoredBlock> block;
    for (std::uint32_t i = 0; i < claim.done.size() && found.size() < query.limit; ++i) {
      if (claim.done.test(i)) continue;
      const std::uint64_t position = claim.first + i;
      ShelfItem item = claim.common;
      item.key = claim_key(claim.id, position);
      item.stream = ref.stream;
      item.group = ref.group;
      item.position = {position, 0};
      if (!block || position < block->first || position >= block->end()) block = load_block(db, key.stream, position);
      if (block && block->first <= position) {
        const Record record = block->record(position);
        item.type = record.type;
        item.envelope = record.envelope;
        if (!record.damaged) item.id = core::envelope_member(record.envelope, "id");
      }
      if (core::matches(item, query)) found.push_back(std::move(item));
    }
  }
}

ShelfItem item_of(Store& store, const Query& row, GroupRef ref, std::int64_t now) {
  ShelfItem item;
  item.key = item_key(row.integer(0));
  item.stream = ref.stream;
  item.group = ref.group;
  item.position = {static_cast<std::uint64_t>(row.integer(1)), 0};
  const auto state = row.integer(2), due = row.integer(3);
  item.state = state == 3   ? ShelfState::dead
               : state == 1 ? ShelfState::leased
               : due > now  ? ShelfState::retrying
                            : ShelfState::waiting;
  item.attempts = static_cast<std::uint32_t>(row.integer(4)) + (item.state == ShelfState::dead ? 0 : 1);
  item.crashes = static_cast<std::uint32_t>(row.integer(5));
  item.origin = static_cast<Origin>(row.integer(6));
  item.run = static_cast<std::uint64_t>(row.integer(7));
  item.reason = row.text(8);
  item.error = row.text(9);
  item.first_failed = wall_or_nothing(row, 10);
  item.last_failed = wall_or_nothing(row, 11);
  item.type = row.text(12);
  item.id = row.text(13);
  const auto bytes = row.blob(14);
  item.envelope.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (item.state == ShelfState::retrying) item.due = Wall(Millis(due - now + store.wall_ms()));
  if (item.state == ShelfState::leased) {
    item.owner = row.text(15);
    item.due = lease_end(store, row, 16, 17);
  }
  return item;
}

// What a query asks of the rows of `items`, as SQL compares it.
struct RowFilter {
  bool dead = true, leased = true, retrying = true, waiting = true;
  std::int64_t behind = 0;  // Row ids above it only.
  std::int64_t now = 0;

  RowFilter(Store& store, const ShelfQuery& query) : behind(item_row(query.after)), now(store.due_ms()) {
    const auto any = [&](ShelfState state) {
      return query.states.empty() || std::find(query.states.begin(), query.states.end(), state) != query.states.end();
    };
    dead = any(ShelfState::dead);
    leased = any(ShelfState::leased) && query.reason.empty();
    retrying = any(ShelfState::retrying) && query.reason.empty();
    waiting = any(ShelfState::waiting) && query.reason.empty();
  }
};

// The rows that the ids of a query mean, in order: keys name theirs, and event ids are looked up.
std::vector<std::int64_t> rows_of_ids(Database& db, GroupKey key, const ShelfQuery& query) {
  std::vector<std::int64_t> rows;
  for (const std::string& id : query.ids) {
    if (const std::int64_t row = item_row(id); row != 0) rows.push_back(row);
    if (id.empty()) continue;
    Query found(db, "SELECT id FROM items INDEXED BY items_by_event WHERE grp=? AND event_id=?", key.group, id);
    while (found.step()) rows.push_back(found.integer(0));
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

// The rows that a query means, without a look at their envelopes; at most `query.limit`.
std::vector<std::int64_t> rows_of(Database& db, GroupKey key, const ShelfQuery& query, const RowFilter& filter) {
  std::vector<std::int64_t> rows;
  const auto add = [&](std::int64_t from, std::int64_t to) {
    Query found(db,
                "SELECT id FROM items NOT INDEXED WHERE id BETWEEN ? AND ? AND grp=? AND CASE state WHEN 3 THEN ? "
                "WHEN 1 THEN ? ELSE iif(due>?, ?, ?) END AND (?9='' OR reason=?9) ORDER BY id",
                from, to, key.group, filter.dead ? 1 : 0, filter.leased ? 1 : 0, filter.now, filter.retrying ? 1 : 0,
                filter.waiting ? 1 : 0, query.reason);
    while (rows.size() < query.limit && found.step()) {
      // A foreign key to page by is compared as text, as the list is ordered.
      if (filter.behind != 0 || query.after.empty() || item_key(found.integer(0)) > query.after)
        rows.push_back(found.integer(0));
    }
  };
  if (query.ids.empty()) {
    add(filter.behind + 1, INT64_MAX);
    return rows;
  }
  for (const std::int64_t row : rows_of_ids(db, key, query)) {
    if (row > filter.behind) add(row, row);
  }
  return rows;
}

void list_items(Store& store, Database& db, GroupKey key, GroupRef ref, const ShelfQuery& query,
                std::vector<ShelfItem>& found) {
  ShelfQuery rest = query;
  rest.limit -= found.size();
  const RowFilter filter(store, query);
  for (const std::int64_t row_id : rows_of(db, key, rest, filter)) {
    Query row(db,
              "SELECT i.id, i.position, i.state, i.due, i.attempts, i.crashes, i.origin, i.run, i.reason, i.error, "
              "i.first_failed, i.last_failed, i.type, i.event_id, i.envelope, o.instance, o.lease_until, o.boot_id"
              " FROM items i LEFT JOIN owners o ON o.id=i.owner WHERE i.id=?",
              row_id);
    if (row.step()) found.push_back(item_of(store, row, ref, filter.now));
  }
}

}  // namespace

GroupKey find_group(Database& db, GroupRef ref) {
  Query query(db, "SELECT g.id, s.id FROM streams s JOIN groups g ON g.stream=s.id WHERE s.name=? AND g.name=?",
              ref.stream, ref.group);
  if (query.step()) return {query.integer(0), query.integer(1)};
  throw Error(ErrorCode::not_found, "the stream " + std::string(ref.stream) + " has no group " +
                                        std::string(ref.group) + "; `tidings groups` lists those that exist");
}

std::vector<ShelfItem> list_shelf(Store& store, GroupRef ref, const ShelfQuery& query) {
  std::vector<ShelfItem> found;
  store.read([&](Database& db) {
    const GroupKey key = find_group(db, ref);
    list_claims(store, db, key, ref, query, found);
    if (found.size() >= query.limit) return;
    list_items(store, db, key, ref, query, found);
  });
  return found;
}

namespace {

void check_replacement(const Outgoing& replacement) {
  const std::size_t most = Capabilities{}.largest_event;
  if (replacement.envelope.empty() || replacement.envelope.size() > most) {
    throw Error(replacement.envelope.empty() ? ErrorCode::invalid : ErrorCode::too_large,
                "the replacement " + std::string(replacement.id) + " has " +
                    std::to_string(replacement.envelope.size()) + " bytes; 1 to " + std::to_string(most) +
                    " are allowed");
  }
}

struct ItemPlace {
  std::int64_t group = 0, row = 0;
};

// Whether the row was still there to move.
bool move_row(Database& db, ItemPlace place, const RowFilter& filter, ShelfAction action, const Outgoing& replacement) {
  if (action == ShelfAction::drop) {
    Query(db, "DELETE FROM items WHERE id=? AND grp=? AND state=3", place.row, place.group).run();
    return db.changes() > 0;
  }
  Query(db,
        "UPDATE items SET state=0, due=?1, attempts=0, crashes=0, alone=0, origin=?2, reason='', error='', "
        "first_failed=NULL, last_failed=NULL WHERE id=?3 AND grp=?4 AND ((state=3 AND ?5) OR (state=0 AND due>?1 AND "
        "?6))",
        filter.now, static_cast<int>(Origin::redrive), place.row, place.group, filter.dead ? 1 : 0,
        filter.retrying ? 1 : 0)
      .run();
  if (db.changes() == 0) return false;
  if (action == ShelfAction::replace) {
    const auto text = std::as_bytes(std::span(replacement.envelope.data(), replacement.envelope.size()));
    Query(db, "UPDATE items SET envelope=?, event_id=?, type=?, checksum=?, damaged=0 WHERE id=?", text, replacement.id,
          replacement.type, core::crc32c(text), place.row)
        .run();
  }
  return true;
}

}  // namespace

std::size_t move_items(Store& store, GroupRef ref, const ShelfQuery& query, ShelfAction action,
                       const Outgoing& replacement) {
  if (action == ShelfAction::replace) check_replacement(replacement);
  // Found without the write lock: what has changed until it is taken is not moved, as every change asks again.
  RowFilter filter(store, query);
  filter.leased = filter.waiting = false;
  filter.retrying = filter.retrying && action == ShelfAction::hand_out;
  std::vector<std::int64_t> rows;
  store.read([&](Database& db) { rows = rows_of(db, find_group(db, ref), query, filter); });
  if (rows.empty()) return 0;
  if (action == ShelfAction::replace && rows.size() > 1) {
    throw Error(ErrorCode::conflict, "several dead letters match; name the one to replace by its key");
  }
  std::size_t moved = 0;
  store.write(deadline_in(Store::operators_patience), [&](Database& db) {
    moved = 0;
    const std::int64_t group = find_group(db, ref).group;
    for (const std::int64_t row : rows) moved += move_row(db, {group, row}, filter, action, replacement) ? 1 : 0;
    TIDINGS_FAILPOINT("sqlite.before_move_commit");
  });
  if (moved > 0) {
    store.make_durable_by_default();
    store.side().wake();
  }
  return moved;
}

void inject_items(Store& store, const Capabilities& limits, GroupRef ref, Origin origin, std::uint64_t run,
                  std::span<const Outgoing> items, std::span<Result> results) {
  store.write(deadline_in(Store::operators_patience), [&](Database& db) {
    const GroupKey key = find_group(db, ref);
    for (std::size_t i = 0; i < items.size(); ++i) {
      Outgoing item = items[i];
      item.stream = ref.stream;
      results[i] = {};
      if (!acceptable(item, limits, results[i])) continue;
      const auto text = std::as_bytes(std::span(item.envelope.data(), item.envelope.size()));
      Query(db,
            "INSERT INTO items(grp, position, state, due, origin, run, stored_at, type, event_id, checksum, envelope) "
            "VALUES(?,0,0,?,?,?,?,?,?,?,?)",
            key.group, store.due_ms(), static_cast<int>(origin), run, store.due_ms(), item.type, item.id,
            core::crc32c(text), text)
          .run();
    }
    TIDINGS_FAILPOINT("sqlite.before_inject_commit");
  });
  store.make_durable_by_default();
  store.side().wake();
}

namespace {

void shelve_item(Store& store, Database& db, std::int64_t group, const ShelfItem& item) {
  const bool dead = item.state == ShelfState::dead;
  const auto text = std::as_bytes(std::span(item.envelope.data(), item.envelope.size()));
  // The same event is one dead letter, however often it is put here.
  if (dead && !item.id.empty()) {
    Query(db, "DELETE FROM items INDEXED BY items_by_event WHERE grp=? AND event_id=? AND run=? AND state=3", group,
          item.id, item.run)
        .run();
  }
  const std::int64_t delay = item.state == ShelfState::retrying && item.due
                                 ? std::max<std::int64_t>(item.due->time_since_epoch().count() - store.wall_ms(), 0)
                                 : 0;
  const std::int64_t failures = dead ? item.attempts : std::max<std::int64_t>(item.attempts, 1) - 1;
  const auto failed = [](const std::optional<Wall>& at) { return at ? at->time_since_epoch().count() : 0; };
  Query(db,
        "INSERT INTO items(grp, position, state, due, attempts, crashes, alone, origin, run, reason, error, "
        "first_failed, last_failed, stored_at, type, event_id, checksum, envelope) "
        "VALUES(?,0,?,?,?,?,?,?,?,?,?,nullif(?,0),nullif(?,0),?,?,?,?,?)",
        group, dead ? 3 : 0, store.due_ms() + delay, failures, item.crashes, !dead && item.crashes > 0 ? 1 : 0,
        static_cast<int>(item.origin), item.run, item.reason, item.error, failed(item.first_failed),
        failed(item.last_failed), store.due_ms(), item.type, item.id, core::crc32c(text), text)
      .run();
}

}  // namespace

void shelve_items(Store& store, const Capabilities& limits, GroupRef ref, std::span<const ShelfItem> items,
                  std::span<Result> results) {
  store.write(deadline_in(Store::operators_patience), [&](Database& db) {
    const GroupKey key = find_group(db, ref);
    for (std::size_t i = 0; i < items.size(); ++i) {
      results[i] = {};
      if (acceptable(core::outgoing_of(ref, items[i]), limits, results[i])) shelve_item(store, db, key.group, items[i]);
    }
    TIDINGS_FAILPOINT("sqlite.before_shelve_commit");
  });
  store.make_durable_by_default();
  store.side().wake();
}

}  // namespace tidings::transport::sqlite
