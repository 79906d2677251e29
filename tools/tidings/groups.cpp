// tidings groups: every group with its account.
#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text.empty() ? "-" : text;
}

}  // namespace

int run_groups(const Common& common, const GroupsArguments& arguments) {
  check_names(arguments.stream, {});
  const Bus bus = open_bus(common);
  Listing listing(common.format_or(Format::table), {"STREAM", "GROUP", "LAG", "PENDING", "RETRYING", "DEAD", "HANDLED",
                                                    "IGNORED", "OLDEST", "CONSUMERS", "TYPES", "STATE"});
  for (const transport::GroupInfo& group : list_groups(bus.transport(), arguments.stream)) {
    listing.add(group_json(group),
                {group.stream, group.owner.empty() ? group.group : group.group + " (" + group.owner + ")",
                 cell(group.lag), std::to_string(group.pending), std::to_string(group.retrying),
                 std::to_string(group.dead_letters), cell(group.handled), cell(group.ignored), cell(group.oldest_age),
                 std::to_string(group.consumers), joined(group.types), group.paused ? "paused" : "running"});
  }
  listing.finish();
  return exit_ok;
}

}  // namespace tidings::cli
