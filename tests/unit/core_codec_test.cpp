// Typed reading and writing of values and envelopes.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <set>

#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/envelope.hpp"

// Types that one file keeps to itself are declared like any other, without a warning.
namespace {

enum class Shade { LIGHT, DARK };
TIDINGS_ENUM(Shade, LIGHT, DARK)
struct Hidden {
  Shade shade = Shade::LIGHT;
};
TIDINGS_STRUCT(Hidden, shade)

}  // namespace

TEST(CoreCodec, TypesOfAnUnnamedNamespaceAreDescribedToo) {
  std::string text;
  tidings::write_json(text, Hidden{Shade::DARK});
  EXPECT_EQ(text, R"({"shade":"DARK"})");
  EXPECT_EQ(tidings::read_json<Hidden>(text).shade, Shade::DARK);
}

namespace shop {

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)
struct UserCreated {
  std::string userId;
  std::string email;
  std::optional<Role> role;
  bool operator==(const UserCreated&) const = default;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, email, role)

struct Item {
  std::string sku;
  int count = 1;
  bool operator==(const Item&) const = default;
};
TIDINGS_STRUCT(Item, sku, count)
struct Order {
  std::vector<Item> items;
  std::map<std::string, std::optional<int>> stock;
  std::variant<std::int64_t, double, std::string, Item, std::vector<int>, tidings::Json> note;
  bool operator==(const Order&) const = default;
};
TIDINGS_COMMAND(Order, "place.order", "2.1", items, stock, note)

struct Numbers {
  std::int8_t i8 = 0;
  std::uint8_t u8 = 0;
  std::int64_t i64 = 0;
  std::uint64_t u64 = 0;
  float f = 0;
  double d = 0;
  bool b = false;
  std::vector<bool> flags;
  bool operator==(const Numbers&) const = default;
};
TIDINGS_STRUCT(Numbers, i8, u8, i64, u64, f, d, b, flags)

struct Raw {
  tidings::Json json;
};
TIDINGS_STRUCT(Raw, json)
struct Tree {
  std::vector<Tree> children;
};
TIDINGS_STRUCT(Tree, children)
struct Nothing {};
TIDINGS_EVENT(Nothing, "nothing.happened", "1.0")

struct Outer {
  struct Inner {
    int x = 0;
  };
  Inner inner;
};
TIDINGS_STRUCT(Outer::Inner, x)
TIDINGS_STRUCT(Outer, inner)

#define TEN(p) p##0, p##1, p##2, p##3, p##4, p##5, p##6, p##7, p##8, p##9
struct Wide {
  int TEN(a), TEN(b), TEN(c), TEN(d), TEN(e), y, z;
};
TIDINGS_STRUCT(Wide, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4,
               c5, c6, c7, c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, y, z)

}  // namespace shop

