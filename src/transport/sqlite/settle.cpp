#include <algorithm>
#include <boost/container/flat_map.hpp>
#include <map>

#include "core/crc32c.hpp"
#include "core/envelope_member.hpp"
#include "core/failpoint.hpp"
#include "transport/sqlite/subscription.hpp"

namespace tidings::transport::sqlite {
namespace {

using Kind = Settlement::Kind;
constexpr std::size_t longest_error = 4096;

std::int64_t add_saturated(std::int64_t now, Millis after) {
  const std::int64_t wait = std::max<std::int64_t>(0, after.count());
  return wait > INT64_MAX / 2 - now ? INT64_MAX / 2 : now + wait;
}

}  // namespace

// What happens to one holding.
struct SqliteSubscription::Change {
  std::uint64_t serial = 0;
  std::shared_ptr<Holding> holding{};
  // Event of the holding → item of the call. They come nearly in order, so that a node each would be waste.
  boost::container::flat_map<std::uint32_t, std::size_t> settled{};
  std::uint32_t given_back = 0;  // Events at the end of a range that the cursor goes back over.
  bool gone = false;             // Its row is not ours any more.

  // Takes in event `index` for item `item` of the call; false when the call names it twice.
  bool add(std::uint32_t index, std::size_t item) {
    if (!settled.empty() && settled.rbegin()->first >= index) return settled.emplace(index, item).second;
    settled.emplace_hint(settled.end(), index, item);
    return true;
  }
};

struct SqliteSubscription::Plan {
  struct Counts {
    std::uint64_t handled = 0, ignored = 0;
  };
  std::span<const Settlement> items{};
  std::span<Result> results{};
  std::vector<Change> changes{};  // Latest positions first, so that the cursor can go back over several ranges.
  std::vector<Counts> counts{};
  std::vector<Placing> outputs{};
  std::int64_t owner = 0, now = 0;
  bool lost = false, wakes = false;
};

void SqliteSubscription::settle(std::span<const Settlement> items, std::span<Result> results) {
  store_.check_usable();
  std::lock_guard settling(settling_);
  Plan plan;
  this->plan(items, results, plan);
  if (!plan.changes.empty()) {
    store_.write([&](Database& db) { apply(db, plan); });
    TIDINGS_FAILPOINT("sqlite.after_settle_commit");
  }
  conclude(plan);
  if (!plan.outputs.empty() && !plan.lost) store_.make_durable_by_default();
}

void SqliteSubscription::plan(std::span<const Settlement> items, std::span<Result> results, Plan& plan) {
  plan.items = items;
  plan.results = results;
  plan.counts.resize(groups_.size());
  plan.now = store_.wall_ms();
  const bool makes =
      std::any_of(items.begin(), items.end(), [](const Settlement& item) { return !item.outputs.empty(); });
  const bool tight = makes && store_.reserve() > 0 && store_.free_bytes() < store_.reserve() / 2;
  const Result stale{.code = ErrorCode::stale,
                     .stale = true,
                     .message = "this delivery was settled before, or lost to another subscription"};
  std::map<std::uint64_t, std::size_t> change_of;
  std::lock_guard lock(ledger_mutex_);
  plan.owner = owner_;
  std::size_t last = 0;  // Most items settle the holding that the one before them settles.
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Settlement& item = items[i];
    results[i] = {};
    const bool accepted = std::all_of(item.outputs.begin(), item.outputs.end(),
                                      [&](const Outgoing& output) { return acceptable(output, limits_, results[i]); });
    if (!accepted) continue;
    if (tight && !item.outputs.empty()) {
      results[i] = {.code = ErrorCode::full,
                    .retryable = true,
                    .message = store_.path() +
                               ": what the handler published finds no room, since the rest of the "
                               "reserve is kept for settling; make room on its file system"};
      continue;
    }
    if (plan.changes.empty() || plan.changes[last].serial != item.token.lease) {
      const auto holding = ledger_.find(item.token.lease);
      if (holding == nullptr) {
        results[i] = stale;
        continue;
      }
      const auto [known, fresh] = change_of.try_emplace(item.token.lease, plan.changes.size());
      if (fresh) plan.changes.push_back({.serial = item.token.lease, .holding = holding});
      last = known->second;
    }
    Change& change = plan.changes[last];
    const bool held = item.token.epoch == epoch() && change.holding->holds(item.token.index);
    if (!held || !change.add(item.token.index, i)) results[i] = stale;
  }
  std::erase_if(plan.changes, [](const Change& change) { return change.settled.empty(); });
  std::sort(plan.changes.begin(), plan.changes.end(), [](const Change& a, const Change& b) {
    return std::tie(a.holding->group, a.holding->first) > std::tie(b.holding->group, b.holding->first);
  });
}

