// Any bytes are a reply, the beginning of one, or malformed, and it does not matter how they were cut; what is a reply
// can be walked, and written again says the same. Any bytes sent as words are read back unchanged.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "transport/redis/resp.hpp"

namespace {

using namespace tidings::transport::redis;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Writes the value at `walk` and goes past it.
void write(Reply& walk, std::string& out) {
  switch (walk.kind()) {
    case Value::Kind::text:
      out += "$" + std::to_string(walk.text().size()) + "\r\n" + std::string(walk.text()) + "\r\n";
      break;
    case Value::Kind::error:
      out += "-" + std::string(walk.text()) + "\r\n";
      break;
    case Value::Kind::integer:
      out += ":" + std::to_string(walk.integer()) + "\r\n";
      break;
    case Value::Kind::null:
      out += "$-1\r\n";
      break;
    case Value::Kind::array: {
      std::size_t left = walk.size();
      out += "*" + std::to_string(left) + "\r\n";
      for (walk.enter(); left > 0; --left) write(walk, out);
      return;
    }
  }
  walk.skip();
}

std::string written(std::string_view bytes, const ReplyParser& parser) {
  Reply walk(bytes, parser.values());
  std::string out;
  write(walk, out);
  require(walk.null());
  return out;
}

void check_reply(std::string_view bytes) {
  ReplyParser whole;
  const ReplyParser::Status status = whole.parse(bytes);
  // Each value takes three bytes at least, whatever is claimed.
  require(whole.values().size() <= bytes.size() / 3);

  // The last byte says how far apart the cuts are; long input gets no more than some hundred. Each piece lies in other
  // memory.
  ReplyParser pieces;
  ReplyParser::Status stepped = ReplyParser::Status::incomplete;
  const std::size_t step = bytes.empty() ? 1 : 1 + bytes.size() / 256 + static_cast<unsigned char>(bytes.back()) % 16;
  for (std::size_t length = 0; stepped == ReplyParser::Status::incomplete; length += step) {
    const std::string buffer(bytes.substr(0, length));
    stepped = pieces.parse(buffer);
    if (length >= bytes.size()) break;
  }
  require(stepped == status);
  if (status != ReplyParser::Status::complete) return;
  require(pieces.size() == whole.size() && pieces.size() <= bytes.size());
  require(pieces.values().size() == whole.values().size());

  const std::string once = written(bytes, whole);
  require(written(bytes, pieces) == once);
  ReplyParser again;
  require(again.parse(once) == ReplyParser::Status::complete && again.size() == once.size());
  require(written(once, again) == once);
}

void check_words(std::string_view bytes) {
  const std::string_view first = bytes.substr(0, bytes.size() / 2), second = bytes.substr(bytes.size() / 2);
  Commands commands;
  commands.add({first, second});
  ReplyParser parser;
  require(parser.parse(commands.bytes()) == ReplyParser::Status::complete && parser.size() == commands.bytes().size());
  const Reply reply(commands.bytes(), parser.values());
  require(reply.size() == 2 && reply[0].text() == first && reply[1].text() == second);
}

void check_id(std::string_view bytes) {
  EntryId id;
  if (!parse_id(bytes, id)) return;
  EntryId again;
  require(parse_id(id.text(), again) && again == id && id <= id.next());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_reply(bytes);
  check_words(bytes);
  check_id(bytes);
  return 0;
}
