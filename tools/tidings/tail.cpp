// tidings tail: reads streams without a group.
#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <tidings/event.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

constexpr std::uint64_t usual_count = 10;
constexpr Millis longest_pause{30'000};

/// Prints events as lines, as one array, or in columns for people.
class EventPrinter {
 public:
  explicit EventPrinter(Format format) : format_(format) {}

  void print(const std::string& stream, const transport::Record& record) {
    if (!is_sound(stream, record)) return;
    Output& output = standard_output();
    if (format_ == Format::json) output.write(count_ == 0 ? "[\n " : ",\n ");
    output.write(format_ == Format::table ? columns(stream, record) : one_line(record.envelope));
    if (format_ != Format::json) output.write("\n");
    ++count_;
  }

  void finish() {
    if (format_ == Format::json) standard_output().write(count_ == 0 ? "[]\n" : "\n]\n");
    standard_output().flush();
  }

 private:
  static std::string columns(const std::string& stream, const transport::Record& record) {
    try {
      const auto event = decode<Json>(record.envelope);
      return printable(format_time(event.timestamp) + "  " + event.type + "  " + event.id + "  " + event.source + "  " +
                       event.correlationId + "  " + one_line(event.data.text()));
    } catch (const Error&) {  // Sound JSON that is no event.
      return printable(format_time(record.stored_at) + "  " + stream + "  not an event: " + one_line(record.envelope));
    }
  }

  Format format_;
  std::uint64_t count_ = 0;
};

/// Where one stream goes on once its past is printed.
struct Place {
  std::string stream{};
  Position next{};
};

transport::ReadRange matching(const TailArguments& arguments, const std::string& stream) {
  transport::ReadRange range;
  range.stream = stream;
  range.type = arguments.type;
  range.correlation = arguments.correlation;
  return range;
}

/// Where the stream ends now. One that does not exist may come, so it is only named: it may be mistyped, too.
Position end_of(transport::Transport& transport, const std::string& stream) {
  const auto info = transport.describe(stream);
  if (!info.empty()) return info.front().end;
  complain("there is no stream " + stream + " yet; `tidings streams` lists what is there");
  return {};
}

/// The last `count` events of all streams together, in the order in which they were stored.
void print_last(transport::Transport& transport, const TailArguments& arguments, const std::vector<Place>& places,
                EventPrinter& printer) {
  std::vector<std::pair<std::string, transport::Record>> events;
  const std::uint64_t count = arguments.count.value_or(usual_count);
  for (const Place& place : places) {
    if (place.next == Position{} || count == 0) continue;
    transport::ReadRange range = matching(arguments, place.stream);
    range.last = true;
    range.limit = count;
    for (transport::Record& record : transport.read(range).records) {
      // What was stored after the end was looked up belongs to what follows.
      if (record.position < place.next) events.emplace_back(place.stream, std::move(record));
    }
  }
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return a.second.stored_at < b.second.stored_at; });
  const std::size_t skip = events.size() > count ? events.size() - count : 0;
  for (std::size_t i = skip; i < events.size(); ++i) printer.print(events[i].first, events[i].second);
}

/// Everything since `from`, up to where each stream ended when we began.
void print_since(transport::Transport& transport, const TailArguments& arguments, const std::vector<Place>& places,
                 EventPrinter& printer) {
  std::vector<Cursor> cursors;
  bool known = false;
  for (const Place& place : places) {
    transport::ReadRange range = matching(arguments, place.stream);
    Start start{};
    try {
      start = start_value(transport, place.stream, arguments.from);
      known = true;
    } catch (const Error& error) {
      // An id stands in one of the streams; the others have nothing to show before it.
      if (error.code() != ErrorCode::not_found || (place.stream == places.back().stream && !known)) throw;
      continue;
    }
    if (start.kind == Start::Kind::end || place.next == Position{}) continue;
    if (start.kind == Start::Kind::time) range.from_time = start.time;
    if (start.kind == Start::Kind::position) range.from = start.position;
    cursors.emplace_back(transport, range);
  }
  const std::uint64_t most = arguments.count && !arguments.follow ? *arguments.count : UINT64_MAX;
  std::uint64_t printed = 0;
  walk_merged(cursors, [&](const std::string& stream, const transport::Record& record) {
    const auto place = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.stream == stream; });
    if (printed >= most) return false;
    if (record.position < place->next) {
      printer.print(stream, record);
      ++printed;
    }
    return true;
  });
}

/// Follows streams, one thread each, until interrupted. Waits with backoff while the engine is down.
class Follower {
 public:
  Follower(transport::Transport& transport, const TailArguments& arguments, EventPrinter& printer, Interrupt& interrupt)
      : transport_(transport), arguments_(arguments), printer_(printer), interrupt_(interrupt) {}

  void run(const std::vector<Place>& places) {
    {
      std::vector<std::jthread> threads;
      for (const Place& place : places) threads.emplace_back([this, place] { guard(place); });
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void guard(const Place& place) {
    try {
      follow(place);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      interrupt_.stop();
    }
  }

  void follow(const Place& place) {
    transport::ReadRange range = matching(arguments_, place.stream);
    range.from = place.next;
    range.wait = Millis(1'000);
    Millis pause{500};
    while (!interrupt_.fired()) {
      try {
        const transport::Page page = transport_.read(range, interrupt_.token());
        range.from = page.next;
        pause = Millis(500);
        const std::lock_guard lock(mutex_);
        for (const transport::Record& record : page.records) printer_.print(place.stream, record);
        standard_output().flush();
      } catch (const Error& error) {
        if (error.code() == ErrorCode::cancelled) return;
        if (!error.retryable()) throw;
        complain(std::string(error.what()) + "; trying again in " + format_duration(pause));
        if (!interrupt_.wait(pause)) return;
        pause = std::min(pause * 2, longest_pause);
      }
    }
  }

  transport::Transport& transport_;
  const TailArguments& arguments_;
  EventPrinter& printer_;
  Interrupt& interrupt_;
  std::mutex mutex_{};
  std::exception_ptr failure_{};
};

}  // namespace

int run_tail(const Common& common, const TailArguments& arguments) {
  for (const std::string& stream : arguments.streams) check_names(stream, {});
  Interrupt interrupt;
  std::optional<Bus> bus = arguments.follow ? open_patiently(common, interrupt) : open_bus(common);
  if (!bus) return interrupt.exit_code();
  transport::Transport& transport = bus->transport();
  EventPrinter printer(common.format_or(Format::jsonl));
  // An engine without history says what it needs.
  if (!transport.capabilities().read) (void)transport.read({.stream = arguments.streams.front()}, {});
  std::vector<Place> places;
  for (const std::string& stream : arguments.streams) places.push_back({stream, end_of(transport, stream)});
  if (arguments.from.empty()) {
    print_last(transport, arguments, places, printer);
  } else {
    print_since(transport, arguments, places, printer);
  }
  standard_output().flush();
  if (arguments.follow) Follower(transport, arguments, printer, interrupt).run(places);
  printer.finish();
  return interrupt.exit_code();
}

}  // namespace tidings::cli
