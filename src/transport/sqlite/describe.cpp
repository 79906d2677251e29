#include <algorithm>
#include <filesystem>

#include <sqlite3.h>

#include "core/failpoint.hpp"
#include "transport/sqlite/groups.hpp"
#include "transport/sqlite/ledger.hpp"
#include "transport/sqlite/subscription.hpp"

namespace tidings::transport::sqlite {
namespace {

struct OldestSeen {
  std::optional<std::int64_t> at{};
  void add(std::int64_t stored_at) { at = at ? std::min(*at, stored_at) : stored_at; }
};

// When the block that holds `offset` was stored.
std::optional<std::int64_t> stored_at(Database& db, std::int64_t stream, std::uint64_t offset) {
  Query query(db, "SELECT stored_at FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
              block_key(stream, 0), block_key(stream, offset));
  if (!query.step()) return std::nullopt;
  return query.integer(0);
}

void add_claims(Database& db, std::int64_t stream, std::int64_t group, GroupInfo& info, OldestSeen& oldest) {
  std::vector<std::uint64_t> firsts;
  {
    Query claims(db, "SELECT first, last, settled, done FROM claims WHERE grp=?", group);
    while (claims.step()) {
      const auto size = static_cast<std::uint32_t>(claims.integer(1) - claims.integer(0) + 1);
      info.pending += static_cast<std::uint64_t>(size) - static_cast<std::uint64_t>(claims.integer(2));
      firsts.push_back(static_cast<std::uint64_t>(claims.integer(0)) +
                       Bits::from_bytes(claims.blob(3), size).first_clear());
    }
  }
  for (const std::uint64_t first : firsts) {
    if (const auto at = stored_at(db, stream, first)) oldest.add(*at);
  }
}

void add_items(Database& db, std::int64_t group, std::int64_t now, GroupInfo& info, OldestSeen& oldest) {
  {
    Query dead(db, "SELECT count(*) FROM items INDEXED BY items_due WHERE grp=? AND state=3", group);
    if (dead.step()) info.dead_letters += static_cast<std::uint64_t>(dead.integer(0));
  }
  Query items(db,
              "SELECT state, due>?, count(*), min(stored_at) FROM items INDEXED BY items_due WHERE grp=? AND state<3 "
              "GROUP BY 1, 2",
              now, group);
  while (items.step()) {
    const auto count = static_cast<std::uint64_t>(items.integer(2));
    (items.integer(0) == 0 && items.integer(1) != 0 ? info.retrying : info.pending) += count;
    oldest.add(items.integer(3));
  }
}

void add_members(Store& store, Database& db, std::int64_t group, GroupInfo& info) {
  Query members(db,
                "SELECT o.id, o.types FROM members m JOIN owners o ON o.id=m.owner WHERE m.grp=? AND o.boot_id=? AND "
                "o.lease_until>=?",
                group, store.boot_id(), store.steady_ms());
  while (members.step()) {
    if (!store.side().is_alive(members.integer(0))) continue;
    ++info.consumers;
    for (std::string_view rest = members.text(1); !rest.empty();) {
      const std::size_t end = rest.find('\n');
      info.types.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
  }
  std::sort(info.types.begin(), info.types.end());
  info.types.erase(std::unique(info.types.begin(), info.types.end()), info.types.end());
}

void add_groups(Store& store, Database& db, std::int64_t stream, StreamInfo& info) {
  std::vector<std::int64_t> ids;
  {
    Query groups(db,
                 "SELECT id, name, owner, cursor, handled, ignored, paused FROM groups WHERE stream=? ORDER BY name",
                 stream);
    while (groups.step()) {
      GroupInfo& group = info.groups.emplace_back();
      ids.push_back(groups.integer(0));
      group.stream = info.name;
      group.group = groups.text(1);
      group.owner = groups.text(2);
      group.cursor = {static_cast<std::uint64_t>(groups.integer(3)), 0};
      group.lag = info.end.major - std::min(info.end.major, group.cursor.major);
      group.handled = static_cast<std::uint64_t>(groups.integer(4));
      group.ignored = static_cast<std::uint64_t>(groups.integer(5));
      group.paused = groups.integer(6) != 0;
    }
  }
  const std::int64_t now = store.due_ms();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    GroupInfo& group = info.groups[i];
    OldestSeen oldest;
    add_claims(db, stream, ids[i], group, oldest);
    add_items(db, ids[i], store.due_ms(), group, oldest);
    if (*group.lag > 0) {
      if (const auto at = stored_at(db, stream, std::max(group.cursor.major, info.first.major))) oldest.add(*at);
    }
    if (oldest.at) group.oldest_age = Millis(std::max<std::int64_t>(0, now - *oldest.at));
    add_members(store, db, ids[i], group);
  }
}

std::optional<Wall> edge(Database& db, const char* sql, std::int64_t stream) {
  Query query(db, sql, block_key(stream, 0), block_key(stream + 1, 0) - 1);
  if (!query.step()) return std::nullopt;
  return Wall(Millis(query.integer(0)));
}

void make_group(Database& db, Store& store, GroupRef ref, const GroupChange& change) {
  check_stream(ref.stream);
  const bool command = is_command_stream(ref.stream);
  if (command && ref.group != group_of(ref.stream, {})) {
    throw Error(ErrorCode::invalid,
                std::string(ref.stream) + " is read by the group commands only; name its service as the owner");
  }
  if (!command) check_service_name(ref.group);
  if (command && !change.owner.empty()) check_service_name(change.owner);
  const std::int64_t stream = store.stream_number(db, ref.stream, true);
  Query(db, "INSERT OR IGNORE INTO groups(stream, name, owner, cursor) VALUES(?,?,?,?)", stream, ref.group,
        command ? std::string_view(change.owner) : "", start_offset(db, stream, change.at))
      .run();
  if (db.changes() == 0) {
    throw Error(ErrorCode::conflict, "the group " + std::string(ref.group) + " of " + std::string(ref.stream) +
                                         " exists; seek it to move it");
  }
}

void remove_group(Database& db, GroupRef ref, const GroupChange& change) {
  const GroupKey key = find_group(db, ref);
  std::int64_t unsettled = 0;
  {
    Query query(db,
                "SELECT (SELECT count(*) FROM items WHERE grp=?1) + (SELECT coalesce(sum(last-first+1-settled), 0) "
                "FROM claims WHERE grp=?1)",
                key.group);
    if (query.step()) unsettled = query.integer(0);
  }
  if (unsettled > 0 && !change.force) {
    throw Error(ErrorCode::conflict, "the group " + std::string(ref.group) + " of " + std::string(ref.stream) +
                                         " holds " + std::to_string(unsettled) +
                                         " unsettled events or dead letters; settle them, or remove it with force");
  }
  Query(db, "DELETE FROM items WHERE grp=?", key.group).run();
  Query(db, "DELETE FROM claims WHERE grp=?", key.group).run();
  Query(db, "DELETE FROM members WHERE grp=?", key.group).run();
  Query(db, "DELETE FROM gaps WHERE grp=?", key.group).run();
  Query(db, "DELETE FROM groups WHERE id=?", key.group).run();
}

}  // namespace

std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream) {
  std::vector<StreamInfo> streams;
  store.read([&](Database& db) {
    std::vector<std::int64_t> ids;
    {
      Query query(db, "SELECT id, name, next, first, bytes FROM streams WHERE ?1='' OR name=?1 ORDER BY name", stream);
      while (query.step()) {
        StreamInfo& info = streams.emplace_back();
        ids.push_back(query.integer(0));
        info.name = query.text(1);
        info.end = {static_cast<std::uint64_t>(query.integer(2)), 0};
        info.first = {static_cast<std::uint64_t>(query.integer(3)), 0};
        info.length = info.end.major - info.first.major;
        info.bytes = static_cast<std::uint64_t>(query.integer(4));
      }
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      streams[i].oldest = edge(db, "SELECT stored_at FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", ids[i]);
      streams[i].newest =
          edge(db, "SELECT stored_at FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", ids[i]);
      add_groups(store, db, ids[i], streams[i]);
    }
  });
  return streams;
}

