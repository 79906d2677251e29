#include "transport/redis/resp.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tidings::transport::redis {
namespace {

void append_length(std::string& bytes, char mark, std::size_t length) {
  char text[24];
  text[0] = mark;
  char* end = std::to_chars(text + 1, text + sizeof text - 2, length).ptr;
  *end++ = '\r';
  *end++ = '\n';
  bytes.append(text, end);
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
  char text[48];
  char* end = std::to_chars(text, text + 20, id.milliseconds).ptr;
  *end++ = '-';
  end = std::to_chars(end, text + sizeof text, id.sequence).ptr;
  return word(std::string_view(text, static_cast<std::size_t>(end - text)));
}

Commands& Commands::add(std::initializer_list<std::string_view> words) {
  begin(words.size());
  for (const std::string_view text : words) word(text);
  return *this;
}

void ReplyParser::reset(std::size_t replies) noexcept {
  values_.clear();
  starts_.clear();
  open_.clear();
  at_ = missing_ = begun_ = 0;
  wanted_ = replies;
}

void ReplyParser::move_to(std::vector<Value>& values, std::vector<std::size_t>& starts) {
  // The next reply is likely to be as long as this one.
  const std::size_t usual = std::min<std::size_t>(values_.size(), 1U << 16);
  values = std::move(values_);
  starts = std::move(starts_);
  reset();
  values_.reserve(usual);
}

ReplyParser::Status ReplyParser::parse(std::string_view bytes) {
  while (starts_.size() < wanted_) {
    missing_ = 0;
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

std::string_view Reply::text() const noexcept {
  const Value& value = current();
  if (value.kind != Value::Kind::text && value.kind != Value::Kind::error) return {};
  return bytes_.substr(value.offset, static_cast<std::size_t>(value.number));
}

std::int64_t Reply::integer(std::int64_t otherwise) const noexcept {
  if (kind() == Value::Kind::integer) return current().number;
  std::int64_t value = 0;
  return kind() == Value::Kind::text && parse_integer(text(), value) ? value : otherwise;
}

std::size_t Reply::size() const noexcept {
  return kind() == Value::Kind::array ? static_cast<std::size_t>(current().number) : 0;
}

void Reply::skip() noexcept {
  for (std::size_t left = 1; left > 0 && index_ < values_->size(); --left, ++index_) left += size();
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

bool parse_id(std::string_view text, EntryId& id) noexcept {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return false;
  const auto whole = [](std::string_view digits, std::uint64_t& value) {
    const char* const end = digits.data() + digits.size();
    const auto [stopped, error] = std::from_chars(digits.data(), end, value);
    return error == std::errc{} && stopped == end && !digits.empty();
  };
  EntryId read;
  if (!whole(text.substr(0, dash), read.milliseconds) || !whole(text.substr(dash + 1), read.sequence)) return false;
  id = read;
  return true;
}

}  // namespace tidings::transport::redis
