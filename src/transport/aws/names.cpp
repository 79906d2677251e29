#include "transport/aws/names.hpp"

#include <algorithm>
#include <tidings/error.hpp>
#include <tidings/stream.hpp>

namespace tidings::transport::aws {
namespace {

constexpr std::string_view events = "events:", commands = "commands:", between = "-events-", dead = "-dlq";
constexpr std::size_t longest_queue = 80, longest_topic = 256;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// `send.email` is `send_email`, and `send_email` is `send__email`. What begins with `_` behind a dot could be read in
// two ways.
std::string escaped(std::string_view type) {
  if (type.find("._") != std::string_view::npos) {
    throw Error(ErrorCode::invalid, "the command " + std::string(type) +
                                        " cannot have a queue on AWS: behind a dot its name begins with _, so that its "
                                        "queue could be that of another command; rename it");
  }
  std::string out;
  for (const char c : type) {
    out += c == '.' ? '_' : c;
    if (c == '_') out += '_';
  }
  return out;
}

std::string unescaped(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool doubled = name[i] == '_' && i + 1 < name.size() && name[i + 1] == '_';
    out += name[i] != '_' || doubled ? name[i] : '.';
    if (doubled) ++i;
  }
  return out;
}

// Others may have names under the prefix too, which are no streams of ours.
std::optional<std::string> checked(std::string stream) {
  try {
    check_stream(stream);
  } catch (const Error&) {
    return std::nullopt;
  }
  return stream;
}

void check_length(const std::string& name, std::size_t most, std::string_view what) {
  if (name.size() <= most) return;
  throw Error(ErrorCode::invalid, "the name \"" + name + "\" has " + std::to_string(name.size()) +
                                      " characters, and AWS allows " + std::to_string(most) + " for " +
                                      std::string(what) + "; shorten the prefix, the service or the type");
}

// `a-events-b` with `c` and `a` with `b-events-c` would share a queue; so would `commands-a` with `b` and the command
// `a-events-b`.
void check_group(std::string_view group) {
  check_service_name(group);
  if (group.starts_with("commands-")) {
    throw Error(ErrorCode::invalid, "a service on AWS cannot have a name that begins with \"commands-\" (" +
                                        std::string(group) +
                                        "), since its queues could be those of commands; rename it");
  }
  const std::string framed = "-" + std::string(group) + "-";
  if (framed.find(between) == std::string::npos) return;
  throw Error(ErrorCode::invalid, "a service on AWS cannot have \"events\" as one of the words of its name (" +
                                      std::string(group) + "), since its queues could be those of another; rename it");
}

}  // namespace

Names::Names(std::string prefix) : prefix_(std::move(prefix)) {
  if (!prefix_.empty() && std::all_of(prefix_.begin(), prefix_.end(), is_name_character)) return;
  throw Error(ErrorCode::invalid, "prefix=" + prefix_ +
                                      " is no prefix for AWS: letters, digits, - and _, and at least one; it keeps one "
                                      "system's topics and queues apart from another's (aws://eu-west-1?prefix=prod)");
}

std::string Names::topic(std::string_view stream) const {
  check_stream(stream);
  std::string name = prefix_ + "-events-" + std::string(stream.substr(events.size()));
  check_length(name, longest_topic, "a topic");
  return name;
}

std::string Names::queue(std::string_view stream, std::string_view group) const {
  std::string name = dead_letter_queue(stream, group);
  name.resize(name.size() - dead.size());
  return name;
}

std::string Names::dead_letter_queue(std::string_view stream, std::string_view group) const {
  check_stream(stream);
  std::string name = prefix_ + "-";
  if (is_command_stream(stream)) {
    name += "commands-" + escaped(stream.substr(commands.size()));
  } else {
    check_group(group);
    name += std::string(group) + std::string(between) + std::string(stream.substr(events.size()));
  }
  name += dead;
  check_length(name, longest_queue, "a queue with its dead letters");
  return name;
}

std::optional<std::string> Names::stream_of_topic(std::string_view topic) const {
  const std::string start = prefix_ + "-events-";
  if (!topic.starts_with(start)) return std::nullopt;
  return checked(std::string(events) + std::string(topic.substr(start.size())));
}

std::optional<Names::Queue> Names::group_of_queue(std::string_view queue) const {
  if (!queue.starts_with(prefix_ + "-") || queue.ends_with(dead)) return std::nullopt;
  const std::string_view rest = queue.substr(prefix_.size() + 1);
  const auto queue_of = [](std::optional<std::string> stream, std::string_view group) {
    return stream ? std::optional(Queue{std::move(*stream), std::string(group)}) : std::nullopt;
  };
  if (rest.starts_with("commands-"))
    return queue_of(checked(std::string(commands) + unescaped(rest.substr(std::string_view("commands-").size()))),
                    "commands");
  const std::size_t at = rest.find(between);
  if (at == std::string_view::npos || at == 0) return std::nullopt;
  return queue_of(checked(std::string(events) + std::string(rest.substr(at + between.size()))), rest.substr(0, at));
}

}  // namespace tidings::transport::aws
