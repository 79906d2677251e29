#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/envelope_member.hpp"
#include "core/interest.hpp"
#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

constexpr std::size_t page = 1000;

// A reply of name, value, name, value ….
std::map<std::string, Reply, std::less<>> fields_of(const Reply& reply) {
  std::map<std::string, Reply, std::less<>> fields;
  std::size_t left = reply.size();
  Reply at = reply;
  at.enter();
  for (; left >= 2; left -= 2) {
    const std::string name(at.text());
    at.skip();
    fields.insert_or_assign(name, at.here());
    at.skip();
  }
  return fields;
}

Commands command(std::initializer_list<std::string_view> words) {
  Commands commands;
  commands.add(words);
  return commands;
}

// The reply of one command; nothing where the server says that there is no such key or group.
std::optional<Replies> ask(Store& store, std::string_view stream, std::initializer_list<std::string_view> words) {
  Replies replies = store.nodes().run(stream, command(words), deadline_in(patience));
  const Reply reply = replies.reply();
  if (!reply.error()) return replies;
  if (reply.text().starts_with("NOGROUP") || reply.text().starts_with("ERR no such key")) return std::nullopt;
  throw error_of(reply.text());
}

std::uint64_t count(Store& store, std::string_view stream, std::initializer_list<std::string_view> words) {
  const auto answer = ask(store, stream, words);
  return answer ? static_cast<std::uint64_t>(std::max<std::int64_t>(answer->reply().integer(), 0)) : 0;
}

[[noreturn]] void no_group(GroupRef group) {
  throw Error(ErrorCode::not_found, "there is no group " + std::string(group.group) + " of " +
                                        std::string(group.stream) + "; see tidings groups");
}

std::optional<Wall> wall_of(std::string_view milliseconds) {
  std::int64_t value = 0;
  for (const char c : milliseconds) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return milliseconds.empty() ? std::nullopt : std::optional(Wall(Millis(value)));
}

ShelfItem item_of(const Entry& entry, GroupRef group, std::string key) {
  ShelfItem item;
  item.key = std::move(key);
  item.envelope = entry.envelope;
  item.id = core::envelope_member(entry.envelope, "id");
  item.type = core::envelope_member(entry.envelope, "type");
  item.stream = group.stream;
  item.group = group.group;
  item.origin = entry.origin;
  item.run = entry.run;
  item.reason = entry.reason;
  item.error = entry.error;
  item.attempts = entry.attempts + 1;
  item.crashes = entry.crashes;
  item.first_failed = wall_of(entry.first);
  item.last_failed = wall_of(entry.last);
  item.position = position_of(entry.position);
  return item;
}

// A key that orders as its entry does.
std::string key_of(char shelf, EntryId id) {
  char text[64];
  std::snprintf(text, sizeof text, "%c%015llu-%020llu", shelf, static_cast<unsigned long long>(id.milliseconds),
                static_cast<unsigned long long>(id.sequence));
  return text;
}

// Visits the entries of a stream from its beginning, until `visit` says no.
template <class Visit>
void each_entry(Store& store, const std::string& key, Visit visit) {
  for (std::string from = "-";;) {
    const auto answer = ask(store, key, {"XRANGE", key, from, "+", "COUNT", std::to_string(page)});
    if (!answer) return;
    const std::size_t size = answer->reply().size();
    Reply at = answer->reply();
    at.enter();
    EntryId last;
    for (std::size_t i = 0; i < size; ++i, at.skip()) {
      Entry entry;
      if (!read_entry(at.here(), entry, true)) continue;
      last = entry.id;
      if (!visit(entry)) return;
    }
    if (size < page) return;
    from = "(" + last.text();
  }
}

struct Pending {
  EntryId id{};
  std::string owner{};
};

std::vector<Pending> pending_of(Store& store, const std::string& key, std::string_view group) {
  std::vector<Pending> all;
  for (std::string from = "-";;) {
    const auto answer = ask(store, key, {"XPENDING", key, group, from, "+", std::to_string(page)});
    if (!answer) return all;
    const Reply reply = answer->reply();
    for (std::size_t i = 0; i < reply.size(); ++i) {
      Pending pending;
      const Reply row = reply[i];
      if (parse_id(row[0].text(), pending.id)) all.push_back({pending.id, std::string(row[1].text())});
    }
    if (reply.size() < page) return all;
    from = "(" + all.back().id.text();
  }
}

