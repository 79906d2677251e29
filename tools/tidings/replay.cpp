// tidings replay: hands past events to one group again, as one new run.
#include <tidings/event.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

constexpr std::size_t batch = 500;

struct Tally {
  std::uint64_t replayed = 0, skipped = 0;
};

/// Injects records into one group under one run, in batches.
class Replayer {
 public:
  Replayer(transport::Transport& transport, transport::GroupRef group, std::uint64_t run, bool dry_run)
      : transport_(transport), group_(group), run_(run), dry_run_(dry_run) {}

  void add(const transport::Record& record) {
    if (!is_sound(group_.stream, record)) {
      ++tally_.skipped;
      return;
    }
    if (dry_run_) {
      ++tally_.replayed;
      return;
    }
    try {
      held_.push_back({record, decode<Json>(record.envelope)});
    } catch (const Error& error) {
      complain(std::string(group_.stream) + " " + to_string(record.position) + ": skipped, no event: " + error.what());
      ++tally_.skipped;
      return;
    }
    if (held_.size() == batch) inject();
  }

  Tally finish() {
    inject();
    return tally_;
  }

 private:
  struct Held {
    transport::Record record{};
    Event event{};
  };

  void inject() {
    if (held_.empty()) return;
    std::vector<transport::Outgoing> items;
    std::vector<std::string> keys;
    keys.reserve(held_.size());
    for (const Held& held : held_) {
      keys.push_back(held.event.metadata.string("partitionKey").value_or(""));
      items.push_back({.stream = group_.stream,
                       .id = held.event.id,
                       .type = held.event.type,
                       .correlation = held.event.correlationId,
                       .key = keys.back(),
                       .envelope = held.record.envelope});
    }
    std::vector<transport::Result> results(items.size());
    transport_.inject(group_, transport::Origin::replay, run_, items, results);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].code != ErrorCode::ok) {
        throw Error(results[i].code, results[i].retryable,
                    "the replay stopped at " + held_[i].event.id + " after " + std::to_string(tally_.replayed) +
                        " events: " + results[i].message);
      }
      ++tally_.replayed;
    }
    held_.clear();
  }

  transport::Transport& transport_;
  transport::GroupRef group_;
  std::uint64_t run_;
  bool dry_run_;
  std::vector<Held> held_{};
  Tally tally_{};
};

}  // namespace

int run_replay(const Common& common, const ReplayArguments& arguments) {
  check_names(arguments.stream, arguments.group);
  transport::ReadRange range;
  range.stream = arguments.stream;
  range.type = arguments.type;
  range.correlation = arguments.correlation;
  if (!arguments.from.empty()) range.from_time = time_value("--from", arguments.from);
  if (!arguments.to.empty()) range.to_time = time_value("--to", arguments.to);
  const Bus bus = open_bus(common);
  transport::Transport& transport = bus.transport();
  const std::string group = groups_named(transport, arguments.stream, arguments.group).front().group;
  // What handlers publish into this stream meanwhile must not be replayed as well.
  const Position end = transport.describe(arguments.stream).front().end;
  const auto run = static_cast<std::uint64_t>(system_clock().wall().time_since_epoch().count());
  Replayer replayer(transport, {arguments.stream, group}, run, arguments.dry_run);
  Cursor cursor(transport, range);
  for (const auto* record = cursor.peek(); record != nullptr && record->position < end; record = cursor.peek()) {
    replayer.add(*record);
    cursor.pop();
  }
  const Tally tally = replayer.finish();
  if (common.format_or(Format::table) == Format::table) {
    standard_output().write((arguments.dry_run ? "would replay " : "replayed ") + std::to_string(tally.replayed) +
                            " events of " + arguments.stream + " to " + arguments.group + "\n");
  } else {
    standard_output().write(JsonObject()
                                .text("stream", arguments.stream)
                                .text("group", group)
                                .number("replayed", tally.replayed)
                                .number("skipped", tally.skipped)
                                .number("run", arguments.dry_run ? std::nullopt : std::optional(run))
                                .flag("dry_run", arguments.dry_run)
                                .str() +
                            "\n");
  }
  return exit_ok;
}

}  // namespace tidings::cli
