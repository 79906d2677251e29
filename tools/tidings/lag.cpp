// tidings lag: what each group still has before it, worst first; with --watch once a second.
#include <algorithm>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

void print_lag(Bus& bus, Format format) {
  std::vector<transport::GroupInfo> groups = list_groups(bus.transport(), {});
  std::stable_sort(groups.begin(), groups.end(), [](const transport::GroupInfo& a, const transport::GroupInfo& b) {
    const auto behind = [](const transport::GroupInfo& g) { return g.lag.value_or(0) + g.pending + g.retrying; };
    return behind(a) > behind(b);
  });
  Listing listing(format, {"STREAM", "GROUP", "LAG", "PENDING", "RETRYING", "DEAD", "OLDEST", "CONSUMERS"});
  for (const transport::GroupInfo& group : groups) {
    listing.add(group_json(group), {group.stream, group.group, cell(group.lag), std::to_string(group.pending),
                                    std::to_string(group.retrying), std::to_string(group.dead_letters),
                                    cell(group.oldest_age), std::to_string(group.consumers)});
  }
  listing.finish();
}

}  // namespace

int run_lag(const Common& common, const LagArguments& arguments) {
  Bus bus = open_bus(common);
  const Format format = common.format_or(Format::table);
  if (!arguments.watch) {
    print_lag(bus, format);
    return exit_ok;
  }
  const Interrupt interrupt;
  while (!interrupt.fired()) {
    if (format == Format::table && fancy_output()) standard_output().write("\x1b[H\x1b[2J");
    print_lag(bus, format);
    if (!interrupt.wait(Millis(1'000))) break;
    if (format == Format::table && !fancy_output()) standard_output().write("\n");
  }
  return interrupt.exit_code();
}

}  // namespace tidings::cli
