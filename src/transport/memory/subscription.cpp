#include "transport/memory/subscription.hpp"

#include <algorithm>
#include <set>

namespace tidings::memory {

using transport::Batch;
using transport::Outgoing;
using transport::Result;
using transport::Settlement;
using RealTime = std::chrono::steady_clock;

Now now_of(const Environment& environment) { return {environment.clock->wall(), environment.clock->steady()}; }

RealTime::time_point deadline_after(Millis wait) {
  return RealTime::now() + std::clamp(wait, Millis{0}, Millis{std::chrono::hours(24 * 365)});
}

Admission admit(std::span<const Outgoing> items, std::span<Result> results, std::size_t largest_event) {
  Admission admission;
  admission.admitted.reserve(items.size());
  admission.indexes.reserve(items.size());
  std::set<std::pair<std::string_view, std::string_view>> refused;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Outgoing& item = items[i];
    Result& result = results[i];
    result = {};
    if (!item.key.empty() && refused.contains({item.stream, item.key})) {
      result.code = ErrorCode::unavailable;
      result.retryable = true;
      result.message = "memory: event " + std::string(item.id) +
                       " was held back, since an earlier event of its key was "
                       "refused; publish it again once that one is settled";
      continue;
    }
    if (item.envelope.size() > largest_event) {
      result.code = ErrorCode::too_large;
      result.message = "memory: event " + std::string(item.id) + " for " + std::string(item.stream) + " is " +
                       std::to_string(item.envelope.size()) + " bytes, the limit is " + std::to_string(largest_event) +
                       "; store the large part elsewhere and publish a reference to it";
    } else {
      try {
        check_stream(item.stream);
      } catch (const Error& error) {
        result.code = error.code();
        result.message = error.what();
      }
    }
    if (result.code != ErrorCode::ok) {
      if (!item.key.empty()) refused.emplace(item.stream, item.key);
      continue;
    }
    admission.admitted.push_back(item);
    admission.indexes.push_back(i);
  }
  return admission;
}

MemorySubscription::MemorySubscription(std::shared_ptr<Store> store, const Environment& environment,
                                       const transport::Interest& interest, std::size_t largest_event)
    : store_(std::move(store)), environment_(environment), largest_event_(largest_event), member_(nullptr) {
  {
    const std::lock_guard lock(store_->mutex);
    member_ = &store_->join(interest, now_of(environment_));
  }
  store_->changed.notify_all();
}

MemorySubscription::~MemorySubscription() {
  {
    const std::lock_guard lock(store_->mutex);
    store_->leave(*member_);
  }
  store_->changed.notify_all();
}

// One look under the lock. True when there is something to return.
bool MemorySubscription::fill(Batch& batch, std::vector<std::string>& recreated) {
  const Now now = now_of(environment_);
  store_->sweep(now);
  for (std::string& name : store_->rejoin(*member_)) recreated.push_back(std::move(name));
  // With empty hands there is nothing to lose: whoever fetches lives.
  if (member_->holder.events == 0) store_->revive(*member_, now);
  batch.paused = false;
  pick(member_->slots, member_->holder, {member_->interest.events, member_->interest.bytes}, now.steady, batch);
  return !batch.deliveries.empty() || !batch.gaps.empty();
}

RealTime::time_point MemorySubscription::wake_at(RealTime::time_point deadline) {
  const RealTime::time_point now = RealTime::now();
  // A virtual clock does not wake anybody when it is moved, so it is looked at again and again.
  if (environment_.clock != &system_clock()) return std::min(deadline, now + Millis{2});
  Steady due = store_->next_expiry();
  for (const Slot& slot : member_->slots) due = std::min(due, slot.group->next_due().value_or(Steady::max()));
  if (due == Steady::max()) return deadline;
  const Steady until = std::clamp<Steady>(due - environment_.clock->steady(), Millis{1}, std::chrono::hours(1));
  return std::min(deadline, now + until);
}

Batch MemorySubscription::fetch(Millis wait, std::stop_token stop) {
  const RealTime::time_point deadline = deadline_after(wait);
  Batch batch;
  std::vector<std::string> recreated;
  {
    std::unique_lock lock(store_->mutex);
    while (!fill(batch, recreated)) {
      if (stop.stop_requested() || RealTime::now() >= deadline) break;
      const std::uint64_t seen = store_->changes();
      store_->changed.wait_until(lock, stop, wake_at(deadline), [&] { return store_->changes() != seen; });
    }
    batch.types = store_->types(member_->interest.service);
  }
  for (const std::string& name : recreated) {
    environment_.log(LogLevel::warning, "memory: the group of " + member_->interest.service + " on " + name +
                                            " was removed while the service runs; it was created again where it stood");
  }
  return batch;
}

bool MemorySubscription::settle_one(const Settlement& item, Result& result, Now now) {
  result = {};
  const auto& slots = member_->slots;
  Group* const group = item.token.index < slots.size() ? slots[item.token.index].group.get() : nullptr;
  if (group == nullptr || !group->holds(item.token, member_->holder)) {
    result.code = ErrorCode::stale;
    result.stale = true;
    result.message =
        "memory: the delivery was settled before, or its lease ran out and another holds it; nothing changed";
    return false;
  }
  if (item.kind == Settlement::Kind::done && !item.outputs.empty()) {
    std::vector<Result> stored(item.outputs.size());
    const Admission outputs = admit(item.outputs, stored, largest_event_);
    if (outputs.admitted.size() != item.outputs.size()) {
      result = *std::find_if(stored.begin(), stored.end(), [](const Result& one) { return one.code != ErrorCode::ok; });
      return false;
    }
    std::size_t next = 0;
    for (Entry& entry : copy_entries(item.outputs, now.wall)) {
      store_->stream(item.outputs[next++].stream).log->append(std::move(entry));
    }
  }
  return group->settle(item, member_->holder, now);
}

void MemorySubscription::settle(std::span<const Settlement> items, std::span<Result> results) {
  {
    const std::lock_guard lock(store_->mutex);
    const Now now = now_of(environment_);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (settle_one(items[i], results[i], now)) store_->touch();
    }
  }
  store_->changed.notify_all();
}

std::vector<transport::AckToken> MemorySubscription::renew() {
  const std::lock_guard lock(store_->mutex);
  store_->revive(*member_, now_of(environment_));
  return std::exchange(member_->holder.lost, {});
}

}  // namespace tidings::memory