std::map<std::string, std::string> scores(Store& store, const std::string& key) {
  std::map<std::string, std::string> all;
  // By pages: a reply has a most of elements.
  for (std::size_t first = 0;; first += page) {
    const auto answer =
        ask(store, key, {"ZRANGE", key, std::to_string(first), std::to_string(first + page - 1), "WITHSCORES"});
    const std::size_t size = answer ? answer->reply().size() : 0;
    for (std::size_t i = 0; i + 1 < size; i += 2)
      all[std::string(answer->reply()[i].text())] = std::string(answer->reply()[i + 1].text());
    if (size < 2 * page) return all;
  }
}

// Takes in what another partition says of the same group.
void add_group(GroupInfo& whole, const GroupInfo& part) {
  // One that has been read to its end says nothing about events that are newer than its last one.
  if (whole.lag == 0U && part.lag == 0U) {
    whole.cursor = std::max(whole.cursor, part.cursor);
  } else if (part.lag != 0U) {
    whole.cursor = whole.lag == 0U ? part.cursor : std::min(whole.cursor, part.cursor);
  }
  if (whole.lag && part.lag) *whole.lag += *part.lag;
  whole.pending += part.pending;
  whole.retrying += part.retrying;
  whole.dead_letters += part.dead_letters;
  if (whole.handled && part.handled) *whole.handled += *part.handled;
  if (whole.ignored && part.ignored) *whole.ignored += *part.ignored;
  if (part.oldest_age) whole.oldest_age = std::max(whole.oldest_age.value_or(Millis(0)), *part.oldest_age);
  whole.consumers = std::max(whole.consumers, part.consumers);
  std::set<std::string> types(whole.types.begin(), whole.types.end());
  types.insert(part.types.begin(), part.types.end());
  whole.types.assign(types.begin(), types.end());
  whole.paused = whole.paused || part.paused;
}

// The same of a stream.
void add_partition(StreamInfo& whole, StreamInfo part) {
  if (part.length > 0) whole.first = whole.length > 0 ? std::min(whole.first, part.first) : part.first;
  whole.length += part.length;
  whole.bytes += part.bytes;
  if (part.oldest) whole.oldest = std::min(whole.oldest.value_or(*part.oldest), *part.oldest);
  if (part.newest) whole.newest = std::max(whole.newest.value_or(*part.newest), *part.newest);
  whole.end = std::max(whole.end, part.end);
  for (GroupInfo& group : part.groups) {
    const auto same = std::find_if(whole.groups.begin(), whole.groups.end(),
                                   [&](const GroupInfo& each) { return each.group == group.group; });
    same == whole.groups.end() ? void(whole.groups.push_back(std::move(group))) : add_group(*same, group);
  }
  std::sort(whole.groups.begin(), whole.groups.end(), [](const auto& a, const auto& b) { return a.group < b.group; });
}

std::string instance_of(const std::string& member) { return member.substr(0, member.rfind('/')); }

struct Unread {
  std::uint64_t events = 0;
  EntryId first{};
};

/// What a stream says of itself.
struct Extent {
  EntryId first{}, last{};  ///< Entries; equal to {} when it is empty.
  std::uint64_t length = 0;
};

/// The lag that Redis has is none, or wrong, once entries behind the cursor were deleted or trimmed: it counts only
/// where the stream still has the entry at the cursor or an older one. Counted by hand otherwise.
Unread unread_after(Store& store, const std::string& stream, const Extent& extent, const EntryId& delivered,
                    const Reply& lag) {
  Unread unread;
  if (extent.length == 0 || delivered >= extent.last) return unread;
  if (delivered < extent.first) return {extent.length, extent.first};
  if (lag.kind() == Value::Kind::integer) {
    const auto answer = ask(store, stream, {"XRANGE", stream, "(" + delivered.text(), "+", "COUNT", "1"});
    if (answer && answer->reply().size() == 1) (void)parse_id(answer->reply()[0][0].text(), unread.first);
    unread.events = static_cast<std::uint64_t>(std::max<std::int64_t>(lag.integer(), 0));
    return unread;
  }
  for (EntryId after = delivered;;) {
    const auto answer = ask(store, stream, {"XRANGE", stream, "(" + after.text(), "+", "COUNT", std::to_string(page)});
    const std::size_t size = answer ? answer->reply().size() : 0;
    if (size > 0 && unread.events == 0) (void)parse_id(answer->reply()[0][0].text(), unread.first);
    unread.events += size;
    if (size < page || !parse_id(answer->reply()[size - 1][0].text(), after)) return unread;
  }
}

