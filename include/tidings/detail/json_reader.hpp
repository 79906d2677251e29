// How JSON text becomes values: the seam between the templates that know a type and the reader in the library that
// knows JSON. The reader never shows its parser; a value is only ever seen by reference. Not for applications.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <tidings/json.hpp>
#include <tidings/time.hpp>

namespace tidings::detail {

/// One value of a text that is being read. Every value may be read once.
class JsonValue;

/// What a value is, before it is read.
enum class JsonKind : std::uint8_t { object, array, string, number, boolean, null };

/// Where a value stands: a member of, or an element in, what `parent` leads to. Lives on the stack of the reading.
struct JsonPath {
  const JsonPath* parent = nullptr;
  std::string_view key{};   ///< Of a member; unescaped.
  std::size_t index = 0;    ///< Of an element.
  bool is_element = false;  ///< Which of the two.
  std::size_t depth = 0;    ///< Objects and arrays around the value.
};

/// Throws Error{invalid} of the form `/data/items/0/sku: why`.
[[noreturn]] void refuse_value(const JsonPath& path, std::string_view why);
/// The same, saying `expected WHAT, got KIND`.
[[noreturn]] void refuse_kind(const JsonPath& path, std::string_view expected, JsonValue& value);

// Each reads the whole value or throws Error{invalid} with its path.
[[nodiscard]] JsonKind kind_of(JsonValue& value, const JsonPath& path);
void read_string(JsonValue& value, const JsonPath& path, std::string& out);
[[nodiscard]] bool read_bool(JsonValue& value, const JsonPath& path);
[[nodiscard]] std::int64_t read_signed(JsonValue& value, const JsonPath& path, std::int64_t lowest,
                                       std::int64_t highest);
[[nodiscard]] std::uint64_t read_unsigned(JsonValue& value, const JsonPath& path, std::uint64_t highest);
[[nodiscard]] double read_double(JsonValue& value, const JsonPath& path);
/// The value's exact bytes, without the space around it. Borrowed from the text, which goes on behind it.
[[nodiscard]] std::string_view read_raw(JsonValue& value, const JsonPath& path);
/// Reads a string that must be one of `names`; returns which.
[[nodiscard]] std::size_t read_name(JsonValue& value, const JsonPath& path, std::span<const std::string_view> names);

/// Reads the value at `path` into `target`.
using ReadFunction = void (*)(JsonValue& value, const JsonPath& path, void* target);

/// Calls `each` for every element of an array.
void read_elements(JsonValue& value, const JsonPath& path, ReadFunction each, void* target);

/// Calls `each` for every member of an object; its path's key is the member's name.
void read_entries(JsonValue& value, const JsonPath& path, ReadFunction each, void* target);

class Gathered;

/// One member of a described struct, its type forgotten.
struct MemberForm {
  std::string_view name{};
  std::string_view key{};       ///< The name as it is written: `,"name":`.
  ReadFunction read = nullptr;  ///< Into the struct at `target`.
  void (*write)(Gathered& out, const void* object, std::size_t depth) = nullptr;
  bool (*absent)(const void* object) = nullptr;  ///< Of an optional: whether it is left out. Else null.
};

/// Reads an object into a struct: its members may stand in any order, others are skipped, and one that has no `absent`
/// must be there.
void read_members(JsonValue& value, const JsonPath& path, std::span<const MemberForm> members, void* object);

/// Reads a whole text, which may have space around it. `padded` is followed by json_padding readable bytes.
void read_document(std::string_view padded, ReadFunction read, void* target);

/// Reads `raw`, a part of a text that is being read, again: how a variant tries its alternatives.
void read_again(std::string_view raw, const JsonPath& path, ReadFunction read, void* target);

/// A copy of `text` with the bytes behind it that the reader may look at.
[[nodiscard]] std::string padded_copy(std::string_view text);

/// Where the parts of an envelope go.
struct EnvelopeTarget {
  std::string* id = nullptr;
  std::string* type = nullptr;
  std::string* version = nullptr;
  Wall* timestamp = nullptr;
  std::string* source = nullptr;
  std::string* correlation_id = nullptr;
  Fields* metadata = nullptr;
  Fields* extra = nullptr;
  ReadFunction read_data = nullptr;
  void* data = nullptr;
  std::uint32_t optional = 0;     ///< Bits of the members, in this order, that may be missing.
  std::uint32_t* seen = nullptr;  ///< Set to the bits of those that were there.
  /// Refuses all that validate_json() refuses, but for the text's size: also duplicate keys in what nobody reads.
  bool distinct = false;
};

/// Reads an envelope; every member of the ADR but metadata must be there, and id and type must not be empty.
void read_envelope(std::string_view padded, const EnvelopeTarget& target);

}  // namespace tidings::detail
