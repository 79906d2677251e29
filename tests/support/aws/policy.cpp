#include "policy.hpp"

#include <algorithm>
#include <map>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

/// One text, or a list of them; nothing for all else.
std::optional<std::vector<std::string>> texts_of(const Json* value) {
  std::vector<std::string> out;
  if (value == nullptr) return std::nullopt;
  if (const std::string* one = value->string()) return std::vector<std::string>{*one};
  if (value->elements() == nullptr) return std::nullopt;
  for (const Json& each : *value->elements()) {
    if (each.string() == nullptr) return std::nullopt;
    out.push_back(*each.string());
  }
  return out;
}

bool any_matches(const std::vector<std::string>& patterns, const std::string& text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& each) { return matches(each, text); });
}

bool is_topics_service(const Json& principal) {
  if (const std::string* everybody = principal.string()) return *everybody == "*";
  for (const char* kind : {"Service", "AWS"}) {
    const auto names = texts_of(principal.find(kind));
    if (!names) continue;
    const std::string wanted = std::string(kind) == "Service" ? "sns.amazonaws.com" : "*";
    if (std::find(names->begin(), names->end(), wanted) != names->end()) return true;
  }
  return false;
}

/// Wildcards of ARNs stay between colons.
bool arn_matches(const std::string& pattern, const std::string& arn) {
  const std::vector<std::string> wanted = split(pattern, ':'), parts = split(arn, ':');
  return wanted.size() == parts.size() &&
         std::equal(wanted.begin(), wanted.end(), parts.begin(),
                    [](const std::string& left, const std::string& right) { return matches(left, right); });
}

// ArnEquals and ArnLike mean the same. A condition that this stand-in does not know is not met, so that nobody relies
// on it.
bool met(const Json& condition, const std::map<std::string, std::string>& context) {
  if (condition.members() == nullptr) return condition.is_null();
  for (const auto& [kind, keys] : *condition.members()) {
    const auto fits = [&kind = kind](const std::string& wanted, const std::string& known) {
      if (kind == "ArnEquals" || kind == "ArnLike") return arn_matches(wanted, known);
      return kind == "StringLike" ? matches(wanted, known) : kind == "StringEquals" && wanted == known;
    };
    if (keys.members() == nullptr) return false;
    for (const auto& [key, value] : *keys.members()) {
      const auto known = context.find(lower(key));
      const auto wanted = texts_of(&value);
      if (known == context.end() || !wanted) return false;
      if (std::none_of(wanted->begin(), wanted->end(),
                       [&](const std::string& each) { return fits(each, known->second); })) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

std::optional<Policy> Policy::parse(const std::string& text) {
  const auto json = Json::parse(text);
  const Json* version = json ? json->find("Version") : nullptr;
  const Json* list = json ? json->find("Statement") : nullptr;
  if (list == nullptr || (version != nullptr && version->string() == nullptr)) return std::nullopt;
  if (version != nullptr && *version->string() != "2012-10-17" && *version->string() != "2008-10-17")
    return std::nullopt;
  const Json::Array one{*list};
  Policy policy;
  for (const Json& each : list->elements() != nullptr ? *list->elements() : one) {
    const Json* effect = each.find("Effect");
    const Json* principal = each.find("Principal");
    auto actions = texts_of(each.find("Action"));
    auto resources = texts_of(each.find("Resource"));
    if (effect == nullptr || effect->string() == nullptr || principal == nullptr || !actions || !resources)
      return std::nullopt;
    if (*effect->string() != "Allow" && *effect->string() != "Deny") return std::nullopt;
    const Json* condition = each.find("Condition");
    policy.statements_.push_back({*effect->string() == "Allow", *principal, condition == nullptr ? Json() : *condition,
                                  std::move(*actions), std::move(*resources)});
  }
  return policy;
}

bool Policy::lets_deliver(const std::string& queue_arn, const std::string& topic_arn,
                          const std::string& account) const {
  const std::map<std::string, std::string> context{{"aws:sourcearn", topic_arn}, {"aws:sourceaccount", account}};
  bool allowed = false;
  for (const Statement& each : statements_) {
    std::vector<std::string> actions;
    for (const std::string& action : each.actions) actions.push_back(lower(action));
    if (!any_matches(actions, "sqs:sendmessage") || !any_matches(each.resources, queue_arn)) continue;
    if (!is_topics_service(each.principal) || !met(each.condition, context)) continue;
    if (!each.allows) return false;
    allowed = true;
  }
  return allowed;
}

}  // namespace tidings::support::aws