namespace tidings {
namespace {

using shop::Item;
using shop::Numbers;
using shop::Order;
using shop::Role;
using shop::UserCreated;

// The two texts of the ADR: its example, and what its usage publishes, without role and metadata.
constexpr std::string_view adr_example =
    R"({"id":"evt_abc123","type":"user.created","version":"1.0","timestamp":"2024-01-25T10:30:00Z","source":"user-service","correlationId":"req_xyz789","data":{"userId":"usr_123","email":"user@example.com","role":"FREELANCER"}})";
constexpr std::string_view adr_usage =
    R"({"id":"evt_1","type":"user.created","version":"1.0","timestamp":"2024-01-25T10:30:00.123Z","source":"user-service","correlationId":"req_1","data":{"userId":"usr_1","email":"user@example.com"}})";

template <class T>
std::string written(const T& value) {
  std::string out;
  write_json(out, value);
  return out;
}

template <class F>
std::string refusal(F call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    return error.what();
  }
  return "accepted";
}

template <class T>
std::string reading(std::string_view text) {
  return refusal([&] { static_cast<void>(read_json<T>(text)); });
}

TEST(Describe, RecordsWhatWasDeclared) {
  constexpr MessageInfo info = message_info<UserCreated>();
  static_assert(info.type == "user.created" && info.version == "1.0" && info.kind == MessageKind::event);
  static_assert(EventType<UserCreated> && !CommandType<UserCreated> && CommandType<Order> && !EventType<Order>);
  static_assert(!MessageType<Item> && !MessageType<int>);
  EXPECT_EQ(info.name, "UserCreated");
}

TEST(Codec, ReadsTheExampleOfTheAdr) {
  const auto event = decode<UserCreated>(adr_example);
  EXPECT_EQ(event.id, "evt_abc123");
  EXPECT_EQ(event.type, "user.created");
  EXPECT_EQ(event.version, "1.0");
  EXPECT_EQ(format_time(event.timestamp), "2024-01-25T10:30:00.000Z");
  EXPECT_EQ(event.source, "user-service");
  EXPECT_EQ(event.correlationId, "req_xyz789");
  EXPECT_EQ(event.data, (UserCreated{"usr_123", "user@example.com", Role::FREELANCER}));
  EXPECT_TRUE(event.metadata.empty());
  std::string expected(adr_example);
  expected.replace(expected.find(":00Z"), 4, ":00.000Z");
  EXPECT_EQ(encode(event), expected);
  EXPECT_EQ(encode(decode<Json>(adr_example)), expected);
}

TEST(Codec, ReadsTheUsageOfTheAdr) {
  const auto event = decode<UserCreated>(adr_usage);
  EXPECT_EQ(event.data.role, std::nullopt);
  EXPECT_EQ(encode(event), adr_usage);
}

TEST(Codec, FindsMembersInAnyOrder) {
  const auto event = decode<UserCreated>(
      R"( { "metadata" : null, "data" : { "role" : null , "later" : [ { } , 1e5 ] , "email" : "e" , "userId" : "u" } , "x" : { "a" : [ 1 , 2 ] } , "correlationId" : "" ,
        "source":"s","timestamp":"2024-01-25T12:30:00+02:00","version":"2","type":"t","id":"\u0065vt" } )");
  EXPECT_EQ(event.id, "evt");
  EXPECT_EQ(event.data, (UserCreated{"u", "e", {}}));
  ASSERT_EQ(event.extra.size(), 1U);
  EXPECT_EQ(event.extra.find("x")->text(), R"({ "a" : [ 1 , 2 ] })");
}

TEST(Codec, KeepsForeignBytes) {
  constexpr std::string_view text =
      R"({"id":"1","type":"a.b","version":"1.0","timestamp":"2024-01-25T10:30:00.000Z","source":"s","correlationId":"c","data":{ "n" : 1.50, "big":100000000000000000000, "u":"\u00e4" },"metadata":{"traceparent":"00-x","own":[1, 2],"q\"\u0001":{}},"futureé":[1.0],"n":null})";
  const Event event = decode<Json>(text);
  EXPECT_EQ(event.data.text(), R"({ "n" : 1.50, "big":100000000000000000000, "u":"\u00e4" })");
  EXPECT_EQ(event.metadata.string("traceparent"), "00-x");
  EXPECT_EQ(event.metadata.find("own")->text(), "[1, 2]");
  EXPECT_EQ(encode(event), text);
}

TEST(Codec, KeepsEveryKindOfData) {
  for (const char* data :
       {"null", "true", "-0.0", "\"x\\n\"", "[]", "{}", "[[ ]]", "1e2", "123456789012345678901234567890"}) {
    std::string text(adr_usage);
    const auto at = text.find(R"({"userId")");
    text.replace(at, text.size() - at - 1, data);
    EXPECT_EQ(decode<Json>(text).data.text(), data);
    EXPECT_EQ(encode(decode<Json>(text)), text);
  }
}

