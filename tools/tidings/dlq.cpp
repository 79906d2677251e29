// tidings dlq: looks at dead letters, hands them out again, corrects or drops them.
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <set>
#include <tidings/event.hpp>
#include <tidings/id.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "dead_letter.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

using Verb = DlqArguments::Verb;

constexpr std::size_t keys_at_once = 500;

/// The dead letters that were asked for, over every stream of the group. Throws Error{not_found} for an unknown --id.
std::vector<transport::ShelfItem> select(transport::Transport& transport, const DlqArguments& arguments) {
  std::vector<transport::ShelfItem> selected;
  for (const transport::GroupInfo& group : groups_named(transport, arguments.stream, arguments.group)) {
    transport::ShelfQuery query;
    query.ids = arguments.ids;
    query.reason = arguments.reason;
    query.states = {transport::ShelfState::dead};
    for (transport::ShelfItem& item : list_shelf(transport, {group.stream, group.group}, query)) {
      item.stream = group.stream;
      item.group = group.group;
      selected.push_back(std::move(item));
    }
  }
  std::set<std::string_view> seen;
  for (const transport::ShelfItem& item : selected) {
    seen.insert(item.id);
    seen.insert(item.key);
  }
  for (const std::string& id : arguments.ids) {
    if (!seen.contains(id)) {
      throw Error(ErrorCode::not_found, "the group " + arguments.group + " has no dead letter " + id +
                                            (arguments.reason.empty() ? "" : " with the reason " + arguments.reason) +
                                            "; `tidings dlq ls` lists them");
    }
  }
  return selected;
}

int list(const std::vector<transport::ShelfItem>& items, Format format) {
  Listing listing(format, {"KEY", "ID", "STREAM", "REASON", "ATTEMPTS", "CRASHES", "LAST FAILED", "ERROR"});
  for (const transport::ShelfItem& item : items) {
    listing.add(dead_letter_json(item),
                {item.key, item.id.empty() ? "-" : item.id, item.stream, item.reason, std::to_string(item.attempts),
                 std::to_string(item.crashes), cell(item.last_failed), item.error.substr(0, 100)});
  }
  listing.finish();
  return exit_ok;
}

int show(const std::vector<transport::ShelfItem>& items, Format format) {
  if (format != Format::table && items.size() == 1) {
    standard_output().write(dead_letter_json(items.front()) + "\n");
    return exit_ok;
  }
  if (format != Format::table) return list(items, format);
  for (const transport::ShelfItem& item : items) {
    const bool decodable = is_decodable(item);
    standard_output().write("key           " + item.key + "\nid            " +
                            (item.id.empty() ? "-" : printable(item.id)) + "\nstream        " + item.stream +
                            "\ngroup         " + item.group + "\nreason        " + item.reason + "\nerror         " +
                            printable(item.error) + "\nattempts      " + std::to_string(item.attempts) +
                            "\ncrashes       " + std::to_string(item.crashes) + "\nfirst failed  " +
                            cell(item.first_failed) + "\nlast failed   " + cell(item.last_failed) +
                            (decodable ? "\nevent         " + printable(one_line(item.envelope))
                                       : "\nbytes         " + base64(item.envelope)) +
                            "\n\n");
  }
  return exit_ok;
}

/// What a filter selected is asked about first; what was named by --id is not.
void confirm(const DlqArguments& arguments, const std::string& verb, std::size_t count) {
  if (arguments.yes || !arguments.ids.empty() || count == 0) return;
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1) {
    throw UsageError("this would " + verb + " " + std::to_string(count) +
                     " dead letters: say --yes, or --dry-run to only count them");
  }
  if (!ask(verb + " " + std::to_string(count) + " dead letters of " + arguments.group + "?")) {
    throw std::runtime_error("nothing was done");
  }
}

int print_count(const DlqArguments& arguments, Format format, const char* done, std::size_t matched,
                std::size_t changed) {
  if (format == Format::table) {
    standard_output().write(arguments.dry_run ? std::to_string(matched) + " dead letters match, nothing was done\n"
                                              : std::string(done) + " " + std::to_string(changed) + " dead letters\n");
  } else {
    standard_output().write(
        JsonObject().number("matched", matched).number("changed", changed).flag("dry_run", arguments.dry_run).str() +
        "\n");
  }
  return exit_ok;
}

/// Moves exactly what was selected and counted before, not what matches by now.
int move_all(transport::Transport& transport, const DlqArguments& arguments,
             const std::vector<transport::ShelfItem>& items, Format format) {
  const bool drop = arguments.verb == Verb::drop;
  std::size_t changed = 0;
  if (!arguments.dry_run) {
    confirm(arguments, drop ? "drop" : "retry", items.size());
    for (std::size_t begin = 0; begin < items.size();) {
      transport::ShelfQuery query;
      query.states = {transport::ShelfState::dead};
      std::size_t end = begin;
      while (end < items.size() && end - begin < keys_at_once && items[end].stream == items[begin].stream) {
        query.ids.push_back(items[end++].key);
      }
      query.limit = query.ids.size();
      changed += transport.move({items[begin].stream, items[begin].group}, query,
                                drop ? transport::ShelfAction::drop : transport::ShelfAction::hand_out);
      begin = end;
    }
  }
  return print_count(arguments, format, drop ? "dropped" : "handed out", items.size(), changed);
}

