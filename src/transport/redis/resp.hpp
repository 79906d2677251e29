// The protocol of Redis, RESP2: commands out, replies in. Pure; no I/O. RESP is length-prefixed throughout, so nothing
// that is sent has to be escaped, and nothing that is received has to be searched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::transport::redis {

/// A stream entry's id, `MILLISECONDS-SEQUENCE`.
struct EntryId {
  std::uint64_t milliseconds = 0, sequence = 0;
  auto operator<=>(const EntryId&) const = default;
  [[nodiscard]] std::string text() const;
  /// The id right behind this one; the greatest of all, which any publisher may choose, has none and gives itself.
  [[nodiscard]] EntryId next() const noexcept {
    if (sequence < UINT64_MAX) return {milliseconds, sequence + 1};
    return milliseconds < UINT64_MAX ? EntryId{milliseconds + 1, 0} : *this;
  }
  /// The id right before this one; the least of all has none and gives itself.
  [[nodiscard]] EntryId previous() const noexcept {
    if (sequence > 0) return {milliseconds, sequence - 1};
    return milliseconds > 0 ? EntryId{milliseconds - 1, UINT64_MAX} : *this;
  }
};

/// Commands, one behind the other, as they go over the wire.
class Commands {
 public:
  /// Begins a command of `words` words, its name among them; that many word() calls must follow.
  Commands& begin(std::size_t words);
  Commands& word(std::string_view text);
  Commands& word(std::int64_t number);
  Commands& word(const EntryId& id);
  /// A whole command.
  Commands& add(std::initializer_list<std::string_view> words);

  /// A whole command of which all words but the last are given as they go over the wire, its beginning among them.
  Commands& add_with(std::string_view prefix, std::string_view last);
  /// The command number `index` of `from`.
  Commands& copy(const Commands& from, std::size_t index);
  void reserve(std::size_t commands, std::size_t bytes);
  /// The last command is about all before it that went over the same connection (WAIT): wherever some of these are sent
  /// again, it is too.
  void close_with_last() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }

  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }
  /// How many commands, and so how many replies.
  [[nodiscard]] std::size_t count() const noexcept { return starts_.size(); }
  /// How many bytes there is room for.
  [[nodiscard]] std::size_t capacity() const noexcept { return bytes_.capacity(); }
  void clear() noexcept {
    bytes_.clear();
    starts_.clear();
    closed_ = false;
  }

 private:
  std::string bytes_{};
  std::vector<std::size_t> starts_{};  // Where each command begins.
  bool closed_ = false;
};

/// One value of a reply. Values of an array follow it, depth first.
struct Value {
  enum class Kind : std::uint8_t { text, error, integer, array, null } kind = Kind::null;
  std::size_t offset = 0;   ///< text, error: where the bytes stand.
  std::int64_t number = 0;  ///< integer: its value; text, error: how many bytes; array: how many elements.
};

/// Takes replies apart as their bytes come in. The bytes stay where they are; values name them by offset, so that a
/// buffer may move while it grows.
class ReplyParser {
 public:
  enum class Status : std::uint8_t { complete, incomplete, malformed };

  /// Goes on with `bytes`, which begin with the first reply and hold more than at the last call. What stands behind the
  /// last reply is not touched.
  Status parse(std::string_view bytes);
  /// The values, and the length, of what is there; of a complete reply they are all.
  [[nodiscard]] const std::vector<Value>& values() const noexcept { return values_; }
  [[nodiscard]] std::size_t size() const noexcept { return at_; }
  /// Of each complete reply, the index of its first value.
  [[nodiscard]] const std::vector<std::size_t>& starts() const noexcept { return starts_; }
  /// Whether there is an error among what was parsed.
  [[nodiscard]] bool errors() const noexcept { return errors_; }
  /// At least how many bytes are missing; 0 when that is not known.
  [[nodiscard]] std::size_t missing() const noexcept { return missing_; }
  /// Makes ready for the next `replies` replies.
  void reset(std::size_t replies = 1) noexcept;
  /// Gives away what was parsed in exchange for the caller's room, and makes ready for one reply.
  void move_to(std::vector<Value>& values, std::vector<std::size_t>& starts);

  /// What a reply may claim before anything is allocated for it.
  static constexpr std::int64_t longest_text = std::int64_t{512} << 20, most_elements = 1 << 20;
  static constexpr std::size_t deepest = 16;

 private:
  Status value(std::string_view bytes);
  void usual_values(std::string_view bytes);
  void finished();

  std::vector<Value> values_{};
  std::vector<std::size_t> starts_{};
  std::vector<std::int64_t> open_{};  // Elements that are missing of each array that is not complete.
  std::size_t at_ = 0, missing_ = 0, begun_ = 0, wanted_ = 1;
  bool errors_ = false;
};

/// Walks the values of a complete reply.
class Reply {
 public:
  Reply(std::string_view bytes, const std::vector<Value>& values, std::size_t first = 0) noexcept
      : bytes_(bytes), values_(&values), index_(first) {}

  [[nodiscard]] Value::Kind kind() const noexcept { return current().kind; }
  [[nodiscard]] bool null() const noexcept { return kind() == Value::Kind::null; }
  [[nodiscard]] bool error() const noexcept { return kind() == Value::Kind::error; }
  /// The bytes of a text or an error; empty otherwise.
  [[nodiscard]] std::string_view text() const noexcept {
    const Value& value = current();
    if (value.kind != Value::Kind::text && value.kind != Value::Kind::error) return {};
    return {bytes_.data() + value.offset, static_cast<std::size_t>(value.number)};
  }
  /// An integer, or a text that is one; `otherwise` for anything else.
  [[nodiscard]] std::int64_t integer(std::int64_t otherwise = 0) const noexcept;
  /// How many elements an array has; 0 for anything else.
  [[nodiscard]] std::size_t size() const noexcept {
    const Value& value = current();
    return value.kind == Value::Kind::array ? static_cast<std::size_t>(value.number) : 0;
  }

  /// Goes to the next value, into an array rather than past it.
  void enter() noexcept { ++index_; }
  /// Goes past this value and all that it holds.
  void skip() noexcept {
    const Value* const first = values_->data();
    const std::size_t end = values_->size();
    std::size_t left = 1;
    for (; left > 0 && index_ < end; --left, ++index_) {
      if (first[index_].kind == Value::Kind::array) left += static_cast<std::size_t>(first[index_].number);
    }
  }
  /// A walk that begins at this value.
  [[nodiscard]] Reply here() const noexcept { return *this; }
  /// Element `index` of this array. Costs a walk.
  [[nodiscard]] Reply operator[](std::size_t index) const noexcept;

 private:
  [[nodiscard]] const Value& current() const noexcept {
    static constexpr Value nothing{};
    return index_ < values_->size() ? (*values_)[index_] : nothing;
  }
  std::string_view bytes_;
  const std::vector<Value>* values_;
  std::size_t index_ = 0;
};

/// Reads an id; false for anything else, and `id` is left as it was.
[[nodiscard]] bool parse_id(std::string_view text, EntryId& id) noexcept;

}  // namespace tidings::transport::redis
