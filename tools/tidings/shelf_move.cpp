#include "shelf_move.hpp"

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "reading.hpp"

namespace tidings::cli {

namespace {

using transport::ShelfItem;

constexpr std::size_t at_once = 200;

/// What tells a dead letter from others of its group, whatever its key on one of the engines.
using Likeness = std::tuple<std::string, std::string, std::uint64_t, std::string>;

Likeness likeness_of(const ShelfItem& item) { return {item.id, item.reason, item.run, item.envelope}; }

/// Puts a part of them there, and returns the keys of those that are there now.
std::vector<std::string> put(transport::Transport& target, transport::GroupRef group, std::span<const ShelfItem> items,
                             const std::set<Likeness>& there) {
  std::vector<ShelfItem> absent;
  std::vector<std::string> keys;
  for (const ShelfItem& item : items) {
    if (there.contains(likeness_of(item))) {
      keys.push_back(item.key);
    } else {
      absent.push_back(item);
    }
  }
  std::vector<transport::Result> results(absent.size());
  if (!absent.empty()) target.shelve(group, absent, results);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].code != ErrorCode::ok) {
      throw Error(results[i].code, results[i].retryable,
                  "the dead letter " + absent[i].key + " was not taken: " + results[i].message);
    }
    keys.push_back(absent[i].key);
  }
  return keys;
}

}  // namespace

std::uint64_t move_dead_letters(transport::Transport& source, transport::Transport& target, transport::GroupRef group) {
  using State = transport::ShelfState;
  const std::vector<ShelfItem> items = list_shelf(source, group, {.states = {State::dead}});
  if (items.empty()) return 0;
  std::set<Likeness> there;
  for (const ShelfItem& item : list_shelf(target, group, {.states = {State::dead}})) there.insert(likeness_of(item));
  const std::span<const ShelfItem> all(items);
  for (std::size_t first = 0; first < all.size(); first += at_once) {
    const auto part = all.subspan(first, std::min(at_once, all.size() - first));
    const std::vector<std::string> keys = put(target, group, part, there);
    (void)source.move(group, {.ids = keys, .states = {State::dead}}, transport::ShelfAction::drop);
  }
  return items.size();
}

}  // namespace tidings::cli
