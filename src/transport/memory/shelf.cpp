// The group as tools see and change it.
#include <algorithm>
#include <charconv>

#include "transport/memory/group.hpp"

namespace tidings::memory {

using transport::ShelfAction;
using transport::ShelfItem;
using transport::ShelfQuery;
using transport::ShelfState;

std::string key_text(std::uint64_t key) {
  std::string digits = std::to_string(key);
  return digits.size() < 12 ? std::string(12 - digits.size(), '0') + digits : digits;
}

// Given back with a delay, an item is not waiting to go out at once: until then it stands with the retries.
ShelfState Group::state_of(const Item& item, Steady now) const {
  return item.state == ShelfState::waiting && item.due > now ? ShelfState::retrying : item.state;
}

std::vector<std::uint64_t> Group::find(const ShelfQuery& query, Now now) const {
  const std::set<std::string_view> ids(query.ids.begin(), query.ids.end());
  std::uint64_t after = 0;
  std::from_chars(query.after.data(), query.after.data() + query.after.size(), after);
  std::vector<std::uint64_t> found;
  for (auto it = items_.upper_bound(after); it != items_.end() && found.size() < query.limit; ++it) {
    const auto& [key, item] = *it;
    if (!ids.empty() && !ids.contains(item.entry.id) && !ids.contains(key_text(key))) continue;
    const ShelfState state = state_of(item, now.steady);
    if (!query.states.empty() && std::find(query.states.begin(), query.states.end(), state) == query.states.end())
      continue;
    if (!query.reason.empty() && (state != ShelfState::dead || query.reason != item.reason)) continue;
    found.push_back(key);
  }
  return found;
}

ShelfItem Group::show(std::uint64_t key, Now now) const {
  const Item& item = items_.at(key);
  ShelfItem shown;
  shown.key = key_text(key);
  shown.id = item.entry.id;
  shown.type = item.entry.record.type;
  shown.state = state_of(item, now.steady);
  shown.origin = item.origin;
  shown.run = item.run;
  shown.reason = item.reason;
  shown.error = item.error;
  shown.attempts = item.state == ShelfState::dead ? item.failures : item.failures + 1;
  shown.crashes = item.crashes;
  shown.first_failed = item.first_failed;
  shown.last_failed = item.last_failed;
  const auto wall = [&](Steady at) { return now.wall + std::chrono::ceil<Millis>(at - now.steady); };
  if (shown.state == ShelfState::retrying) shown.due = wall(item.due);
  if (item.holder != nullptr) {
    shown.due = wall(item.holder->lease_until);
    shown.owner = item.holder->instance;
  }
  shown.position = item.entry.record.position;
  shown.envelope = item.entry.record.envelope;
  return shown;
}

void Group::forget_dead(const Item& item) {
  if (item.state == ShelfState::dead && !item.entry.id.empty()) dead_.erase({std::string(item.entry.id), item.run});
}

std::size_t Group::move(const ShelfQuery& query, ShelfAction action, const Entry* replacement, Now now) {
  ShelfQuery wanted = query;
  wanted.states = query.states.empty() ? std::vector{ShelfState::retrying, ShelfState::dead} : query.states;
  std::erase_if(wanted.states, [&](ShelfState state) {
    return state != ShelfState::dead && (state != ShelfState::retrying || action != ShelfAction::hand_out);
  });
  if (wanted.states.empty()) return 0;
  const std::vector<std::uint64_t> found = find(wanted, now);
  if (action == ShelfAction::replace && found.size() > 1) {
    throw Error(ErrorCode::conflict, "memory: " + std::to_string(found.size()) +
                                         " dead letters match, and only one can be replaced; name it by its key");
  }
  for (const std::uint64_t key : found) {
    const auto it = items_.find(key);
    forget_dead(it->second);
    unqueue(key, it->second);
    Item old = std::move(it->second);
    items_.erase(it);
    if (action == ShelfAction::drop) continue;
    // A new key: tokens and later calls that name the old one find nothing, so each is moved once.
    inject(replacement != nullptr ? *replacement : old.entry, transport::Origin::redrive, old.run, now);
  }
  return found.size();
}

void Group::shelve(Entry entry, const ShelfItem& as, Now now) {
  const std::uint64_t key = (*next_key_)++;
  Item& item = items_.emplace(key, Item{.entry = std::move(entry)}).first->second;
  item.entry.record.position = {};
  item.origin = as.origin;
  item.run = as.run;
  item.crashes = as.crashes;
  item.reason = as.reason;
  item.error = as.error;
  item.first_failed = as.first_failed;
  item.last_failed = as.last_failed;
  item.due = now.steady;
  if (as.state == ShelfState::dead) {
    item.state = ShelfState::dead;
    item.failures = as.attempts;
    if (item.entry.id.empty()) return;
    // The same event is one dead letter, however often it is put here.
    const auto [found, first] = dead_.try_emplace({std::string(item.entry.id), item.run}, key);
    if (!first) items_.erase(std::exchange(found->second, key));
    return;
  }
  item.state = as.state == ShelfState::retrying ? ShelfState::retrying : ShelfState::waiting;
  item.failures = std::max(as.attempts, 1U) - 1;
  item.alone = as.crashes > 0;
  if (as.due && *as.due > now.wall && item.state == ShelfState::retrying) {
    item.due = later(now.steady, std::chrono::duration_cast<Millis>(*as.due - now.wall));
  }
  queue(key, item);
}

transport::GroupInfo Group::describe(const Log& log, Now now) const {
  transport::GroupInfo info;
  info.cursor = {returned_.empty() ? cursor_ : std::min(cursor_, returned_.begin()->first), 0};
  info.lag = log.end() - cursor_;
  info.handled = handled_;
  info.ignored = ignored_;
  info.paused = paused;
  std::optional<Wall> oldest;
  if (cursor_ < log.end()) oldest = log.at(cursor_).record.stored_at;
  for (const auto& [key, item] : items_) {
    const ShelfState state = state_of(item, now.steady);
    ++(state == ShelfState::dead ? info.dead_letters : state == ShelfState::retrying ? info.retrying : info.pending);
    if (state == ShelfState::dead) continue;
    const Wall stored = item.entry.record.stored_at;
    oldest = oldest ? std::min(*oldest, stored) : stored;
  }
  if (oldest) info.oldest_age = std::max(Millis{0}, now.wall - *oldest);
  return info;
}

}  // namespace tidings::memory