TEST(Codec, SaysWhereAnEnvelopeIsWrong) {
  const auto with = [](std::string_view from, std::string_view to) {
    std::string text(adr_usage);
    text.replace(text.find(from), from.size(), to);
    return refusal([&] { static_cast<void>(decode<UserCreated>(text)); });
  };
  EXPECT_EQ(with(R"("id":"evt_1",)", ""), "/id: missing");
  EXPECT_EQ(with(R"("id":"evt_1")", R"("id":"")"), "/id: must not be empty");
  EXPECT_EQ(with(R"("id":"evt_1")", R"("id":1)"), "/id: expected string, got number");
  EXPECT_EQ(with(R"("id":"evt_1")", R"("id":null)"), "/id: expected string, got null");
  EXPECT_EQ(with(R"("id":"evt_1")", R"("id":"a","id":"b")"), "/id: duplicate key");
  EXPECT_EQ(with(R"("type":"user.created",)", ""), "/type: missing");
  EXPECT_EQ(with(R"("type":"user.created")", R"("type":"")"), "/type: must not be empty");
  EXPECT_EQ(with(R"("version":"1.0")", R"("version":1)"), "/version: expected string, got number");
  EXPECT_EQ(with("2024-01-25T10:30:00.123Z", "yesterday").substr(0, 44),
            "/timestamp: expected an ISO 8601 time such a");
  EXPECT_EQ(with(R"("source":"user-service",)", ""), "/source: missing");
  EXPECT_EQ(with(R"("correlationId":"req_1",)", ""), "/correlationId: missing");
  EXPECT_EQ(with(R"("email":"user@example.com")", R"("email":5)"), "/data/email: expected string, got number");
  EXPECT_EQ(with(R"(,"email":"user@example.com")", ""), "/data/email: missing");
  EXPECT_EQ(with(R"({"userId":"usr_1","email":"user@example.com"})", "[]"), "/data: expected object, got array");
  EXPECT_EQ(with(R"("data":{"userId":"usr_1","email":"user@example.com"})", R"("metadata":{})"), "/data: missing");
  EXPECT_EQ(with(R"("email":"user@example.com")", R"("email":"e","role":"BOSS")"),
            "/data/role: unknown name \"BOSS\", expected FREELANCER or CLIENT");
  EXPECT_EQ(with(R"(com"}})", R"(com"},"metadata":[]})"), "/metadata: expected object, got array");
  EXPECT_EQ(refusal([] { static_cast<void>(decode<Json>("[]")); }), "JSON: expected object, got array");
  EXPECT_EQ(refusal([] { static_cast<void>(decode<Json>(" ")); }), "JSON: the text is empty");
}

TEST(Codec, SaysWhereAValueIsWrong) {
  EXPECT_EQ(reading<Order>(R"({"items":[{"sku":"a","count":1},{"sku":7}],"stock":{},"note":1})"),
            "/items/1/sku: expected string, got number");
  EXPECT_EQ(reading<Order>(R"({"items":[],"stock":{"a/b~c":"x"},"note":1})"),
            "/stock/a~1b~0c: expected integer, got string");
  EXPECT_EQ(reading<Order>(R"({"items":[{"count":1}],"stock":{},"note":1})"), "/items/0/sku: missing");
  EXPECT_EQ(reading<Order>(R"({"items":{},"stock":{},"note":1})"), "/items: expected array, got object");
  EXPECT_EQ(reading<Order>(R"({"items":[],"stock":{"a":1,"\u0061":2},"note":1})"), "/stock/a: duplicate key");
  EXPECT_EQ(reading<Item>(R"({"sku":"a","count":1.5})"), "/count: expected integer, got 1.5");
  EXPECT_EQ(reading<Item>(R"({"sku":"a","count":3000000000})"), "/count: integer out of range: 3000000000");
  EXPECT_EQ(reading<Item>(R"({"sku":"\ud800","count":1})"),
            "/sku: the string holds an escape that is none, or half a surrogate pair");
  EXPECT_EQ(reading<int>("1 2").substr(0, 5), "JSON:");
  EXPECT_EQ(reading<int>("1,2"), "JSON: something follows the value");
  EXPECT_EQ(reading<Item>(R"({"sku":"a","count":1} {})"), "JSON: something follows the value");
}

TEST(Codec, KeepsNumbersExact) {
  Numbers numbers{-128,
                  255,
                  std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::uint64_t>::max(),
                  0.1F,
                  0.1,
                  true,
                  {true, false, true}};
  EXPECT_EQ(
      written(numbers),
      R"({"i8":-128,"u8":255,"i64":-9223372036854775808,"u64":18446744073709551615,"f":0.1,"d":0.1,"b":true,"flags":[true,false,true]})");
  EXPECT_EQ(read_json<Numbers>(written(numbers)), numbers);
  const auto reads = [](const char* name, const char* value) {
    std::string text = R"({"i8":0,"u8":0,"i64":0,"u64":0,"f":0,"d":0,"b":false,"flags":[]})";
    const std::string key = std::string("\"") + name + "\":";
    const auto at = text.find(key) + key.size();
    text.replace(at, text.find_first_of(",}", at) - at, value);
    return reading<Numbers>(text);
  };
  EXPECT_EQ(reads("i8", "128"), "/i8: integer out of range: 128");
  EXPECT_EQ(reads("i8", "-129"), "/i8: integer out of range: -129");
  EXPECT_EQ(reads("u8", "256"), "/u8: integer out of range: 256");
  EXPECT_EQ(reads("u8", "-1"), "/u8: integer out of range: -1");
  EXPECT_EQ(reads("i64", "9223372036854775808"), "/i64: integer out of range: 9223372036854775808");
  EXPECT_EQ(reads("u64", "18446744073709551616"), "/u64: integer out of range: 18446744073709551616");
  EXPECT_EQ(reads("d", "18446744073709551616"), "accepted");
  EXPECT_EQ(reads("d", "100000000000000000000000"), "accepted");
  EXPECT_EQ(reads("d", "1e999"), "/d: number out of range: 1e999");
  EXPECT_EQ(reads("f", "1e39"), "/f: number out of range");
  EXPECT_EQ(reads("d", "\"1\""), "/d: expected number, got string");
  EXPECT_EQ(reads("b", "1"), "/b: expected boolean, got number");
  EXPECT_EQ(reads("b", "null"), "/b: expected boolean, got null");
}

