// tidings publish, tidings send: one message from its parts, or whole envelopes, one a line.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <string>
#include <tidings/bus.hpp>
#include <tidings/event.hpp>
#include <tidings/id.hpp>
#include <vector>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace tidings::cli {

namespace {

constexpr std::size_t batch_lines = 500;
constexpr std::size_t batch_bytes = 1U << 20;

Fields parse_metadata(const std::string& text) {
  const std::string json = json_value("--metadata", text);
  try {
    return decode<Json>(R"({"id":"x","type":"x","version":"1.0","timestamp":"2024-01-25T10:30:00Z","source":"x",)"
                        R"("correlationId":"x","data":{},"metadata":)" +
                        json + "}")
        .metadata;
  } catch (const Error&) {
    throw UsageError("--metadata: a JSON object is needed, such as {\"tenant\":\"t1\"}");
  }
}

std::string envelope_of(const PublishArguments& arguments) {
  try {
    check_type(arguments.type);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  Event event;
  event.timestamp = system_clock().wall();
  event.id = arguments.id.empty() ? new_event_id(event.timestamp, system_random()) : arguments.id;
  event.type = arguments.type;
  event.version = arguments.version;
  event.source = arguments.source;
  event.correlationId = arguments.correlation_id;
  if (event.correlationId.empty())
    event.correlationId = "req_" + new_event_id(event.timestamp, system_random()).substr(4);
  event.data = Json(json_value("--data", arguments.data));
  if (!arguments.metadata.empty()) event.metadata = parse_metadata(arguments.metadata);
  if (!arguments.key.empty()) event.metadata.set_string("partitionKey", arguments.key);
  try {
    return encode(event);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void print_id(Format format, const PublishResult& result) {
  if (result.ambiguous) complain(result.id + ": the engine's first answer was lost, it may stand there twice");
  Output& output = standard_output();
  if (format == Format::table) {
    output.write(result.id + "\n");
  } else {
    output.write(JsonObject().text("id", result.id).str() + "\n");
  }
}

/// Publishes lines in batches, in order; a line that cannot be published is reported by its number.
class LinePublisher {
 public:
  LinePublisher(Bus bus, MessageKind kind, Format format) : bus_(std::move(bus)), kind_(kind), format_(format) {}

  void add(std::string line) {
    ++number_;
    if (line.find_first_not_of(" \t\r") == std::string::npos) return;
    bytes_ += line.size();
    numbers_.push_back(number_);
    lines_.push_back(std::move(line));
    if (lines_.size() >= batch_lines || bytes_ >= batch_bytes) publish();
  }

  /// Publishes what has gathered, for a reader that would wait now.
  void publish_gathered() { publish(); }

  /// Publishes what is left. Returns whether every line went through.
  bool finish() {
    publish();
    if (format_ == Format::json) standard_output().write(published_ == 0 ? "[]\n" : "\n]\n");
    standard_output().flush();
    if (terminal_errors() && published_ >= batch_lines) std::cerr << '\n';
    return failed_ == 0;
  }

 private:
  void publish() {
    if (lines_.empty()) return;
    const std::vector<std::string_view> views(lines_.begin(), lines_.end());
    const std::vector<PublishResult> results = bus_.publish_json(views, kind_);
    const PublishResult* engine = nullptr;
    for (std::size_t i = 0; i < results.size(); ++i) {
      const PublishResult& result = results[i];
      if (result.code == ErrorCode::ok) {
        print(result);
        continue;
      }
      ++failed_;
      complain("line " + std::to_string(numbers_[i]) + ": " + result.message);
      if (result.code != ErrorCode::invalid && result.code != ErrorCode::too_large) engine = &result;
    }
    standard_output().flush();
    if (terminal_errors() && number_ >= batch_lines) std::cerr << '\r' << published_ << " published" << std::flush;
    lines_.clear();
    numbers_.clear();
    bytes_ = 0;
    // What is wrong with the engine will not be better for the next lines.
    if (engine != nullptr)
      throw Error(engine->code, engine->retryable,
                  "stopped at line " + std::to_string(number_) +
                      ": the engine failed; publish the lines named above and those behind them again");
  }

  void print(const PublishResult& result) {
    if (format_ == Format::json) {
      standard_output().write(published_ == 0 ? "[\n " : ",\n ");
      standard_output().write(JsonObject().text("id", result.id).str());
    } else {
      print_id(format_, result);
    }
    ++published_;
  }

  Bus bus_;
  MessageKind kind_;
  Format format_;
  std::vector<std::string> lines_{};
  std::vector<std::uint64_t> numbers_{};
  std::uint64_t number_ = 0, published_ = 0, failed_ = 0;
  std::size_t bytes_ = 0;
};

/// Feeds the lines of a descriptor to `publisher`, never holding back what has come while it waits for more.
void read_lines(int descriptor, LinePublisher& publisher) {
  std::string rest;
  std::vector<char> chunk(256U << 10);
  for (;;) {
    pollfd ready{descriptor, POLLIN, 0};
    if (::poll(&ready, 1, 0) == 0) publisher.publish_gathered();
    const ssize_t count = ::read(descriptor, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(ErrorCode::io, std::string("--jsonl cannot be read on: ") + std::strerror(errno));
    if (count == 0) break;
    std::string_view text(chunk.data(), static_cast<std::size_t>(count));
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
      rest.append(text.substr(0, end));
      publisher.add(std::move(rest));
      rest.clear();
      text.remove_prefix(end + 1);
    }
    rest.append(text);
  }
  if (!rest.empty()) publisher.add(std::move(rest));
}

int publish_lines(const Common& common, const PublishArguments& arguments) {
  int descriptor = STDIN_FILENO;
  if (*arguments.lines != "-") {
    descriptor = ::open(arguments.lines->c_str(), O_RDONLY | O_CLOEXEC);
    struct stat kind {};
    if (descriptor < 0 || ::fstat(descriptor, &kind) != 0 || S_ISDIR(kind.st_mode))
      throw UsageError("--jsonl: the file " + *arguments.lines + " cannot be read");
  }
  LinePublisher publisher(open_bus(common, arguments.source),
                          arguments.command ? MessageKind::command : MessageKind::event,
                          common.format_or(Format::table));
  read_lines(descriptor, publisher);
  return publisher.finish() ? exit_ok : exit_failed;
}

}  // namespace

int run_publish(const Common& common, const PublishArguments& arguments) {
  if (arguments.lines) {
    if (!arguments.type.empty()) throw UsageError("either a TYPE or --jsonl, not both");
    return publish_lines(common, arguments);
  }
  if (arguments.type.empty()) {
    throw UsageError("a TYPE is needed, for example: tidings publish user.created --data '{\"userId\":\"usr_1\"}'");
  }
  const std::string envelope = envelope_of(arguments);
  Bus bus = open_bus(common, arguments.source);
  const std::string_view view = envelope;
  const PublishResult result =
      bus.publish_json({&view, 1}, arguments.command ? MessageKind::command : MessageKind::event).at(0);
  if (result.code != ErrorCode::ok) throw Error(result.code, result.retryable, result.message);
  print_id(common.format_or(Format::table), result);
  return exit_ok;
}

}  // namespace tidings::cli
