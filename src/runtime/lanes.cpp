#include "runtime/lanes.hpp"

#include <algorithm>
#include <utility>

namespace tidings::runtime {

Lanes::Lanes(const HandlerTable& handlers, unsigned concurrency) : lanes_(handlers.size()) {
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const Handler& handler = handlers.at(i);
    lanes_[i].batch = handler.batch ? handler.batch_size : 1;
    lanes_[i].wait = handler.batch_wait;
    lanes_[i].limit = handler.options.concurrency == 0 ? concurrency : handler.options.concurrency;
  }
}

void Lanes::push(std::size_t lane, transport::Delivery&& delivery, Steady now) {
  Lane& target = lanes_[lane];
  if (target.head > 0 && target.items.size() == target.items.capacity()) {
    target.items.erase(target.items.begin(), target.items.begin() + static_cast<std::ptrdiff_t>(target.head));
    target.head = 0;
  }
  Item& item = target.items.emplace_back();
  item.delivery = std::move(delivery);
  item.number = arrived_++;
  item.since = now;
  ++size_;
}

std::optional<std::size_t> Lanes::next(Steady now, bool hurry) const noexcept {
  if (size_ == 0 || alone_running_) return std::nullopt;
  std::optional<std::size_t> best;
  std::uint64_t oldest = 0;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const Lane& lane = lanes_[i];
    if (lane.size() == 0 || lane.running >= lane.limit || !lane.ready(now, hurry)) continue;
    const Item& front = lane.items[lane.head];
    if (best && front.number >= oldest) continue;
    best = i;
    oldest = front.number;
  }
  // What killed a process before must not take others with it.
  if (best && running_ > 0 && lanes_[*best].items[lanes_[*best].head].delivery.alone) return std::nullopt;
  return best;
}

void Lanes::take(std::size_t index, std::size_t most, std::vector<transport::Delivery>& out) {
  const Lane& lane = lanes_[index];
  const std::size_t wanted = std::min({lane.size(), lane.batch, std::max<std::size_t>(most, 1)});
  std::size_t count = 1;
  while (count < wanted && !lane.item(0).delivery.alone && !lane.item(count).delivery.alone) ++count;
  take_front(index, count, out);
}

void Lanes::take_run(std::size_t index, std::size_t most, std::vector<transport::Delivery>& out) {
  const Lane& lane = lanes_[index];
  const std::size_t wanted = std::min(lane.size(), std::max<std::size_t>(most, 1));
  const std::uint64_t first = lane.item(0).number;
  std::size_t count = 1;
  while (count < wanted && !lane.item(0).delivery.alone && !lane.item(count).delivery.alone &&
         lane.item(count).number == first + count) {
    ++count;
  }
  take_front(index, count, out);
}

void Lanes::take_front(std::size_t index, std::size_t count, std::vector<transport::Delivery>& out) {
  Lane& lane = lanes_[index];
  alone_running_ = lane.item(0).delivery.alone;
  for (std::size_t i = 0; i < count; ++i) out.push_back(std::move(lane.items[lane.head + i].delivery));
  lane.head += count;
  size_ -= count;
  if (lane.head == lane.items.size()) {
    lane.items.clear();
    lane.head = 0;
  }
  ++lane.running;
  ++running_;
}

void Lanes::put_back(std::size_t index, std::span<transport::Delivery> deliveries, Steady now) {
  // Numbered below everything that waits, in any lane: they were fetched before it.
  std::uint64_t number = arrived_;
  for (const Lane& each : lanes_) {
    if (each.size() > 0) number = std::min(number, each.items[each.head].number);
  }
  number -= deliveries.size();
  Lane& lane = lanes_[index];
  // Their old places are free as a rule: nothing that waits has to move.
  const std::size_t free = std::min(lane.head, deliveries.size());
  lane.items.insert(lane.items.begin() + static_cast<std::ptrdiff_t>(lane.head), deliveries.size() - free, Item{});
  lane.head -= free;
  for (std::size_t i = 0; i < deliveries.size(); ++i) {
    lane.items[lane.head + i] = {std::move(deliveries[i]), number++, now};
  }
  size_ += deliveries.size();
}

void Lanes::finished(std::size_t lane) noexcept {
  --lanes_[lane].running;
  if (--running_ == 0) alone_running_ = false;
}

std::optional<Steady> Lanes::ready_at() const noexcept {
  std::optional<Steady> first;
  for (const Lane& lane : lanes_) {
    if (lane.batch == 1 || lane.size() == 0 || lane.running >= lane.limit) continue;
    const Steady ready = lane.items[lane.head].since + lane.wait;
    if (!first || ready < *first) first = ready;
  }
  return first;
}

void Lanes::clear(std::vector<transport::Delivery>& out) {
  std::vector<Item> items;
  items.reserve(size_);
  for (Lane& lane : lanes_) {
    for (std::size_t i = lane.head; i < lane.items.size(); ++i) items.push_back(std::move(lane.items[i]));
    lane.items.clear();
    lane.head = 0;
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.number < b.number; });
  for (Item& item : items) out.push_back(std::move(item.delivery));
  size_ = 0;
}

std::size_t Lanes::drop(std::span<const transport::AckToken> lost) {
  std::size_t dropped = 0;
  for (Lane& lane : lanes_) {
    const auto gone = std::remove_if(
        lane.items.begin() + static_cast<std::ptrdiff_t>(lane.head), lane.items.end(),
        [&](const Item& item) { return std::find(lost.begin(), lost.end(), item.delivery.token) != lost.end(); });
    dropped += static_cast<std::size_t>(lane.items.end() - gone);
    lane.items.erase(gone, lane.items.end());
  }
  size_ -= dropped;
  return dropped;
}

}  // namespace tidings::runtime
