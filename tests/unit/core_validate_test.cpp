// What text from outside must pass: single cases here, a few thousand derived ones in core_mutation_test.cpp.
#include <gtest/gtest.h>

#include <string>

#include <tidings/error.hpp>
#include <tidings/json.hpp>

namespace tidings {
namespace {

std::string verdict(std::string_view text, const JsonLimits& limits = {}) {
  try {
    validate_json(text, limits);
    return "valid";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    return error.what();
  }
}

TEST(Validation, AcceptsJson) {
  for (const char* text :
       {"{}", "[]", " [ ] ", "null", "true", "false", "0", "-0", "-1.5e+10", "\"\"", "\"\\u0000\"",
        "\"\\ud83d\\ude00\"", "[1e308,1e-999,0e999,0.0e5000,-0E0]", "[123456789012345678901234567890]",
        "{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]}}", "{\"\":1}", "\"\x7f\"", "\"é😀\"", "\r\n\t[1 ,\n2 ]\t"}) {
    EXPECT_EQ(verdict(text), "valid") << text;
  }
  EXPECT_EQ(verdict(std::string(400, '9')), "valid");
}

TEST(Validation, SaysWhereTheFaultIs) {
  EXPECT_EQ(verdict(R"({"data":{"items":[{"sku":1,"sku":2}]}})"), "/data/items/0: duplicate key \"sku\" (byte 34)");
  EXPECT_EQ(verdict(R"({"a":1,"b":{},"\u0061":2})"), "JSON: duplicate key \"a\" (byte 24)");
  EXPECT_EQ(verdict(R"({"data":{"x":[1,{"y":[]},1e999]}})"),
            "/data/x/2: a number is beyond the range of a double; write it as a string (byte 30)");
  EXPECT_EQ(verdict(R"({"a/b":{"c~d":"\ud800"}})"),
            "/a~1b/c~0d: a string holds an escape that is none, or half a surrogate pair (byte 21)");
  EXPECT_EQ(verdict("{\"a\":[\"x\",\"\xff\"]}"), "/a/1: a string is not UTF-8; convert it (byte 12)");
  EXPECT_EQ(verdict("{\"a\":\"x\ny\"}"), "/a: a control character stands in a string; escape it (byte 7)");
  EXPECT_EQ(verdict("[2,,3]"), "/1: expected a value (byte 3)");
  EXPECT_EQ(verdict("{\"a\":1}x"), "JSON: something follows the value (byte 7)");
  EXPECT_EQ(verdict("\xEF\xBB\xBF{}"), "JSON: a byte order mark stands before the value; remove it (byte 0)");
}

TEST(Validation, FindsDuplicatesAmongManyKeys) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += "\"key" + std::to_string(i) + "\":{\"key\":1},";
  EXPECT_EQ(verdict(text + "\"last\":1}"), "valid");
  EXPECT_NE(verdict(text + "\"key\\u0037\":1}").find("duplicate key \"key7\""), std::string::npos);
}

TEST(Validation, KeepsToItsLimits) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(verdict(nested(64)), "valid");
  EXPECT_NE(verdict(nested(65)).find("nested deeper than 64 levels"), std::string::npos);
  EXPECT_EQ(verdict(nested(5000), {.depth = 5000}), "valid");
  EXPECT_NE(verdict(std::string(100'000, '{')), "valid");
  EXPECT_EQ(verdict("\"" + std::string(98, 'x') + "\"", {.bytes = 100}), "valid");
  try {
    validate_json("\"" + std::string(99, 'x') + "\"", {.bytes = 100});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::too_large);
  }
}

TEST(Validation, ChecksStringsOfEveryLength) {
  // The fast path looks at eight bytes at a time: put the fault at every place of several words.
  for (std::size_t size = 1; size < 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string body(size, 'a');
      EXPECT_EQ(verdict('"' + body + '"'), "valid");
      for (char fault : {'"', '\\', '\n', '\x1f', '\0', '\xff', '\x80'}) {
        body[at] = fault;
        EXPECT_NE(verdict('"' + body + '"'), "valid") << size << ' ' << at << ' ' << static_cast<int>(fault);
      }
    }
  }
}

}  // namespace
}  // namespace tidings
