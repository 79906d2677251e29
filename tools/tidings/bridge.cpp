// tidings bridge and archive: move events to another engine, as a group of the one where they are.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <tidings/url.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "mover.hpp"
#include "output.hpp"
#include "shelf_move.hpp"

namespace tidings::cli {

namespace {

/// A lease is renewed at a third of its time; below this a busy machine loses it all the time.
constexpr Millis shortest_lease{100};
constexpr Millis longest_pause{30'000};

/// What makes two URLs one place: not the user, nor how durable a publish is.
std::string place_of(const std::string& text) {
  const Url url = Url::parse(text);
  std::string place = url.scheme + ":";
  for (const auto& [host, port] : url.hosts) {
    const bool plain = url.scheme.starts_with("redis");
    const std::string name = host == "localhost" ? "127.0.0.1" : host;
    place += "//" + name + ":" + std::to_string(port == 0 && plain ? 6379 : port);
  }
  if (url.scheme == "sqlite") {
    std::error_code ignored;
    const std::filesystem::path file = std::filesystem::weakly_canonical(std::filesystem::absolute(url.path), ignored);
    return place + (file.empty() ? url.path : file.string());
  }
  place += "/" + (url.path.empty() && url.scheme.starts_with("redis") ? "0" : url.path);
  for (const char* option : {"prefix", "endpoint"}) place += " " + url.option(option).value_or("");
  return place;
}

/// Throws UsageError for URLs between which nothing can be moved.
void check_urls(const std::string& from, const std::string& to) {
  for (const std::string& url : {from, to}) {
    try {
      if (Url::parse(url).scheme == "memory")
        throw UsageError("memory: lives in one process, so that nothing can be moved from it or to it");
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
  if (place_of(from) == place_of(to)) {
    throw UsageError("both URLs name the same place, " + Url::parse(to).redacted() + "; every event would come back");
  }
}

MoveOptions move_options(const MoveArguments& arguments) {
  MoveOptions options;
  options.streams = arguments.streams;
  std::sort(options.streams.begin(), options.streams.end());
  options.streams.erase(std::unique(options.streams.begin(), options.streams.end()), options.streams.end());
  for (const std::string& stream : options.streams) check_names(stream, {});
  check_service(arguments.group);
  for (const std::string& group : arguments.dead_letters) check_service(group);
  options.group = arguments.group;
  options.max = arguments.max;
  if (!arguments.until_idle.empty()) options.until_idle = duration_value("--until-idle", arguments.until_idle);
  if (!arguments.lease.empty()) options.lease = duration_value("--lease", arguments.lease);
  if (options.lease < shortest_lease) {
    throw UsageError("--lease " + arguments.lease + " cannot be renewed in time; write " +
                     format_duration(shortest_lease) + " or more");
  }
  if (arguments.start == "end") {
    options.start.kind = Start::Kind::end;
  } else if (!arguments.start.empty() && arguments.start != "beginning") {
    options.start.kind = Start::Kind::time;
    options.start.time = time_value("--start", arguments.start);
  }
  return options;
}

void warn_existing(transport::Transport& source, const MoveOptions& options) {
  for (const std::string& stream : options.streams) {
    for (const transport::StreamInfo& info : source.describe(stream)) {
      for (const transport::GroupInfo& each : info.groups) {
        if (each.group != group_of(stream, options.group)) continue;
        complain("the group " + each.group + " of " + stream +
                 " exists already, --start is passed over; `tidings group seek` moves it");
      }
    }
  }
}

/// What is published where nobody has subscribed may be lost, and a bridge back makes a circle.
void look_at_target(transport::Transport& target, const MoveOptions& options, const std::string& url) {
  for (const std::string& stream : options.streams) {
    if (is_command_stream(stream)) continue;
    bool any = false;
    for (const transport::StreamInfo& info : target.describe(stream)) {
      any = any || !info.groups.empty();
      for (const transport::GroupInfo& each : info.groups) {
        if (each.group != options.group) continue;
        complain(stream + " has a group " + options.group + " on " + url +
                 " too; if it is a bridge that leads back here, every event will circle for ever");
      }
    }
    if (any || target.capabilities().from_beginning) continue;
    throw Error(ErrorCode::not_found,
                "nobody has subscribed to " + stream + " on " + url +
                    ", and what is published there before is lost to those who come later; start its services, or "
                    "`tidings group create` their groups, first");
  }
}

/// Waits with backoff for an engine that went down since it was opened. False when a signal came first.
bool patiently(const Interrupt& interrupt, const char* which, const std::function<void()>& step) {
  Millis pause{500};
  while (!interrupt.fired()) {
    try {
      step();
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      complain(which + (": " + std::string(error.what())) + "; trying again in " + format_duration(pause));
    }
    (void)interrupt.wait(pause);
    pause = std::min(pause * 2, longest_pause);
  }
  return false;
}

/// Until the group exists, retention on the source may remove what it would move.
void make_group(transport::Transport& source, const MoveOptions& options) {
  transport::Interest interest;
  interest.service = options.group;
  interest.streams = options.streams;
  interest.types = {"*"};
  interest.start = options.start;
  interest.lease = options.lease;
  (void)source.subscribe(interest);
}

/// Repeated after a failure, it moves what is left.
void take_dead_letters(transport::Transport& source, transport::Transport& target, const MoveOptions& options,
                       const std::vector<std::string>& groups) {
  for (const std::string& name : groups) {
    for (const std::string& stream : options.streams) {
      const std::uint64_t count = move_dead_letters(source, target, {stream, group_of(stream, name)});
      complain(std::to_string(count) + " dead letters of " + name + " of " + stream + " went along");
    }
  }
}

std::string summary(const Passage& passage, Millis time) {
  return JsonObject()
             .number("moved", passage.moved())
             .number("repeated", passage.repeated())
             .number("dead", passage.dead())
             .raw("seconds", std::to_string(static_cast<double>(time.count()) / 1000))
             .str() +
         "\n";
}

int run_move(const Common& common, const MoveArguments& arguments, const std::string& from, bool leads_on) {
  check_urls(from, arguments.to);
  MoveOptions options = move_options(arguments);
  options.leads_on = leads_on;
  const Interrupt interrupt;
  Common source_url = common, target_url = common;
  source_url.url = from;
  target_url.url = arguments.to;
  std::optional<Bus> source = open_patiently(source_url, interrupt, options.group);
  if (!source) return interrupt.exit_code();
  const bool made = patiently(interrupt, "the source", [&] {
    if (!arguments.start.empty()) warn_existing(source->transport(), options);
    make_group(source->transport(), options);
  });
  if (!made) return interrupt.exit_code();
  std::optional<Bus> target = open_patiently(target_url, interrupt, options.group);
  if (!target) return interrupt.exit_code();
  const bool sound = patiently(interrupt, "the target", [&] {
    if (leads_on) look_at_target(target->transport(), options, Url::parse(arguments.to).redacted());
    take_dead_letters(source->transport(), target->transport(), options, arguments.dead_letters);
  });
  if (!sound) return interrupt.exit_code();
  const Steady began = system_clock().steady();
  Mover mover(*source, *target, options, interrupt);
  mover.run();
  const auto time = std::chrono::duration_cast<Millis>(system_clock().steady() - began);
  const Passage& passage = mover.passage();
  if (common.format_or(Format::table) == Format::table) {
    standard_output().write("moved " + std::to_string(passage.moved()) + " events in " + format_duration(time) + ", " +
                            std::to_string(passage.repeated()) + " perhaps repeated, " +
                            std::to_string(passage.dead()) + " put aside as dead letters\n");
  } else {
    standard_output().write(summary(passage, time));
  }
  return interrupt.exit_code();
}

}  // namespace

int run_bridge(const Common& common, const MoveArguments& arguments) {
  if (!common.url.empty()) throw UsageError("--url says nothing to a bridge; --from and --to do");
  return run_move(common, arguments, arguments.from, true);
}

int run_archive(const Common& common, const MoveArguments& arguments) {
  return run_move(common, arguments, resolve_url(common), false);
}

}  // namespace tidings::cli
