#include "connect.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <tidings/json.hpp>
#include <tidings/stream.hpp>
#include <tidings/url.hpp>

#include "failure.hpp"

namespace tidings::cli {

namespace {

constexpr Millis longest_wait{30'000};
// What lies in a store of payloads may be as large as that takes.
constexpr std::size_t largest_event = 64U << 20;

Bus open_once(const std::string& url, const std::string& source, Millis connect) {
  try {
    BusOptions options;
    options.source = source;
    options.connect = connect;
    if (Url::parse(url).option("payloads")) options.largest_event = largest_event;
    return Bus::open(url, options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid || error.code() == ErrorCode::not_supported) throw UsageError(error.what());
    throw;
  }
}

std::string read_all(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string resolve_url(const Common& common) {
  std::string url = common.url;
  if (url.empty()) {
    const char* environment = std::getenv("TIDINGS_URL");
    if (environment != nullptr) url = environment;
  }
  if (url.empty()) {
    url = "sqlite:tidings.db";
    complain("no --url and no TIDINGS_URL, using " + url);
  }
  try {
    (void)Url::parse(url);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return url;
}

Bus open_bus(const Common& common, const std::string& source) {
  return open_once(resolve_url(common), source, Millis(10'000));
}

std::optional<Bus> open_patiently(const Common& common, const Interrupt& interrupt, const std::string& source) {
  const std::string url = resolve_url(common);
  Millis pause{500};
  while (!interrupt.fired()) {
    try {
      return open_once(url, source, Millis(0));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
      complain(std::string(error.what()) + "; trying again in " + format_duration(pause));
    }
    if (!interrupt.wait(pause)) break;
    pause = std::min(pause * 2, longest_wait);
  }
  return std::nullopt;
}

Millis duration_value(std::string_view option, std::string_view text) {
  const std::optional<Millis> duration = parse_duration(text);
  if (!duration) {
    throw UsageError(std::string(option) + ": '" + std::string(text) +
                     "' is no duration; write 250ms, 30s, 5m, 2h or 7d");
  }
  return *duration;
}

namespace {

// ISO 8601 as people type it: a day alone, or without seconds or a zone; UTC is meant.
std::optional<Wall> short_time(std::string_view text) {
  std::string whole(text);
  if (whole.size() == 10) return parse_time(whole + "T00:00:00Z");
  if (whole.size() < 16 || whole[10] != 'T') return std::nullopt;
  const std::size_t zone = whole.find_first_of("Z+-", 11);
  std::string clock = whole.substr(11, zone == std::string::npos ? zone : zone - 11);
  if (clock.size() == 5) clock += ":00";
  return parse_time(whole.substr(0, 11) + clock + (zone == std::string::npos ? "Z" : whole.substr(zone)));
}

}  // namespace

std::optional<Wall> time_value(std::string_view text) {
  if (const auto time = parse_time(text)) return time;
  if (const auto time = short_time(text)) return time;
  if (const auto ago = parse_duration(text)) return system_clock().wall() - *ago;
  return std::nullopt;
}

Wall time_value(std::string_view option, std::string_view text) {
  if (const auto time = time_value(text)) return *time;
  throw UsageError(std::string(option) + ": '" + std::string(text) +
                   "' is no time; write 2024-01-25T10:30:00Z, or a duration ago such as 2h");
}

void check_names(std::string_view stream, std::string_view group) {
  try {
    if (!stream.empty()) check_stream(stream);
    if (!group.empty() && !(group == "commands" && (stream.empty() || is_command_stream(stream))))
      check_service_name(group);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void check_service(std::string_view service) {
  try {
    check_service_name(service);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::string json_value(std::string_view option, const std::string& text) {
  std::string json = text;
  if (text == "-") {
    json = read_all(std::cin);
  } else if (text.starts_with('@')) {
    std::ifstream file(text.substr(1), std::ios::binary);
    file.peek();  // A directory can be opened, but not read.
    if (file.bad() || !file.is_open())
      throw UsageError(std::string(option) + ": the file " + text.substr(1) + " cannot be read");
    file.clear();  // An empty file is read to its end already.
    json = read_all(file);
  }
  while (!json.empty() && (json.back() == '\n' || json.back() == '\r')) json.pop_back();
  try {
    validate_json(json);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::too_large) throw;
    throw UsageError(std::string(option) + " is not JSON: " + error.what());
  }
  return json;
}

}  // namespace tidings::cli