TEST(Codec, RefusesToWriteWhatJsonCannotHold) {
  Numbers numbers;
  numbers.d = std::nan("");
  EXPECT_NE(refusal([&] { written(numbers); }), "accepted");
  numbers.d = std::numeric_limits<double>::infinity();
  EXPECT_NE(refusal([&] { written(numbers); }), "accepted");
  EXPECT_NE(refusal([] { written(Item{"\xff", 1}); }), "accepted");
  EXPECT_NE(refusal([] { written(std::map<std::string, int>{{"\xc0\x80", 1}}); }), "accepted");
  EXPECT_NE(refusal([] { written(static_cast<Role>(7)); }), "accepted");
  EXPECT_NE(refusal([] { written(shop::Raw{Json("{\"a\":}")}); }), "accepted");
  EXPECT_NE(refusal([] { written(shop::Raw{Json("1},{\"b\":2")}); }), "accepted");
}

TEST(Codec, LeavesOutEmptyOptionals) {
  EXPECT_EQ(written(UserCreated{"u", "e", {}}), R"({"userId":"u","email":"e"})");
  EXPECT_EQ(written(UserCreated{"u", "e", Role::CLIENT}), R"({"userId":"u","email":"e","role":"CLIENT"})");
  EXPECT_EQ(read_json<UserCreated>(R"({"userId":"u","email":"e","role":null})").role, std::nullopt);
  EXPECT_EQ(written(std::map<std::string, std::optional<int>>{{"a", {}}, {"b", 1}}), R"({"a":null,"b":1})");
  EXPECT_EQ(written(shop::Nothing{}), "{}");
  EXPECT_NO_THROW(static_cast<void>(read_json<shop::Nothing>(R"({"more":1})")));
}

TEST(Codec, TakesTheFirstAlternativeThatAccepts) {
  const auto note = [](std::string_view value) {
    return read_json<Order>(R"({"items":[],"stock":{},"note":)" + std::string(value) + "}").note;
  };
  EXPECT_EQ(std::get<std::int64_t>(note("-5")), -5);
  EXPECT_EQ(std::get<double>(note("1.5")), 1.5);
  EXPECT_EQ(std::get<double>(note("99999999999999999999")), 1e20);
  EXPECT_EQ(std::get<std::string>(note(R"("a\n")")), "a\n");
  EXPECT_EQ(std::get<Item>(note(R"({"count":2,"sku":"s"})")), (Item{"s", 2}));
  EXPECT_EQ(std::get<std::vector<int>>(note("[1,2]")), (std::vector<int>{1, 2}));
  EXPECT_EQ(std::get<Json>(note(R"([1,"x"])")).text(), R"([1,"x"])");
  EXPECT_EQ(std::get<Json>(note(R"({"sku":5})")).text(), R"({"sku":5})");
  EXPECT_EQ(std::get<Json>(note("true")).text(), "true");
  EXPECT_EQ((reading<std::variant<bool, std::string>>("5")), "JSON: none of the member's types accepts this value");
  EXPECT_EQ((std::get<std::string>(read_json<std::variant<bool, std::string>>("\"x\""))), "x");
}

TEST(Codec, KeepsToTheDepth) {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 1; i < depth; ++i) text += R"({"children":[)";
    text += R"({"children":[]})";
    for (int i = 1; i < depth; ++i) text += "]}";
    return text;
  };
  EXPECT_NO_THROW(static_cast<void>(read_json<shop::Tree>(nested(32))));
  EXPECT_NE(reading<shop::Tree>(nested(33)).find("nested deeper than 64 levels"), std::string::npos);
  EXPECT_NE(reading<shop::Tree>(nested(400)).find("nested deeper than 64 levels"), std::string::npos);
  shop::Tree tree;
  for (int i = 0; i < 40; ++i) {
    shop::Tree parent;
    parent.children.push_back(std::move(tree));
    tree = std::move(parent);
  }
  EXPECT_NE(refusal([&] { written(tree); }), "accepted");
  // One level less than the depth, since data stands inside the envelope.
  EXPECT_NE(refusal([&] { written(Json(std::string(64, '[') + std::string(64, ']'))); }), "accepted");
  EXPECT_EQ(refusal([&] { written(Json(std::string(63, '[') + std::string(63, ']'))); }), "accepted");
}

