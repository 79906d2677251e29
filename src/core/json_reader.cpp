// Reads JSON text by walking it once: what nobody wants is skipped, and checked, on the way.

#include <tidings/detail/json_reader.hpp>

#include <bit>
#include <charconv>
#include <cstring>
#include <forward_list>
#include <vector>

#include <tidings/detail/json_writer.hpp>
#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/json_scan.hpp"
#include "core/json_text.hpp"

namespace tidings::detail {

class JsonValue {
 public:
  explicit JsonValue(core::JsonScan& scan) noexcept : in(scan), begin(scan.at()) {}

  /// The first byte of the value; 0 at the end of the text.
  [[nodiscard]] char first() const noexcept { return in.byte(begin); }
  [[nodiscard]] bool unread() const noexcept { return in.at() == begin; }
  /// The token that the value begins with, for messages.
  [[nodiscard]] std::string_view token() const noexcept {
    const std::string_view rest = in.rest(begin);
    return rest.substr(0, rest.find_first_of(",]}: \t\n\r"));
  }

  core::JsonScan& in;
  const char* const begin;
};

namespace {

std::string path_text(const JsonPath& path) {
  std::vector<const JsonPath*> steps;
  for (const JsonPath* step = &path; step->parent != nullptr; step = step->parent) steps.push_back(step);
  std::string out;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    core::append_pointer(out, (*step)->is_element ? std::to_string((*step)->index) : (*step)->key);
  }
  return out.empty() ? "JSON" : out;
}

std::string_view kind_name(char first) noexcept {
  switch (first) {
    case '{':
      return "object";
    case '[':
      return "array";
    case '"':
      return "string";
    case 't':
    case 'f':
      return "boolean";
    case 'n':
      return "null";
    default:
      return "number";
  }
}

[[noreturn]] void refuse_json(const JsonPath& path, std::string_view why) {
  refuse_value(path, "not JSON: " + std::string(why));
}

void check(const JsonPath& path, const char* why) {
  if (why != nullptr) [[unlikely]]
    refuse_json(path, why);
}

void enter(const JsonPath& path) {
  if (path.depth >= deepest) refuse_value(path, "nested deeper than 64 levels");
}

/// Goes past a value, which may be of any kind.
void skip(core::JsonScan& in, const JsonPath& path) {
  const char* const why = in.skip(path.depth < deepest ? deepest - path.depth : 0);
  if (why == nullptr) [[likely]]
    return;
  if (why == core::JsonScan::too_deep) refuse_value(path, "nested deeper than 64 levels");
  const std::string inside = core::JsonScan::fault_pointer();
  refuse_value(path, "not JSON: " + (inside.empty() ? "" : inside + ": ") + why);
}

/// Names of members that nobody else compares with each other.
class Names {
 public:
  void add(std::string_view name, bool lasts) {
    names_.push_back(lasts ? name : std::string_view(kept_.emplace_front(name)));
  }
  void check_distinct(const JsonPath& path) {
    if (names_.size() < 2) return;
    const std::string_view twice = core::find_twice(names_.data(), names_.size());
    if (twice.data() != nullptr) refuse_value(path, "duplicate key \"" + core::for_message(twice) + '"');
  }