/// Where dead letters cannot be listed they are not selected first: what matches when it is looked at moves.
int move_unseen(transport::Transport& transport, const DlqArguments& arguments, Format format) {
  const bool drop = arguments.verb == Verb::drop;
  if (arguments.dry_run && !arguments.all) (void)select(transport, arguments);  // It says why that cannot be known.
  std::size_t matched = 0, changed = 0;
  const auto groups = groups_named(transport, arguments.stream, arguments.group);
  for (const transport::GroupInfo& group : groups) matched += group.dead_letters;
  if (!arguments.dry_run) confirm(arguments, drop ? "drop" : "retry", matched);
  for (const transport::GroupInfo& group : groups) {
    if (arguments.dry_run || group.dead_letters == 0) continue;
    transport::ShelfQuery query;
    query.ids = arguments.ids;
    query.reason = arguments.reason;
    query.states = {transport::ShelfState::dead};
    query.limit = std::numeric_limits<std::size_t>::max();
    changed += transport.move({group.stream, group.group}, query,
                              drop ? transport::ShelfAction::drop : transport::ShelfAction::hand_out);
  }
  if (changed < arguments.ids.size() && !arguments.dry_run) {
    throw Error(ErrorCode::not_found, "of " + std::to_string(arguments.ids.size()) + " dead letters of the group " +
                                          arguments.group + " that were named, only " + std::to_string(changed) +
                                          " were found, and moved");
  }
  return print_count(arguments, format, drop ? "dropped" : "handed out", arguments.dry_run ? matched : changed,
                     changed);
}

int edit(transport::Transport& transport, const DlqArguments& arguments, const std::vector<transport::ShelfItem>& items,
         Format format) {
  if (items.size() != 1) {
    throw Error(ErrorCode::conflict,
                std::to_string(items.size()) + " dead letters match; name one by its key with --id");
  }
  const transport::ShelfItem& item = items.front();
  if (!is_decodable(item)) {
    throw Error(ErrorCode::invalid, item.key + " is no event that could be corrected; publish a new one and drop this");
  }
  Event event = decode<Json>(item.envelope);
  event.metadata.set_string("causationId", event.id);
  event.id = new_event_id(system_clock().wall(), system_random());
  event.data = Json(json_value("--data", arguments.data));
  const std::string envelope = encode(event);
  const std::string key = event.metadata.string("partitionKey").value_or("");
  if (!arguments.dry_run) {
    transport::ShelfQuery query;
    query.ids = {item.key};
    query.states = {transport::ShelfState::dead};
    const std::size_t moved = transport.move({item.stream, item.group}, query, transport::ShelfAction::replace,
                                             {.stream = item.stream,
                                              .id = event.id,
                                              .type = event.type,
                                              .correlation = event.correlationId,
                                              .key = key,
                                              .envelope = envelope});
    if (moved != 1) throw Error(ErrorCode::not_found, "the dead letter " + item.key + " has gone meanwhile");
  }
  if (format == Format::table) {
    standard_output().write(event.id + "\n");
  } else {
    standard_output().write(
        JsonObject().text("id", event.id).text("causationId", item.id).raw("event", one_line(envelope)).str() + "\n");
  }
  return exit_ok;
}

void check_selection(const DlqArguments& arguments) {
  const bool changes = arguments.verb == Verb::retry || arguments.verb == Verb::drop;
  if (changes && arguments.ids.empty() && arguments.reason.empty() && !arguments.all) {
    throw UsageError("which dead letters? Say --id, --reason or --all");
  }
  if (changes && arguments.all && (!arguments.ids.empty() || !arguments.reason.empty())) {
    throw UsageError("--all beside --id or --reason says two things; leave one of them out");
  }
  if (arguments.verb == Verb::edit && arguments.ids.empty()) {
    throw UsageError("which dead letter? Say --id; `tidings dlq ls` lists them");
  }
  if (arguments.verb == Verb::edit && arguments.data.empty()) throw UsageError("--data is needed: the corrected data");
}

}  // namespace

int run_dlq(const Common& common, const DlqArguments& arguments) {
  check_names(arguments.stream, arguments.group);
  check_selection(arguments);
  const Bus bus = open_bus(common);
  transport::Transport& transport = bus.transport();
  const bool moves = arguments.verb == Verb::retry || arguments.verb == Verb::drop;
  if (moves && !transport.capabilities().shelf)
    return move_unseen(transport, arguments, common.format_or(Format::table));
  const std::vector<transport::ShelfItem> items = select(transport, arguments);
  switch (arguments.verb) {
    case Verb::ls:
      return list(items, common.format_or(Format::table));
    case Verb::dump:
      return list(items, common.format_or(Format::jsonl));
    case Verb::show:
      return show(items, common.format_or(Format::table));
    case Verb::edit:
      return edit(transport, arguments, items, common.format_or(Format::table));
    case Verb::retry:
    case Verb::drop:
      return move_all(transport, arguments, items, common.format_or(Format::table));
  }
  return exit_failed;
}

}  // namespace tidings::cli
