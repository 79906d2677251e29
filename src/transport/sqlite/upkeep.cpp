#include <algorithm>
#include <limits>

#include "core/failpoint.hpp"
#include "transport/sqlite/groups.hpp"
#include "transport/sqlite/subscription.hpp"

namespace tidings::transport::sqlite {
namespace {

constexpr std::int64_t slice = 64;  // Blocks of one transaction.

struct Trimming {
  std::int64_t stream = 0;
  std::uint64_t first = 0, next = 0, bytes = 0;
  bool more = false;
};

bool passes(const Retention& retention, std::string_view group) {
  return std::find(retention.pass_groups.begin(), retention.pass_groups.end(), group) != retention.pass_groups.end();
}

// The first offset that some group, which retention may not pass, has not settled.
std::uint64_t held_from(Database& db, std::int64_t stream, const Retention& retention) {
  std::uint64_t bound = std::numeric_limits<std::uint64_t>::max();
  Query groups(
      db, "SELECT g.name, g.cursor, (SELECT min(first) FROM claims c WHERE c.grp=g.id) FROM groups g WHERE g.stream=?",
      stream);
  while (groups.step()) {
    if (passes(retention, groups.text(0))) continue;
    bound = std::min(bound, static_cast<std::uint64_t>(groups.integer(1)));
    if (!groups.null(2)) bound = std::min(bound, static_cast<std::uint64_t>(groups.integer(2)));
  }
  return bound;
}

// How many of the oldest blocks may go, and what they hold.
std::uint64_t removable(Store& store, Database& db, const Retention& retention, Trimming& trimming) {
  const std::uint64_t bound = held_from(db, trimming.stream, retention);
  const std::int64_t oldest =
      retention.age ? store.due_ms() - retention.age->count() : std::numeric_limits<std::int64_t>::min();
  const std::uint64_t most = retention.bytes.value_or(std::numeric_limits<std::uint64_t>::max());
  Query blocks(db, "SELECT id, count, stored_at, bytes FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
               block_key(trimming.stream, 0), block_key(trimming.stream + 1, 0) - 1, slice);
  std::uint64_t end = trimming.first;
  std::int64_t count = 0;
  for (; blocks.step(); ++count) {
    const std::uint64_t block_end = offset_of(blocks.integer(0)) + static_cast<std::uint64_t>(blocks.integer(1));
    if (block_end > bound || (blocks.integer(2) >= oldest && trimming.bytes <= most)) break;
    trimming.bytes -= std::min(trimming.bytes, static_cast<std::uint64_t>(blocks.integer(3)));
    end = block_end;
  }
  trimming.more = count == slice;
  return end;
}

void pass_groups(Database& db, Trimming& trimming, std::uint64_t end) {
  Query(db, "INSERT INTO gaps(grp, first, last) SELECT id, cursor, ?1-1 FROM groups WHERE stream=?2 AND cursor<?1", end,
        trimming.stream)
      .run();
  Query(db, "UPDATE groups SET cursor=?1 WHERE stream=?2 AND cursor<?1", end, trimming.stream).run();
}

void trim_stream(Store& store, Database& db, const Retention& retention, Trimming& trimming,
                 std::vector<std::string>& passed) {
  const std::uint64_t end = removable(store, db, retention, trimming);
  if (end <= trimming.first) return;
  {
    Query behind(
        db,
        "SELECT g.name, s.name, g.cursor FROM groups g JOIN streams s ON s.id=g.stream WHERE g.stream=? AND g.cursor<?",
        trimming.stream, end);
    while (behind.step()) {
      passed.push_back("retention passed the group " + std::string(behind.text(0)) + " of " +
                       std::string(behind.text(1)) + ": the events " + std::to_string(behind.integer(2)) + " to " +
                       std::to_string(end - 1) + " are gone before it had them");
    }
  }
  pass_groups(db, trimming, end);
  Query(db, "DELETE FROM blocks WHERE id BETWEEN ? AND ?", block_key(trimming.stream, 0),
        block_key(trimming.stream, end) - 1)
      .run();
  Query(db, "UPDATE streams SET first=?, bytes=? WHERE id=?", end, trimming.bytes, trimming.stream).run();
  TIDINGS_FAILPOINT("sqlite.in_trim");
}

}  // namespace

bool trim(Store& store, const Retention& retention, std::stop_token stop) {
  if (!retention.age && !retention.bytes) return false;
  std::vector<std::int64_t> streams;
  const auto look = [&](Database& db, std::int64_t stream, Trimming& trimming) {
    Query query(db, "SELECT first, next, bytes FROM streams WHERE id=?", stream);
    if (!query.step()) return false;
    trimming = {stream, static_cast<std::uint64_t>(query.integer(0)), static_cast<std::uint64_t>(query.integer(1)),
                static_cast<std::uint64_t>(query.integer(2))};
    return true;
  };
  // Most slices remove nothing, and should not queue for the write lock to find that out.
  store.read([&](Database& db) {
    std::vector<std::int64_t> all;
    {
      Query query(db, "SELECT id FROM streams");
      while (query.step()) all.push_back(query.integer(0));
    }
    for (const std::int64_t stream : all) {
      Trimming trimming;
      if (look(db, stream, trimming) && removable(store, db, retention, trimming) > trimming.first)
        streams.push_back(stream);
    }
  });
  bool more = false;
  for (const std::int64_t stream : streams) {
    if (stop.stop_requested()) return true;
    std::vector<std::string> passed;
    Trimming trimming;
    store.write([&](Database& db) {
      passed.clear();
      if (look(db, stream, trimming)) trim_stream(store, db, retention, trimming, passed);
    });
    more = more || trimming.more;
    for (const std::string& line : passed) store.environment().log(LogLevel::warning, line);
    if (!passed.empty()) store.side().wake();
  }
  return more;
}

}  // namespace tidings::transport::sqlite
