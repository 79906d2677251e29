#include "transport/aws/policy.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <tidings/detail/json_reader.hpp>
#include <tidings/error.hpp>
#include <tidings/json.hpp>
#include <vector>

namespace tidings::transport::aws {
namespace {

using detail::JsonKind;
using detail::JsonPath;
using detail::JsonValue;

// SNS: at most 150 combinations of values in one filter.
constexpr std::size_t most_types = 150;

using Members = std::vector<std::pair<std::string, std::string>>;

// The members of an object in their order, as text; throws Error for anything else.
Members members_of(std::string_view text) {
  Members members;
  const std::string padded = detail::padded_copy(text);
  detail::read_document(
      std::string_view(padded).substr(0, text.size()),
      [](JsonValue& value, const JsonPath& path, void* target) {
        read_entries(
            value, path,
            [](JsonValue& member, const JsonPath& at, void* all) {
              static_cast<Members*>(all)->emplace_back(at.key, read_raw(member, at));
            },
            target);
      },
      &members);
  return members;
}

// The elements of an array as text; a value that is none counts as its only element, as in IAM's language.
std::vector<std::string> elements_of(std::string_view text) {
  std::vector<std::string> elements;
  const std::string padded = detail::padded_copy(text);
  detail::read_document(
      std::string_view(padded).substr(0, text.size()),
      [](JsonValue& value, const JsonPath& path, void* target) {
        auto& all = *static_cast<std::vector<std::string>*>(target);
        if (kind_of(value, path) != JsonKind::array) {
          all.emplace_back(read_raw(value, path));
          return;
        }
        read_elements(
            value, path,
            [](JsonValue& element, const JsonPath& at, void* each) {
              static_cast<std::vector<std::string>*>(each)->emplace_back(read_raw(element, at));
            },
            target);
      },
      &elements);
  return elements;
}

// What one or several strings say; what is no string is left out.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string& element : elements_of(text)) {
    if (auto word = Json(element).as_string()) words.push_back(std::move(*word));
  }
  return words;
}

std::string word_of(std::string_view text) { return Json(std::string(text)).as_string().value_or(std::string()); }

bool equal_but_for_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

// `*` stands for any text, `?` for any character.
bool matches_pattern(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    for (std::size_t skipped = 0; skipped <= text.size(); ++skipped) {
      if (matches_pattern(pattern.substr(1), text.substr(skipped))) return true;
    }
    return false;
  }
  if (text.empty() || (pattern.front() != '?' && pattern.front() != text.front())) return false;
  return matches_pattern(pattern.substr(1), text.substr(1));
}

std::map<std::string, std::string> map_of(std::string_view object) {
  const auto members = members_of(object);
  return {members.begin(), members.end()};
}

bool names_sns(const std::string& principal) {
  if (word_of(principal) == "*") return true;
  if (principal.empty() || principal.front() != '{') return false;
  for (const auto& [kind, value] : map_of(principal)) {
    for (const std::string& word : words_of(value)) {
      if (word == "*" || (kind == "Service" && word == "sns.amazonaws.com")) return true;
    }
  }
  return false;
}

// Whether the conditions hold when this topic sends; one that we do not know does not.
bool holds_for(const std::string& conditions, std::string_view topic_arn) {
  for (const auto& [test, keys] : map_of(conditions)) {
    const bool pattern = test == "ArnLike" || test == "StringLike" || test == "ArnEquals";
    if (!pattern && test != "StringEquals") return false;
    for (const auto& [key, value] : map_of(keys)) {
      if (!equal_but_for_case(key, "aws:SourceArn")) return false;
      const auto words = words_of(value);
      const bool any = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        return pattern ? matches_pattern(word, topic_arn) : word == topic_arn;
      });
      if (!any) return false;
    }
  }
  return true;
}

bool lets(const std::string& statement, std::string_view queue_arn, std::string_view topic_arn) {
  auto members = map_of(statement);
  const auto actions = words_of(members["Action"].empty() ? "[]" : members["Action"]);
  const auto resources = words_of(members["Resource"].empty() ? "[]" : members["Resource"]);
  const bool acts = std::any_of(actions.begin(), actions.end(), [](const std::string& action) {
    return action == "*" || equal_but_for_case(action, "sqs:*") || equal_but_for_case(action, "sqs:SendMessage");
  });
  const bool here = std::any_of(resources.begin(), resources.end(),
                                [&](const std::string& resource) { return matches_pattern(resource, queue_arn); });
  const std::string conditions = members["Condition"].empty() ? "{}" : members["Condition"];
  return word_of(members["Effect"]) == "Allow" && acts && here && names_sns(members["Principal"]) &&
         holds_for(conditions, topic_arn);
}

