// The only file that reads with simdjson. Its on-demand reader finds the tokens; strings and names are taken from the
// tokens here, since simdjson's own copying is compiled for the oldest processor.

#include <tidings/detail/json_reader.hpp>

#include <simdjson.h>

#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include <tidings/detail/json_writer.hpp>
#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/json_text.hpp"

namespace tidings::detail {

namespace ondemand = simdjson::ondemand;

static_assert(simdjson::SIMDJSON_PADDING <= json_padding);

class JsonValue {
 public:
  explicit JsonValue(const ondemand::value& from) noexcept : value(from) {}

  /// The token that the value begins with; for a scalar all of it.
  [[nodiscard]] std::string_view token() noexcept {
    std::string_view text = value.raw_json_token();
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n' || text.back() == '\r' || text.back() == '\t')) {
      text.remove_suffix(1);
    }
    return text;
  }

  ondemand::value value;
};

namespace {

/// A parser of this thread. Reading may begin anew inside a reading (a variant's alternatives), so there is a stack of
/// them.
class ParserLease {
 public:
  ParserLease() : pool_(pool()) {
    if (pool_.used == pool_.parsers.size()) pool_.parsers.push_back(std::make_unique<ondemand::parser>());
    parser_ = pool_.parsers[pool_.used++].get();
  }
  ~ParserLease() {
    --pool_.used;
    // One huge event must not keep its memory for ever.
    if (parser_->capacity() > largest_kept) *parser_ = ondemand::parser();
  }
  ParserLease(const ParserLease&) = delete;
  ParserLease& operator=(const ParserLease&) = delete;
  ondemand::parser& operator*() const noexcept { return *parser_; }

 private:
  static constexpr std::size_t largest_kept = 4U << 20;
  struct Pool {
    std::vector<std::unique_ptr<ondemand::parser>> parsers;
    std::size_t used = 0;
  };
  static Pool& pool() {
    thread_local Pool of_thread;
    return of_thread;
  }

