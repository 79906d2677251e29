// tidings pending: the deliveries of a group that are not settled.
#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

int run_pending(const Common& common, const PendingArguments& arguments) {
  check_names(arguments.stream, arguments.group);
  const Bus bus = open_bus(common);
  Listing listing(common.format_or(Format::table),
                  {"ID", "STREAM", "GROUP", "STATE", "ATTEMPT", "CRASHES", "OWNER", "DUE"});
  for (const transport::GroupInfo& group : groups_named(bus.transport(), arguments.stream, arguments.group)) {
    transport::ShelfQuery query;
    query.states = {transport::ShelfState::waiting, transport::ShelfState::leased, transport::ShelfState::retrying};
    for (const transport::ShelfItem& item : list_shelf(bus.transport(), {group.stream, group.group}, query)) {
      listing.add(JsonObject()
                      .text_or_null("id", item.id)
                      .text("stream", group.stream)
                      .text("group", group.group)
                      .text("state", state_word(item.state))
                      .number("attempt", item.attempts)
                      .number("crashes", item.crashes)
                      .text_or_null("owner", item.owner)
                      .time("due", item.due)
                      .str(),
                  {item.id.empty() ? "-" : item.id, group.stream, group.group, std::string(state_word(item.state)),
                   std::to_string(item.attempts), std::to_string(item.crashes), item.owner.empty() ? "-" : item.owner,
                   cell(item.due)});
    }
  }
  listing.finish();
  return exit_ok;
}

}  // namespace tidings::cli