GroupInfo info_of(Store& store, const std::string& stream, const Reply& row, std::int64_t now, const Extent& extent) {
  const auto fields = fields_of(row);
  GroupInfo info;
  info.stream = stream;
  info.group = fields.at("name").text();
  const auto key = [&](std::string_view part) { return group_key(stream, part, info.group); };
  EntryId delivered;
  (void)parse_id(fields.at("last-delivered-id").text(), delivered);
  info.cursor = position_of(delivered.next());
  std::optional<std::int64_t> oldest;
  const auto older = [&](std::uint64_t ms) {
    if (ms > 0) oldest = std::min(oldest.value_or(INT64_MAX), static_cast<std::int64_t>(ms));
  };
  const auto lag = fields.find("lag");
  const Unread unread = unread_after(store, stream, extent, delivered, lag == fields.end() ? row : lag->second);
  info.lag = unread.events;
  older(unread.first.milliseconds);
  info.pending = static_cast<std::uint64_t>(fields.at("pending").integer());
  if (info.pending > 0) {
    const auto summary = ask(store, stream, {"XPENDING", stream, info.group});
    EntryId smallest;
    if (summary && parse_id(summary->reply()[1].text(), smallest)) older(smallest.milliseconds);
  }
  for (const char* part : {"retry", "alone"}) {
    each_entry(store, key(part), [&](const Entry& entry) {
      ++info.pending;
      older(entry.position.milliseconds > 0 ? entry.position.milliseconds : entry.id.milliseconds);
      return true;
    });
  }
  each_entry(store, key("held"), [&](const Entry& entry) {
    older(entry.position.milliseconds > 0 ? entry.position.milliseconds : entry.id.milliseconds);
    return true;
  });
  info.retrying = count(store, key("due"), {"ZCARD", key("due")});
  info.dead_letters = count(store, key("dead"), {"XLEN", key("dead")});
  if (const auto state = ask(store, key("state"), {"HGETALL", key("state")})) {
    const auto values = fields_of(state->reply());
    const auto number = [&](const char* name) {
      const auto found = values.find(name);
      return found == values.end() ? 0 : static_cast<std::uint64_t>(found->second.integer());
    };
    info.handled = number("handled");
    info.ignored = number("ignored");
    if (const auto owner = values.find("owner"); owner != values.end()) info.owner = owner->second.text();
    if (const auto paused = values.find("paused"); paused != values.end()) info.paused = paused->second.text() == "1";
  }
  std::set<std::string> types;
  for (const auto& [member, until] : scores(store, key("live"))) {
    if (std::stod(until) < static_cast<double>(now)) continue;
    ++info.consumers;
    const auto named = ask(store, key("types"), {"HGET", key("types"), member});
    for (std::string_view rest = named ? named->reply().text() : ""; !rest.empty();) {
      const std::size_t end = rest.find('\n');
      types.emplace(rest.substr(0, end));
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
  }
  info.types.assign(types.begin(), types.end());
  if (oldest) info.oldest_age = Millis(std::max<std::int64_t>(0, now - *oldest));
  return info;
}

}  // namespace

