#include "transport/memory/group.hpp"

#include <algorithm>

namespace tidings::memory {

using transport::AckToken;
using transport::Origin;
using transport::Settlement;
using transport::ShelfState;

namespace {

constexpr std::size_t longest_error = 4096;

// Fresh: handed out live and given back, with nothing to remember about it.
bool fresh(const Item& item) {
  return item.origin == Origin::live && item.failures == 0 && item.crashes == 0 &&
         item.entry.record.position.major != 0;
}

// Cut between two characters, so that the text stays UTF-8.
std::string cut(std::string_view text) {
  if (text.size() <= longest_error) return std::string(text);
  std::size_t end = longest_error;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end));
}

}  // namespace

Steady later(Steady now, Millis delay) noexcept {
  constexpr Millis century = std::chrono::hours(24 * 36525);
  return now + std::clamp(delay, Millis{0}, century);
}

std::uint64_t Group::next_key(Source source, Steady now) const {
  const Due& queue = source == Source::alone ? alone_ : due_;
  return queue.empty() || queue.begin()->first > now ? 0 : queue.begin()->second;
}

std::optional<std::size_t> Group::peek(Source source, const Log& log, Steady now) const {
  if (paused) return std::nullopt;
  if (source == Source::live) {
    if (!returned_.empty()) return items_.at(returned_.begin()->second).entry.record.envelope.size();
    if (cursor_ < log.end()) return log.at(cursor_).record.envelope.size();
    return std::nullopt;
  }
  const std::uint64_t key = next_key(source, now);
  if (key == 0) return std::nullopt;
  return items_.at(key).entry.record.envelope.size();
}

transport::Delivery Group::take(Source source, const Log& log, std::uint32_t slot, Holder& holder) {
  std::uint64_t key = 0;
  if (source == Source::live && returned_.empty()) {
    key = (*next_key_)++;
    items_[key].entry = log.at(cursor_++);
  } else if (source == Source::live) {
    key = returned_.begin()->second;
    returned_.erase(returned_.begin());
  } else {
    Due& queue = source == Source::alone ? alone_ : due_;
    key = queue.begin()->second;
    queue.erase(queue.begin());
  }
  Item& item = items_[key];
  item.state = ShelfState::leased;
  item.holder = &holder;
  item.slot = slot;
  ++item.epoch;
  ++holder.events;
  holder.bytes += item.entry.record.envelope.size();
  holder.alone = item.alone;
  if (drainer_ == &holder) drainer_ = nullptr;

  transport::Delivery delivery;
  static_cast<transport::Record&>(delivery) = item.entry.record;
  delivery.token = {key, slot, item.epoch};
  delivery.stream = slot;
  delivery.attempt = item.failures + 1;
  delivery.crashes = item.crashes;
  delivery.run = item.run;
  delivery.origin = item.origin;
  delivery.alone = item.alone;
  return delivery;
}

bool Group::must_drain(const Holder& holder) {
  if (drainer_ == nullptr) drainer_ = &holder;
  return drainer_ == &holder;
}

bool Group::holds(const AckToken& token, const Holder& holder) const {
  const auto it = items_.find(token.lease);
  return it != items_.end() && it->second.holder == &holder && it->second.epoch == token.epoch;
}

void Group::let_go(Item& item) {
  --item.holder->events;
  item.holder->bytes -= item.entry.record.envelope.size();
  if (item.alone) item.holder->alone = false;
  item.holder = nullptr;
}

void Group::queue(std::uint64_t key, Item& item) {
  if (item.alone) {
    alone_.emplace(item.due, key);
  } else {
    due_.emplace(item.due, key);
  }
}

void Group::unqueue(std::uint64_t key, const Item& item) {
  due_.erase({item.due, key});
  alone_.erase({item.due, key});
  returned_.erase({item.entry.record.position.major, key});
}

// Given back at once: the due time stays what it was, so that it keeps its place among the others.
void Group::take_back(std::uint64_t key, Item& item) {
  let_go(item);
  item.state = ShelfState::waiting;
  if (fresh(item)) {
    returned_.emplace(item.entry.record.position.major, key);
  } else {
    queue(key, item);
  }
}

void Group::fail(Item& item, std::string_view error, Wall now) {
  if (!error.empty()) item.error = cut(error);
  if (!item.first_failed) item.first_failed = now;
  item.last_failed = now;
  if (item.origin == Origin::live) item.origin = Origin::retry;
}

