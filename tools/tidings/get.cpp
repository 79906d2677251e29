// tidings get: one event, and what became of it in every group.
#include <tidings/json.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

struct DeliveryState {
  std::string group{};
  std::string_view state{};
  std::optional<std::uint32_t> attempt{}, crashes{};
};

/// What became of the event at `position` in one group; several items when it was replayed as well.
std::vector<DeliveryState> states_in(transport::Transport& transport, const transport::GroupInfo& group,
                                     const std::string& id, Position position) {
  transport::ShelfQuery query;
  query.ids = {id};
  std::vector<DeliveryState> states;
  bool live = false;
  if (!transport.capabilities().shelf) return states;
  for (const transport::ShelfItem& item : list_shelf(transport, {group.stream, group.group}, query)) {
    states.push_back({group.group, state_word(item.state), item.attempts, item.crashes});
    live = live || item.run == 0;
  }
  // A queue has no place up to which it was read.
  if (live || position == Position{} || !transport.capabilities().from_beginning) return states;
  if (position >= group.cursor) {
    states.insert(states.begin(), {group.group, "waiting", 1, 0});
  } else {
    // What is settled is not kept, so its attempts are not known any more.
    states.insert(states.begin(), {group.group, "settled", std::nullopt, std::nullopt});
  }
  return states;
}

/// Looks among what groups hold aside, for an event that its stream does not hold any more.
std::vector<Found> find_held(transport::Transport& transport, const std::string& id) {
  transport::ShelfQuery query;
  query.ids = {id};
  if (!transport.capabilities().shelf) return {};
  for (const transport::GroupInfo& group : list_groups(transport, {})) {
    for (const transport::ShelfItem& item : list_shelf(transport, {group.stream, group.group}, query)) {
      const auto bytes = std::make_shared<std::byte[]>(item.envelope.size());
      auto* text = reinterpret_cast<char*>(bytes.get());
      std::copy(item.envelope.begin(), item.envelope.end(), text);
      Found found{group.stream, {}};
      found.record.block = bytes;
      found.record.envelope = {text, item.envelope.size()};
      found.record.position = item.position;
      return {found};
    }
  }
  return {};
}

std::string delivery_json(const DeliveryState& delivery) {
  return JsonObject()
      .text("group", delivery.group)
      .text("state", delivery.state)
      .number("attempt", delivery.attempt)
      .number("crashes", delivery.crashes)
      .str();
}

void print_json(const Found& found, const std::vector<DeliveryState>& deliveries) {
  std::string list;
  for (const DeliveryState& delivery : deliveries) list += (list.empty() ? "" : ",") + delivery_json(delivery);
  standard_output().write(JsonObject()
                              .raw("event", one_line(found.record.envelope))
                              .text("stream", found.stream)
                              .text_or_null("position", found.record.position == Position{}
                                                            ? std::string()
                                                            : to_string(found.record.position))
                              .raw("deliveries", "[" + list + "]")
                              .str() +
                          "\n");
}

void print_table(const Found& found, const std::vector<DeliveryState>& deliveries) {
  standard_output().write(printable(one_line(found.record.envelope)) + "\n" + found.stream + " " +
                          to_string(found.record.position) + "\n\n");
  Listing listing(Format::table, {"GROUP", "STATE", "ATTEMPT", "CRASHES"});
  for (const DeliveryState& delivery : deliveries) {
    listing.add({}, {delivery.group, std::string(delivery.state), cell(delivery.attempt), cell(delivery.crashes)});
  }
  listing.finish();
}

}  // namespace

int run_get(const Common& common, const GetArguments& arguments) {
  const Bus bus = open_bus(common);
  transport::Transport& transport = bus.transport();
  std::vector<Found> places = find_event(transport, {}, arguments.id);
  if (places.empty()) places = find_held(transport, arguments.id);
  if (places.empty()) throw Error(ErrorCode::not_found, "no stream holds an event " + arguments.id);
  if (places.size() > 1) {
    complain(arguments.id + " stands in " + std::to_string(places.size()) + " places, this is the first of them");
  }
  const Found& found = places.front();
  if (!is_sound(found.stream, found.record)) return exit_failed;
  std::vector<DeliveryState> deliveries;
  for (const transport::GroupInfo& group : list_groups(transport, found.stream)) {
    for (DeliveryState& state : states_in(transport, group, arguments.id, found.record.position)) {
      deliveries.push_back(std::move(state));
    }
  }
  if (common.format_or(Format::table) == Format::table) {
    print_table(found, deliveries);
  } else {
    print_json(found, deliveries);
  }
  return exit_ok;
}

}  // namespace tidings::cli
