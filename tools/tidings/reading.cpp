#include "reading.hpp"

#include <algorithm>
#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include "connect.hpp"
#include "failure.hpp"

namespace tidings::cli {

const transport::Record* Cursor::peek() {
  while (page_.empty() && !end_) {
    transport::Page page = transport_.read(range_);
    page_.assign(page.records.begin(), page.records.end());
    end_ = page.end || (page_.empty() && page.next <= range_.from);
    range_.from = page.next;
  }
  return page_.empty() ? nullptr : &page_.front();
}

void walk_merged(std::vector<Cursor>& cursors,
                 const std::function<bool(const std::string& stream, const transport::Record&)>& visit) {
  for (;;) {
    Cursor* first = nullptr;
    for (Cursor& cursor : cursors) {
      const transport::Record* record = cursor.peek();
      if (record == nullptr) continue;
      if (first == nullptr || record->stored_at < first->peek()->stored_at) first = &cursor;
    }
    if (first == nullptr || !visit(first->stream(), *first->peek())) return;
    first->pop();
  }
}

bool is_sound(std::string_view stream, const transport::Record& record) {
  const std::string place = std::string(stream) + " " + to_string(record.position);
  if (record.damaged) {
    complain(place + ": skipped, its bytes fail their checksum");
    return false;
  }
  if (record.validated) return true;
  try {
    validate_json(record.envelope, {.bytes = record.envelope.size()});
    return true;
  } catch (const Error& error) {
    complain(place + ": skipped, it is not JSON: " + error.what());
    return false;
  }
}

std::vector<Found> find_event(transport::Transport& transport, std::string_view stream, const std::string& id) {
  std::vector<Found> found;
  for (const transport::StreamInfo& info : transport.describe(stream)) {
    transport::ReadRange range;
    range.stream = info.name;
    range.id = id;
    Cursor cursor(transport, range);
    for (const transport::Record* record = cursor.peek(); record != nullptr; cursor.pop(), record = cursor.peek()) {
      found.push_back({info.name, *record});
    }
  }
  return found;
}

Start start_value(transport::Transport& transport, std::string_view stream, const std::string& text) {
  if (text == "beginning") return {};
  if (text == "end") return {.kind = Start::Kind::end};
  if (const auto time = time_value(text)) return {.kind = Start::Kind::time, .time = *time};
  const std::vector<Found> found = find_event(transport, stream, text);
  if (found.empty()) {
    throw Error(ErrorCode::not_found,
                "'" + text + "' is no time, and no event of " + std::string(stream) +
                    " has this id; write beginning, end, 2024-01-25T10:30:00Z, 2h or an event's id");
  }
  return {.kind = Start::Kind::position, .position = found.front().record.position};
}

std::vector<transport::GroupInfo> list_groups(transport::Transport& transport, const std::string& stream) {
  const std::vector<transport::StreamInfo> streams = transport.describe(stream);
  if (streams.empty() && !stream.empty()) {
    throw Error(ErrorCode::not_found, "there is no stream " + stream + "; `tidings streams` lists what is there");
  }
  std::vector<transport::GroupInfo> groups;
  for (const transport::StreamInfo& info : streams) groups.insert(groups.end(), info.groups.begin(), info.groups.end());
  return groups;
}

std::vector<transport::GroupInfo> groups_named(transport::Transport& transport, const std::string& stream,
                                               const std::string& name) {
  std::vector<transport::GroupInfo> groups = list_groups(transport, stream);
  std::erase_if(groups, [&](const transport::GroupInfo& group) { return group.group != name && group.owner != name; });
  if (groups.empty()) {
    throw Error(ErrorCode::not_found, "there is no group " + name + (stream.empty() ? "" : " on " + stream) +
                                          "; `tidings groups` lists what is there");
  }
  return groups;
}

std::string group_json(const transport::GroupInfo& group) {
  // Order by key is not offered yet, so nothing is ever parked behind an earlier event of its key.
  return JsonObject()
      .text("stream", group.stream)
      .text("group", group.group)
      .number("lag", group.lag)
      .number("pending", group.pending)
      .number("retrying", group.retrying)
      .number("parked", 0)
      .number("dead_letters", group.dead_letters)
      .number("handled", group.handled)
      .number("ignored", group.ignored)
      .milliseconds("oldest_age_ms", group.oldest_age)
      .number("consumers", group.consumers)
      .texts("types", group.types)
      .flag("paused", group.paused)
      .str();
}

std::vector<transport::ShelfItem> list_shelf(transport::Transport& transport, transport::GroupRef group,
                                             transport::ShelfQuery query) {
  std::vector<transport::ShelfItem> items;
  for (;;) {
    std::vector<transport::ShelfItem> page = transport.shelf(group, query);
    if (page.empty()) return items;
    query.after = page.back().key;
    std::move(page.begin(), page.end(), std::back_inserter(items));
  }
}

std::string_view state_word(transport::ShelfState state) noexcept {
  switch (state) {
    case transport::ShelfState::waiting:
      return "waiting";
    case transport::ShelfState::leased:
      return "leased";
    case transport::ShelfState::retrying:
      return "retrying";
    case transport::ShelfState::dead:
      return "dead";
  }
  return "waiting";
}

}  // namespace tidings::cli
