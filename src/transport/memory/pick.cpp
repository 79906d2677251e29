#include "transport/memory/pick.hpp"

namespace tidings::memory {
namespace {

class Picking {
 public:
  Picking(std::span<const Slot> slots, Holder& holder, Bounds bounds, Steady now, transport::Batch& batch)
      : slots_(slots), holder_(holder), bounds_(bounds), now_(now), batch_(batch) {}

  // True when nothing else may be picked: an alone delivery was, or its turn is being waited for.
  bool alone() {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      if (!slot.group->peek(Group::Source::alone, *slot.log, now_)) continue;
      if (holder_.events == 0) {
        take(Group::Source::alone, i);
        return true;
      }
      if (slot.group->must_drain(holder_)) return true;
    }
    return false;
  }

  // Picks up to `most` in turn from all streams. False when the bytes are used up: the stream whose event did not fit
  // is asked first next time, so that a large event is not overtaken for ever.
  bool from(Group::Source source, std::size_t most) {
    std::size_t idle = 0;
    while (most > 0 && idle < slots_.size()) {
      const std::size_t at = holder_.next_slot % slots_.size();
      const Slot& slot = slots_[at];
      const auto size = slot.group->peek(source, *slot.log, now_);
      if (!size) {
        ++idle;
        ++holder_.next_slot;
        continue;
      }
      if (holder_.events > 0 && (holder_.bytes >= bounds_.bytes || *size > bounds_.bytes - holder_.bytes)) return false;
      take(source, at);
      idle = 0;
      --most;
      ++holder_.next_slot;
    }
    return true;
  }

 private:
  void take(Group::Source source, std::size_t at) {
    batch_.deliveries.push_back(
        slots_[at].group->take(source, *slots_[at].log, static_cast<std::uint32_t>(at), holder_));
  }

  std::span<const Slot> slots_;
  Holder& holder_;
  Bounds bounds_;
  Steady now_;
  transport::Batch& batch_;
};

}  // namespace

void pick(std::span<const Slot> slots, Holder& holder, Bounds bounds, Steady now, transport::Batch& batch) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].group->paused) batch.paused = true;
    for (const auto& [first, last] : slots[i].group->take_gaps()) {
      batch.gaps.push_back({static_cast<std::uint32_t>(i), {first, 0}, {last, 0}});
    }
  }
  if (holder.alone || holder.events >= bounds.events) return;
  Picking picking(slots, holder, bounds, now, batch);
  if (picking.alone()) return;

  // Each side has a right to half of the room, and to what the other leaves; with room for one they take turns.
  const std::size_t room = bounds.events - holder.events;
  const Group::Source first = holder.due_first ? Group::Source::due : Group::Source::live;
  const Group::Source second = holder.due_first ? Group::Source::live : Group::Source::due;
  if (!picking.from(first, (room + 1) / 2)) return;
  if (!batch.deliveries.empty()) holder.due_first = !holder.due_first;
  if (!picking.from(second, bounds.events - holder.events)) return;
  picking.from(first, bounds.events - holder.events);
}

}  // namespace tidings::memory
