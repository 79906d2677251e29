// tidings group: creates, removes, moves, stops and restarts one group.
#include <algorithm>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

using Kind = transport::GroupChange::Kind;

struct Words {
  Kind kind;
  const char* done;
};

Words words_of(GroupArguments::Verb verb) {
  switch (verb) {
    case GroupArguments::Verb::create:
      return {Kind::create, "created"};
    case GroupArguments::Verb::remove:
      return {Kind::remove, "deleted"};
    case GroupArguments::Verb::seek:
      return {Kind::seek, "moved"};
    case GroupArguments::Verb::pause:
      return {Kind::pause, "paused"};
    case GroupArguments::Verb::resume:
      return {Kind::resume, "resumed"};
  }
  return {Kind::create, "created"};
}

}  // namespace

int run_group(const Common& common, const GroupArguments& arguments) {
  check_names(arguments.stream, arguments.group);
  const auto [kind, done] = words_of(arguments.verb);
  if (kind == Kind::seek && arguments.at.empty()) {
    throw UsageError("--at is needed: beginning, end, a time such as 2h, or an event's id");
  }
  const Bus bus = open_bus(common);
  transport::Transport& transport = bus.transport();
  const std::string group(group_of(arguments.stream, arguments.group));
  transport::GroupChange change;
  change.kind = kind;
  change.force = arguments.force;
  if (!arguments.at.empty()) change.at = start_value(transport, arguments.stream, arguments.at);
  if (is_command_stream(arguments.stream)) change.owner = arguments.group;
  std::vector<transport::GroupInfo> before;
  // Whoever does not own the commands of a stream does not change their group either.
  if (kind != Kind::create) before = groups_named(transport, arguments.stream, arguments.group);
  transport.change({arguments.stream, group}, change);
  complain(arguments.stream + " " + arguments.group + ": " + done);
  if (common.format_or(Format::table) == Format::table) return exit_ok;
  std::vector<transport::GroupInfo> now = before;
  if (kind != Kind::remove) now = transport.describe(arguments.stream).at(0).groups;
  const auto row = std::find_if(now.begin(), now.end(), [&](const auto& info) { return info.group == group; });
  if (row != now.end()) standard_output().write(group_json(*row) + "\n");
  return exit_ok;
}

}  // namespace tidings::cli
