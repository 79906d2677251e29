// tidings consume: joins a group; prints its events, or runs a command for each.
#include <algorithm>
#include <cstring>
#include <tidings/service.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "line_printer.hpp"
#include "output.hpp"
#include "shell.hpp"

namespace tidings::cli {

namespace {

/// What CMD exits with to say more than failed (sysexits.h: EX_TEMPFAIL, EX_DATAERR).
constexpr int exit_try_again = 75;
constexpr int exit_reject = 65;
/// How many events a CMD that runs has waiting behind it, itself included.
constexpr unsigned exec_prefetch = 4;
/// A lease is renewed at a third of its time; below this a busy machine loses it all the time.
constexpr Millis shortest_lease{100};
/// A printed line waits for its reader as long as it takes, unless --timeout says otherwise.
constexpr Millis no_timeout{Millis(std::chrono::hours(24 * 365))};

ServiceOptions service_options(const ConsumeArguments& arguments) {
  ServiceOptions options;
  options.concurrency = arguments.concurrency;
  options.max_events = arguments.max;
  // What is fetched ahead waits for this process; a CMD is slow, and another consumer could run it meanwhile.
  if (!arguments.exec.empty()) options.prefetch_events = std::size_t{exec_prefetch} * arguments.concurrency;
  if (!arguments.until_idle.empty()) options.until_idle = duration_value("--until-idle", arguments.until_idle);
  if (!arguments.lease.empty()) options.lease = duration_value("--lease", arguments.lease);
  if (options.lease < shortest_lease) {
    throw UsageError("--lease " + arguments.lease + " cannot be renewed in time; write " +
                     format_duration(shortest_lease) + " or more");
  }
  if (arguments.from == "end") options.start.kind = Start::Kind::end;
  if (!arguments.from.empty() && arguments.from != "end" && arguments.from != "beginning") {
    throw UsageError("--from is beginning or end; `tidings group seek` moves an existing group anywhere");
  }
  if (arguments.order_by_key) {
    throw UsageError("--order-by-key is not offered yet; at --concurrency 1 events run in publish order");
  }
  return options;
}

HandlerOptions handler_options(const ConsumeArguments& arguments) {
  HandlerOptions options;
  options.max_attempts = arguments.max_attempts;
  if (!arguments.backoff.empty()) {
    options.backoff.first = duration_value("--backoff", arguments.backoff);
    options.backoff.longest = std::max(options.backoff.longest, options.backoff.first);
  }
  if (arguments.exec.empty()) options.timeout = no_timeout;
  if (!arguments.timeout.empty()) options.timeout = duration_value("--timeout", arguments.timeout);
  if (options.timeout == Millis(0))
    throw UsageError("--timeout 0 leaves no time for an event; write 5m, or leave it out");
  return options;
}

/// Throws UsageError unless every type belongs to one of the streams, and every stream has a type when any has.
void check_types(const ConsumeArguments& arguments) {
  std::vector<std::string> served;
  for (const std::string& type : arguments.types) {
    try {
      check_type(type);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
    for (const std::string& stream : {event_stream(type), command_stream(type)}) {
      if (std::find(arguments.streams.begin(), arguments.streams.end(), stream) != arguments.streams.end()) {
        served.push_back(stream);
      }
    }
    if (served.empty() || (served.back() != event_stream(type) && served.back() != command_stream(type))) {
      throw UsageError("--type " + type + " belongs to " + event_stream(type) + ", which is not among the streams");
    }
  }
  for (const std::string& stream : arguments.streams) {
    if (!arguments.types.empty() && std::find(served.begin(), served.end(), stream) == served.end()) {
      throw UsageError("no --type belongs to " + stream + ": leave the stream or --type out");
    }
  }
}

void execute(const std::string& command, Context& context) {
  const std::vector<std::string> variables{
      "TIDINGS_EVENT_ID=" + std::string(context.id()), "TIDINGS_EVENT_TYPE=" + std::string(context.type()),
      "TIDINGS_ATTEMPT=" + std::to_string(context.attempt()), "TIDINGS_GROUP=" + std::string(context.group()),
      "TIDINGS_CORRELATION_ID=" + std::string(context.correlation_id())};
  const ShellResult result = run_shell(command, context.envelope(), variables, context.stop_token());
  if (result.killed) throw std::runtime_error("CMD was killed, its time was over");
  if (result.signal != 0) throw std::runtime_error("CMD was ended by signal " + std::to_string(result.signal));
  if (result.exit_code == 0) return;
  const std::string text = "CMD exited with " + std::to_string(result.exit_code);
  if (result.exit_code == exit_reject) throw Reject(text);
  throw std::runtime_error(result.exit_code == exit_try_again ? text + ", try again" : text);
}

void report(const Failure& failure) {
  std::string line = failure.id.empty() ? "an undecodable entry of " + failure.stream : failure.id;
  line += ": attempt " + std::to_string(failure.attempt) + ": " + failure.reason;
  if (failure.crashes > 0) line += " (" + std::to_string(failure.crashes) + " crashes)";
  if (!failure.error.empty()) line += ": " + failure.error;
  line += failure.next_try ? "; next try in " + format_duration(*failure.next_try) : "; it is a dead letter now";
  complain(line);
}

void warn_existing(transport::Transport& transport, const ConsumeArguments& arguments) {
  for (const std::string& stream : arguments.streams) {
    for (const transport::StreamInfo& info : transport.describe(stream)) {
      for (const transport::GroupInfo& group : info.groups) {
        if (group.group != group_of(stream, arguments.group)) continue;
        complain("the group " + group.group + " of " + stream +
                 " exists already, --from is passed over; `tidings group " + "seek` moves it");
      }
    }
  }
}

/// Joins every stream, or only the types asked for.
void subscribe(Service& service, const ConsumeArguments& arguments,
               const std::function<void(const Event&, Context&)>& handler) {
  const HandlerOptions options = handler_options(arguments);
  if (arguments.types.empty()) {
    for (const std::string& stream : arguments.streams) service.on_stream(stream, handler, options);
    return;
  }
  const auto given = [&](const std::string& stream) {
    return std::find(arguments.streams.begin(), arguments.streams.end(), stream) != arguments.streams.end();
  };
  for (const std::string& type : arguments.types) {
    if (given(event_stream(type))) service.on(type, handler, options, MessageKind::event);
    if (given(command_stream(type))) service.on(type, handler, options, MessageKind::command);
  }
}

}  // namespace

int run_consume(const Common& common, const ConsumeArguments& given) {
  ConsumeArguments arguments = given;
  for (auto* list : {&arguments.streams, &arguments.types}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  for (const std::string& stream : arguments.streams) check_names(stream, {});
  check_service(arguments.group);
  check_types(arguments);
  const ServiceOptions options = service_options(arguments);
  handler_options(arguments);

  Interrupt interrupt;
  const std::optional<Bus> bus = open_patiently(common, interrupt, arguments.group);
  if (!bus) return interrupt.exit_code();
  if (!arguments.from.empty()) warn_existing(bus->transport(), arguments);
  LinePrinter printer([&] { interrupt.stop(); });
  Service service(*bus, arguments.group, options);
  subscribe(service, arguments, [&](const Event&, Context& context) {
    if (!arguments.exec.empty()) return execute(arguments.exec, context);
    if (!printer.print(one_line(context.envelope()), context.stop_token())) throw Release("stdout was closed");
  });
  service.on_failure(report);
  service.run(interrupt.token());
  if (!printer.failure().empty()) {
    complain(printer.failure() + "; what was not written is given back");
    return exit_failed;
  }
  return interrupt.exit_code();
}

}  // namespace tidings::cli
