#include "transport/redis/resp.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace tidings::transport::redis {
namespace {

// Writes `number` in front of `end`, and returns where it begins.
char* write_before(char* end, std::uint64_t number) noexcept {
  do {
    *--end = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  return end;
}

// Appends `mark`, a length and the end of the line.
void append_length(std::string& bytes, char mark, std::size_t length) {
  char text[24];
  char* const end = text + sizeof text;
  end[-2] = '\r';
  end[-1] = '\n';
  char* const first = write_before(end - 2, length) - 1;
  *first = mark;
  bytes.append(first, static_cast<std::size_t>(end - first));
}

// An integer that takes the whole of `text`.
bool parse_integer(std::string_view text, std::int64_t& value) noexcept {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stopped == end && !text.empty();
}

}  // namespace

Commands& Commands::begin(std::size_t words) {
  starts_.push_back(bytes_.size());
  append_length(bytes_, '*', words);
  return *this;
}

Commands& Commands::copy(const Commands& from, std::size_t index) {
  const std::size_t first = from.starts_[index];
  const std::size_t behind = index + 1 < from.starts_.size() ? from.starts_[index + 1] : from.bytes_.size();
  starts_.push_back(bytes_.size());
  bytes_.append(from.bytes_, first, behind - first);
  return *this;
}

void Commands::reserve(std::size_t commands, std::size_t bytes) {
  starts_.reserve(commands);
  bytes_.reserve(bytes);
}

Commands& Commands::word(std::string_view text) {
  append_length(bytes_, '$', text.size());
  bytes_.append(text).append("\r\n", 2);
  return *this;
}

Commands& Commands::word(std::int64_t number) {
  char text[24];
  return word(
      std::string_view(text, static_cast<std::size_t>(std::to_chars(text, text + sizeof text, number).ptr - text)));
}

Commands& Commands::word(const EntryId& id) {
  // "$15\r\n1716000000000-0\r\n", from its end to its beginning.
  char text[56];
  char* const end = text + sizeof text;
  end[-2] = '\r';
  end[-1] = '\n';
  char* first = write_before(end - 2, id.sequence);
  *--first = '-';
  // Many ids in a row are of the same millisecond.
  struct Last {
    std::uint64_t milliseconds = 0;
    std::size_t size = 1;
    char text[20]{'0'};
  };
  thread_local Last last;
  if (id.milliseconds != last.milliseconds) {
    char digits[20];
    char* const begin = write_before(digits + sizeof digits, id.milliseconds);
    last.size = static_cast<std::size_t>(digits + sizeof digits - begin);
    std::copy_n(begin, last.size, last.text);
    last.milliseconds = id.milliseconds;
  }
  first -= last.size;
  std::copy_n(last.text, last.size, first);
  const auto length = static_cast<std::size_t>(end - 2 - first);
  *--first = '\n';
  *--first = '\r';
  first = write_before(first, length);
  *--first = '$';
  bytes_.append(first, static_cast<std::size_t>(end - first));
  return *this;
}

Commands& Commands::add(std::initializer_list<std::string_view> words) {
  begin(words.size());
  for (const std::string_view text : words) word(text);
  return *this;
}

Commands& Commands::add_with(std::string_view prefix, std::string_view last) {
  starts_.push_back(bytes_.size());
  char text[24];
  char* const end = text + sizeof text;
  end[-2] = '\r';
  end[-1] = '\n';
  char* const first = write_before(end - 2, last.size()) - 1;
  *first = '$';
  const auto length = static_cast<std::size_t>(end - first);
  const std::size_t before = bytes_.size();
  // Four appends would check four times whether there is room.
  bytes_.resize(before + prefix.size() + length + last.size() + 2);
  char* to = bytes_.data() + before;
  to = std::copy_n(prefix.data(), prefix.size(), to);
  to = std::copy_n(first, length, to);
  to = std::copy_n(last.data(), last.size(), to);
  to[0] = '\r';
  to[1] = '\n';
  return *this;
}

void ReplyParser::reset(std::size_t replies) noexcept {
  values_.clear();
  starts_.clear();
  open_.clear();
  at_ = missing_ = begun_ = 0;
  wanted_ = replies;
  errors_ = false;
}

void ReplyParser::move_to(std::vector<Value>& values, std::vector<std::size_t>& starts) {
  // What the caller had makes room for the next.
  values.swap(values_);
  starts.swap(starts_);
  reset();
  constexpr std::size_t most_kept = 1U << 16;
  if (values_.capacity() > most_kept) std::vector<Value>().swap(values_);
}

ReplyParser::Status ReplyParser::parse(std::string_view bytes) {
  while (starts_.size() < wanted_) {
    missing_ = 0;
    usual_values(bytes);
    if (starts_.size() == wanted_) break;
    if (const Status status = value(bytes); status != Status::complete) return status;
  }
  return Status::complete;
}

void ReplyParser::finished() {
  while (!open_.empty() && --open_.back() == 0) open_.pop_back();
  if (!open_.empty()) return;
  starts_.push_back(begun_);
  begun_ = values_.size();
}

// Takes in texts and arrays as nearly all are, as many as there are; anything else is left to value().
void ReplyParser::usual_values(std::string_view bytes) {
  const char* const base = bytes.data();
  const char* const end = base + bytes.size();
  constexpr std::ptrdiff_t most_digits = 9, shortest = 4;
  while (starts_.size() < wanted_) {
    const char* at = base + at_;
    if (end - at < shortest || (*at != '$' && *at != '*')) return;
    const bool text = *at++ == '$';
    const char* const limit = end - at > most_digits ? at + most_digits : end;
    const char* const digits = at;
    std::uint32_t number = 0;
    for (; at != limit; ++at) {
      const unsigned digit = static_cast<unsigned char>(*at) - unsigned{'0'};
      if (digit > 9) break;
      number = number * 10 + digit;
    }
    if (at == digits || end - at < 2 || at[0] != '\r' || at[1] != '\n') return;
    at += 2;
    if (text) {
      if (number > longest_text || end - at < std::ptrdiff_t{number} + 2) return;
      if (at[number] != '\r' || at[number + 1] != '\n') return;
      values_.push_back({Value::Kind::text, static_cast<std::size_t>(at - base), number});
      at_ = static_cast<std::size_t>(at - base) + number + 2;
      finished();
    } else {
      if (number == 0 || number > most_elements || open_.size() >= deepest) return;
      values_.push_back({Value::Kind::array, at_ + 1, number});
      at_ = static_cast<std::size_t>(at - base);
      open_.push_back(number);
    }
  }
}

// Takes one value in, or leaves everything as it was.
ReplyParser::Status ReplyParser::value(std::string_view bytes) {
  const std::string_view rest = bytes.substr(at_);
  // No line that is part of the protocol is longer than this; an error's text is cut by the server. An end that stands
  // behind it is not looked at, so that it does not matter how much was read at once.
  static constexpr std::size_t longest_line = 64U << 10;
  const std::size_t line = rest.substr(0, longest_line).find('\n');
  if (line == std::string_view::npos) return rest.size() >= longest_line ? Status::malformed : Status::incomplete;
  if (line < 2 || rest[line - 1] != '\r') return Status::malformed;
  const std::string_view text = rest.substr(1, line - 2);
  const std::size_t behind = at_ + line + 1;
  Value value{.offset = at_ + 1};
  switch (rest[0]) {
    case '+':
    case '-':
      value.kind = rest[0] == '+' ? Value::Kind::text : Value::Kind::error;
      errors_ = errors_ || rest[0] == '-';
      value.number = static_cast<std::int64_t>(text.size());
      at_ = behind;
      break;
    case ':':
      value.kind = Value::Kind::integer;
      if (!parse_integer(text, value.number)) return Status::malformed;
      at_ = behind;
      break;
    case '$': {
      std::int64_t size = 0;
      if (!parse_integer(text, size) || size < -1 || size > longest_text) return Status::malformed;
      if (size < 0) {
        at_ = behind;
        break;
      }
      const std::size_t end = behind + static_cast<std::size_t>(size) + 2;
      if (bytes.size() < end) {
        missing_ = end - bytes.size();
        return Status::incomplete;
      }
      if (bytes[end - 2] != '\r' || bytes[end - 1] != '\n') return Status::malformed;
      value.kind = Value::Kind::text;
      value.offset = behind;
      value.number = size;
      at_ = end;
      break;
    }
    case '*': {
      std::int64_t count = 0;
      if (!parse_integer(text, count) || count < -1 || count > most_elements || open_.size() >= deepest) {
        return Status::malformed;
      }
      at_ = behind;
      if (count < 0) break;
      value.kind = Value::Kind::array;
      value.number = count;
      values_.push_back(value);
      if (count > 0) {
        open_.push_back(count);
      } else {
        finished();
      }
      return Status::complete;
    }
    default:
      return Status::malformed;
  }
  values_.push_back(value);
  finished();
  return Status::complete;
}

std::int64_t Reply::integer(std::int64_t otherwise) const noexcept {
  if (kind() == Value::Kind::integer) return current().number;
  std::int64_t value = 0;
  return kind() == Value::Kind::text && parse_integer(text(), value) ? value : otherwise;
}

Reply Reply::operator[](std::size_t index) const noexcept {
  Reply element = *this;
  if (index >= size()) {
    element.index_ = values_->size();
    return element;
  }
  element.enter();
  for (; index > 0; --index) element.skip();
  return element;
}

std::string EntryId::text() const { return std::to_string(milliseconds) + "-" + std::to_string(sequence); }

namespace {

// Reads eight bytes at once; false, and nothing is changed, when one of them is no digit.
bool eight_digits(const char* from, std::uint64_t& number) noexcept {
  if constexpr (std::endian::native != std::endian::little) return false;
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  constexpr std::uint64_t high_halves = 0xF0F0F0F0F0F0F0F0, sixes = 0x0606060606060606;
  if (((word & high_halves) | ((word + sixes) & high_halves) >> 4) != 0x3333333333333333) return false;
  // Neighbours are joined to pairs, these to fours, and these to eight.
  word = (word & 0x0F0F0F0F0F0F0F0F) * (10 * 256 + 1) >> 8;
  word = (word & 0x00FF00FF00FF00FF) * (100 * 65536 + 1) >> 16;
  number = (word & 0x0000FFFF0000FFFF) * ((std::uint64_t{10'000} << 32) + 1) >> 32;
  return true;
}

// Reads digits off the front of `text`, at least one; false where they are none, or more than a number holds.
bool take_number(std::string_view& text, std::uint64_t& value) noexcept {
  std::size_t count = 0;
  std::uint64_t number = 0;
  if (text.size() >= 8 && eight_digits(text.data(), number)) count = 8;
  // Nineteen digits always fit.
  for (; count < text.size() && count < 19; ++count) {
    const unsigned digit = static_cast<unsigned char>(text[count]) - unsigned{'0'};
    if (digit > 9) break;
    number = number * 10 + digit;
  }
  if (count == 19) {
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{}) return false;
    count = static_cast<std::size_t>(stopped - text.data());
  }
  value = number;
  text.remove_prefix(count);
  return count > 0;
}

}  // namespace

bool parse_id(std::string_view text, EntryId& id) noexcept {
  EntryId read;
  if (!take_number(text, read.milliseconds) || !text.starts_with('-')) return false;
  text.remove_prefix(1);
  if (!take_number(text, read.sequence) || !text.empty()) return false;
  id = read;
  return true;
}

}  // namespace tidings::transport::redis
