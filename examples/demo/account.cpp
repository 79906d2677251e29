#include "account.hpp"

#include <iomanip>
#include <ostream>
#include <tuple>

namespace demo {

Account::Account(tidings::Bus bus, std::vector<std::string> groups) : bus_(std::move(bus)), groups_(std::move(groups)) {
  for (const auto& stream : bus_.transport().describe(user_stream)) before_ = stream.length;
  for (const Row& row : look()) start_[row.group] = row;
}

std::vector<Row> Account::look() const {
  std::vector<Row> rows;
  const auto streams = bus_.transport().describe(user_stream);
  for (const std::string& name : groups_) {
    Row row{.group = name};
    for (const auto& stream : streams) {
      row.published = stream.length;
      row.lag = stream.length;  // A group that does not exist yet starts at the beginning.
      for (const auto& group : stream.groups) {
        if (group.group != name) continue;
        row.handled = group.handled;
        row.ignored = group.ignored.value_or(0);
        row.dead = group.dead_letters;
        row.retrying = group.retrying;
        row.pending = group.pending;
        row.lag = group.lag.value_or(0);
      }
    }
    rows.push_back(row);
  }
  return rows;
}

std::vector<Row> Account::rows() const {
  std::vector<Row> rows = look();
  for (Row& row : rows) {
    const Row& start = start_.at(row.group);
    row.published -= start.settled();
    row.handled -= start.handled;
    row.ignored -= start.ignored;
    row.dead -= start.dead;
  }
  return rows;
}

void Account::print_dead_letters(std::ostream& out) const {
  for (const std::string& group : groups_) {
    std::map<std::tuple<std::string, std::string>, std::pair<std::size_t, std::string>> kinds;
    tidings::transport::ShelfQuery query{.states = {tidings::transport::ShelfState::dead}};
    for (;;) {
      const auto items = bus_.transport().shelf({user_stream, group}, query);
      for (const auto& item : items) {
        auto& [count, example] = kinds[{item.reason, item.error}];
        if (count++ == 0) example = item.id;
      }
      if (items.empty()) break;
      query.after = items.back().key;
    }
    for (const auto& [kind, found] : kinds) {
      out << "  " << std::left << std::setw(13) << group << std::right << std::setw(4) << found.first << "  "
          << std::left << std::setw(19) << std::get<0>(kind) << std::get<1>(kind) << "  (" << found.second << ")\n";
    }
  }
}

}  // namespace demo
