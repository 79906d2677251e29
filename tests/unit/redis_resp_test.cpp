// The protocol of Redis: commands out, replies in, and what no server may make us believe.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "transport/redis/resp.hpp"

namespace tidings::transport::redis {

// Test-only: gtest finds it beside the type.
static bool operator==(const Value& one, const Value& other) {
  return one.kind == other.kind && one.offset == other.offset && one.number == other.number;
}

namespace {

using Kind = Value::Kind;
using Status = ReplyParser::Status;
using namespace std::string_literals;

/// How a reply was taken apart.
struct Parsed {
  Status status = Status::incomplete;
  std::vector<Value> values{};
  std::size_t size = 0;
};

/// Feeds the first byte, the first two, … each time from other memory, as from a buffer that moves while it grows.
/// Stops when the parser does.
Parsed parse_in_steps(const std::string& bytes, const std::vector<std::size_t>& steps) {
  ReplyParser parser;
  Parsed parsed;
  std::size_t needed = 0;
  for (const std::size_t length : steps) {
    const std::string buffer = bytes.substr(0, length);
    parsed.status = parser.parse(buffer);
    if (length < needed) {
      EXPECT_EQ(parsed.status, Status::incomplete) << "it had asked for more";
    }
    if (parsed.status != Status::incomplete) break;
    if (parser.missing() > 0) needed = length + parser.missing();
  }
  parsed.values = parser.values();
  parsed.size = parser.size();
  return parsed;
}

/// Parses at once, and byte by byte, which must come to the same.
Parsed parse(const std::string& bytes) {
  const Parsed whole = parse_in_steps(bytes, {bytes.size()});
  std::vector<std::size_t> steps;
  for (std::size_t length = 0; length <= bytes.size(); ++length) steps.push_back(length);
  const Parsed pieces = parse_in_steps(bytes, steps);
  EXPECT_EQ(pieces.status, whole.status) << bytes.substr(0, 80);
  if (whole.status == Status::complete) {
    EXPECT_EQ(pieces.values, whole.values) << bytes.substr(0, 80);
    EXPECT_EQ(pieces.size, whole.size) << bytes.substr(0, 80);
  }
  return whole;
}

/// A complete reply with the bytes it came from.
struct Whole {
  std::string bytes;
  Parsed parsed;
  explicit Whole(std::string text) : bytes(std::move(text)), parsed(parse(bytes)) {
    EXPECT_EQ(parsed.status, Status::complete) << bytes.substr(0, 80);
    EXPECT_EQ(parsed.size, bytes.size());
  }
  [[nodiscard]] Reply reply() const { return {bytes, parsed.values}; }
};

std::string nested(std::size_t levels, const std::string& inside) {
  std::string bytes;
  for (std::size_t i = 0; i < levels; ++i) bytes += "*1\r\n";
  return bytes + inside;
}

TEST(RespCommands, AreLengthsAndBytes) {
  Commands commands;
  EXPECT_EQ(commands.bytes(), "");
  EXPECT_EQ(commands.count(), 0U);
  commands.add({"PING"});
  EXPECT_EQ(commands.bytes(), "*1\r\n$4\r\nPING\r\n");
  commands.begin(4).word("XREAD").word(std::int64_t{0}).word("").word(std::int64_t{-42});
  EXPECT_EQ(commands.bytes(), "*1\r\n$4\r\nPING\r\n*4\r\n$5\r\nXREAD\r\n$1\r\n0\r\n$0\r\n\r\n$3\r\n-42\r\n");
  EXPECT_EQ(commands.count(), 2U);
  commands.clear();
  EXPECT_EQ(commands.bytes(), "");
  EXPECT_EQ(commands.count(), 0U);
}

TEST(RespCommands, CarryAnyBytes) {
  const std::string binary = "a\0b\r\n$1\r\n\xff\xfe*"s;
  Commands commands;
  commands.add({"SET", binary, ""});
  EXPECT_EQ(commands.bytes(), "*3\r\n$3\r\nSET\r\n$12\r\n" + binary + "\r\n$0\r\n\r\n");
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  commands.clear();
  commands.begin(1).word(every);
  EXPECT_EQ(commands.bytes(), "*1\r\n$256\r\n" + every + "\r\n");
}

TEST(RespCommands, WriteTheLimitsOfNumbers) {
  Commands commands;
  commands.begin(2).word(std::numeric_limits<std::int64_t>::min()).word(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(commands.bytes(), "*2\r\n$20\r\n-9223372036854775808\r\n$19\r\n9223372036854775807\r\n");
}

TEST(RespCommands, AreRepliesToOurParser) {
  Commands commands;
  commands.add({"SET", "k", "v\r\n"});
  const Whole whole{std::string(commands.bytes())};
  ASSERT_EQ(whole.reply().size(), 3U);
  EXPECT_EQ(whole.reply()[2].text(), "v\r\n");
}

TEST(RespReplies, OfEachKindAreTakenApart) {
  EXPECT_EQ(Whole("+OK\r\n").parsed.values, (std::vector<Value>{{Kind::text, 1, 2}}));
  EXPECT_EQ(Whole("+\r\n").parsed.values, (std::vector<Value>{{Kind::text, 1, 0}}));
  EXPECT_EQ(Whole("-ERR no\r\n").parsed.values, (std::vector<Value>{{Kind::error, 1, 6}}));
  EXPECT_EQ(Whole("$3\r\na\r\n\r\n").parsed.values, (std::vector<Value>{{Kind::text, 4, 3}}));
  EXPECT_EQ(Whole("$0\r\n\r\n").parsed.values, (std::vector<Value>{{Kind::text, 4, 0}}));
  EXPECT_EQ(Whole(":-7\r\n").reply().integer(), -7);
  EXPECT_EQ(Whole(":-7\r\n").reply().kind(), Kind::integer);
  EXPECT_EQ(Whole(":9223372036854775807\r\n").reply().integer(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(Whole(":-9223372036854775808\r\n").reply().integer(), std::numeric_limits<std::int64_t>::min());
  EXPECT_TRUE(Whole("$-1\r\n").reply().null());
  EXPECT_TRUE(Whole("*-1\r\n").reply().null());
  EXPECT_EQ(Whole("*0\r\n").reply().kind(), Kind::array);
  EXPECT_EQ(Whole("*0\r\n").reply().size(), 0U);
  EXPECT_TRUE(Whole("-NOGROUP x\r\n").reply().error());
  EXPECT_EQ(Whole("-NOGROUP x\r\n").reply().text(), "NOGROUP x");
  const std::string binary = "\0\r\n\xff$5\r\n"s;
  EXPECT_EQ(Whole("$8\r\n" + binary + "\r\n").reply().text(), binary);
}

TEST(RespReplies, NestAndEndWhereTheirLastElementDoes) {
  const Whole whole(
      "*3\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$5\r\nevent\r\n$2\r\n{}\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n*2\r\n*0\r\n$-1\r\n");
  const Reply reply = whole.reply();
  ASSERT_EQ(reply.size(), 3U);
  EXPECT_EQ(reply[0][0].text(), "1-0");
  EXPECT_EQ(reply[0][1][1].text(), "{}");
  EXPECT_EQ(reply[1][0].text(), "2-0");
  EXPECT_TRUE(reply[1][1].null());
  EXPECT_EQ(reply[2][0].kind(), Kind::array);
  EXPECT_TRUE(reply[2][1].null());
  EXPECT_EQ(whole.parsed.values.size(), 12U);

  EXPECT_EQ(Whole("*1\r\n*1\r\n*0\r\n").parsed.values.size(), 3U);
  EXPECT_EQ(Whole("*2\r\n*1\r\n:1\r\n:2\r\n").reply()[1].integer(), 2);
  const Whole deep(nested(ReplyParser::deepest, ":1\r\n"));
  EXPECT_EQ(deep.parsed.values.size(), ReplyParser::deepest + 1);
}

TEST(RespReplies, ComeOneBehindTheOther) {
  const std::vector<std::string> replies{
      "+OK\r\n", "*2\r\n:1\r\n$-1\r\n", "$4\r\n+A\r\n\r\n", "-ERR\r\n", "*0\r\n", "*1\r\n*1\r\n+x\r\n", ":5\r\n"};
  std::string buffer;
  for (const std::string& reply : replies) buffer += reply;
  // The parser is used again, and only the bytes that are left stand before it.
  ReplyParser parser;
  std::string_view rest = buffer;
  for (const std::string& reply : replies) {
    ASSERT_EQ(parser.parse(rest), Status::complete);
    EXPECT_EQ(parser.size(), reply.size());
    EXPECT_EQ(parser.values(), parse(reply).values);
    // Asked again, it says the same and touches nothing.
    EXPECT_EQ(parser.parse(rest), Status::complete);
    EXPECT_EQ(parser.size(), reply.size());
    rest.remove_prefix(parser.size());
    parser.reset();
  }
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(parser.parse(rest), Status::incomplete);
  EXPECT_TRUE(parser.values().empty());
}

TEST(RespReplies, SayWhetherThereIsAnErrorAmongThem) {
  ReplyParser parser;
  const auto errors = [&](std::string_view bytes, std::size_t replies) {
    parser.reset(replies);
    EXPECT_EQ(parser.parse(bytes), Status::complete);
    return parser.errors();
  };
  EXPECT_TRUE(errors("$1\r\na\r\n-ERR\r\n+OK\r\n", 3));
  EXPECT_FALSE(errors("$1\r\n-\r\n+-\r\n:-1\r\n", 3));
  EXPECT_TRUE(errors("*2\r\n:1\r\n-ERR\r\n", 1));
  EXPECT_FALSE(errors("+OK\r\n-ERR\r\n", 1)) << "what stands behind is not looked at";
}

TEST(RespReplies, LeaveWhatStandsBehindThemAlone) {
  ReplyParser parser;
  EXPECT_EQ(parser.parse("+OK\r\nnot a reply"), Status::complete);
  EXPECT_EQ(parser.size(), 5U);
  parser.reset();
  EXPECT_EQ(parser.parse("not a reply\r\n"), Status::malformed);
  parser.reset();
  EXPECT_EQ(parser.parse(":1\r\n"), Status::complete) << "reset makes good what was malformed";
}

TEST(RespReplies, SayHowMuchIsMissing) {
  ReplyParser parser;
  EXPECT_EQ(parser.parse(""), Status::incomplete);
  EXPECT_EQ(parser.missing(), 0U);
  EXPECT_EQ(parser.parse("$10"), Status::incomplete);
  EXPECT_EQ(parser.missing(), 0U);
  EXPECT_EQ(parser.parse("$10\r\n"), Status::incomplete);
  EXPECT_EQ(parser.missing(), 12U);
  EXPECT_EQ(parser.parse("$10\r\n0123456789\r"), Status::incomplete);
  EXPECT_EQ(parser.missing(), 1U);
  EXPECT_EQ(parser.parse("$10\r\n0123456789\r\n"), Status::complete);
  EXPECT_EQ(parser.missing(), 0U);
  parser.reset();
  EXPECT_EQ(parser.parse("*2\r\n$5\r\nab"), Status::incomplete);
  EXPECT_EQ(parser.missing(), 5U);
  EXPECT_EQ(parser.parse("*2\r\n$5\r\nabcde\r\n"), Status::incomplete);
  EXPECT_EQ(parser.missing(), 0U) << "of the next value nothing is known";
}

TEST(RespReplies, ThatAreNoneAreMalformed) {
  for (const char* text : {"\r\n",
                           "\n",
                           "hello\r\n",
                           "+OK\n",
                           "+O\nK\r\n",
                           ":\r\n",
                           ":1x\r\n",
                           ": 1\r\n",
                           ":1 \r\n",
                           ":+1\r\n",
                           ":0x1\r\n",
                           ":1.5\r\n",
                           ":\r1\r\n",
                           ":9223372036854775808\r\n",
                           "$\r\n",
                           "$x\r\n",
                           "$-2\r\n",
                           "$1a\r\n",
                           "$ 1\r\n",
                           "$1\n",
                           "$99999999999999999999\r\n",
                           "*\r\n",
                           "*x\r\n",
                           "*-2\r\n",
                           "*1.0\r\n",
                           "*1\n",
                           "*99999999999999999999\r\n",
                           "$2\r\nabcd",
                           "$2\r\nab\n\r",
                           "$2\r\nab\r\r",
                           "$0\r\n\n\n",
                           "*1\r\n+a\n",
                           "*1\r\n$-5\r\n",
                           "*2\r\n:1\r\n?\r\n",
                           "_\r\n",
                           "%1\r\n",
                           "#t\r\n",
                           ",1.5\r\n",
                           "=3\r\n",
                           "~1\r\n",
                           ">1\r\n",
                           "PING\r\n",
                           "HTTP/1.1 400 Bad Request\r\n"}) {
    EXPECT_EQ(parse(text).status, Status::malformed) << text;
  }
  EXPECT_EQ(parse("\0\r\n"s).status, Status::malformed);
  EXPECT_EQ(parse(":1\0\r\n"s).status, Status::malformed);
}

TEST(RespReplies, ThatEndTooSoonAreIncomplete) {
  const std::string bytes = "*4\r\n*2\r\n$3\r\n1-0\r\n:12\r\n$-1\r\n*0\r\n-ERR\r\n";
  ASSERT_EQ(parse(bytes).status, Status::complete);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(parse(bytes.substr(0, length)).status, Status::incomplete) << length;
  }
}

TEST(RespReplies, ClaimNoMoreThanTheLimits) {
  const auto claim = [](char mark, std::int64_t number) { return mark + std::to_string(number) + "\r\n"; };
  EXPECT_EQ(parse(claim('$', ReplyParser::longest_text)).status, Status::incomplete);
  EXPECT_EQ(parse(claim('$', ReplyParser::longest_text + 1)).status, Status::malformed);
  EXPECT_EQ(parse(claim('$', std::numeric_limits<std::int64_t>::max())).status, Status::malformed);
  EXPECT_EQ(parse(claim('$', std::numeric_limits<std::int64_t>::min())).status, Status::malformed);
  EXPECT_EQ(parse(claim('*', ReplyParser::most_elements)).status, Status::incomplete);
  EXPECT_EQ(parse(claim('*', ReplyParser::most_elements + 1)).status, Status::malformed);
  EXPECT_EQ(parse(claim('*', std::numeric_limits<std::int64_t>::max())).status, Status::malformed);
  EXPECT_EQ(parse(claim('*', std::numeric_limits<std::int64_t>::min())).status, Status::malformed);
}

TEST(RespReplies, AllocateNothingForWhatTheyClaim) {
  ReplyParser parser;
  std::string bytes;
  // Some thousand thousand elements at every level, none of which is there.
  for (std::size_t i = 0; i < ReplyParser::deepest; ++i) bytes += "*1048576\r\n";
  EXPECT_EQ(parser.parse(bytes), Status::incomplete);
  EXPECT_EQ(parser.values().size(), ReplyParser::deepest);
  EXPECT_LE(parser.values().capacity(), 4 * ReplyParser::deepest);
  EXPECT_LE(parser.missing(), 4096U) << "a claim must not become a reservation";
}

TEST(RespReplies, NestNoDeeperThanTheLimit) {
  for (const char* inside : {"*0\r\n", "*-1\r\n", "*1\r\n"}) {
    EXPECT_EQ(parse(nested(ReplyParser::deepest, inside)).status, Status::malformed) << inside;
  }
  EXPECT_EQ(parse(nested(100'000, "")).status, Status::malformed);
  // Depth is what is open, not how many arrays there were.
  std::string many = "*1000\r\n";
  for (int i = 0; i < 1000; ++i) many += "*1\r\n*0\r\n";
  EXPECT_EQ(parse_in_steps(many, {many.size()}).status, Status::complete);
}

TEST(RespReplies, HaveLinesOfSomeLength) {
  const std::size_t limit = 64U << 10;
  for (const char mark : {'+', '-', ':', '$', '*'}) {
    const std::string endless = mark + std::string(2 * limit, '1');
    EXPECT_EQ(parse_in_steps(endless, {endless.size()}).status, Status::malformed) << mark;
    // With its end in the same read it is no better than without: what a reply is must not hang on how it was cut.
    const std::string late = endless + "\r\n";
    EXPECT_EQ(parse_in_steps(late, {late.size()}).status, Status::malformed) << mark;
    EXPECT_EQ(parse_in_steps(late, {limit, late.size()}).status, Status::malformed) << mark;
  }
  const std::string fits = "-" + std::string(limit - 3, 'x') + "\r\n";
  EXPECT_EQ(parse_in_steps(fits, {limit - 1, limit}).status, Status::complete);
  EXPECT_EQ(parse_in_steps(fits, {limit}).values, (std::vector<Value>{{Kind::error, 1, 65533}}));
  // A text may be longer than a line, and hold no line's end.
  const std::string text = "$200000\r\n" + std::string(200'000, 'x') + "\r\n";
  EXPECT_EQ(parse_in_steps(text, {100'000, text.size()}).status, Status::complete);
}

TEST(RespWalk, EntersAndSkips) {
  const Whole whole("*4\r\n:1\r\n*2\r\n$1\r\na\r\n*1\r\n:2\r\n*0\r\n$1\r\nz\r\n");
  Reply walk = whole.reply();
  EXPECT_EQ(walk.size(), 4U);
  walk.enter();
  EXPECT_EQ(walk.integer(), 1);
  walk.skip();
  EXPECT_EQ(walk.size(), 2U);
  Reply inside = walk.here();
  inside.enter();
  EXPECT_EQ(inside.text(), "a");
  inside.skip();
  inside.enter();
  EXPECT_EQ(inside.integer(), 2);
  inside.skip();
  EXPECT_EQ(inside.kind(), Kind::array) << "behind the last element stands what follows its array";
  EXPECT_EQ(walk.size(), 2U) << "a walk of its own";
  walk.skip();
  EXPECT_EQ(walk.kind(), Kind::array);
  EXPECT_EQ(walk.size(), 0U);
  Reply empty = walk.here();
  empty.enter();
  EXPECT_EQ(empty.text(), "z") << "into nothing is past it";
  walk.skip();
  EXPECT_EQ(walk.text(), "z");
  walk.skip();
  EXPECT_TRUE(walk.null()) << "behind the end is nothing";
  walk.skip();
  walk.enter();
  EXPECT_TRUE(walk.null());
  Reply all = whole.reply();
  all.skip();
  EXPECT_TRUE(all.null());
}

TEST(RespWalk, FindsElements) {
  const Whole whole("*3\r\n*2\r\n:1\r\n:2\r\n$-1\r\n+last\r\n");
  const Reply reply = whole.reply();
  EXPECT_EQ(reply[0][1].integer(), 2);
  EXPECT_TRUE(reply[1].null());
  EXPECT_EQ(reply[2].text(), "last");
  EXPECT_TRUE(reply[3].null());
  EXPECT_TRUE(reply[0][2].null()) << "not what follows the array";
  EXPECT_TRUE(reply[2][0].null()) << "a text has no elements";
  EXPECT_TRUE(reply[SIZE_MAX].null());
  EXPECT_TRUE(reply[9][9][9].null());
  EXPECT_EQ(reply[9].size(), 0U);
  EXPECT_EQ(reply[9].text(), "");
  EXPECT_EQ(reply[9].integer(-1), -1);
}

TEST(RespWalk, ReadsNumbersFromTexts) {
  EXPECT_EQ(Whole("$2\r\n12\r\n").reply().integer(), 12);
  EXPECT_EQ(Whole("+-12\r\n").reply().integer(), -12);
  for (const char* text : {"$0\r\n\r\n", "+ 1\r\n", "+1 \r\n", "+1.5\r\n", "+1-0\r\n", "+x\r\n",
                           "+9223372036854775808\r\n", "-1\r\n", "$-1\r\n", "*0\r\n", "*1\r\n:1\r\n"}) {
    EXPECT_EQ(Whole(text).reply().integer(77), 77) << text;
  }
  EXPECT_EQ(Whole(":12\r\n").reply().text(), "") << "an integer has no bytes";
  EXPECT_EQ(Whole("*1\r\n+x\r\n").reply().text(), "");
  EXPECT_EQ(Whole(":3\r\n").reply().size(), 0U);
  EXPECT_EQ(Whole("+abc\r\n").reply().size(), 0U);
}

constexpr std::uint64_t greatest = std::numeric_limits<std::uint64_t>::max();

TEST(RespIds, AreReadAndWritten) {
  for (const EntryId id : {EntryId{0, 0}, EntryId{1706178600000, 5}, EntryId{greatest, greatest}}) {
    EntryId again{1, 1};
    EXPECT_TRUE(parse_id(id.text(), again)) << id.text();
    EXPECT_EQ(again, id);
  }
  EXPECT_EQ((EntryId{1706178600000, 5}).text(), "1706178600000-5");
  EXPECT_EQ((EntryId{greatest, greatest}).text(), "18446744073709551615-18446744073709551615");
}

TEST(RespIds, AreNothingElse) {
  for (const char* text : {"",
                           "-",
                           "1",
                           "1-",
                           "-1",
                           "1-2-3",
                           "a-1",
                           "1-a",
                           " 1-2",
                           "1-2 ",
                           "1 -2",
                           "+1-2",
                           "1-+2",
                           "1--2",
                           "$",
                           "*",
                           ">",
                           "0x1-2",
                           "18446744073709551616-0",
                           "0-18446744073709551616"}) {
    EntryId id{7, 8};
    EXPECT_FALSE(parse_id(text, id)) << text;
    EXPECT_EQ(id, (EntryId{7, 8})) << text << " left something behind";
  }
  EntryId id;
  EXPECT_FALSE(parse_id("1-2\0"s, id));
}

TEST(RespIds, AreOrderedAndHaveANext) {
  EXPECT_LT((EntryId{1, 9}), (EntryId{2, 0}));
  EXPECT_LT((EntryId{1, 1}), (EntryId{1, 2}));
  EXPECT_EQ((EntryId{1, 1}).next(), (EntryId{1, 2}));
  EXPECT_EQ((EntryId{1, greatest}).next(), (EntryId{2, 0}));
  EXPECT_EQ((EntryId{greatest, 0}).next(), (EntryId{greatest, 1}));
  // A publisher may choose this id. A reader that went on at 0-0 behind it would begin again for ever.
  EXPECT_EQ((EntryId{greatest, greatest}).next(), (EntryId{greatest, greatest}));
}

/// A value to be sent and found again.
struct Tree {
  char mark = '$';  ///< `n`: the other null.
  std::string text{};
  std::int64_t number = 0;
  std::vector<Tree> elements{};
};

void encode(const Tree& tree, std::string& out) {
  switch (tree.mark) {
    case '$':
      out += "$" + std::to_string(tree.text.size()) + "\r\n" + tree.text + "\r\n";
      break;
    case ':':
      out += ":" + std::to_string(tree.number) + "\r\n";
      break;
    case '_':
      out += "$-1\r\n";
      break;
    case 'n':
      out += "*-1\r\n";
      break;
    case '*':
      out += "*" + std::to_string(tree.elements.size()) + "\r\n";
      for (const Tree& element : tree.elements) encode(element, out);
      break;
    default:
      out += tree.mark + tree.text + "\r\n";
  }
}

void expect_equal(const Tree& tree, const Reply& reply) {
  switch (tree.mark) {
    case ':':
      RC_ASSERT(reply.kind() == Kind::integer);
      RC_ASSERT(reply.integer() == tree.number);
      break;
    case '_':
    case 'n':
      RC_ASSERT(reply.null());
      break;
    case '*':
      RC_ASSERT(reply.kind() == Kind::array);
      RC_ASSERT(reply.size() == tree.elements.size());
      for (std::size_t i = 0; i < tree.elements.size(); ++i) expect_equal(tree.elements[i], reply[i]);
      break;
    default:
      RC_ASSERT(reply.kind() == (tree.mark == '-' ? Kind::error : Kind::text));
      RC_ASSERT(reply.text() == tree.text);
  }
}

Tree any_tree(std::size_t depth) {
  Tree tree;
  tree.mark = *(depth == 0 ? rc::gen::element('$', '+', '-', ':', '_', 'n')
                           : rc::gen::element('$', '+', '-', ':', '_', 'n', '*', '*', '*'));
  if (tree.mark == '$') {
    // The bytes that mean something to the protocol come often.
    tree.text = *rc::gen::container<std::string>(
        rc::gen::oneOf(rc::gen::arbitrary<char>(), rc::gen::element('\r', '\n', '$', '*', '\0')));
  } else if (tree.mark == '+' || tree.mark == '-') {
    tree.text = *rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~'));
  } else if (tree.mark == ':') {
    tree.number = *rc::gen::arbitrary<std::int64_t>();
  } else if (tree.mark == '*') {
    const auto count = *rc::gen::inRange<std::size_t>(0, 5);
    for (std::size_t i = 0; i < count; ++i) tree.elements.push_back(any_tree(depth - 1));
  }
  return tree;
}

TEST(RespProperties, AnyTreeCutAnywhereIsItself) {
  EXPECT_TRUE(rc::check([] {
    const Tree tree = any_tree(*rc::gen::inRange<std::size_t>(0, 5));
    std::string bytes;
    encode(tree, bytes);
    const std::size_t size = bytes.size();
    bytes += *rc::gen::element("", "+next\r\n", "\r\n", "*");
    std::vector<std::size_t> steps =
        *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, size));
    std::sort(steps.begin(), steps.end());
    steps.push_back(bytes.size());
    const Parsed parsed = parse_in_steps(bytes, steps);
    RC_ASSERT(parsed.status == Status::complete);
    RC_ASSERT(parsed.size == size);
    expect_equal(tree, Reply(bytes, parsed.values));
    // Skipped as a whole, nothing of it is left.
    Reply end(bytes, parsed.values);
    end.skip();
    RC_ASSERT(end.null());
    // Its last byte is part of it.
    RC_ASSERT(parse_in_steps(bytes, {size - 1}).status == Status::incomplete);
  }));
}

TEST(RespProperties, AnyIdIsItself) {
  EXPECT_TRUE(rc::check([](std::uint64_t milliseconds, std::uint64_t sequence) {
    const EntryId id{milliseconds, sequence};
    EntryId again;
    RC_ASSERT(parse_id(id.text(), again));
    RC_ASSERT(again == id);
    RC_ASSERT(id < id.next() || milliseconds == greatest);
  }));
}

}  // namespace
}  // namespace tidings::transport::redis
