// tidings trace: everything that belongs to one request, across services.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tidings/event.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

struct Step {
  std::string stream{};
  transport::Record record{};
  Event event{};
  std::string cause{};
};

std::vector<Step> steps_of(transport::Transport& transport, const std::string& correlation) {
  std::vector<Step> steps;
  for (const transport::StreamInfo& stream : transport.describe({})) {
    transport::ReadRange range;
    range.stream = stream.name;
    range.correlation = correlation;
    Cursor cursor(transport, range);
    for (const auto* record = cursor.peek(); record != nullptr; cursor.pop(), record = cursor.peek()) {
      if (!is_sound(stream.name, *record)) continue;
      try {
        Step step{stream.name, *record, decode<Json>(record->envelope), {}};
        step.cause = step.event.metadata.string("causationId").value_or("");
        steps.push_back(std::move(step));
      } catch (const Error& error) {
        complain(stream.name + " " + to_string(record->position) + ": skipped, no event: " + error.what());
      }
    }
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::tie(a.event.timestamp, a.record.stored_at, a.record.position) <
           std::tie(b.event.timestamp, b.record.stored_at, b.record.position);
  });
  return steps;
}

/// The steps as a sequence: each one, and behind it what followed from it.
class Sequence {
 public:
  explicit Sequence(const std::vector<Step>& steps) : steps_(steps) {
    std::set<std::string> ids;
    for (const Step& step : steps) ids.insert(step.event.id);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool caused = ids.contains(steps[i].cause) && steps[i].cause != steps[i].event.id;
      followers_[caused ? steps[i].cause : std::string()].push_back(i);
    }
  }

  /// Calls `visit` with each step and how many stand above it.
  template <class Visit>
  void walk(Visit visit) {
    visit_ = visit;
    follow({}, 0);
    // Causes that go round in a circle have no beginning; their events are shown all the same.
    for (std::size_t i = 0; i < steps_.size(); ++i) step(i, 0);
  }

 private:
  void follow(const std::string& cause, std::size_t depth) {
    const auto followers = followers_.find(cause);
    if (followers == followers_.end()) return;
    for (const std::size_t index : followers->second) step(index, depth);
  }

  void step(std::size_t index, std::size_t depth) {
    if (!visited_.insert(index).second) return;
    visit_(steps_[index], depth);
    follow(steps_[index].event.id, depth + 1);
  }

  const std::vector<Step>& steps_;
  std::function<void(const Step&, std::size_t)> visit_{};
  std::map<std::string, std::vector<std::size_t>> followers_{};
  std::set<std::size_t> visited_{};
};

void print(const Step& step, std::size_t depth) {
  const std::string arrow = depth == 0 ? "" : std::string((std::min<std::size_t>(depth, 32) - 1) * 3, ' ') + "-> ";
  standard_output().write(format_time(step.event.timestamp) + "  " + arrow +
                          printable(step.event.source + ": " + step.event.type) + "  " + printable(step.event.id) +
                          "  (" + step.stream + ")\n");
}

}  // namespace

int run_trace(const Common& common, const TraceArguments& arguments) {
  const Bus bus = open_bus(common);
  const std::vector<Step> steps = steps_of(bus.transport(), arguments.correlation);
  if (steps.empty()) {
    throw Error(ErrorCode::not_found, "no stream holds an event with the correlation id " + arguments.correlation);
  }
  if (common.format_or(Format::table) == Format::table) {
    Sequence(steps).walk(print);
    return exit_ok;
  }
  std::string list;
  Sequence(steps).walk([&](const Step& step, std::size_t) {
    if (!list.empty()) list += ",";
    list += JsonObject()
                .raw("event", one_line(step.record.envelope))
                .text("stream", step.stream)
                .text_or_null("causationId", step.cause)
                .str();
  });
  standard_output().write(
      JsonObject().text("correlationId", arguments.correlation).raw("events", "[" + list + "]").str() + "\n");
  return exit_ok;
}

}  // namespace tidings::cli
