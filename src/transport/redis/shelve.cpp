// What comes to a group's shelf from another engine.
#include <algorithm>
#include <map>

#include "core/interest.hpp"
#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

constexpr std::size_t shelved_at_once = 100;  // Their words are a script's, which has a most of them.

void add_words(std::vector<std::string>& words, const ShelfItem& item, Wall now) {
  const auto milliseconds = [](const std::optional<Wall>& at) {
    return at ? std::to_string(at->time_since_epoch().count()) : std::string();
  };
  const bool dead = item.state == ShelfState::dead, retrying = item.state == ShelfState::retrying;
  words.emplace_back(dead ? "dead" : retrying ? "retrying" : "waiting");
  words.push_back(std::to_string(item.due ? std::max<std::int64_t>((*item.due - now).count(), 0) : 0));
  words.push_back(item.envelope);
  words.push_back(std::to_string(dead ? item.attempts : std::max(item.attempts, 1U) - 1));
  words.push_back(std::to_string(item.crashes));
  words.emplace_back(origin_word(item.origin));
  words.push_back(std::to_string(item.run));
  words.push_back(milliseconds(item.first_failed));
  words.push_back(milliseconds(item.last_failed));
  words.push_back(item.reason);
  words.push_back(item.error);
}

}  // namespace

void shelve_items(Store& store, GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) {
  check_group(store, group);
  std::vector<Outgoing> outgoing;
  for (const ShelfItem& item : items) outgoing.push_back(core::outgoing_of(group, item));
  Placed placed;
  const std::span<const Outgoing> places = store.partitions().place(outgoing, placed, deadline_in(patience));
  const Wall now = store.environment().clock->wall();
  std::map<std::string_view, std::vector<std::size_t>> parts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    results[i] = {};
    if (acceptable(places[i], store.capabilities(), results[i])) parts[places[i].stream].push_back(i);
  }
  for (const auto& [stream, indexes] : parts) {
    for (std::size_t first = 0; first < indexes.size(); first += shelved_at_once) {
      std::vector<std::string> words{store.now_word()};
      const std::size_t end = std::min(first + shelved_at_once, indexes.size());
      for (std::size_t k = first; k < end; ++k) add_words(words, items[indexes[k]], now);
      (void)store.eval(Script::shelve, stream, group.group, std::move(words), deadline_in(patience));
    }
  }
}

}  // namespace tidings::transport::redis
