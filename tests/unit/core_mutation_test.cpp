// Bad input: some thousand envelopes, each one change away from a good one. The generator knows of every change whether
// it leaves JSON, and an envelope, behind; simdjson's DOM judges the grammar a second time.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "core/envelope.hpp"
#include "ordered_event.hpp"

namespace tidings {
namespace {

/// What must become of a text.
enum class Verdict { good, not_json, duplicate, too_deep, not_envelope };

struct Mutant {
  std::string text;
  Verdict verdict;
};

/// An envelope as a tree: an object or array has parts, anything else is one token.
struct Node {
  std::string name;   ///< Of a member, quoted.
  std::string token;  ///< Of a scalar; `{` or `[` otherwise.
  std::vector<Node> parts;
};

Node scalar(std::string name, std::string token) { return {"\"" + name + "\"", std::move(token), {}}; }

Node sample() {
  Node lines{"\"lines\"", "[", {}};
  lines.parts.push_back({"", "{", {scalar("sku", R"("a\u00e9")"), scalar("count", "2")}});
  lines.parts.push_back({"", "{", {scalar("sku", "\"é\""), scalar("count", "-3")}});
  Node notes{"\"notes\"", "{", {scalar("gift", "true"), scalar("text", R"("x\ny")")}};
  notes.parts.push_back({"\"list\"", "[", {{"", "1", {}}, {"", "2.5", {}}, {"", "null", {}}}});
  Node data{"\"data\"", "{", {scalar("user", "\"u1\""), lines, scalar("total", "12.5"), notes}};
  Node metadata{"\"metadata\"", "{", {scalar("traceparent", "\"00-a\""), scalar("n", "7")}};
  return {"",
          "{",
          {scalar("id", "\"evt_1\""), scalar("type", "\"order.placed\""), scalar("version", "\"1.0\""),
           scalar("timestamp", "\"2024-01-25T10:30:00Z\""), scalar("source", "\"shop\""),
           scalar("correlationId", "\"req_1\""), data, metadata, scalar("future", "[1]")}};
}

void tokens_of(const Node& node, std::vector<std::string>& out) {
  if (!node.name.empty()) out.insert(out.end(), {node.name, ":"});
  out.push_back(node.token);
  if (node.token != "{" && node.token != "[") return;
  for (std::size_t i = 0; i < node.parts.size(); ++i) {
    if (i > 0) out.push_back(",");
    tokens_of(node.parts[i], out);
  }
  out.push_back(node.token == "{" ? "}" : "]");
}

/// Tokens joined by a space, so that taking one away never makes one of its neighbours.
std::string joined(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += (out.empty() ? "" : " ") + token;
  return out;
}

std::string text_of(const Node& root) {
  std::vector<std::string> tokens;
  tokens_of(root, tokens);
  return joined(tokens);
}

/// Calls `change(node, depth, in_envelope)` on every node of a fresh tree in turn, then takes what the change made.
template <class Change>
void for_each_node(Change change) {
  const auto count = [](const auto& self, const Node& node) -> std::size_t {
    std::size_t nodes = 1;
    for (const Node& part : node.parts) nodes += self(self, part);
    return nodes;
  };
  const auto find = [](const auto& self, Node& node, std::size_t& left,
                       std::size_t depth) -> std::pair<Node*, std::size_t> {
    if (left-- == 0) return {&node, depth};
    for (Node& part : node.parts) {
      if (const auto found = self(self, part, left, depth + 1); found.first != nullptr) return found;
    }
    return {nullptr, 0};
  };
  const Node original = sample();
  for (std::size_t i = 0; i < count(count, original); ++i) {
    Node root = original;
    std::size_t left = i;
    const auto [node, depth] = find(find, root, left, 0);
    change(root, *node, depth);
  }
}

const std::vector<std::string> bad_scalars{"01",
                                           "-",
                                           "+1",
                                           "1.",
                                           ".5",
                                           "-.5",
                                           "1e",
                                           "1e+",
                                           "1.e5",
                                           "0x1",
                                           "1_000",
                                           "NaN",
                                           "Infinity",
                                           "-Infinity",
                                           "nul",
                                           "nulll",
                                           "True",
                                           "FALSE",
                                           "undefined",
                                           "'a'",
                                           "\"\\q\"",
                                           "\"\\u12\"",
                                           "\"\\u12G4\"",
                                           "\"\\U0041\"",
                                           "\"\\ud800\"",
                                           "\"\\udc00\"",
                                           "\"\\ud800\\u0041\"",
                                           "\"\\ud800\\ud800\"",
                                           "\"\\x41\"",
                                           "\"a\tb\"",
                                           "\"a\nb\"",
                                           "\"\x01\"",
                                           std::string("\"\0\"", 3),
                                           "\"\xff\"",
                                           "\"\xc0\xaf\"",
                                           "\"\xe0\x80\x80\"",
                                           "\"\xed\xa0\x80\"",
                                           "\"\xf4\x90\x80\x80\"",
                                           "\"\x80\"",
                                           "\"\xe2\x82\"",
                                           "\"\xf0\x9f\x98\"",
                                           "1e999",
                                           "-1e999",
                                           "1.5e400",
                                           "123e307",
                                           "/**/1",
                                           "1//",
                                           "\"a",
                                           "a\"",
                                           "\"a\"\"b\"",
                                           "1 2",
                                           "(1)",
                                           "{]",
                                           "[}",
                                           "[1,]",
                                           "[,1]",
                                           "{,}",
                                           "{\"a\"}",
                                           "{\"a\":}",
                                           "{\"a\":1,}",
                                           "{a:1}",
                                           "[1 2]",
                                           "\xEF\xBB\xBF"
                                           "1",
                                           "\xC2\xA0"
                                           "1",
                                           "1\xE2\x80\xA8",
                                           "$",
                                           "--1",
                                           "1e5.5",
                                           "00",
                                           "-01",
                                           "\\u0031",
                                           "\"\\",
                                           "#"};

const std::vector<std::string> good_scalars{"0",
                                            "-0",
                                            "1e308",
                                            "-1.7976931348623157e308",
                                            "1E-400",
                                            "4.9e-324",
                                            "123456789012345678901234567890",
                                            "true",
                                            "null",
                                            "\"\\ud83d\\ude00\"",
                                            "\"\\u0000\"",
                                            "\"\\/\"",
                                            "\"\x7f\"",
                                            "\"😀\"",
                                            "[]",
                                            "{}",
                                            "[[[]]]",
                                            "{\"\":{\"\":0}}",
                                            "1e+5",
                                            "\"\""};

const std::vector<std::string> bad_names{"a",       "1",        "null",     "'a'", "",   "\"a\" \"b\"", "\"\\ud800\"",
                                         "\"\\q\"", "\"a\nb\"", "\"\xff\"", "[]",  "{}", "\"a",         "/"};

class Mutants {
 public:
  void add(std::string text, Verdict verdict) {
    if (seen_.insert(text).second) all_.push_back({std::move(text), verdict});
  }
  [[nodiscard]] const std::vector<Mutant>& all() const { return all_; }