void Group::bury(Items::iterator it, const Settlement& settlement, Wall now) {
  Item& item = it->second;
  if (settlement.counted) ++item.failures;
  fail(item, settlement.error, now);
  item.reason = std::string(settlement.reason);
  item.state = ShelfState::dead;
  if (item.entry.id.empty()) return;
  const auto [found, first] = dead_.try_emplace({std::string(item.entry.id), item.run}, it->first);
  if (first) return;
  // The same event died before: one dead letter, which knows of both.
  Item& known = items_.at(found->second);
  item.first_failed = std::min(item.first_failed, known.first_failed);
  items_.erase(found->second);
  found->second = it->first;
}

bool Group::settle(const Settlement& settlement, Holder& holder, Now now) {
  if (!holds(settlement.token, holder)) return false;
  const auto it = items_.find(settlement.token.lease);
  Item& item = it->second;
  switch (settlement.kind) {
    case Settlement::Kind::done:
    case Settlement::Kind::ignored:
      ++(settlement.kind == Settlement::Kind::done ? handled_ : ignored_);
      let_go(item);
      items_.erase(it);
      break;
    case Settlement::Kind::release:
      if (settlement.after <= Millis{0}) {
        take_back(it->first, item);
        break;
      }
      let_go(item);
      item.state = ShelfState::waiting;
      item.due = later(now.steady, settlement.after);
      queue(it->first, item);
      break;
    case Settlement::Kind::again:
      let_go(item);
      ++item.failures;
      fail(item, settlement.error, now.wall);
      item.state = ShelfState::retrying;
      item.due = later(now.steady, settlement.after);
      queue(it->first, item);
      break;
    case Settlement::Kind::dead:
      let_go(item);
      bury(it, settlement, now.wall);
      break;
  }
  return true;
}

void Group::release_all(Holder& holder) {
  if (drainer_ == &holder) drainer_ = nullptr;
  for (auto& [key, item] : items_) {
    if (item.holder == &holder) take_back(key, item);
  }
}

void Group::orphan_all(Holder& holder, Now now) {
  if (drainer_ == &holder) drainer_ = nullptr;
  for (auto& [key, item] : items_) {
    if (item.holder != &holder) continue;
    holder.lost.push_back({key, item.slot, item.epoch});
    let_go(item);
    ++item.crashes;
    ++item.epoch;
    item.alone = true;
    fail(item, "its process died or hung while it held the event", now.wall);
    item.state = ShelfState::waiting;
    item.due = now.steady;
    queue(key, item);
  }
}

void Group::abandon() {
  for (auto& [key, item] : items_) {
    if (item.holder == nullptr) continue;
    item.holder->lost.push_back({key, item.slot, item.epoch});
    let_go(item);
  }
  items_.clear();
  due_.clear();
  alone_.clear();
  returned_.clear();
  dead_.clear();
}

void Group::inject(Entry entry, Origin origin, std::uint64_t run, Now now) {
  const std::uint64_t key = (*next_key_)++;
  Item& item = items_[key];
  item.entry = std::move(entry);
  item.origin = origin;
  item.run = run;
  item.due = now.steady;
  queue(key, item);
}

void Group::seek(std::uint64_t cursor) {
  for (const auto& [offset, key] : returned_) items_.erase(key);
  returned_.clear();
  cursor_ = cursor;
}

std::uint64_t Group::pass(std::uint64_t offset) {
  if (cursor_ >= offset) return 0;
  const std::uint64_t missed = offset - cursor_;
  gaps_.emplace_back(cursor_, offset - 1);
  cursor_ = offset;
  return missed;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> Group::take_gaps() { return std::exchange(gaps_, {}); }

std::uint64_t Group::lowest() const {
  std::uint64_t lowest = cursor_;
  for (const auto& [key, item] : items_) {
    const std::uint64_t offset = item.entry.record.position.major;
    const bool needed = item.state == ShelfState::leased || item.state == ShelfState::waiting;
    if (needed && offset != 0) lowest = std::min(lowest, offset);
  }
  return lowest;
}

std::optional<Steady> Group::next_due() const {
  if (paused || (due_.empty() && alone_.empty())) return std::nullopt;
  Steady due = Steady::max();
  if (!due_.empty()) due = due_.begin()->first;
  if (!alone_.empty()) due = std::min(due, alone_.begin()->first);
  return due;
}

}  // namespace tidings::memory
