#include "output.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <tidings/json.hpp>

#include "failure.hpp"

namespace tidings::cli {

namespace {

constexpr std::size_t gather = 64U << 10;

bool dumb_terminal() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) == "dumb";
}

}  // namespace

void Output::write(std::string_view text) {
  buffer_.append(text);
  if (buffer_.size() >= gather) flush();
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN) {  // Somebody else made our stdout non-blocking.
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&ready, 1, -1);
      continue;
    }
    buffer_.clear();
    if (error == EPIPE) throw OutputClosed();
    throw std::runtime_error(std::string("stdout cannot be written: ") + std::strerror(error));
  }
  buffer_.clear();
}

Output& standard_output() {
  static Output output;
  return output;
}

bool fancy_output() { return ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr && !dumb_terminal(); }

bool terminal_errors() { return ::isatty(STDERR_FILENO) == 1 && !dumb_terminal(); }

void complain(std::string_view text) {
  const std::string line = "tidings: " + printable(text) + "\n";
  // Nothing can be done when even this fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", byte);
      out += escape;
    }
  }
  return out;
}

std::string one_line(std::string_view json) {
  std::string line(json);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

bool ask(const std::string& question) {
  std::cerr << printable(question) << " [y/N] " << std::flush;
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer == "y" || answer == "Y" || answer == "yes";
}

JsonObject& JsonObject::raw(std::string_view name, std::string_view json) {
  if (text_.size() > 1) text_ += ",";
  append_json_string(text_, name);
  text_ += ":";
  text_ += json;
  return *this;
}

JsonObject& JsonObject::text(std::string_view name, std::string_view value) {
  std::string json;
  try {
    append_json_string(json, value);
  } catch (const std::exception&) {  // Foreign bytes that are not UTF-8: what can be shown is.
    json.clear();
    std::string ascii(value);
    std::replace_if(
        ascii.begin(), ascii.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
    append_json_string(json, ascii);
  }
  return raw(name, json);
}

JsonObject& JsonObject::text_or_null(std::string_view name, std::string_view value) {
  return value.empty() ? raw(name, "null") : text(name, value);
}

JsonObject& JsonObject::time(std::string_view name, std::optional<Wall> value) {
  return value ? text(name, format_time(*value)) : raw(name, "null");
}

JsonObject& JsonObject::milliseconds(std::string_view name, std::optional<Millis> value) {
  return value ? number(name, value->count()) : raw(name, "null");
}

JsonObject& JsonObject::texts(std::string_view name, const std::vector<std::string>& values) {
  std::string json = "[";
  for (const std::string& value : values) {
    if (json.size() > 1) json += ",";
    append_json_string(json, value);
  }
  return raw(name, json + "]");
}

void Listing::add(const std::string& json, std::vector<std::string> cells) {
  Output& output = standard_output();
  if (format_ == Format::table) {
    rows_.push_back(std::move(cells));
  } else if (format_ == Format::json) {
    output.write(count_ == 0 ? "[\n " : ",\n ");
    output.write(json);
  } else {
    output.write(json + "\n");
  }
  ++count_;
}

void Listing::finish() {
  Output& output = standard_output();
  if (format_ == Format::json) output.write(count_ == 0 ? "[]\n" : "\n]\n");
  if (format_ == Format::table) {
    std::vector<std::size_t> widths;
    for (const std::string& header : headers_) widths.push_back(header.size());
    for (auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = printable(row[i]);
        widths[i] = std::max(widths[i], row[i].size());
      }
    }
    const auto line = [&](const std::vector<std::string>& cells) {
      std::string text;
      for (std::size_t i = 0; i < cells.size(); ++i) {
        text += cells[i];
        if (i + 1 < cells.size()) text.append(widths[i] - cells[i].size() + 2, ' ');
      }
      output.write(text + "\n");
    };
    line(headers_);
    for (const auto& row : rows_) line(row);
    rows_.clear();
  }
  output.flush();
}

std::string cell(std::optional<Wall> value) { return value ? format_time(*value) : "-"; }

std::string cell(std::optional<Millis> value) {
  if (!value) return "-";
  const auto count = value->count();
  if (count < 1'000) return std::to_string(count) + "ms";
  if (count < 120'000) return std::to_string(count / 1'000) + "s";
  if (count < 7'200'000) return std::to_string(count / 60'000) + "m";
  if (count < 172'800'000) return std::to_string(count / 3'600'000) + "h";
  return std::to_string(count / 86'400'000) + "d";
}

}  // namespace tidings::cli