  Pool& pool_;
  ondemand::parser* parser_ = nullptr;
};

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

[[noreturn]] void refuse_json(const JsonPath& path, simdjson::error_code error) {
  refuse_value(path, std::string("not JSON: ") + simdjson::error_message(error));
}

void enter(const JsonPath& path) {
  if (path.depth >= deepest) refuse_value(path, "nested deeper than 64 levels");
}

/// The name whose text begins at `raw`. Undoes escapes into `scratch`, which then holds it.
std::string_view member_name(const char* raw, std::string& scratch, const JsonPath& path) {
  const char* end = raw;
  while (*end != '"' && *end != '\\') ++end;
  if (*end == '"') return {raw, static_cast<std::size_t>(end - raw)};
  while (*end != '"') end += *end == '\\' ? 2 : 1;
  if (!core::unescape({raw, static_cast<std::size_t>(end - raw)}, scratch)) {
    refuse_value(path, "a member's name holds an escape that is none, or half a surrogate pair");
  }
  return scratch;
}

/// Calls `body(name, value)` for every member of an object; what it leaves unread is skipped.
template <class Body>
void for_each_member(JsonValue& value, const JsonPath& path, Body body) {
  enter(path);
  ondemand::object object;
  if (const auto error = value.value.get_object().get(object)) {
    if (error == simdjson::INCORRECT_TYPE) refuse_kind(path, "object", value);
    refuse_json(path, error);
  }
  std::string scratch;
  for (auto result : object) {
    ondemand::field field;
    if (const auto error = std::move(result).get(field)) refuse_json(path, error);
    const std::string_view name = member_name(field.key().raw(), scratch, path);
    JsonValue member(field.value());
    body(name, member);
  }
}

/// The body of a string token, escapes and all.
std::string_view string_body(JsonValue& value, const JsonPath& path) {
  const std::string_view token = value.token();
  if (token.empty() || token.front() != '"') refuse_kind(path, "string", value);
  if (token.size() < 2 || token.back() != '"') refuse_value(path, "not JSON: a string does not end");
  return token.substr(1, token.size() - 2);
}

bool has_escape(std::string_view body) noexcept { return std::memchr(body.data(), '\\', body.size()) != nullptr; }

/// What went wrong where an integer was expected.
[[noreturn]] void refuse_integer(JsonValue& value, const JsonPath& path) {
  const std::string_view token = value.token();
  if (kind_of(value, path) != JsonKind::number) refuse_kind(path, "integer", value);
  if (token.find_first_of(".eE") != std::string_view::npos) {
    refuse_value(path, "expected integer, got " + core::for_message(token));
  }
  refuse_value(path, "integer out of range: " + core::for_message(token));
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
  const std::string_view token = value.token();
  switch (token.empty() ? '\0' : token.front()) {
    case '{':
      return JsonKind::object;
    case '[':
      return JsonKind::array;
    case '"':
      return JsonKind::string;
    case 't':
    case 'f':
      if (token == "true" || token == "false") return JsonKind::boolean;
      break;
    case 'n':
      if (token == "null") return JsonKind::null;
      break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
      return JsonKind::number;
    default:
      break;
  }
  refuse_value(path, "not JSON: expected a value");
}

void read_string(JsonValue& value, const JsonPath& path, std::string& out) {
  const std::string_view body = string_body(value, path);
  if (!has_escape(body)) {
    out.assign(body);
  } else if (!core::unescape(body, out)) {
    refuse_value(path, "the string holds an escape that is none, or half a surrogate pair");
  }
}

bool read_bool(JsonValue& value, const JsonPath& path) {
  const std::string_view token = value.token();
  if (token == "true") return true;
  if (token != "false") refuse_kind(path, "boolean", value);
  return false;
}

std::int64_t read_signed(JsonValue& value, const JsonPath& path, std::int64_t lowest, std::int64_t highest) {
  std::int64_t number = 0;
  if (value.value.get_int64().get(number) != simdjson::SUCCESS || number < lowest || number > highest) {
    refuse_integer(value, path);
  }
  return number;
}

std::uint64_t read_unsigned(JsonValue& value, const JsonPath& path, std::uint64_t highest) {
  std::uint64_t number = 0;
  if (value.value.get_uint64().get(number) != simdjson::SUCCESS || number > highest) refuse_integer(value, path);
  return number;
}

double read_double(JsonValue& value, const JsonPath& path) {
  double number = 0;
  if (value.value.get_double().get(number) != simdjson::SUCCESS || number - number != 0) {
    if (kind_of(value, path) != JsonKind::number) refuse_kind(path, "number", value);
    refuse_value(path, "number out of range: " + core::for_message(value.token()));
  }
  return number;
}

std::string_view read_raw(JsonValue& value, const JsonPath& path) {
  const JsonKind kind = kind_of(value, path);
  if (kind != JsonKind::object && kind != JsonKind::array) return value.token();
  enter(path);
  std::string_view raw;
  simdjson::error_code error = simdjson::SUCCESS;
  if (kind == JsonKind::object) {
    ondemand::object object;
    error = value.value.get_object().get(object);
    if (error == simdjson::SUCCESS) error = object.raw_json().get(raw);
  } else {
    ondemand::array array;
    error = value.value.get_array().get(array);
    if (error == simdjson::SUCCESS) error = array.raw_json().get(raw);
  }
  if (error != simdjson::SUCCESS) refuse_json(path, error);
  // It reaches to the next token.
  const auto last = raw.find_last_of("}]");
  return raw.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::size_t read_name(JsonValue& value, const JsonPath& path, std::span<const std::string_view> names) {
  const std::string_view body = string_body(value, path);
  std::string unescaped;
  std::string_view name = body;
  if (has_escape(body)) {
    read_string(value, path, unescaped);
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
  ondemand::array array;
  if (const auto error = value.value.get_array().get(array)) {
    if (error == simdjson::INCORRECT_TYPE) refuse_kind(path, "array", value);
    refuse_json(path, error);
  }
  JsonPath at{.parent = &path, .is_element = true, .depth = path.depth + 1};
  for (auto result : array) {
    ondemand::value element;
    // NOLINTNEXTLINE(performance-move-const-arg): get() is for rvalues in some of the library's builds.
    if (const auto error = std::move(result).get(element)) refuse_json(path, error);
    JsonValue holder(element);
    each(holder, at, target);
    ++at.index;
  }
}

void read_entries(JsonValue& value, const JsonPath& path, ReadFunction each, void* target) {
  for_each_member(value, path, [&](std::string_view name, JsonValue& member) {
    each(member, {.parent = &path, .key = name, .depth = path.depth + 1}, target);
  });
}

void read_members(JsonValue& value, const JsonPath& path, std::span<const MemberForm> members, void* object) {
  std::uint64_t seen = 0;
  std::size_t next = 0;
  for_each_member(value, path, [&](std::string_view name, JsonValue& member) {
    // Members mostly stand in the order of the declaration.
    std::size_t i = next;
    if (i >= members.size() || members[i].name != name) {
      for (i = 0; i < members.size() && members[i].name != name;) ++i;
      if (i == members.size()) return;
    }
    const JsonPath at{.parent = &path, .key = members[i].name, .depth = path.depth + 1};
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((seen & bit) != 0) refuse_value(at, "duplicate key");
    seen |= bit;
    next = i + 1;
    members[i].read(member, at, object);
  });
  if (static_cast<std::size_t>(std::popcount(seen)) == members.size()) return;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if ((seen >> i & 1) == 0 && members[i].absent == nullptr) {
      refuse_value({.parent = &path, .key = members[i].name, .depth = path.depth + 1}, "missing");
    }
  }
}

namespace {

/// Reads `padded` as the value that stands at `path`.
void read_text(std::string_view padded, const JsonPath& path, ReadFunction read, void* target) {
  const auto first = padded.find_first_not_of(" \t\n\r");
  if (first == std::string_view::npos) refuse_value(path, "the text is empty");
  if (padded[first] != '{' && padded[first] != '[') {
    // simdjson gives a bare scalar another interface than a value; inside an array it is a value like any other.
    struct Inner {
      const JsonPath& path;
      ReadFunction read;
      void* target;
      int count = 0;
    } inner{path, read, target};
    std::string wrapped = "[";
    wrapped += padded;
    wrapped += ']';
    const std::string copy = padded_copy(wrapped);
    read_text(
        std::string_view(copy).substr(0, wrapped.size()), path,
        [](JsonValue& array, const JsonPath& at, void* state) {
          read_elements(
              array, {.parent = at.parent, .key = at.key},
              [](JsonValue& element, const JsonPath&, void* of) {
                auto& scalar = *static_cast<Inner*>(of);
                if (++scalar.count > 1) refuse_value(scalar.path, "something follows the value");
                scalar.read(element, scalar.path, scalar.target);
              },
              state);
        },
        &inner);
    return;
  }
  const ParserLease parser;
  ondemand::document document;
  const simdjson::padded_string_view text(padded.data(), padded.size(), padded.size() + json_padding);
  if (const auto error = (*parser).iterate(text).get(document)) refuse_json(path, error);
  ondemand::value root;
  if (const auto error = document.get_value().get(root)) refuse_json(path, error);
  JsonValue value(root);
  read(value, path, target);
  // Nothing is left exactly when the reader stands behind the last token.
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) refuse_value(path, "something follows the value");
}

enum Part : std::size_t { id, type, version, timestamp, source, correlation_id, data, metadata, count };
constexpr std::string_view part_names[count] = {"id",     "type",          "version", "timestamp",
                                                "source", "correlationId", "data",    "metadata"};

void read_fields(JsonValue& value, const JsonPath& path, Fields& out) {
  for_each_member(value, path, [&](std::string_view name, JsonValue& member) {
    const JsonPath at{.parent = &path, .key = name, .depth = path.depth + 1};
    out.append(name, Json(std::string(read_raw(member, at))));
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
      const auto time = parse_time(string_body(value, at));
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
  for_each_member(value, path, [&](std::string_view name, JsonValue& member) {
    std::size_t part = next;
    if (part >= count || part_names[part] != name) {
      for (part = 0; part < count && part_names[part] != name;) ++part;
    }
    const JsonPath at{.parent = &path, .key = name, .depth = path.depth + 1};
    if (part == count) {
      target.extra->append(name, Json(std::string(read_raw(member, at))));
      return;
    }
    if ((seen >> part & 1U) != 0) refuse_value(at, "duplicate key");
    seen |= 1U << part;
    next = part + 1;
    read_part(part, member, at, target);
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

void read_document(std::string_view padded, ReadFunction read, void* target) { read_text(padded, {}, read, target); }

void read_again(std::string_view raw, const JsonPath& path, ReadFunction read, void* target) {
  read_text(raw, path, read, target);
}

void read_envelope(std::string_view padded, const EnvelopeTarget& target) {
  read_text(padded, {}, &read_envelope_value, const_cast<EnvelopeTarget*>(&target));
}

}  // namespace tidings::detail
