#include <algorithm>
#include <cstring>

#include "core/crc32c.hpp"
#include "core/envelope_member.hpp"
#include "core/failpoint.hpp"
#include "transport/sqlite/subscription.hpp"

namespace tidings::transport::sqlite {
namespace {

constexpr auto fallback = std::chrono::milliseconds(250);
// How long fetch waits for the write lock. It comes again, and whoever stops a service waits for it.
constexpr Millis patience{1'000};

// Runs `step`; false when its turn to write did not come, which to a fetch is like finding nothing.
template <class Step>
bool in_time(Step step) {
  try {
    step();
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::timeout || !error.retryable()) throw;
    return false;
  }
}

std::uint32_t checksum(std::string_view text) {
  return core::crc32c(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace

struct SqliteSubscription::Fetching {
  std::size_t events = 0, bytes = 0;  // Room.
  bool nothing_held = false;
  std::int64_t now = 0, owner = 0;
  std::vector<Look> looks{};
  std::vector<Taken> taken{};
  Batch batch{};
  bool surveyed = true, wanted = false, lost = false, group_gone = false, draining = false;

  // Whether an event of `size` may come along, and takes its room.
  bool admit(std::size_t size) {
    const bool first = taken_events == 0;
    if (events == 0 || closed || (size > bytes && !(first && nothing_held))) return false;
    if (size > bytes) closed = true;  // One larger event comes alone in its batch.
    --events;
    bytes -= std::min(bytes, size);
    ++taken_events;
    return true;
  }
  std::size_t taken_events = 0;
  bool closed = false;
};

Batch SqliteSubscription::fetch(Millis wait, std::stop_token stop) {
  store_.check_usable();
  const auto deadline = deadline_in(wait);
  std::stop_callback woken(stop, [this] { store_.side().wake(); });
  for (bool woken_up = false;;) {
    const std::uint32_t seen = store_.side().signal();
    Fetching fetching;
    fetching.surveyed = !(woken_up && wakes_pay_);
    Batch batch;
    const bool looked = in_time([&] {
      keep_membership();
      batch = try_fetch(fetching);
    });
    if (woken_up) wakes_pay_ = !batch.deliveries.empty();
    refresh_types();
    batch.types = types_;
    if (!batch.deliveries.empty() || !batch.gaps.empty() || stop.stop_requested()) return batch;
    if (fetching.lost || fetching.group_gone) continue;
    auto now = WaitClock::now();
    if (now - takeover_at_ >= fallback) {
      takeover_at_ = now;
      std::size_t dead = 0;
      (void)in_time([&] { dead = take_over_dead(store_, patience); });
      if (dead > 0) continue;
      now = WaitClock::now();
    }
    if (now >= deadline) {
      if (looked || wait > Millis(0)) return batch;
      throw Error(ErrorCode::unavailable, true, "sqlite: others have been writing for too long to look; try again");
    }
    auto until = std::min(deadline, now + fallback);
    for (const Look& look : fetching.looks) {
      if (look.paused || look.next_due <= fetching.now) continue;
      until = std::min(until, now + std::min<Millis>(Millis(look.next_due - fetching.now), fallback));
    }
    store_.side().wait(seen, until);
    woken_up = store_.side().signal() != seen;
  }
}

void SqliteSubscription::refresh_types() {
  const std::uint32_t membership = store_.side().membership();
  const auto now = WaitClock::now();
  if (types_ && membership == membership_seen_ && now - types_at_ < std::chrono::seconds(1)) return;
  membership_seen_ = membership;
  types_at_ = now;
  std::vector<std::string> types;
  store_.read([&](Database& db) {
    for (const JoinedGroup& group : groups_) {
      Query query(
          db,
          "SELECT o.types FROM members m JOIN owners o ON o.id=m.owner WHERE m.grp=? AND (o.lease_until>=? OR o.id=?)",
          group.id, store_.steady_ms(), owner_.load());
      while (query.step()) {
        for (std::string_view rest = query.text(0); !rest.empty();) {
          const std::size_t end = rest.find('\n');
          types.emplace_back(rest.substr(0, end));
          rest.remove_prefix(std::min(rest.size(), end + 1));
        }
      }
    }
  });
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  if (!types_ || *types_ != types) types_ = std::make_shared<const std::vector<std::string>>(std::move(types));
}

bool SqliteSubscription::look(Database& db, std::uint32_t group, Look& found) {
  Query query(
      db,
      "SELECT g.cursor, s.next, g.paused, EXISTS(SELECT 1 FROM claims WHERE grp=g.id AND owner IS NULL),"
      " (SELECT min(due) FROM items WHERE grp=g.id AND state=0 AND alone=0),"
      " (SELECT min(due) FROM items WHERE grp=g.id AND state=0 AND alone=1), EXISTS(SELECT 1 FROM gaps WHERE grp=g.id)"
      " FROM groups g JOIN streams s ON s.id=g.stream WHERE g.id=?",
      groups_[group].id);
  if (!query.step()) return false;
  const std::int64_t now = store_.due_ms();
  const std::int64_t due = query.null(4) ? INT64_MAX : query.integer(4),
                     alone = query.null(5) ? INT64_MAX : query.integer(5);
  found.cursor = static_cast<std::uint64_t>(query.integer(0));
  found.next = static_cast<std::uint64_t>(query.integer(1));
  found.paused = query.integer(2) != 0;
  found.orphan = query.integer(3) != 0;
  found.due = due <= now;
  found.alone = alone <= now;
  found.next_due = std::min(due > now ? due : INT64_MAX, alone > now ? alone : INT64_MAX);
  found.gap = query.integer(6) != 0;
  groups_[group].cursor = found.cursor;
  return true;
}

void SqliteSubscription::survey(Fetching& fetching) {
  store_.read([&](Database& db) {
    for (std::uint32_t g = 0; g < groups_.size(); ++g) {
      Look& found = fetching.looks[g];
      if (!look(db, g, found)) {
        fetching.group_gone = true;
        return;
      }
      fetching.batch.paused = fetching.batch.paused || found.paused;
      if (found.paused) continue;
      fetching.wanted = fetching.wanted || found.live() || found.due || found.alone || found.orphan || found.gap;
      if (found.live()) read_ahead(db, g, found, fetching.events, fetching.bytes);
    }
  });
}

Batch SqliteSubscription::try_fetch(Fetching& fetching) {
  {
    std::lock_guard lock(ledger_mutex_);
    starved_ = true;
    fetching.owner = owner_;
    fetching.nothing_held = ledger_.events() == 0;
    fetching.events = interest_.events - std::min(interest_.events, ledger_.events());
    fetching.bytes = interest_.bytes - std::min(interest_.bytes, ledger_.bytes());
    if (ledger_.alone() || fetching.events == 0 || (fetching.bytes == 0 && !fetching.nothing_held)) return {};
    starved_ = false;
  }
  fetching.now = store_.due_ms();
  fetching.looks.resize(groups_.size());
  if (fetching.surveyed) {
    survey(fetching);
    if (!fetching.group_gone && !fetching.wanted) return std::move(fetching.batch);
  }
  if (!fetching.group_gone) store_.write(deadline_in(patience), [&](Database& db) { take(db, fetching); });
  if (fetching.group_gone) {
    std::vector<JoinedGroup> groups = groups_;
    store_.write(deadline_in(patience), [&](Database& db) {
      join_groups(db, groups);
      for (const JoinedGroup& group : groups) {
        Query(db, "INSERT OR IGNORE INTO members(grp, owner) VALUES(?,?)", group.id, fetching.owner).run();
      }
    });
    adopt(std::move(groups));
    return {};
  }
  if (fetching.lost) {
    lose_all();
    return {};
  }
  if (fetching.draining) {
    std::lock_guard lock(ledger_mutex_);
    starved_ = true;
    // What was settled since would otherwise wake nobody.
    if (ledger_.events() == 0) store_.side().wake();
  }
  TIDINGS_FAILPOINT("sqlite.after_claim");
  hand_over(fetching);
  return std::move(fetching.batch);
}

void SqliteSubscription::take(Database& db, Fetching& fetching) {
  {
    Query query(db, "SELECT lease_until FROM owners WHERE id=?", fetching.owner);
    if (!query.step()) {
      fetching.lost = true;
      return;
    }
  }
  const std::size_t groups = groups_.size();
  const auto nth = [&](std::size_t i) { return static_cast<std::uint32_t>((turn_ + i) % groups); };
  std::size_t live = 0, due = 0;
  bool alone = false;
  for (std::uint32_t g = 0; g < groups; ++g) {
    Look& found = fetching.looks[g];
    if (!look(db, g, found)) {
      fetching.group_gone = true;
      return;
    }
    fetching.batch.paused = fetching.batch.paused || found.paused;
    if (found.paused) {
      found = {.paused = true};
      continue;
    }
    alone = alone || found.alone || found.orphan;
    live += found.live() ? 1 : 0;
    due += found.due ? 1 : 0;
  }
  for (std::uint32_t g = 0; g < groups; ++g) {
    if (fetching.looks[g].gap) take_gaps(db, fetching, g);
  }
  ++turn_;
  if (alone) {
    // Nothing new until what is held is settled, so that the alone one can go out.
    fetching.draining = !fetching.nothing_held;
    for (std::size_t i = 0; i < groups && fetching.nothing_held && fetching.taken.empty(); ++i) {
      (void)take_alone(db, fetching, nth(i));
    }
  } else {
    // Half of the room for what comes back, half for what is new; what one side leaves, the other takes.
    std::size_t half = live == 0 ? fetching.events : fetching.events == 1 ? turn_ & 1U : fetching.events / 2;
    for (std::size_t i = 0; i < groups && due > 0; ++i) {
      if (!fetching.looks[nth(i)].due) continue;
      const std::size_t before = fetching.events, share = (half + due - 1) / due;
      take_items(db, fetching, nth(i), share, false);
      half -= std::min(half, before - fetching.events);
      --due;
    }
    for (std::size_t i = 0; i < groups && live > 0; ++i) {
      if (fetching.looks[nth(i)].live()) take_range(db, fetching, nth(i), (fetching.events + live - 1) / live), --live;
    }
    for (std::size_t i = 0; i < groups && fetching.events > 0; ++i) {
      if (fetching.looks[nth(i)].due) take_items(db, fetching, nth(i), fetching.events, false);
    }
  }
  if (!fetching.taken.empty()) extend_lease(db);
  TIDINGS_FAILPOINT("sqlite.before_claim_commit");
}

void SqliteSubscription::extend_lease(Database& db) {
  std::lock_guard lock(ledger_mutex_);
  const std::int64_t lease = interest_.lease.count(), until = store_.steady_ms() + lease;
  // Not at every claim: an eighth of the lease is slack enough, and saves a page a commit.
  if (lease_until_ >= until - lease / 8) return;
  Query(db, "UPDATE owners SET lease_until=? WHERE id=?", until, owner_.load()).run();
  lease_until_ = until;
}

// Reads what will most likely be claimed, before the write lock is taken.
void SqliteSubscription::read_ahead(Database& db, std::uint32_t group, const Look& found, std::size_t events,
                                    std::size_t bytes) {
  auto& blocks = groups_[group].blocks;
  std::erase_if(blocks, [&](const auto& block) { return block->end() <= found.cursor || block->first > found.next; });
  std::uint64_t offset = found.cursor;
  const std::uint64_t end = std::min(found.next, found.cursor + events);
  for (std::size_t read = 0; offset < end && read <= bytes; read += block_bytes) {
    const auto block = block_at(db, group, offset);
    if (!block) return;
    offset = block->end();
  }
}

std::shared_ptr<const StoredBlock> SqliteSubscription::block_at(Database& db, std::uint32_t group,
                                                                std::uint64_t offset) {
  auto& blocks = groups_[group].blocks;
  for (const auto& block : blocks) {
    if (offset >= block->first && offset < block->end()) return block;
  }
  auto block = load_block(db, groups_[group].stream, offset);
  if (block) blocks.push_back(block);
  return block;
}

void SqliteSubscription::take_gaps(Database& db, Fetching& fetching, std::uint32_t group) {
  {
    Query query(db, "SELECT first, last FROM gaps WHERE grp=? ORDER BY first", groups_[group].id);
    while (query.step()) {
      fetching.batch.gaps.push_back({group,
                                     {static_cast<std::uint64_t>(query.integer(0)), 0},
                                     {static_cast<std::uint64_t>(query.integer(1)), 0}});
    }
  }
  Query(db, "DELETE FROM gaps WHERE grp=?", groups_[group].id).run();
}

bool SqliteSubscription::take_alone(Database& db, Fetching& fetching, std::uint32_t group) {
  const Look& found = fetching.looks[group];
  if (found.alone) take_items(db, fetching, group, 1, true);
  if (fetching.taken.empty() && found.orphan) take_orphan(db, fetching, group);
  return !fetching.taken.empty();
}

void SqliteSubscription::take_orphan(Database& db, Fetching& fetching, std::uint32_t group) {
  std::int64_t claim = 0, crashes = 0;
  std::uint64_t first = 0, last = 0;
  Bits done;
  {
    Query query(
        db, "SELECT id, first, last, crashes, done FROM claims WHERE grp=? AND owner IS NULL ORDER BY first LIMIT 1",
        groups_[group].id);
    if (!query.step()) return;
    claim = query.integer(0);
    first = static_cast<std::uint64_t>(query.integer(1));
    last = static_cast<std::uint64_t>(query.integer(2));
    crashes = query.integer(3);
    done = Bits::from_bytes(query.blob(4), static_cast<std::uint32_t>(last - first + 1));
  }
  const std::uint64_t offset = first + done.first_clear();
  const auto stored = offset <= last ? block_at(db, group, offset) : nullptr;
  if (!stored || stored->first > offset) {
    // Retention that was allowed to pass this group has removed the bytes of what its dead owner held.
    const std::uint64_t end = std::min(last, stored ? stored->first - 1 : last);
    if (offset <= end) fetching.batch.gaps.push_back({group, {offset, 0}, {end, 0}});
    for (std::uint64_t hole = offset; hole <= end; ++hole) done.set(static_cast<std::uint32_t>(hole - first));
  } else {
    const Record record = stored->record(offset);
    done.set(static_cast<std::uint32_t>(offset - first));
    Query(db,
          "INSERT INTO items(grp, position, state, due, crashes, alone, owner, origin, stored_at, type, event_id, "
          "damaged, checksum, envelope)"
          " VALUES(?,?,1,?,?,1,?,0,?,?,?,?,?,?)",
          groups_[group].id, offset, fetching.now, crashes, fetching.owner, stored->stored_at, record.type,
          record.damaged ? std::string{} : core::envelope_member(record.envelope, "id"), record.damaged ? 1 : 0,
          checksum(record.envelope), std::as_bytes(std::span(record.envelope)))
        .run();
    Delivery delivery;
    static_cast<Record&>(delivery) = record;
    delivery.stream = group;
    delivery.crashes = static_cast<std::uint32_t>(crashes);
    delivery.alone = true;
    auto holding = std::make_shared<Holding>();
    *holding = {
        .row = db.last_id(), .group = group, .first = offset, .alone = true, .item_bytes = record.envelope.size()};
    (void)fetching.admit(record.envelope.size());
    fetching.taken.push_back({std::move(holding), {std::move(delivery)}});
  }
  if (done.count() == done.size()) {
    Query(db, "DELETE FROM claims WHERE id=?", claim).run();
  } else {
    Query(db, "UPDATE claims SET done=?, settled=? WHERE id=?", done.bytes(), done.count(), claim).run();
  }
}

void SqliteSubscription::take_items(Database& db, Fetching& fetching, std::uint32_t group, std::size_t most,
                                    bool alone) {
  const std::size_t before = fetching.taken.size();
  {
    Query query(
        db,
        "SELECT id, position, attempts, crashes, origin, run, stored_at, type, damaged, checksum, envelope FROM items"
        " WHERE grp=? AND state=0 AND alone=? AND due<=? ORDER BY due, id LIMIT ?",
        groups_[group].id, alone ? 1 : 0, fetching.now, most);
    while (query.step()) {
      const std::span<const std::byte> bytes = query.blob(10);
      if (!fetching.admit(bytes.size())) break;
      const std::string_view type = query.text(7);
      auto block = Block::allocate(bytes.size() + type.size());
      std::memcpy(block.get(), bytes.data(), bytes.size());
      // The type stands behind the envelope's padding-to-be: both views live as long as the block.
      std::memcpy(block.get() + bytes.size(), type.data(), type.size());
      const char* text = reinterpret_cast<const char*>(block.get());
      Delivery delivery;
      delivery.envelope = {text, bytes.size()};
      delivery.type = {text + bytes.size(), type.size()};
      delivery.block = std::move(block);
      delivery.position = {static_cast<std::uint64_t>(query.integer(1)), 0};
      delivery.stored_at = Wall(Millis(query.integer(6)));
      delivery.damaged =
          query.integer(8) != 0 || checksum(delivery.envelope) != static_cast<std::uint32_t>(query.integer(9));
      delivery.validated = !delivery.damaged;
      delivery.stream = group;
      delivery.attempt = static_cast<std::uint32_t>(query.integer(2)) + 1;
      delivery.crashes = static_cast<std::uint32_t>(query.integer(3));
      delivery.origin = static_cast<Origin>(query.integer(4));
      delivery.run = static_cast<std::uint64_t>(query.integer(5));
      delivery.alone = alone;
      auto holding = std::make_shared<Holding>();
      *holding = {.row = query.integer(0),
                  .group = group,
                  .first = delivery.position.major,
                  .alone = alone,
                  .item_bytes = bytes.size()};
      fetching.taken.push_back({std::move(holding), {std::move(delivery)}});
    }
  }
  for (std::size_t i = before; i < fetching.taken.size(); ++i) {
    Query(db, "UPDATE items SET state=1, owner=? WHERE id=?", fetching.owner, fetching.taken[i].holding->row).run();
  }
}

void SqliteSubscription::take_range(Database& db, Fetching& fetching, std::uint32_t group, std::size_t most) {
  std::uint64_t cursor = fetching.looks[group].cursor;
  auto holding = std::make_shared<Holding>();
  std::uint64_t end = cursor;
  for (bool room = true; room && most > 0 && end < fetching.looks[group].next;) {
    const auto stored = block_at(db, group, end);
    if (!stored) break;
    if (stored->first > end) {
      if (end > cursor) break;  // A claim does not reach over a hole.
      cursor = end = stored->first;
    }
    const std::uint64_t before = end;
    while (room && most > 0 && end < stored->end()) {
      room = fetching.admit(stored->block.length(static_cast<std::uint32_t>(end - stored->first)));
      if (room) ++end, --most;
    }
    if (end > before) holding->blocks.push_back(stored);
  }
  if (end == cursor) return;
  Query(db, "INSERT INTO claims(grp, first, last, owner) VALUES(?,?,?,?)", groups_[group].id, cursor, end - 1,
        fetching.owner)
      .run();
  holding->range = true;
  holding->row = db.last_id();
  holding->group = group;
  holding->first = cursor;
  holding->count = static_cast<std::uint32_t>(end - cursor);
  holding->done = Bits(holding->count);
  Query(db, "UPDATE groups SET cursor=? WHERE id=?", end, groups_[group].id).run();
  fetching.taken.push_back({std::move(holding), {}});
}

void SqliteSubscription::hand_over(Fetching& fetching) {
  std::vector<Delivery>& deliveries = fetching.batch.deliveries;
  deliveries.reserve(fetching.taken_events);
  for (Taken& taken : fetching.taken) {
    const Holding& holding = *taken.holding;
    if (holding.range) {
      for (std::uint32_t i = 0; i < holding.count; ++i) {
        Delivery& delivery = deliveries.emplace_back();
        static_cast<Record&>(delivery) = holding.record(i);
        delivery.stream = holding.group;
        delivery.token.index = i;
      }
    } else {
      deliveries.push_back(std::move(taken.deliveries.front()));
    }
  }
  std::size_t at = 0;
  std::lock_guard lock(ledger_mutex_);
  if (owner_ != fetching.owner) {
    // Lost since to a renewal that found the owner gone, and with it this claim: somebody else has it.
    deliveries.clear();
    return;
  }
  const auto owner_epoch = static_cast<std::uint32_t>(fetching.owner);
  for (Taken& taken : fetching.taken) {
    const std::uint32_t count = taken.holding->count;
    const std::uint64_t serial = ledger_.add(std::move(taken.holding));
    for (std::uint32_t i = 0; i < count; ++i, ++at) {
      deliveries[at].token.lease = serial;
      deliveries[at].token.epoch = owner_epoch;
    }
  }
}

}  // namespace tidings::transport::sqlite