void change_group(Store& store, GroupRef ref, const GroupChange& change) {
  store.write(deadline_in(Store::operators_patience), [&](Database& db) {
    switch (change.kind) {
      case GroupChange::Kind::create:
        make_group(db, store, ref, change);
        break;
      case GroupChange::Kind::remove:
        remove_group(db, ref, change);
        break;
      case GroupChange::Kind::seek: {
        const GroupKey key = find_group(db, ref);
        Query(db, "UPDATE groups SET cursor=? WHERE id=?", start_offset(db, key.stream, change.at), key.group).run();
        break;
      }
      case GroupChange::Kind::pause:
      case GroupChange::Kind::resume:
        Query(db, "UPDATE groups SET paused=? WHERE id=?", change.kind == GroupChange::Kind::pause ? 1 : 0,
              find_group(db, ref).group)
            .run();
        break;
    }
    TIDINGS_FAILPOINT("sqlite.before_change_commit");
  });
  store.make_durable_by_default();
  store.side().wake();
}

std::vector<Check> diagnose_log(Store& store) {
  std::vector<Check> checks;
  const auto attempt = [&](const char* name, const char* advice, auto body) {
    Check& check = checks.emplace_back();
    check.check = name;
    try {
      check.ok = body(check.detail);
    } catch (const std::exception& error) {
      check.ok = false;
      check.detail = error.what();
    }
    if (!check.ok) check.advice = advice;
  };
  attempt("file", "restore the log from a copy", [&](std::string& detail) {
    store.read([&](Database& db) {
      Query query(db, "SELECT count(*) FROM streams");
      if (query.step()) detail = store.path() + ", " + std::to_string(query.integer(0)) + " streams";
    });
    return true;
  });
  attempt("writing", "close what holds the file, or look for a stopped process", [&](std::string& detail) {
    store.write(deadline_in(Millis{2'000}), [](Database&) {});
    detail = "the write lock was free";
    return true;
  });
  attempt("durability", "", [&](std::string& detail) {
    detail = store.level() == Level::disk ? "disk: synced before the acknowledgement"
                                          : "process: survives processes, not a power cut";
    return true;
  });
  attempt("space", "make room on the file system, or lower the option reserve", [&](std::string& detail) {
    const std::uint64_t free = store.free_bytes();
    detail =
        std::to_string(free >> 20) + " MiB free, " + std::to_string(store.reserve() >> 20) + " MiB kept for settling";
    return free >= store.reserve();
  });
  attempt("wal", "let a process that calls tend() run, or close readers that never end", [&](std::string& detail) {
    std::error_code error;
    const auto size = std::filesystem::file_size(store.path() + "-wal", error);
    detail = std::to_string((error ? 0 : size) >> 20) + " MiB, SQLite " + sqlite3_libversion();
    return error || size < (std::uintmax_t{256} << 20);
  });
  return checks;
}

}  // namespace tidings::transport::sqlite