void SqliteSubscription::apply(Database& db, Plan& plan) {
  {
    Query query(db, "SELECT 1 FROM owners WHERE id=?", plan.owner);
    plan.lost = !query.step();
  }
  if (plan.lost) return;
  for (Change& change : plan.changes) {
    change.holding->range ? apply_range(db, plan, change) : apply_item(db, plan, change);
    if (change.gone) continue;
    Plan::Counts& counts = plan.counts[change.holding->group];
    for (const auto& [index, item] : change.settled) {
      const Settlement& settlement = plan.items[item];
      counts.handled += settlement.kind == Kind::done ? 1 : 0;
      counts.ignored += settlement.kind == Kind::ignored ? 1 : 0;
      if (settlement.kind != Kind::done) continue;
      for (const Outgoing& output : settlement.outputs) plan.outputs.push_back({&output, nullptr});
    }
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Plan::Counts& counts = plan.counts[g];
    if (counts.handled + counts.ignored == 0) continue;
    Query(db, "UPDATE groups SET handled=handled+?, ignored=ignored+? WHERE id=?", counts.handled, counts.ignored,
          groups_[g].id)
        .run();
  }
  if (!plan.outputs.empty()) appender_.append(store_, db, plan.outputs);
  TIDINGS_FAILPOINT("sqlite.before_settle_commit");
}

void SqliteSubscription::give_back(Database& db, Plan& plan, Change& change) {
  const Holding& holding = *change.holding;
  std::uint32_t tail = holding.count;
  while (tail > 0) {
    const auto found = change.settled.find(tail - 1);
    if (found == change.settled.end()) break;
    const Settlement& item = plan.items[found->second];
    if (item.kind != Kind::release || item.after.count() > 0) break;
    --tail;
  }
  if (tail == holding.count) return;
  Query(db, "UPDATE groups SET cursor=? WHERE id=? AND cursor=?", holding.first + tail, groups_[holding.group].id,
        holding.first + holding.count)
      .run();
  if (db.changes() > 0) change.given_back = holding.count - tail;
}

void SqliteSubscription::apply_range(Database& db, Plan& plan, Change& change) {
  const Holding& holding = *change.holding;
  const std::int64_t group = groups_[holding.group].id;
  give_back(db, plan, change);
  const std::uint32_t count = holding.count - change.given_back;
  Bits done = holding.done;
  for (const auto& [index, item] : change.settled) done.set(index);
  if (done.count() == holding.count) {
    Query(db, "DELETE FROM claims WHERE id=? AND grp=? AND owner=?", holding.row, group, plan.owner).run();
  } else {
    Query(db, "UPDATE claims SET done=?, settled=?, last=? WHERE id=? AND grp=? AND owner=?", done.bytes(),
          done.count() - change.given_back, holding.first + count - 1, holding.row, group, plan.owner)
        .run();
  }
  if (db.changes() == 0) {
    change.gone = true;
    return;
  }
  for (const auto& [index, item] : change.settled) {
    const Kind kind = plan.items[item].kind;
    if (index < count && (kind == Kind::again || kind == Kind::dead || kind == Kind::release))
      put_aside(db, change, index, plan.items[item]);
    plan.wakes = plan.wakes || kind == Kind::release || kind == Kind::again;
  }
}

void SqliteSubscription::put_aside(Database& db, const Change& change, std::uint32_t index, const Settlement& item) {
  const Holding& holding = *change.holding;
  const Record record = holding.record(index);
  const std::int64_t now = store_.wall_ms();
  const bool failed = item.kind != Kind::release;
  const int attempts = item.kind == Kind::again || (item.kind == Kind::dead && item.counted) ? 1 : 0;
  const auto text = std::span(record.envelope.data(), record.envelope.size());
  const std::string id = record.damaged ? std::string{} : core::envelope_member(record.envelope, "id");
  Query(db,
        "INSERT INTO items(grp, position, state, due, attempts, origin, reason, error, first_failed, last_failed, "
        "stored_at, type, event_id,"
        " damaged, checksum, envelope) "
        "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,nullif(?9,-1),nullif(?9,-1),?10,?11,?12,?13,?14,?15)",
        groups_[holding.group].id, holding.first + index, item.kind == Kind::dead ? 3 : 0,
        add_saturated(store_.due_ms(), item.after), attempts,
        static_cast<int>(item.kind == Kind::again ? Origin::retry : Origin::live), item.reason,
        item.error.substr(0, longest_error), failed ? now : std::int64_t{-1},
        record.stored_at.time_since_epoch().count(), record.type, id, record.damaged ? 1 : 0,
        core::crc32c(std::as_bytes(text)), std::as_bytes(text))
      .run();
}