TEST(Codec, ReadsNestedAndWideTypes) {
  EXPECT_EQ(read_json<shop::Outer>(R"({"inner":{"x":5}})").inner.x, 5);
  shop::Wide wide{};
  wide.z = 9;
  EXPECT_EQ(read_json<shop::Wide>(written(wide)).z, 9);
}

TEST(Codec, RoundTrips) {
  EXPECT_TRUE(rc::check([] {
    const auto text =
        rc::gen::map(rc::gen::container<std::u32string>(rc::gen::oneOf(rc::gen::inRange<char32_t>(0, 0xD800),
                                                                       rc::gen::inRange<char32_t>(0xE000, 0x110000))),
                     [](const std::u32string& points) {
                       std::string out;
                       for (char32_t c : points) {
                         if (c < 0x80) {
                           out += static_cast<char>(c);
                         } else if (c < 0x800) {
                           out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
                         } else if (c < 0x10000) {
                           out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
                                   static_cast<char>(0x80 | (c & 63))};
                         } else {
                           out += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
                                   static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
                         }
                       }
                       return out;
                     });
    DomainEvent<Order> event;
    event.id = "e" + *text;
    event.type = "place.order";
    event.version = *text;
    event.timestamp = Wall{Millis{*rc::gen::inRange<std::int64_t>(-62135596800000, 253402300799999)}};
    event.source = *text;
    event.correlationId = *text;
    for (const std::string& sku : *rc::gen::container<std::vector<std::string>>(text)) {
      event.data.items.push_back({sku, *rc::gen::arbitrary<int>()});
      event.data.stock[sku] = *rc::gen::arbitrary<bool>() ? std::optional<int>(1) : std::nullopt;
      event.metadata.set_string("m" + sku, sku);
    }
    const double number = *rc::gen::map(rc::gen::arbitrary<std::uint64_t>(), [](std::uint64_t bits) {
      double value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    });
    if (std::isfinite(number) && number != std::floor(number)) event.data.note = number;
    const std::string encoded = encode(event);
    validate_json(encoded);
    const auto again = decode<Order>(encoded);
    RC_ASSERT(again.id == event.id);
    RC_ASSERT(again.timestamp == event.timestamp);
    RC_ASSERT(again.data == event.data);
    RC_ASSERT(again.metadata == event.metadata);
    RC_ASSERT(encode(again) == encoded);
    RC_ASSERT(encode(decode<Json>(encoded)) == encoded);
  }));
}

// Short members are gathered on the stack, long ones are not: whatever their lengths, they come out in their order.
TEST(Codec, MembersOfEveryLengthStandBesideEachOther) {
  for (std::size_t first = 0; first < 560; first += first < 20 || first > 440 ? 1 : 37) {
    for (const std::size_t second : {0U, 3U, 12U, 490U, 600U}) {
      const UserCreated user{std::string(first, 'x'), std::string(second, 'y'), Role::CLIENT};
      std::string text = "before";
      write_json(text, user);
      EXPECT_EQ(text, R"(before{"userId":")" + user.userId + R"(","email":")" + user.email + R"(","role":"CLIENT"})");
    }
  }
}

TEST(Envelope, IsWrittenFromParts) {
  const UserCreated data{"u", "e", {}};
  Fields fields;
  fields.set("own", Json("[1]"));
  core::EnvelopeView view{
      .id = "evt_1",
      .type = "user.created",
      .version = "1.0",
      .timestamp = Wall{Millis{1706178600000}},
      .source = "s",
      .correlation_id = "c",
      .write_data = [](std::string& out, const void* of) { write_json(out, *static_cast<const UserCreated*>(of)); },
      .data = &data};
  std::string out = "before";
  core::append_envelope(out, view);
  EXPECT_EQ(
      out,
      R"(before{"id":"evt_1","type":"user.created","version":"1.0","timestamp":"2024-01-25T10:30:00.000Z","source":"s","correlationId":"c","data":{"userId":"u","email":"e"}})");
  view.causation_id = "evt_0";
  view.key = "k\"";
  view.metadata = &fields;
  out.clear();
  core::append_envelope(out, view);
  const auto event = core::check_envelope(out);
  EXPECT_EQ(event.metadata.string("causationId"), "evt_0");
  EXPECT_EQ(event.metadata.string("partitionKey"), "k\"");
  EXPECT_EQ(event.metadata.find("own")->text(), "[1]");
  EXPECT_EQ(event.metadata.size(), 3U);
  fields.set_string("traceparent", "x");
  out = "kept";
  EXPECT_NE(refusal([&] { core::append_envelope(out, view); }), "accepted");
  EXPECT_EQ(out, "kept");
}

