// One subscription: joining, fetching, renewing (subscription.cpp, fetch.cpp) and settling (settle.cpp).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <tidings/transport.hpp>

#include "transport/sqlite/ledger.hpp"
#include "transport/sqlite/log.hpp"
#include "transport/sqlite/store.hpp"

namespace tidings::transport::sqlite {

/// A group as a subscription sees it.
struct JoinedGroup {
  std::int64_t id = 0, stream = 0;
  std::string name{};
  std::uint64_t cursor = 0;  ///< As last seen: where the group is made again if somebody removes it.
  std::vector<std::shared_ptr<const StoredBlock>> blocks{};  ///< Read lately, from the cursor on; never a long list.
};

class SqliteSubscription final : public Subscription {
 public:
  SqliteSubscription(Store& store, const Capabilities& limits, const Interest& interest);
  ~SqliteSubscription() override;
  Batch fetch(Millis wait, std::stop_token stop) override;
  void settle(std::span<const Settlement> items, std::span<Result> results) override;
  std::vector<AckToken> renew() override;

 private:
  // What a look at one group found.
  struct Look {
    std::uint64_t cursor = 0, next = 0;
    std::int64_t next_due = INT64_MAX;  // Of what waits for its time.
    bool paused = false, alone = false, due = false, orphan = false, gap = false;
    [[nodiscard]] bool live() const noexcept { return cursor < next; }
  };
  // What a fetch has taken, before the commit.
  struct Taken {
    std::shared_ptr<Holding> holding{};
    std::vector<Delivery> deliveries{};  // Items; a range's are made after the commit.
  };
  struct Fetching;

  void join(Millis within);
  void join_groups(Database& db, std::vector<JoinedGroup>& groups);
  void adopt(std::vector<JoinedGroup> groups);
  [[nodiscard]] std::uint32_t epoch() const noexcept { return static_cast<std::uint32_t>(owner_.load()); }
  void lose_all();
  void keep_membership();
  void refresh_types();

  [[nodiscard]] bool look(Database& db, std::uint32_t group, Look& found);
  [[nodiscard]] Batch try_fetch(Fetching& fetching);
  void survey(Fetching& fetching);
  void take(Database& db, Fetching& fetching);
  [[nodiscard]] bool take_alone(Database& db, Fetching& fetching, std::uint32_t group);
  void take_orphan(Database& db, Fetching& fetching, std::uint32_t group);
  void take_items(Database& db, Fetching& fetching, std::uint32_t group, std::size_t most, bool alone);
  void take_range(Database& db, Fetching& fetching, std::uint32_t group, std::size_t most);
  void take_gaps(Database& db, Fetching& fetching, std::uint32_t group);
  void extend_lease(Database& db);
  void hand_over(Fetching& fetching);
  void read_ahead(Database& db, std::uint32_t group, const Look& found, std::size_t events, std::size_t bytes);
  [[nodiscard]] std::shared_ptr<const StoredBlock> block_at(Database& db, std::uint32_t group, std::uint64_t offset);

  struct Change;
  struct Plan;
  void plan(std::span<const Settlement> items, std::span<Result> results, Plan& plan);
  void apply(Database& db, Plan& plan);
  void apply_range(Database& db, Plan& plan, Change& change);
  void apply_item(Database& db, Plan& plan, Change& change);
  void give_back(Database& db, Plan& plan, Change& change);
  void put_aside(Database& db, const Change& change, std::uint32_t index, const Settlement& item);
  void conclude(Plan& plan);
  void leave() noexcept;

  Store& store_;
  const Capabilities& limits_;
  const Interest interest_;
  std::string instance_{};
  std::vector<JoinedGroup> groups_{};  // In the order of Interest::streams; fetch's own but for id and stream.
  std::atomic<std::int64_t> owner_{0};
  Descriptor alive_{};
  std::int64_t lease_until_ = 0;  // Guarded by ledger_mutex_.
  std::mutex settling_{};         // Outer: one settlement at a time.
  std::mutex ledger_mutex_{};     // Inner: never held across I/O.
  Ledger ledger_{};
  std::vector<AckToken> lost_{};  // What fetch found lost, until renew() names it; guarded by ledger_mutex_.
  bool starved_ = false;          // fetch waits for room; guarded by ledger_mutex_.
  Appender appender_{};           // Guarded by settling_.
  bool wakes_pay_ = false;        // The last wake-up brought something: the next one need not look first.
  std::size_t turn_ = 0;          // Which group comes first in the next fetch.
  std::uint32_t membership_seen_ = 0;
  WaitClock::time_point types_at_{}, takeover_at_{};
  std::shared_ptr<const std::vector<std::string>> types_{};
};

/// The offset that `start` means on a stream, within what is stored.
[[nodiscard]] std::uint64_t start_offset(Database& db, std::int64_t stream, const Start& start);

/// Takes over what dead subscriptions hold: those of another boot, those whose process is gone, those whose lease is
/// past. Returns how many.
std::size_t take_over_dead(Store& store, Millis within = Millis{30'000});

}  // namespace tidings::transport::sqlite