void SqliteSubscription::apply_item(Database& db, Plan& plan, Change& change) {
  const Settlement& item = plan.items[change.settled.begin()->second];
  const std::int64_t row = change.holding->row;
  switch (item.kind) {
    case Kind::done:
    case Kind::ignored:
      Query(db, "DELETE FROM items WHERE id=? AND owner=?", row, plan.owner).run();
      break;
    case Kind::release:
      Query(db, "UPDATE items SET state=0, owner=NULL, due=? WHERE id=? AND owner=?",
            add_saturated(store_.due_ms(), item.after), row, plan.owner)
          .run();
      break;
    case Kind::again:
      Query(db,
            "UPDATE items SET state=0, owner=NULL, due=?, attempts=attempts+1, alone=0, origin=CASE origin WHEN 0 THEN "
            "1 ELSE origin END,"
            " error=?, first_failed=coalesce(first_failed,?), last_failed=? WHERE id=? AND owner=?",
            add_saturated(store_.due_ms(), item.after), item.error.substr(0, longest_error), plan.now, plan.now, row,
            plan.owner)
          .run();
      break;
    case Kind::dead:
      Query(db,
            "UPDATE items SET state=3, owner=NULL, attempts=attempts+?, alone=0, reason=?, error=?, "
            "first_failed=coalesce(first_failed,?),"
            " last_failed=? WHERE id=? AND owner=?",
            item.counted ? 1 : 0, item.reason, item.error.substr(0, longest_error), plan.now, plan.now, row, plan.owner)
          .run();
      break;
  }
  change.gone = db.changes() == 0;
  plan.wakes = plan.wakes || item.kind == Kind::release || item.kind == Kind::again;
}

void SqliteSubscription::conclude(Plan& plan) {
  const auto stale = [&](const Change& change) {
    for (const auto& [index, item] : change.settled) {
      plan.results[item] = {.code = ErrorCode::stale,
                            .stale = true,
                            .message = "this delivery was lost to another subscription, or its group was removed"};
    }
  };
  bool starved = false;
  {
    std::lock_guard lock(ledger_mutex_);
    for (const Change& change : plan.changes) {
      if (plan.lost || change.gone) {
        stale(change);
        if (change.gone) ledger_.forget(change.serial);
        continue;
      }
      std::vector<std::uint32_t> indexes;
      indexes.reserve(change.settled.size());
      for (const auto& [index, item] : change.settled) indexes.push_back(index);
      ledger_.settle(change.serial, indexes);
    }
    // The fetcher joins anew. What else is held here is lost as well; renew() may still name it.
    starved = starved_ && !plan.changes.empty();
    starved_ = starved_ && !starved;
  }
  if (starved || plan.wakes || !plan.outputs.empty()) store_.side().wake();
}

void SqliteSubscription::leave() noexcept {
  try {
    std::vector<AckToken> tokens;
    std::int64_t owner = 0;
    {
      std::lock_guard lock(ledger_mutex_);
      tokens = ledger_.open(epoch());
      owner = owner_;
    }
    if (owner == 0) return;
    std::vector<Settlement> releases(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i)
      releases[i] = {.kind = Settlement::Kind::release, .token = tokens[i]};
    std::vector<Result> results(tokens.size());
    std::lock_guard settling(settling_);
    Plan plan;
    this->plan(releases, results, plan);
    store_.write(deadline_in(Millis{5'000}), [&](Database& db) {
      apply(db, plan);
      Query(db, "DELETE FROM members WHERE owner=?", owner).run();
      Query(db, "DELETE FROM owners WHERE id=?", owner).run();
    });
    conclude(plan);
    store_.side().change_membership();
    store_.side().wake();
  } catch (...) {
    // What could not be given back is found by the lock that goes with this object, or by its lease.
  }
}

}  // namespace tidings::transport::sqlite