TEST(Envelope, SaysWhereItsIdsStand) {
  const UserCreated data{"u", "e", {}};
  core::EnvelopeView view{
      .type = "user.created",
      .version = "1.0",
      .timestamp = Wall{Millis{1706178600000}},
      .source = "s",
      .write_data = [](std::string& out, const void* of) { write_json(out, *static_cast<const UserCreated*>(of)); },
      .data = &data,
      .random = &system_random()};
  const auto part = [](const std::string& text, core::IdPlace place) { return text.substr(place.at, place.size); };
  std::set<std::string> fresh;
  for (const char* id : {"", "evt_own", "evt\n1"}) {
    for (const char* correlation : {"", "own", "\"c\""}) {
      view.id = id;
      view.correlation_id = correlation;
      std::string out = "before";
      const core::EnvelopeIds ids = core::append_envelope(out, view);
      const auto event = core::check_envelope(out.substr(6));
      EXPECT_EQ(event.data.text(), R"({"userId":"u","email":"e"})");
      // What has escapes stands nowhere as it is.
      EXPECT_EQ(part(out, ids.id), view.id.find('\n') == std::string_view::npos ? event.id : "");
      EXPECT_EQ(part(out, ids.correlation), view.correlation_id.starts_with('"') ? "" : event.correlationId);
      if (*id != '\0') {
        EXPECT_EQ(event.id, id);
      } else {
        EXPECT_TRUE(event.id.starts_with("evt_01HN0")) << event.id;
        EXPECT_TRUE(fresh.insert(event.id.substr(4)).second);
      }
      if (*correlation != '\0') {
        EXPECT_EQ(event.correlationId, correlation);
      } else {
        EXPECT_TRUE(event.correlationId.starts_with("req_01HN0")) << event.correlationId;
        EXPECT_TRUE(fresh.insert(event.correlationId.substr(4)).second);
      }
    }
  }
}

TEST(Envelope, MayBePartialWhenItIsPublished) {
  const auto checked = core::check_partial_envelope(R"({"data":null,"type":"a.b"})");
  EXPECT_EQ(checked.missing,
            core::part_id | core::part_version | core::part_timestamp | core::part_source | core::part_correlation_id);
  EXPECT_EQ(core::check_partial_envelope(adr_example).missing, 0U);
  EXPECT_EQ(refusal([] { static_cast<void>(core::check_partial_envelope(R"({"data":null})")); }), "/type: missing");
  EXPECT_EQ(refusal([] { static_cast<void>(core::check_partial_envelope(R"({"type":"a"})")); }), "/data: missing");
  EXPECT_EQ(refusal([] { static_cast<void>(core::check_partial_envelope(R"({"type":"a","data":1,"id":""})")); }),
            "/id: must not be empty");
}

TEST(Fields, KeepOrderAndReplaceInPlace) {
  Fields fields;
  fields.set_string("a", "1").set("b", Json("2")).set_string("c", "3").set("a", Json("null"));
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields.begin()->first, "a");
  EXPECT_EQ(fields.begin()->second.text(), "null");
  EXPECT_EQ(fields.string("b"), std::nullopt);
  EXPECT_EQ(fields.string("c"), "3");
  fields.erase("b");
  EXPECT_EQ(fields.find("b"), nullptr);
  EXPECT_EQ(Json::string("\"\\\n\x01é/").text(), R"("\"\\\n\u0001é/")");
  EXPECT_EQ(Json(R"( "\u00e9\ud83d\ude00" )").as_string(), "é😀");
  EXPECT_EQ(Json("5").as_string(), std::nullopt);
  EXPECT_EQ(Json("\"").as_string(), std::nullopt);
  EXPECT_EQ(Json().text(), "null");
  Event event = decode<Json>(adr_usage);
  event.extra.set("id", Json("1"));
  EXPECT_NE(refusal([&] { static_cast<void>(encode(event)); }), "accepted");
}

}  // namespace
}  // namespace tidings
