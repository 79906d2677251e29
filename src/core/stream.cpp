#include <tidings/stream.hpp>

#include <algorithm>
#include <array>

#include <tidings/error.hpp>

namespace tidings {
namespace {

constexpr std::string_view events_prefix = "events:";
constexpr std::string_view commands_prefix = "commands:";
constexpr std::size_t longest_type = 200;
constexpr std::size_t longest_name = 100;

constexpr auto allowed = [] {
  std::array<bool, 256> all{};
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")) {
    all[static_cast<unsigned char>(c)] = true;
  }
  return all;
}();

bool is_name(std::string_view text) noexcept {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return allowed[static_cast<unsigned char>(c)]; });
}

/// Quotes a name that others gave, so that it cannot fill or colour a terminal.
std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (char c : name.substr(0, 80)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (name.size() > 80) out += "…";
  return out + '"';
}

[[noreturn]] void refuse(std::string_view what, std::string_view name, std::string_view rule) {
  throw Error(ErrorCode::invalid, std::string(what) + ' ' + quoted(name) + ' ' + std::string(rule));
}

}  // namespace

std::string_view to_string(Level level) noexcept {
  switch (level) {
    case Level::memory:
      return "memory";
    case Level::process:
      return "process";
    case Level::disk:
      return "disk";
    case Level::replicated:
      return "replicated";
  }
  return "memory";
}

std::string to_string(Position position) {
  std::string out = std::to_string(position.major);
  if (position.minor != 0) out += '-' + std::to_string(position.minor);
  return out;
}

void check_type(std::string_view type) {
  if (type.empty()) refuse("type", type, "is empty; name it category.name, for example user.created");
  if (type.size() > longest_type) refuse("type", type, "is longer than 200 bytes; shorten it");
  std::string_view rest = type;
  for (;;) {
    const auto dot = rest.find('.');
    if (!is_name(rest.substr(0, dot))) {
      refuse("type", type,
             "is not names of A-Z, a-z, 0-9, _ and - joined by single dots; rename it, for example user.created");
    }
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  // Queues of dead letters end so, and a stream must never meet one.
  if (type.ends_with("-dlq") || type.substr(0, type.find('.')).ends_with("-dlq")) {
    refuse("type", type, "ends in -dlq, which names dead letter queues; rename it");
  }
}

std::string event_stream(std::string_view type) {
  check_type(type);
  std::string out(events_prefix);
  out += type.substr(0, type.find('.'));
  return out;
}

std::string command_stream(std::string_view type) {
  check_type(type);
  std::string out(commands_prefix);
  out += type;
  return out;
}

bool is_command_stream(std::string_view stream) noexcept { return stream.starts_with(commands_prefix); }

std::string_view group_of(std::string_view stream, std::string_view service) noexcept {
  return is_command_stream(stream) ? std::string_view("commands") : service;
}

void check_service_name(std::string_view name) {
  constexpr std::string_view what = "service";
  if (name.empty()) refuse(what, name, "has no name; give it one of A-Z, a-z, 0-9, _ and -");
  if (name.size() > longest_name) refuse(what, name, "has a name longer than 100 bytes; shorten it");
  if (!is_name(name)) refuse(what, name, "may only hold A-Z, a-z, 0-9, _ and -; rename it");
  if (name == "commands") refuse(what, name, "is the group that reads command streams; choose another name");
  if (name.ends_with("-dlq")) refuse(what, name, "ends in -dlq, which names dead letter queues; rename it");
}

void check_stream(std::string_view stream) {
  if (stream.starts_with(events_prefix)) {
    const std::string_view category = stream.substr(events_prefix.size());
    if (!is_name(category)) {
      refuse("stream", stream,
             "is not events:<category>, a category being A-Z, a-z, 0-9, _ and -; for example events:user");
    }
    check_type(category);
  } else if (is_command_stream(stream)) {
    check_type(stream.substr(commands_prefix.size()));
  } else {
    refuse("stream", stream, "is neither events:<category> nor commands:<type>; for example events:user");
  }
}

}  // namespace tidings