std::string quoted(std::string_view text) { return Json::string(text).text(); }

// Our statement's name: one topic sends to one of our queues.
constexpr std::string_view statement_name = "TidingsTopic";

std::string statement_for(std::string_view queue_arn, std::string_view topic_arn) {
  return R"({"Sid":)" + quoted(statement_name) +
         R"(,"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":)" +
         quoted(queue_arn) + R"(,"Condition":{"ArnEquals":{"aws:SourceArn":)" + quoted(topic_arn) + "}}}";
}

bool is_ours(const std::string& statement) {
  auto members = map_of(statement);
  return word_of(members["Sid"].empty() ? "null" : members["Sid"]) == statement_name;
}

}  // namespace

bool lets_topic_send(std::string_view policy, std::string_view queue_arn, std::string_view topic_arn) {
  if (policy.empty()) return false;
  try {
    auto document = map_of(policy);
    if (document["Statement"].empty()) return false;
    const auto statements = elements_of(document["Statement"]);
    return std::any_of(statements.begin(), statements.end(),
                       [&](const std::string& each) { return lets(each, queue_arn, topic_arn); });
  } catch (const Error&) {
    return false;  // Whatever it says, AWS would not understand it either.
  }
}

std::string with_topic(std::string_view policy, std::string_view queue_arn, std::string_view topic_arn) {
  const std::string ours = statement_for(queue_arn, topic_arn);
  if (policy.empty()) return R"({"Version":"2012-10-17","Statement":[)" + ours + "]}";
  try {
    std::string out = "{";
    bool added = false;
    for (const auto& [name, value] : members_of(policy)) {
      out += (out.size() > 1 ? "," : "") + quoted(name) + ":";
      if (name != "Statement") {
        out += value;
        continue;
      }
      out += '[';
      for (const std::string& statement : elements_of(value)) {
        if (!is_ours(statement)) out += statement + ",";
      }
      out += ours + "]";
      added = true;
    }
    if (!added) out += (out.size() > 1 ? "," : "") + std::string(R"("Statement":[)") + ours + "]";
    return out + "}";
  } catch (const Error& error) {
    throw Error(ErrorCode::conflict, "the access policy of " + std::string(queue_arn) +
                                         " is not understood, and is left as it is (" + error.what() +
                                         "); mend or remove it, then start again");
  }
}

std::optional<Redrive> read_redrive(std::string_view text) {
  if (text.empty()) return std::nullopt;
  try {
    Redrive redrive;
    for (const auto& [name, value] : members_of(text)) {
      if (name == "deadLetterTargetArn") redrive.target = word_of(value);
      // AWS gives a number back, and takes a string as well.
      if (name == "maxReceiveCount") {
        for (const char c : value) {
          if (c >= '0' && c <= '9') redrive.receives = redrive.receives * 10 + static_cast<std::uint32_t>(c - '0');
        }
      }
    }
    if (!redrive.target.empty()) return redrive;
  } catch (const Error&) {
  }
  return std::nullopt;
}

std::string write_redrive(const Redrive& redrive) {
  std::string out = R"({"deadLetterTargetArn":)" + quoted(redrive.target);
  if (redrive.receives > 0) out += R"(,"maxReceiveCount":)" + std::to_string(redrive.receives);
  return out + "}";
}

std::optional<std::set<std::string>> read_filter(std::string_view text) {
  if (text.empty()) return std::nullopt;
  try {
    const auto members = members_of(text);
    if (members.size() != 1 || members.front().first != "type") return std::nullopt;
    const auto words = words_of(members.front().second);
    if (words.size() != elements_of(members.front().second).size()) return std::nullopt;
    return std::set<std::string>(words.begin(), words.end());
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string write_filter(const std::set<std::string>& types) {
  if (types.empty() || types.size() > most_types || types.contains("*")) return {};
  std::string out = R"({"type":[)";
  for (const std::string& type : types) out += (out.ends_with('[') ? "" : ",") + quoted(type);
  return out + "]}";
}

}  // namespace tidings::transport::aws