 private:
  std::vector<std::string_view> names_{};
  std::forward_list<std::string> kept_{};  // What names_ points to where that is not the text.
};

/// Goes past a member's name and what separates it from the value. Undoes escapes into `scratch`, which then holds it.
core::JsonScan::String member_name(core::JsonScan& in, std::string& scratch, const JsonPath& path) {
  if (in.peek() != '"') refuse_json(path, "expected a member's name in quotes");
  core::JsonScan::String name;
  check(path, in.string(name));
  if (name.escaped) [[unlikely]] {
    if (!core::unescape(name.body, scratch)) {
      refuse_value(path, "a member's name holds an escape that is none, or half a surrogate pair");
    }
    name.body = scratch;
  }
  in.space();
  if (!in.take(':')) refuse_json(path, "expected : after the member's name");
  in.space();
  return name;
}

/// Goes past a comma, or past `closing` and says that it was the end.
bool ends(core::JsonScan& in, char closing, const JsonPath& path) {
  in.space();
  if (in.take(',')) [[likely]] {
    in.space();
    return false;
  }
  if (in.take(closing)) return true;
  refuse_json(path, in.ended()       ? "the text ends inside an object or array"
                    : closing == '}' ? "expected , or } after a member"
                                     : "expected , or ] after an element");
}

/// Calls `body(name, expected, value)` for every member of an object; what it leaves unread is skipped. It returns
/// whether it refuses a second member of that name itself. `expect()` says which name is likely to come next, which is
/// then not searched for.
template <class Expect, class Body>
void for_each_member(JsonValue& value, const JsonPath& path, Expect expect, Body body) {
  enter(path);
  core::JsonScan& in = value.in;
  if (value.first() != '{') refuse_kind(path, "object", value);
  in.step();
  in.space();
  if (in.take('}')) return;
  std::string scratch;
  Names others;
  do {
    core::JsonScan::String name{.body = expect()};
    const bool expected = !name.body.empty() && in.take_name(name.body);
    if (expected) {
      in.space();
    } else {
      name = member_name(in, scratch, path);
    }
    JsonValue member(in);
    if (!body(name.body, expected, member) && in.distinct()) others.add(name.body, !name.escaped);
    if (member.unread()) skip(in, {.parent = &path, .key = name.body, .depth = path.depth + 1});
  } while (!ends(in, '}', path));
  others.check_distinct(path);
}

constexpr auto nothing_expected = [] { return std::string_view(); };

/// The body of a string, escapes and all.
core::JsonScan::String string_body(JsonValue& value, const JsonPath& path) {
  if (value.first() != '"') refuse_kind(path, "string", value);
  core::JsonScan::String found;
  check(path, value.in.string(found));
  return found;
}

/// The text of a number.
std::string_view number_text(JsonValue& value, const JsonPath& path, std::string_view expected, bool& integer) {
  if (const char first = value.first(); first != '-' && (first < '0' || first > '9')) {
    if (first == '\0') refuse_json(path, "expected a value");
    static_cast<void>(kind_of(value, path));
    refuse_kind(path, expected, value);
  }
  check(path, value.in.number(integer));
  return {value.begin, static_cast<std::size_t>(value.in.at() - value.begin)};
}

/// Reads an integer that `Integer` can hold; whatever else it is, is refused.
template <class Integer>
Integer read_integer(JsonValue& value, const JsonPath& path, Integer lowest, Integer highest) {
  bool integer = true;
  const std::string_view text = number_text(value, path, "integer", integer);
  if (!integer) refuse_value(path, "expected integer, got " + core::for_message(text));
  Integer number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < lowest || number > highest) {
    refuse_value(path, "integer out of range: " + core::for_message(text));
  }
  return number;
}

}  // namespace

void refuse_value(const JsonPath& path, std::string_view why) {
  throw Error(ErrorCode::invalid, path_text(path) + ": " + std::string(why));
}

void refuse_kind(const JsonPath& path, std::string_view expected, JsonValue& value) {
  const std::string_view token = value.token();
  const std::string_view got = token.empty() ? "nothing" : kind_name(token.front());
  refuse_value(path, "expected " + std::string(expected) + ", got " + std::string(got));
}

JsonKind kind_of(JsonValue& value, const JsonPath& path) {
  const char first = value.first();
  switch (first) {
    case '{':
      return JsonKind::object;
    case '[':
      return JsonKind::array;
    case '"':
      return JsonKind::string;
    case 't':
    case 'f':
    case 'n': {
      const std::string_view word = first == 't' ? "true" : first == 'f' ? "false" : "null";
      if (value.token() == word) return first == 'n' ? JsonKind::null : JsonKind::boolean;
      break;
    }
    default:
      if (first == '-' || (first >= '0' && first <= '9')) return JsonKind::number;
      break;
  }
  refuse_value(path, "not JSON: expected a value");
}