std::vector<std::string> list_partitions(Store& store, std::optional<Error>& unreached) {
  std::set<std::string> names;
  unreached = store.nodes().ask_each([&](const std::string& place, Millis within) {
    for (const char* pattern : {"events:*", "commands:*"}) {
      for (std::string cursor = "0";;) {
        const Replies answer = store.nodes().call(
            place, {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000", "TYPE", "stream"}, deadline_in(within));
        const Reply found = answer.reply()[1];
        for (std::size_t i = 0; i < found.size(); ++i) names.emplace(found[i].text());
        cursor = answer.reply()[0].text();
        if (cursor == "0") break;
      }
    }
  });
  return {names.begin(), names.end()};
}

std::vector<std::string> list_groups(Store& store, std::string_view stream) {
  std::vector<std::string> names;
  const auto answer = ask(store, stream, {"XINFO", "GROUPS", stream});
  if (!answer) return names;
  for (std::size_t i = 0; i < answer->reply().size(); ++i)
    names.emplace_back(fields_of(answer->reply()[i]).at("name").text());
  std::sort(names.begin(), names.end());
  return names;
}

void check_group(Store& store, GroupRef group) {
  for (const std::string& name : list_groups(store, group.stream)) {
    if (name == group.group) return;
  }
  no_group(group);
}

namespace {

// One partition, or a stream that has no others.
std::optional<StreamInfo> describe_one(Store& store, const std::string& name) {
  const std::int64_t now = store.now_ms(name);
  const auto answer = ask(store, name, {"XINFO", "STREAM", name});
  if (!answer) return std::nullopt;
  const auto fields = fields_of(answer->reply());
  StreamInfo info;
  info.name = name;
  info.length = static_cast<std::uint64_t>(fields.at("length").integer());
  info.bytes = count(store, name, {"MEMORY", "USAGE", name});
  EntryId generated;
  (void)parse_id(fields.at("last-generated-id").text(), generated);
  info.end = position_of(generated.next());
  info.first = info.end;
  Extent extent{.length = info.length};
  if (parse_id(fields.at("first-entry")[0].text(), extent.first)) {
    info.first = position_of(extent.first);
    info.oldest = Wall(Millis(static_cast<std::int64_t>(extent.first.milliseconds)));
  }
  if (parse_id(fields.at("last-entry")[0].text(), extent.last)) {
    info.newest = Wall(Millis(static_cast<std::int64_t>(extent.last.milliseconds)));
  }
  if (const auto groups = ask(store, name, {"XINFO", "GROUPS", name})) {
    for (std::size_t i = 0; i < groups->reply().size(); ++i) {
      info.groups.push_back(info_of(store, name, groups->reply()[i], now, extent));
    }
  }
  std::sort(info.groups.begin(), info.groups.end(), [](const auto& a, const auto& b) { return a.group < b.group; });
  return info;
}

}  // namespace

namespace {

// All partitions of a stream as one; nothing where there is no such stream.
std::optional<StreamInfo> describe_whole(Store& store, const std::string& name) {
  std::optional<StreamInfo> whole;
  const PartitionNames partitions = store.partitions().names(name);
  for (const std::string& partition : *partitions) {
    std::optional<StreamInfo> part = describe_one(store, partition);
    if (!part) continue;
    whole ? add_partition(*whole, std::move(*part)) : void(whole = std::move(part));
  }
  if (!whole) return whole;
  whole->name = name;
  for (GroupInfo& group : whole->groups) group.stream = name;
  return whole;
}

}  // namespace

std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream) {
  std::vector<StreamInfo> all;
  if (!stream.empty()) {
    if (auto whole = describe_whole(store, std::string(stream))) all.push_back(std::move(*whole));
    return all;
  }
  std::optional<Error> unreached;
  std::set<std::string> names;
  for (const std::string& name : list_partitions(store, unreached)) names.emplace(stream_of_partition(name));
  const Log& log = store.environment().log;
  if (unreached) {
    log(LogLevel::warning,
        std::string("a node of the cluster cannot be reached, and its streams are not listed: ") + unreached->what());
  }
  for (const std::string& name : names) {
    try {
      if (auto whole = describe_whole(store, name)) all.push_back(std::move(*whole));
    } catch (const Error& error) {
      if (!unreached || !error.retryable()) throw;
      log(LogLevel::warning, name + " lies on that node in part, and is not listed: " + error.what());
    }
  }
  return all;
}

namespace {

// Of one partition, in the order of their keys, which end in `mark`.
std::vector<ShelfItem> list_part(Store& store, GroupRef group, const ShelfQuery& query, const std::string& mark) {
  std::vector<ShelfItem> items;
  const std::string stream(group.stream);
  const auto key = [&](std::string_view part) { return group_key(stream, part, group.group); };
  const auto add = [&](ShelfItem item) {
    item.key += mark;
    item.stream = stream_of_partition(stream);
    if (items.size() < query.limit && core::matches(item, query)) items.push_back(std::move(item));
    return items.size() < query.limit;
  };
  const auto live = scores(store, key("live"));
  // The scripts' clock, which due times and leases go by, need not be the wall's.
  const std::int64_t behind = store.environment().clock->wall().time_since_epoch().count() - store.now_ms(stream);
  const auto wall_at = [&](const std::string& score) {
    return Wall(Millis(static_cast<std::int64_t>(std::stod(score)) + behind));
  };
  const auto leased = [&](ShelfItem& item, const std::string& owner) {
    item.state = ShelfState::leased;
    item.owner = instance_of(owner);
    if (const auto until = live.find(owner); until != live.end()) item.due = wall_at(until->second);
  };
  // A key's first letter follows the order of visiting, which is what paging goes by.
  const auto asked = [&](ShelfState state) {
    return query.states.empty() || std::find(query.states.begin(), query.states.end(), state) != query.states.end();
  };
  each_entry(store, key("dead"), [&](const Entry& entry) {
    ShelfItem item = item_of(entry, group, key_of('d', entry.id));
    item.state = ShelfState::dead;
    item.attempts = entry.attempts;
    return add(std::move(item));
  });
  const auto due = scores(store, key("due"));
  each_entry(store, key("held"), [&](const Entry& entry) {
    ShelfItem item = item_of(entry, group, key_of('h', entry.id));
    item.state = ShelfState::retrying;
    item.reason.clear();
    if (const auto at = due.find(entry.id.text()); at != due.end()) item.due = wall_at(at->second);
    return add(std::move(item));
  });
  for (const auto& [part, letter] : {std::pair{"retry", 'r'}, std::pair{"alone", 's'}}) {
    const char mark = letter;
    std::map<EntryId, std::string> owners;
    for (const Pending& each : pending_of(store, key(part), group.group)) owners[each.id] = each.owner;
    each_entry(store, key(part), [&](const Entry& entry) {
      ShelfItem item = item_of(entry, group, key_of(mark, entry.id));
      item.reason.clear();
      if (const auto owner = owners.find(entry.id); owner != owners.end()) leased(item, owner->second);
      return add(std::move(item));
    });
  }
  for (const Pending& each :
       asked(ShelfState::leased) ? pending_of(store, stream, group.group) : std::vector<Pending>{}) {
    if (items.size() >= query.limit) break;
    const auto answer = ask(store, stream, {"XRANGE", stream, each.id.text(), each.id.text()});
    Entry entry;
    if (!answer || !read_entry(answer->reply()[0], entry, false)) continue;
    ShelfItem item = item_of(entry, group, key_of('t', entry.id));
    leased(item, each.owner);
    add(std::move(item));
  }
  return items;
}

}  // namespace

std::vector<ShelfItem> list_shelf(Store& store, GroupRef group, const ShelfQuery& query) {
  check_group(store, group);
  std::vector<ShelfItem> items;
  const PartitionNames names = store.partitions().names(group.stream);
  for (std::size_t k = 0; k < names->size(); ++k) {
    const std::string mark = k == 0 ? "" : "#" + std::to_string(k);
    auto part = list_part(store, {(*names)[k], group.group}, query, mark);
    items.insert(items.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
  }
  std::sort(items.begin(), items.end(), [](const ShelfItem& a, const ShelfItem& b) { return a.key < b.key; });
  if (items.size() > query.limit) items.resize(query.limit);
  return items;
}

std::size_t move_items(Store& store, GroupRef group, const ShelfQuery& query, ShelfAction action,
                       const Outgoing& replacement) {
  ShelfQuery narrowed = query;
  if (action != ShelfAction::hand_out) narrowed.states = {ShelfState::dead};
  const char* const verb = action == ShelfAction::drop      ? "drop"
                           : action == ShelfAction::replace ? "replace"
                                                            : "hand_out";
  const std::vector<ShelfItem> items = list_shelf(store, group, narrowed);
  if (action == ShelfAction::replace && items.size() != 1) {
    throw Error(ErrorCode::not_found, "one dead letter is to be replaced, and " + std::to_string(items.size()) +
                                          " match; name it by its key");
  }
  std::size_t moved = 0;
  for (const ShelfItem& item : items) {
    if (item.state != ShelfState::dead && item.state != ShelfState::retrying) continue;
    EntryId id;
    const std::size_t dash = item.key.find('-');
    id.milliseconds = std::stoull(item.key.substr(1, dash - 1));
    id.sequence = std::stoull(item.key.substr(dash + 1));
    const std::size_t mark = std::min(item.key.find('#'), item.key.size());
    const std::string stream = std::string(group.stream) + item.key.substr(mark);
    const Replies answer = store.eval(Script::move, stream, group.group,
                                      {store.now_word(), verb, item.state == ShelfState::dead ? "dead" : "held",
                                       id.text(), std::string(replacement.envelope)},
                                      deadline_in(patience));
    moved += static_cast<std::size_t>(answer.reply().integer());
  }
  return moved;
}

namespace {

// False where it is there already.
bool create_group(Store& store, const std::string& stream, const std::string& name, const GroupChange& change,
                  WaitClock::time_point deadline) {
  const std::string start = start_word(change.at);
  // Partitions that come later begin there: before this millisecond, since their events of it come after the group.
  const std::string began =
      start == "$" ? EntryId{static_cast<std::uint64_t>(store.now_ms(stream)), 0}.previous().text() : start;
  if (!make_group(store.nodes(), stream, name, start, deadline)) return false;
  (void)store.nodes().call(stream, {"HSET", group_key(stream, "state", name), "start", began, "owner", change.owner},
                           deadline);
  return true;
}

void remove_group(Store& store, GroupRef group, const std::vector<std::string>& partitions, bool force,
                  WaitClock::time_point deadline) {
  std::int64_t work = 0;
  bool found = false;
  for (const std::string& each : partitions) {
    const Replies answer = store.eval(Script::remove, each, group.group, {"count"}, deadline);
    found = found || answer.reply().integer() >= 0;
    work += std::max<std::int64_t>(answer.reply().integer(), 0);
  }
  if (!found) no_group(group);
  if (work == 0 || force) {
    work = 0;
    // The first one last: as long as it is there, what was left of the others can be removed.
    for (auto each = partitions.rbegin(); each != partitions.rend() && work == 0; ++each) {
      const Replies answer = store.eval(Script::remove, *each, group.group, {force ? "1" : "0"}, deadline);
      work = std::max<std::int64_t>(answer.reply().integer(), 0);
    }
  }
  if (work == 0) return;
  throw Error(ErrorCode::conflict, "the group " + std::string(group.group) + " of " + std::string(group.stream) +
                                       " holds " + std::to_string(work) +
                                       " unsettled deliveries or dead letters; settle or drop them, or force it");
}

}  // namespace

void change_group(Store& store, GroupRef group, const GroupChange& change) {
  const std::string stream(group.stream), name(group.group);
  const auto deadline = deadline_in(patience);
  if (change.kind == GroupChange::Kind::create) {
    check_stream(stream);
    const bool commands = is_command_stream(stream);
    if (commands && name != group_of(stream, {})) {
      throw Error(ErrorCode::invalid, stream + " is read by the group commands only; name its service as the owner");
    }
    if (!commands) check_service_name(name);
    if (commands && !change.owner.empty()) check_service_name(change.owner);
    const PartitionNames partitions = store.partitions().names(stream);
    for (const std::string& each : *partitions) {
      if (create_group(store, each, name, change, deadline) || each != stream) continue;
      throw Error(ErrorCode::conflict, "the group " + name + " of " + stream + " exists; seek it to move it");
    }
    return;
  }
  check_group(store, group);
  const PartitionNames partitions = store.partitions().names(stream);
  if (change.kind == GroupChange::Kind::remove) return remove_group(store, group, *partitions, change.force, deadline);
  for (const std::string& each : *partitions) {
    const std::string state = group_key(each, "state", name);
    const char* const paused = change.kind == GroupChange::Kind::pause ? "1" : "0";
    const Replies answer =
        change.kind == GroupChange::Kind::seek
            ? store.nodes().run(each, command({"XGROUP", "SETID", each, name, start_word(change.at)}), deadline)
            : store.nodes().run(each, command({"HSET", state, "paused", paused}), deadline);
    // A partition that nobody has joined yet is read from where the group began.
    if (answer.reply().error() && each == stream) throw error_of(answer.reply().text());
  }
}

}  // namespace tidings::transport::redis
