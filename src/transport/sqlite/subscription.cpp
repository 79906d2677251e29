#include "transport/sqlite/subscription.hpp"

#include <algorithm>
#include <atomic>

#include "core/failpoint.hpp"
#include "core/interest.hpp"

namespace tidings::transport::sqlite {
std::uint64_t start_offset(Database& db, std::int64_t stream, const Start& start) {
  Query query(db, "SELECT first, next FROM streams WHERE id=?", stream);
  if (!query.step()) return 1;
  const auto first = static_cast<std::uint64_t>(query.integer(0)), next = static_cast<std::uint64_t>(query.integer(1));
  switch (start.kind) {
    case Start::Kind::beginning:
      return first;
    case Start::Kind::end:
      return next;
    case Start::Kind::position:
      return std::clamp(start.position.major, first, next);
    case Start::Kind::time: {
      Query block(db, "SELECT id FROM blocks WHERE id BETWEEN ? AND ? AND stored_at>=? ORDER BY id LIMIT 1",
                  block_key(stream, 0), block_key(stream + 1, 0) - 1, start.time.time_since_epoch().count());
      return block.step() ? offset_of(block.integer(0)) : next;
    }
  }
  return first;
}

SqliteSubscription::SqliteSubscription(Store& store, const Capabilities& limits, const Interest& interest)
    : store_(store),
      limits_(limits),
      interest_(interest),
      instance_(interest.instance.empty() ? core::new_instance() : interest.instance) {
  core::check_interest(interest_);
  groups_.resize(interest_.streams.size());
  take_over_dead(store_);
  join(Millis{30'000});
}

SqliteSubscription::~SqliteSubscription() {
  if (!store_.forked()) leave();
}

// Fills `groups`, a copy: the numbers count only once the transaction that made them is committed.
void SqliteSubscription::join_groups(Database& db, std::vector<JoinedGroup>& groups) {
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string& stream = interest_.streams[i];
    JoinedGroup& group = groups[i];
    group.stream = store_.stream_number(db, stream, true);
    group.name = std::string(group_of(stream, interest_.service));
    const bool command = is_command_stream(stream);
    const std::uint64_t start = group.cursor != 0 ? group.cursor : start_offset(db, group.stream, interest_.start);
    Query(db, "INSERT OR IGNORE INTO groups(stream, name, owner, cursor) VALUES(?,?,?,?)", group.stream, group.name,
          command ? std::string_view(interest_.service) : std::string_view{}, start)
        .run();
    Query query(db, "SELECT id, owner FROM groups WHERE stream=? AND name=?", group.stream, group.name);
    if (!query.step())
      throw Error(ErrorCode::internal, "the group " + group.name + " of " + stream + " was not made; please report it");
    group.id = query.integer(0);
    const std::string owner(query.text(1));
    if (command && owner.empty()) {
      Query(db, "UPDATE groups SET owner=? WHERE id=?", interest_.service, group.id).run();
    } else if (command && owner != interest_.service) {
      throw Error(ErrorCode::conflict,
                  stream + " belongs to the service " + owner + ", so " + interest_.service +
                      " cannot take its commands; a command has one owner: remove the group first to hand it over");
    }
  }
}

void SqliteSubscription::adopt(std::vector<JoinedGroup> groups) {
  std::lock_guard settling(settling_);
  groups_ = std::move(groups);
}

void SqliteSubscription::join(Millis within) {
  std::int64_t owner = 0;
  Descriptor alive;
  std::vector<JoinedGroup> groups = groups_;
  const std::int64_t until = store_.steady_ms() + interest_.lease.count();
  store_.write(deadline_in(within), [&](Database& db) {
    join_groups(db, groups);
    Query(db, "INSERT INTO owners(instance, service, boot_id, lease_until, types) VALUES(?,?,?,?,?)", instance_,
          interest_.service, store_.boot_id(), until, core::join_lines(interest_.types))
        .run();
    owner = db.last_id();
    for (const JoinedGroup& group : groups) {
      Query(db, "INSERT OR IGNORE INTO members(grp, owner) VALUES(?,?)", group.id, owner).run();
    }
    // Before the row can be seen: nobody may find an owner without its lock.
    alive = store_.side().hold_alive(owner);
  });
  TIDINGS_FAILPOINT("sqlite.after_join");
  adopt(std::move(groups));
  {
    std::lock_guard lock(ledger_mutex_);
    owner_ = owner;
    lease_until_ = until;
    alive_ = std::move(alive);
  }
  store_.side().change_membership();
  store_.side().wake();
}

void SqliteSubscription::lose_all() {
  std::lock_guard lock(ledger_mutex_);
  const std::vector<AckToken> open = ledger_.open(epoch());
  lost_.insert(lost_.end(), open.begin(), open.end());
  ledger_.clear();
  owner_ = 0;
}

void SqliteSubscription::keep_membership() {
  std::int64_t owner = 0;
  {
    std::lock_guard lock(ledger_mutex_);
    owner = owner_;
    const bool due = lease_until_ - store_.steady_ms() < interest_.lease.count() / 2;
    if (owner != 0 && (!due || ledger_.events() > 0)) return;
  }
  if (owner != 0) {
    // An idle subscription has nothing that renew() would be called for, but it is a member all the same.
    std::vector<AckToken> lost = renew();
    std::lock_guard lock(ledger_mutex_);
    lost_.insert(lost_.end(), lost.begin(), lost.end());
    if (owner_ != 0) return;
  }
  join(Millis{1'000});  // fetch comes again.
}

std::vector<AckToken> SqliteSubscription::renew() {
  store_.check_usable();
  std::int64_t owner = 0;
  {
    std::lock_guard lock(ledger_mutex_);
    owner = owner_;
    if (owner == 0) return std::exchange(lost_, {});
  }
  bool kept = false;
  const std::int64_t until = store_.steady_ms() + interest_.lease.count();
  // Shorter than the time to the next try, so that a lock that comes free late still leaves tries within the lease.
  store_.write(deadline_in(std::max(Millis{50}, interest_.lease / 12)), [&](Database& db) {
    Query(db, "UPDATE owners SET lease_until=? WHERE id=?", until, owner).run();
    kept = db.changes() > 0;
  });
  std::lock_guard lock(ledger_mutex_);
  std::vector<AckToken> lost = std::exchange(lost_, {});
  if (owner_ != owner) return lost;
  if (kept) {
    lease_until_ = until;
    return lost;
  }
  const std::vector<AckToken> open = ledger_.open(epoch());
  lost.insert(lost.end(), open.begin(), open.end());
  ledger_.clear();
  owner_ = 0;
  return lost;
}

std::size_t take_over_dead(Store& store, Millis within) {
  std::vector<std::int64_t> dead;
  const std::int64_t now = store.steady_ms();
  const auto find = [&](Database& db) {
    dead.clear();
    Query query(db, "SELECT id, boot_id, lease_until FROM owners");
    while (query.step()) {
      const bool alive =
          query.text(1) == store.boot_id() && query.integer(2) >= now && store.side().is_alive(query.integer(0));
      if (!alive) dead.push_back(query.integer(0));
    }
  };
  store.read(find);
  if (dead.empty()) return 0;
  store.write(deadline_in(within), [&](Database& db) {
    find(db);  // Again under the lock: a renewal may have come first.
    for (const std::int64_t owner : dead) {
      Query(db, "UPDATE claims SET owner=NULL, crashes=crashes+1 WHERE owner=?", owner).run();
      Query(db, "UPDATE items SET owner=NULL, crashes=crashes+1, alone=1, state=0, due=? WHERE owner=?", store.due_ms(),
            owner)
          .run();
      Query(db, "DELETE FROM members WHERE owner=?", owner).run();
      Query(db, "DELETE FROM owners WHERE id=?", owner).run();
    }
    TIDINGS_FAILPOINT("sqlite.in_takeover");
  });
  TIDINGS_FAILPOINT("sqlite.after_takeover");
  if (!dead.empty()) {
    store.side().change_membership();
    store.side().wake();
  }
  return dead.size();
}

}  // namespace tidings::transport::sqlite
