// The scanner that validation and decoding share, against slower ones that say the same.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/envelope_member.hpp"
#include "core/json_scan.hpp"
#include "ordered_event.hpp"
#include "plain_validator.hpp"

namespace tidings {
namespace {

std::string verdict(const std::function<void()>& check) {
  try {
    check();
    return "valid";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string plainly(std::string_view text) {
  return verdict([&] { plain::Validator(text, {}).run(); });
}

/// The event that decoding gives, as text; or that it was refused.
template <class T>
std::string decoded(const std::string& text, bool distinct) {
  try {
    const std::string padded = detail::padded_copy(text);
    return encode(detail::decode_once<T>(std::string_view(padded).substr(0, text.size()), distinct));
  } catch (const Error&) {
    return "refused";
  }
}

template <class T>
void compare_decoding(const std::string& text, bool valid) {
  const std::string once = decoded<T>(text, true);
  if (!valid) {
    EXPECT_EQ(once, "refused") << text;
  } else {
    EXPECT_EQ(once, decoded<T>(text, false)) << text;
  }
}

void compare(const std::string& text) {
  const std::string expected = plainly(text);
  EXPECT_EQ(verdict([&] { validate_json(text); }), expected) << text;
  compare_decoding<Json>(text, expected == "valid");
  compare_decoding<ordered::Ordered>(text, expected == "valid");
}

const std::vector<std::string> seeds{
    R"({"id":"evt_1","type":"order.placed","version":"1.0","timestamp":"2024-01-25T10:30:00.000Z","source":"shop",)"
    R"("correlationId":"req_1","data":{"user":"u1","lines":[{"sku":"a\u00e9","count":2},{"sku":"é😀","count":-3}],)"
    R"("total":12.5e1,"notes":{"gift":true,"text":"x\ny","list":[1,2.5,null,{"k":{"k":1}}]}},)"
    R"("metadata":{"traceparent":"00-a","n":7},"future":[1,{"a":{},"b":[]}]})",
    "{ \"data\" : { \"user\":\"\", \"lines\" : [ ] , \"notes\" : { } , \"other\":{\"a\":1,\"b\":1} } ,\n\"type\":\"x\","
    "\"id\":\"y\",\"version\":\"1\",\"timestamp\":\"2024-01-25T10:30:00Z\",\"source\":\"s\",\"correlationId\":\"c\"}",
    R"([1,-0,0.5,1e5,1E-7,123456789012345678901234567890,"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00",true,false,null,[],{}])",
    R"({"a":{"b":{"c":{"d":[[[["deep"]]]]}}},"a2":1,"k1":1,"k2":1,"k3":1,"k4":1,"k5":1,"k6":1,"k7":1,"k8":1,"k9":1})"};

TEST(Scan, ChangedTextsGetTheSameVerdict) {
  const std::vector<std::string> pieces{"\"",
                                        "\\",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        " ",
                                        "0",
                                        "-",
                                        "e",
                                        ".",
                                        "\\u",
                                        "\\ud800",
                                        "\\udc00",
                                        "\x01",
                                        std::string(1, '\0'),
                                        "\xff",
                                        "\xc3",
                                        "\xe2\x82",
                                        "é",
                                        "1e999",
                                        "1e-999",
                                        "null",
                                        "tru",
                                        "\"a\":1,",
                                        "\"k1\":2,",
                                        "\"user\":\"x\",",
                                        "\"id\":\"z\",",
                                        "\n",
                                        "\x7f",
                                        "9999999999999999999999"};
  std::mt19937_64 random(20240125);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  for (int round = 0; round < 30'000; ++round) {
    std::string text = seeds[below(seeds.size())];
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t at = below(text.size() + 1), length = std::min(below(8), text.size() - at);
      switch (below(4)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, pieces[below(pieces.size())]);
          break;
        case 2:
          text.replace(at, std::min<std::size_t>(1, text.size() - at), pieces[below(pieces.size())]);
          break;
        default:
          text.insert(at, text.substr(below(text.size() + 1), below(40)));
      }
    }
    compare(text);
    if (HasFailure()) break;
  }
}

TEST(Scan, CutTextsGetTheSameVerdict) {
  for (const std::string& seed : seeds) {
    for (std::size_t size = 0; size <= seed.size(); ++size) compare(seed.substr(0, size));
  }
}

TEST(Scan, NestingGetsTheSameVerdict) {
  for (std::size_t depth = 60; depth < 70; ++depth) {
    compare(std::string(depth, '[') + std::string(depth, ']'));
    std::string objects = "1";
    for (std::size_t i = 0; i < depth; ++i) objects = R"({"a":)" + objects + "}";
    compare(objects);
    compare(R"({"id":"i","type":"t","version":"1","timestamp":"2024-01-25T10:30:00Z","source":"s","correlationId":"c",)"
            R"("extra":)" +
            objects + R"(,"data":)" + objects + "}");
  }
}

TEST(Scan, FindsTheEndOfAPlainRun) {
  for (int value = 0; value < 256; ++value) {
    for (std::size_t at = 0; at < std::size_t{32}; ++at) {
      std::string text(std::size_t{32}, 'a');
      text[at] = static_cast<char>(value);
      text.back() = '"';  // A second stop behind the first.
      const bool stops = core::ends_plain_run(text[at]);
      unsigned high = 0;
      const auto expected = [&](std::size_t width) {
        return stops && at < width ? at : std::min<std::size_t>(width, 31);
      };
      EXPECT_EQ(core::PlainWord::count(text.data(), high), expected(core::PlainWord::width)) << value << ' ' << at;
      high = 0;
      EXPECT_EQ(core::PlainRun::count(text.data(), high), expected(core::PlainRun::width)) << value << ' ' << at;
      EXPECT_TRUE(value < 0x80 || at >= core::PlainRun::width || high != 0) << value << ' ' << at;
    }
  }
}

TEST(Scan, GlancesAtOneMember) {
  EXPECT_EQ(core::envelope_text(seeds[0], "type"), "order.placed");
  EXPECT_EQ(core::envelope_text(seeds[0], "user"), "");
  EXPECT_EQ(core::envelope_text(seeds[1], "type"), "x");
  EXPECT_EQ(
      core::envelope_text(R"({"a":"\"type\":\"no\"","b":{"type":"no"},"type":"a.very.long.type.of.an.event"})", "type"),
      "a.very.long.type.of.an.event");
  for (const char* text :
       {"", "{", "{\"type", "{\"type\"", "{\"type\":\"x", "{\"type\":\"x\\", "{\"type\":\"\\u0041\"}"}) {
    EXPECT_EQ(core::envelope_text(text, "type"), "") << text;
  }
}

}  // namespace
}  // namespace tidings
