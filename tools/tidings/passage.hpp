// What a bridge may do next with the deliveries in its hands: pure, without an engine.
//
// An event is published on the target first and settled on the source behind that, so that whatever dies in between
// repeats it under its own id and loses nothing. Events go in the order in which they are given; of one key none goes
// before an earlier one is stored, or refused for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <tidings/delivery.hpp>
#include <utility>
#include <vector>

namespace tidings::cli {

/// Where an event stands on the source.
struct Place {
  std::uint32_t stream = 0;  ///< Index into the streams that are moved.
  Position position{};       ///< {0,0} where the engine tells none.
  auto operator<=>(const Place&) const = default;
};

/// Walks batches of deliveries from the source to the target and back to their settlement.
class Passage {
 public:
  /// So many refusals in a row stop a bridge.
  static constexpr std::size_t brake = 100;
  /// One delivery of a batch.
  struct Item {
    Place place{};
    std::string fault{};  ///< Why it is no event; empty for one.
    bool known = false;   ///< It is stored on the target already.
  };
  /// What is to be told to the source of one delivery.
  struct Verdict {
    std::size_t item = 0;  ///< Index into the batch.
    bool dead = false;     ///< Put aside as a dead letter, with `reason` and `error`; else done.
    std::string reason{}, error{};
  };
  /// What the target's answer means for what comes next.
  struct Answer {
    std::size_t stored = 0, aside = 0;
    bool again = false;               ///< Some were not stored and may be later: publish() tells which.
    ErrorCode fatal = ErrorCode::ok;  ///< What repeating cannot cure, and no single event is to blame for.
    std::string why{};                ///< Of what is fatal, else of the first one that may be stored later.
  };

  /// Begins a batch. What stands at a place that is stored already is not published again.
  void begin(std::vector<Item> items);
  /// The next items to publish, in their order, at most `most`.
  [[nodiscard]] std::vector<std::size_t> publish(std::size_t most) const;
  /// What became of the items that publish() named. When the target has refused `brake` events one after the other, the
  /// fault is hardly theirs: that is fatal, and those of this batch that are not settled yet stay on the source.
  Answer published(std::span<const std::size_t> items, std::span<const transport::Result> results);
  /// What was refused until now comes once more, and is not to be counted twice.
  void forget_refusals() noexcept { refused_ = 0; }
  /// The call failed as a whole, and nobody knows what was stored.
  void unknown(std::span<const std::size_t> items);
  /// What may be settled now; each item is named once.
  [[nodiscard]] std::vector<Verdict> settle();
  /// The source has settled it: its place is not remembered any longer.
  void settled(std::size_t item);
  /// Whether every item of the batch was named by settle().
  [[nodiscard]] bool finished() const noexcept { return settled_ == states_.size(); }

  /// Whether the event there is stored on the target and, as far as is known, not settled on the source.
  [[nodiscard]] bool is_stored(const Place& place) const { return stored_.contains(place); }
  /// Learns from elsewhere that it is stored.
  void remember(const Place& place);
  /// Forgets places that are not in `outstanding`: the source has settled them, though its answer was lost.
  void keep_only(const std::set<Place>& outstanding);

  [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
  /// Events that may stand on the target twice, since an earlier publish of them was not answered.
  [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_; }
  [[nodiscard]] std::uint64_t dead() const noexcept { return dead_; }
  /// Counts events that a process before this one may have published.
  void count_repeated(std::uint64_t events) noexcept { repeated_ += events; }

 private:
  enum class Step : std::uint8_t { waits, stored, aside, named };
  struct State {
    Item item{};
    Step step = Step::waits;
    bool asked = false;  ///< A publish of it had no answer.
    std::string reason{}, error{};
  };

  void hold_back(Answer& answer, const transport::Result& last);

  std::vector<State> states_{};
  std::size_t settled_ = 0;
  std::size_t refused_ = 0;  ///< In a row.
  std::set<Place> stored_{};
  std::uint64_t moved_ = 0, repeated_ = 0, dead_ = 0;
};

}  // namespace tidings::cli
