#include <tidings/detail/json_writer.hpp>

#include <charconv>
#include <cmath>
#include <cstring>

#include <tidings/detail/codec_write.hpp>
#include <tidings/error.hpp>

#include "core/json_scan.hpp"
#include "core/json_text.hpp"

namespace tidings::detail {
namespace {

template <class Number>
void append_number(std::string& out, Number value) {
  char digits[40];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  static_cast<void>(error);  // Forty characters hold every integer and every shortest double.
  out.append(digits, end);
}

template <class Number>
void append_finite(std::string& out, Number value) {
  if (!std::isfinite(value)) {
    throw Error(ErrorCode::invalid,
                "a number is NaN or infinite, which JSON cannot write; leave it out or write a string");
  }
  append_number(out, value);
}

void write_fields(std::string& out, const Fields& fields, std::size_t depth) {
  for (const auto& [name, value] : fields) {
    write_key(out, name);
    write_raw(out, value.text(), depth);
  }
}

/// A member of the envelope's own name among the further ones would stand twice.
void check_extra(const Fields& extra) {
  constexpr std::string_view own[] = {"id",     "type",          "version", "timestamp",
                                      "source", "correlationId", "data",    "metadata"};
  for (std::string_view name : own) {
    if (extra.find(name) == nullptr) continue;
    throw Error(ErrorCode::invalid, "extra may not hold \"" + std::string(name) +
                                        "\", which is a member of the envelope itself; set that one");
  }
}

}  // namespace

void Gathered::string(std::string_view value) {
  unsigned high = 0;
  if (make_room(value.size() + 2) && core::is_plain(value, high) && high == 0) {
    put('"');
    put(value);
    put('"');
  } else {
    append_json_string(flush(), value);
  }
}

void Gathered::quoted(std::string_view text) {
  if (!make_room(text.size() + 2)) {
    append_json_string(flush(), text);
    return;
  }
  put('"');
  put(text);
  put('"');
}

template <class Number>
void Gathered::put_number(Number value) {
  constexpr std::size_t longest = 20;
  (void)make_room(longest);
  used_ = static_cast<std::size_t>(std::to_chars(text_ + used_, text_ + used_ + longest, value).ptr - text_);
}
void Gathered::number(std::int64_t value) { put_number(value); }
void Gathered::number(std::uint64_t value) { put_number(value); }

void write_signed(std::string& out, std::int64_t value) { append_number(out, value); }
void write_unsigned(std::string& out, std::uint64_t value) { append_number(out, value); }
void write_double(std::string& out, double value) { append_finite(out, value); }
void write_float(std::string& out, float value) { append_finite(out, value); }

void write_raw(std::string& out, std::string_view text, std::size_t depth) {
  validate_json(text, {.bytes = static_cast<std::size_t>(-1), .depth = depth < deepest ? deepest - depth : 0});
  out += text;
}

void check_depth(std::size_t depth) {
  if (depth < deepest) return;
  throw Error(ErrorCode::invalid, "an event is nested deeper than 64 levels, which no reader takes; flatten it");
}

void write_key(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
}

void write_members(std::string& out, std::span<const MemberForm> members, const void* object, std::size_t depth) {
  check_depth(depth);
  Gathered text(out);
  text.raw("{");
  std::size_t comma = 1;  // Before the first member there is none.
  for (const MemberForm& member : members) {
    if (member.absent != nullptr && member.absent(object)) continue;
    text.raw(member.key.substr(comma));
    comma = 0;
    member.write(text, object, depth + 1);
  }
  text.raw("}");
  (void)text.flush();
}

void refuse_enumerator(std::int64_t value) {
  throw Error(ErrorCode::invalid, "an enum member holds " + std::to_string(value) +
                                      ", which is none of its enumerators; set it to one of them");
}

void write_envelope(std::string& out, const EnvelopeSource& source) {
  const std::size_t before = out.size();
  try {
    out += R"({"id":)";
    append_json_string(out, source.id);
    out += R"(,"type":)";
    append_json_string(out, source.type);
    out += R"(,"version":)";
    append_json_string(out, source.version);
    out += R"(,"timestamp":")";
    append_time(out, source.timestamp);
    out += R"(","source":)";
    append_json_string(out, source.source);
    out += R"(,"correlationId":)";
    append_json_string(out, source.correlation_id);
    out += R"(,"data":)";
    source.write_data(out, source.data);
    if (source.metadata != nullptr && !source.metadata->empty()) {
      out += R"(,"metadata":{)";
      write_fields(out, *source.metadata, data_depth + 1);
      out += '}';
    }
    if (source.extra != nullptr && !source.extra->empty()) {
      check_extra(*source.extra);
      write_fields(out, *source.extra, data_depth);
    }
    out += '}';
  } catch (...) {
    out.resize(before);
    throw;
  }
}

}  // namespace tidings::detail