void read_string(JsonValue& value, const JsonPath& path, std::string& out) {
  const core::JsonScan::String found = string_body(value, path);
  if (!found.escaped) [[likely]] {
    // assign() would do both, and costs more than either.
    if (found.body.size() > out.capacity()) {
      std::string(found.body).swap(out);
    } else {
      out.clear();
      out.append(found.body);
    }
  } else if (!core::unescape(found.body, out)) {
    refuse_value(path, "the string holds an escape that is none, or half a surrogate pair");
  }
}

bool read_bool(JsonValue& value, const JsonPath& path) {
  const char first = value.first();
  if (first != 't' && first != 'f') refuse_kind(path, "boolean", value);
  check(path, value.in.word(first == 't' ? "true" : "false"));
  return first == 't';
}

std::int64_t read_signed(JsonValue& value, const JsonPath& path, std::int64_t lowest, std::int64_t highest) {
  return read_integer<std::int64_t>(value, path, lowest, highest);
}

std::uint64_t read_unsigned(JsonValue& value, const JsonPath& path, std::uint64_t highest) {
  return read_integer<std::uint64_t>(value, path, 0, highest);
}

double read_double(JsonValue& value, const JsonPath& path) {
  bool integer = true;
  const std::string_view text = number_text(value, path, "number", integer);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) {
    if (integer || core::JsonScan::overflows(text)) {
      refuse_value(path, "number out of range: " + core::for_message(text));
    }
    number = text.front() == '-' ? -0.0 : 0.0;
  }
  return number;
}

std::string_view read_raw(JsonValue& value, const JsonPath& path) {
  if (const char first = value.first(); first == '{' || first == '[') enter(path);
  skip(value.in, path);
  return {value.begin, static_cast<std::size_t>(value.in.at() - value.begin)};
}

std::size_t read_name(JsonValue& value, const JsonPath& path, std::span<const std::string_view> names) {
  const core::JsonScan::String found = string_body(value, path);
  std::string unescaped;
  std::string_view name = found.body;
  if (found.escaped) {
    if (!core::unescape(name, unescaped)) {
      refuse_value(path, "the string holds an escape that is none, or half a surrogate pair");
    }
    name = unescaped;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i;
  }
  std::string why = "unknown name \"" + core::for_message(name) + "\", expected ";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) why += i + 1 == names.size() ? " or " : ", ";
    why += names[i];
  }
  refuse_value(path, why);
}

void read_elements(JsonValue& value, const JsonPath& path, ReadFunction each, void* target) {
  enter(path);
  core::JsonScan& in = value.in;
  if (value.first() != '[') refuse_kind(path, "array", value);
  in.step();
  in.space();
  if (in.take(']')) return;
  JsonPath at{.parent = &path, .is_element = true, .depth = path.depth + 1};
  do {
    JsonValue element(in);
    each(element, at, target);
    if (element.unread()) skip(in, at);
    ++at.index;
  } while (!ends(in, ']', path));
}

void read_entries(JsonValue& value, const JsonPath& path, ReadFunction each, void* target) {
  for_each_member(value, path, nothing_expected, [&](std::string_view name, bool, JsonValue& member) {
    each(member, {.parent = &path, .key = name, .depth = path.depth + 1}, target);
    return true;
  });
}

void read_members(JsonValue& value, const JsonPath& path, std::span<const MemberForm> members, void* object) {
  std::uint64_t seen = 0;
  std::size_t next = 0;
  // Members mostly stand in the order of the declaration.
  const auto expect = [&] { return next < members.size() ? members[next].name : std::string_view(); };
  for_each_member(value, path, expect, [&](std::string_view name, bool expected, JsonValue& member) {
    std::size_t i = next;
    if (!expected) {
      for (i = 0; i < members.size() && members[i].name != name;) ++i;
      if (i == members.size()) return false;
    }
    const JsonPath at{.parent = &path, .key = members[i].name, .depth = path.depth + 1};
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((seen & bit) != 0) refuse_value(at, "duplicate key");
    seen |= bit;
    next = i + 1;
    members[i].read(member, at, object);
    return true;
  });
  if (static_cast<std::size_t>(std::popcount(seen)) == members.size()) return;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if ((seen >> i & 1) == 0 && members[i].absent == nullptr) {
      refuse_value({.parent = &path, .key = members[i].name, .depth = path.depth + 1}, "missing");
    }
  }
}