 private:
  std::set<std::string> seen_;
  std::vector<Mutant> all_;
};

bool is_structure(const std::string& token) {
  return token.size() == 1 && std::string("{}[]:,").find(token) != std::string::npos;
}

void mutate_tokens(Mutants& out) {
  std::vector<std::string> tokens;
  tokens_of(sample(), tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i);
    if (is_structure(tokens[i])) {
      auto without = tokens;
      without.erase(without.begin() + at);
      out.add(joined(without), Verdict::not_json);
      auto twice = tokens;
      twice.insert(twice.begin() + at, tokens[i]);
      out.add(joined(twice), Verdict::not_json);
      for (const char* other : {"{", "}", "[", "]", ":", ",", ";", "(", "null", "\"x\""}) {
        if (other == tokens[i]) continue;
        auto swapped = tokens;
        swapped[i] = other;
        out.add(joined(swapped), Verdict::not_json);
      }
    }
    for (const char* stray : {"\"s\"", "5", ",", ":", "}", "]", "\\", "//c", "\v", "\xEF\xBB\xBF"}) {
      auto more = tokens;
      more.insert(more.begin() + at, stray);
      out.add(joined(more), Verdict::not_json);
    }
    for (const char* space : {"\n", "\t", "\r", "  \r\n "}) {
      auto more = tokens;
      more.insert(more.begin() + at, space);
      out.add(joined(more), Verdict::good);
    }
  }
}

void mutate_bytes(Mutants& out) {
  const std::string text = text_of(sample());
  for (std::size_t size = 0; size < text.size(); ++size) out.add(text.substr(0, size), Verdict::not_json);
  for (const char* garbage : {"x", "{}", "null", ",", "}", "]", "\"", "\x01", "\xff", " 1", "\v"}) {
    out.add(text + garbage, Verdict::not_json);
    out.add(garbage + text, Verdict::not_json);
  }
  out.add(text + std::string(1, '\0'), Verdict::not_json);
  out.add("\xEF\xBB\xBF" + text, Verdict::not_json);
  for (const char* root : {"[]", "null", "5", "\"x\"", "true", "{}", "[{}]"}) out.add(root, Verdict::not_envelope);
}

/// Part of the tree that is free in form: below data or metadata, or an unknown member.
bool is_free(const Node& root, const Node& node) {
  const auto holds = [&](const auto& self, const Node& tree) -> bool {
    if (&tree == &node) return true;
    return std::any_of(tree.parts.begin(), tree.parts.end(), [&](const Node& part) { return self(self, part); });
  };
  for (const Node& member : root.parts) {
    if (member.name == "\"data\"" || member.name == "\"future\"") {
      if (holds(holds, member)) return true;
    } else if (member.name == "\"metadata\"" && &member != &node && holds(holds, member)) {
      return true;
    }
  }
  return false;
}

void mutate_values(Mutants& out) {
  for (const std::string& bad : bad_scalars) {
    for_each_node([&](Node& root, Node& node, std::size_t depth) {
      if (depth == 0) return;
      node.token = bad;
      node.parts.clear();
      out.add(text_of(root), Verdict::not_json);
    });
  }
  for (const std::string& good : good_scalars) {
    for_each_node([&](Node& root, Node& node, std::size_t) {
      if (!is_free(root, node)) return;
      node.token = good;
      node.parts.clear();
      // `{` and `[` alone are the tree's own tokens; these texts are whole values.
      out.add(text_of(root), Verdict::good);
    });
  }
}

void mutate_members(Mutants& out) {
  for_each_node([&](Node& root, Node& node, std::size_t depth) {
    if (node.token == "{") {
      for (std::size_t i = 0; i < node.parts.size(); ++i) {
        const std::vector<Node> before = node.parts;
        node.parts.push_back(node.parts[i]);
        out.add(text_of(root), Verdict::duplicate);
        // The same name in other letters.
        std::string& name = node.parts.back().name;
        static constexpr char digits[] = "0123456789abcdef";
        const auto first = static_cast<unsigned char>(name[1]);
        name = std::string("\"\\u00") + digits[first >> 4] + digits[first & 15] + name.substr(2);
        out.add(text_of(root), Verdict::duplicate);
        node.parts = before;
        std::rotate(node.parts.begin(), node.parts.begin() + static_cast<std::ptrdiff_t>(i), node.parts.end());
        out.add(text_of(root), Verdict::good);
        node.parts = before;
        for (const std::string& bad : bad_names) {
          node.parts[i].name = bad.empty() ? " " : bad;
          out.add(text_of(root), Verdict::not_json);
        }
        node.parts = before;
      }
      for (const std::string& good : good_scalars) {
        node.parts.insert(node.parts.begin(), scalar("later", good));
        out.add(text_of(root), Verdict::good);
        node.parts.erase(node.parts.begin());
      }
    }
    if (node.token != "{" && node.token != "[") {
      // The node itself stands inside `depth` levels.
      const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
      if (is_free(root, node)) {
        node.token = nested(64 - depth);
        out.add(text_of(root), Verdict::good);
      }
      node.token = nested(65 - depth);
      out.add(text_of(root), Verdict::too_deep);
      node.token = nested(3000);
      out.add(text_of(root), Verdict::too_deep);
    }
  });
}

void mutate_envelope(Mutants& out) {
  const Node original = sample();
  for (std::size_t i = 0; i < 7; ++i) {
    Node root = original;
    root.parts.erase(root.parts.begin() + static_cast<std::ptrdiff_t>(i));
    out.add(text_of(root), Verdict::not_envelope);
  }
  const auto set = [&](std::size_t member, const std::string& token, Verdict verdict) {
    Node root = original;
    root.parts[member].token = token;
    root.parts[member].parts.clear();
    out.add(text_of(root), verdict);
  };
  for (const char* wrong : {"null", "5", "-1.5", "true", "false", "[]", "{}", "[\"a\"]", "{\"a\":1}"}) {
    for (std::size_t member = 0; member < 6; ++member) set(member, wrong, Verdict::not_envelope);
  }
  for (std::size_t member : {0U, 1U}) set(member, "\"\"", Verdict::not_envelope);
  for (const char* time :
       {"", "x", "2024", "2024-01-25", "2024-13-25T10:30:00Z", "2024-02-30T10:30:00Z", "2024-01-25T10:30:00",
        "2024-01-25T25:30:00Z", "2024-01-25T10:30:00.Z", "1706178600", "2024-01-25T10:30:00Z "}) {
    set(3, "\"" + std::string(time) + "\"", Verdict::not_envelope);
  }
  for (const char* time : {"2024-01-25T10:30:00.5Z", "2024-01-25T10:30:00+02:00", "0001-01-01T00:00:00Z"}) {
    set(3, "\"" + std::string(time) + "\"", Verdict::good);
  }
  for (const char* wrong : {"5", "true", "[]", "\"a\""}) set(7, wrong, Verdict::not_envelope);
  set(7, "null", Verdict::good);
}

/// What the text is to us: refused as it should be, or accepted and unchanged by a round trip.
void judge(const Mutant& mutant) {
  const bool json = mutant.verdict == Verdict::good || mutant.verdict == Verdict::not_envelope;
  std::string refusal;
  try {
    validate_json(mutant.text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    refusal = error.what();
  }
  EXPECT_EQ(refusal.empty(), json) << mutant.text << '\n' << refusal;
  if (mutant.verdict == Verdict::duplicate) {
    EXPECT_NE(refusal.find("duplicate key"), std::string::npos) << refusal;
  }
  if (mutant.verdict == Verdict::too_deep) {
    EXPECT_NE(refusal.find("nested deeper"), std::string::npos) << refusal;
  }
  try {
    const Event event = core::check_envelope(mutant.text);
    EXPECT_EQ(mutant.verdict, Verdict::good) << mutant.text;
    const std::string again = encode(event);
    validate_json(again);
    EXPECT_EQ(encode(decode<Json>(again)), again);
    EXPECT_EQ(decode<Json>(again).data, event.data);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    EXPECT_NE(mutant.verdict, Verdict::good) << mutant.text << '\n' << error.what();
  }
}

/// Reading what was never validated may go either way, but only by a result or an Error.
void read_unvalidated(const std::string& text) {
  try {
    static_cast<void>(decode<ordered::Ordered>(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
  }
  try {
    static_cast<void>(decode<Json>(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
  }
}

/// simdjson's opinion of the grammar, where it has the same rules as we.
void ask_simdjson(simdjson::dom::parser& parser, const Mutant& mutant) {
  if (mutant.verdict == Verdict::duplicate || mutant.verdict == Verdict::too_deep) return;
  if (mutant.text.find("12345678901234567890") != std::string::npos) return;  // It has no integers beyond 64 bits.
  // It skips a byte order mark.
  if (mutant.text.starts_with("\xEF\xBB\xBF")) return;
  const bool accepted = parser.parse(simdjson::padded_string(mutant.text)).error() == simdjson::SUCCESS;
  EXPECT_EQ(accepted, mutant.verdict != Verdict::not_json) << mutant.text;
}

TEST(Mutations, AreAllJudgedRight) {
  Mutants mutants;
  mutants.add(text_of(sample()), Verdict::good);
  mutate_tokens(mutants);
  mutate_bytes(mutants);
  mutate_values(mutants);
  mutate_members(mutants);
  mutate_envelope(mutants);
  EXPECT_GE(mutants.all().size(), 2000U);
  std::size_t good = 0;
  simdjson::dom::parser parser;
  for (const Mutant& mutant : mutants.all()) {
    judge(mutant);
    read_unvalidated(mutant.text);
    ask_simdjson(parser, mutant);
    good += mutant.verdict == Verdict::good ? 1 : 0;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GE(good, 400U);
  RecordProperty("mutants", std::to_string(mutants.all().size()));
  RecordProperty("good", std::to_string(good));
}

TEST(Mutations, OfTheSizeAreTooLarge) {
  const std::string text = text_of(sample());
  for (std::size_t limit : {std::size_t{0}, std::size_t{1}, text.size() - 1}) {
    try {
      static_cast<void>(core::check_envelope(text, {.bytes = limit}));
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::too_large);
    }
  }
  EXPECT_NO_THROW(static_cast<void>(core::check_envelope(text, {.bytes = text.size()})));
}

}  // namespace
}  // namespace tidings
