// What one group of one stream knows: its cursor, and every delivery that is not settled. Pure: no lock, no clock, no
// wait.
//
// An event that was handed out is an item until it is settled. A fresh one that is given back stands in front of the
// cursor again, in publish order; one that failed comes back at its due time; one whose holder died comes back alone.
// Due times are kept on the steady clock, since nothing here outlives the process and the wall clock may jump.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transport/memory/log.hpp"

namespace tidings::memory {

/// Both clocks, read once per call.
struct Now {
  Wall wall{};
  Steady steady{};
};

/// `now` plus `delay`, without overflow and never earlier than `now`.
[[nodiscard]] Steady later(Steady now, Millis delay) noexcept;

/// What one subscription holds, over all its groups.
struct Holder {
  std::string instance{};
  std::size_t events = 0;     ///< Unsettled deliveries …
  std::size_t bytes = 0;      ///< … and their bytes.
  bool alone = false;         ///< The one delivery that it holds is alone.
  bool due_first = true;      ///< Whose turn it is when there is room for one only.
  std::size_t next_slot = 0;  ///< The stream that is asked first next time.
  Steady lease_until{};
  std::vector<transport::AckToken> lost{};  ///< Taken away since the last renewal.
};

/// One delivery that is not settled, or a dead letter.
struct Item {
  Entry entry{};
  transport::ShelfState state = transport::ShelfState::waiting;
  transport::Origin origin = transport::Origin::live;
  std::uint64_t run = 0;
  std::uint32_t failures = 0, crashes = 0, epoch = 0;
  std::uint32_t slot = 0;  ///< The holder's index of this stream.
  bool alone = false;
  Holder* holder = nullptr;
  Steady due{};
  std::string reason{}, error{};
  std::optional<Wall> first_failed{}, last_failed{};
};

/// A group. Keys of items come from a counter that the whole engine shares, so that a token of a removed group can
/// never name an item of its successor.
class Group {
 public:
  /// Where the next delivery may come from.
  enum class Source : std::uint8_t { alone, due, live };

  Group(std::uint64_t cursor, std::uint64_t* next_key) : cursor_(cursor), next_key_(next_key) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// The size of the envelope that take() would hand out; nothing when `source` has none now.
  [[nodiscard]] std::optional<std::size_t> peek(Source source, const Log& log, Steady now) const;
  /// Hands the next delivery of `source` to `holder`; peek() has said that there is one.
  [[nodiscard]] transport::Delivery take(Source source, const Log& log, std::uint32_t slot, Holder& holder);
  /// Whether `holder` should stop taking other work so that a delivery that must run alone can reach it. One holder at
  /// a time does, so that the others go on.
  [[nodiscard]] bool must_drain(const Holder& holder);
  /// Whether `holder` holds what `token` names.
  [[nodiscard]] bool holds(const transport::AckToken& token, const Holder& holder) const;
  /// Applies `settlement`; its outputs are the caller's. False, with nothing changed, when `holder` no longer holds it.
  bool settle(const transport::Settlement& settlement, Holder& holder, Now now);
  /// Takes everything back from `holder`, uncounted.
  void release_all(Holder& holder);
  /// `holder` died: all that it held has one crash more and comes back alone.
  void orphan_all(Holder& holder, Now now);
  /// Everybody loses everything: the group is being removed.
  void abandon();

  /// Hands a copy to this group only.
  void inject(Entry entry, transport::Origin origin, std::uint64_t run, Now now);
  /// Puts an item there as `as` has it, but for its place and holder.
  void shelve(Entry entry, const transport::ShelfItem& as, Now now);
  /// The items that match, in the order of their keys.
  [[nodiscard]] std::vector<std::uint64_t> find(const transport::ShelfQuery& query, Now now) const;
  /// One item as tools see it, but for stream and group.
  [[nodiscard]] transport::ShelfItem show(std::uint64_t key, Now now) const;
  /// Changes what matches; see Transport::move(). `replacement` is given for ShelfAction::replace.
  std::size_t move(const transport::ShelfQuery& query, transport::ShelfAction action, const Entry* replacement,
                   Now now);

  /// Moves the cursor; fresh events that were given back stand before or behind it like any other.
  void seek(std::uint64_t cursor);
  /// Retention removed everything before `offset`. Returns how many events this group never had; take_gaps() tells it.
  std::uint64_t pass(std::uint64_t offset);
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> take_gaps();
  /// The lowest offset that this group still needs from the log.
  [[nodiscard]] std::uint64_t lowest() const;
  /// When something falls due next; may lie in the past.
  [[nodiscard]] std::optional<Steady> next_due() const;
  /// Cursor, counters and age; what concerns subscriptions is left to the caller.
  [[nodiscard]] transport::GroupInfo describe(const Log& log, Now now) const;
  /// The offset that goes out next.
  [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
  /// Whether it holds anything: leased, waiting, retrying or dead.
  [[nodiscard]] bool holds_work() const noexcept { return !items_.empty(); }

  bool paused = false;

 private:
  using Items = std::map<std::uint64_t, Item>;
  using Due = std::set<std::pair<Steady, std::uint64_t>>;

  [[nodiscard]] transport::ShelfState state_of(const Item& item, Steady now) const;
  [[nodiscard]] std::uint64_t next_key(Source source, Steady now) const;
  void let_go(Item& item);
  void queue(std::uint64_t key, Item& item);
  void unqueue(std::uint64_t key, const Item& item);
  void take_back(std::uint64_t key, Item& item);
  void fail(Item& item, std::string_view error, Wall now);
  void bury(Items::iterator it, const transport::Settlement& settlement, Wall now);
  void forget_dead(const Item& item);

  Items items_;
  Due due_;    ///< Waiting and retrying items that may run beside others, by due time.
  Due alone_;  ///< The same for those that must run alone.
  std::set<std::pair<std::uint64_t, std::uint64_t>> returned_;  ///< Offset and key of fresh items that were given back.
  std::map<std::pair<std::string, std::uint64_t>, std::uint64_t> dead_;  ///< Key of the dead letter of an id and run.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps_;
  std::uint64_t cursor_;
  std::uint64_t* next_key_;
  std::uint64_t handled_ = 0, ignored_ = 0;
  const Holder* drainer_ = nullptr;
};

/// How `key` is written for people; sorts like the number.
[[nodiscard]] std::string key_text(std::uint64_t key);

}  // namespace tidings::memory