namespace {

/// Reads `padded` as the value that stands at `path`. `distinct`: equal keys are refused also where nobody looks.
void read_text(std::string_view padded, const JsonPath& path, ReadFunction read, void* target, bool distinct) {
  core::JsonScan in(padded, json_padding, distinct);
  in.space();
  if (in.ended()) refuse_value(path, "the text is empty");
  JsonValue value(in);
  read(value, path, target);
  if (value.unread()) skip(in, path);
  in.space();
  if (!in.ended()) refuse_value(path, "something follows the value");
}

enum Part : std::size_t { id, type, version, timestamp, source, correlation_id, data, metadata, count };
constexpr std::string_view part_names[count] = {"id",     "type",          "version", "timestamp",
                                                "source", "correlationId", "data",    "metadata"};

void read_fields(JsonValue& value, const JsonPath& path, Fields& out) {
  for_each_member(value, path, nothing_expected, [&](std::string_view name, bool, JsonValue& member) {
    const JsonPath at{.parent = &path, .key = name, .depth = path.depth + 1};
    out.append(name, Json(std::string(read_raw(member, at))));
    return false;
  });
}

void read_part(std::size_t part, JsonValue& value, const JsonPath& at, const EnvelopeTarget& target) {
  switch (part) {
    case id:
    case type: {
      std::string& text = part == id ? *target.id : *target.type;
      read_string(value, at, text);
      if (text.empty()) refuse_value(at, "must not be empty");
      break;
    }
    case version:
      return read_string(value, at, *target.version);
    case timestamp: {
      const auto time = parse_time(string_body(value, at).body);
      if (!time) refuse_value(at, "expected an ISO 8601 time such as 2024-01-25T10:30:00.000Z");
      *target.timestamp = *time;
      break;
    }
    case source:
      return read_string(value, at, *target.source);
    case correlation_id:
      return read_string(value, at, *target.correlation_id);
    case data:
      return target.read_data(value, at, target.data);
    default:
      // `undefined` becomes null in some writers; it says as much as nothing.
      if (kind_of(value, at) != JsonKind::null) read_fields(value, at, *target.metadata);
  }
}

void read_envelope_value(JsonValue& value, const JsonPath& path, void* state) {
  const auto& target = *static_cast<const EnvelopeTarget*>(state);
  unsigned seen = 0;
  std::size_t next = 0;
  const auto expect = [&] { return next < count ? part_names[next] : std::string_view(); };
  for_each_member(value, path, expect, [&](std::string_view name, bool expected, JsonValue& member) {
    std::size_t part = next;
    if (!expected) {
      for (part = 0; part < count && part_names[part] != name;) ++part;
    }
    const JsonPath at{.parent = &path, .key = name, .depth = path.depth + 1};
    if (part == count) {
      target.extra->append(name, Json(std::string(read_raw(member, at))));
      return false;
    }
    if ((seen >> part & 1U) != 0) refuse_value(at, "duplicate key");
    seen |= 1U << part;
    next = part + 1;
    read_part(part, member, at, target);
    return true;
  });
  for (std::size_t part = 0; part < metadata; ++part) {
    if ((seen >> part & 1U) != 0 || (target.optional >> part & 1U) != 0) continue;
    refuse_value({.parent = &path, .key = part_names[part]}, "missing");
  }
  if (target.seen != nullptr) *target.seen = seen;
}

}  // namespace

std::string padded_copy(std::string_view text) {
  std::string copy;
  copy.reserve(text.size() + json_padding);
  copy.append(text);
  copy.append(json_padding, ' ');
  return copy;
}

void read_document(std::string_view padded, ReadFunction read, void* target) {
  read_text(padded, {}, read, target, false);
}

void read_again(std::string_view raw, const JsonPath& path, ReadFunction read, void* target) {
  read_text(raw, path, read, target, false);
}

void read_envelope(std::string_view padded, const EnvelopeTarget& target) {
  read_text(padded, {}, &read_envelope_value, const_cast<EnvelopeTarget*>(&target), target.distinct);
}

}  // namespace tidings::detail
