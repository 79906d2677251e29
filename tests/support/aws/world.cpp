#include "world.hpp"

#include <algorithm>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

bool names(const std::string& ordered, const std::string& operation) { return ordered == "*" || ordered == operation; }

/// Takes one of what was ordered for a call and satisfies `also`.
template <class List, class Also>
auto take(List& list, const std::string& operation, Also&& also) {
  using What = decltype(list.front().what);
  std::optional<What> taken;
  const auto found = std::find_if(
      list.begin(), list.end(), [&](const auto& each) { return names(each.operation, operation) && also(each.what); });
  if (found == list.end()) return taken;
  taken = found->what;
  if (--found->left <= 0) list.erase(found);
  return taken;
}

}  // namespace

SqsCode sqs_code(const std::string& code) {
  static const std::string sqs = "com.amazonaws.sqs#", common = "com.amazon.coral.service#",
                           query = "AWS.SimpleQueueService.";
  // Codes that the query protocol spells with a prefix.
  static const std::set<std::string> prefixed{
      "QueueDeletedRecently", "PurgeQueueInProgress",     "MessageNotInflight",
      "EmptyBatchRequest",    "BatchEntryIdsNotDistinct", "TooManyEntriesInBatchRequest",
      "BatchRequestTooLong",  "InvalidBatchEntryId",      "UnsupportedOperation"};
  static const std::set<std::string> plain{"OverLimit",
                                           "ReceiptHandleIsInvalid",
                                           "InvalidMessageContents",
                                           "InvalidAttributeName",
                                           "InvalidAttributeValue",
                                           "InvalidIdFormat",
                                           "RequestThrottled",
                                           "ResourceNotFoundException",
                                           "KmsAccessDenied",
                                           "KmsThrottled"};
  static const std::map<std::string, std::string> renamed{{"InvalidParameterValueException", "InvalidParameterValue"},
                                                          {"MissingRequiredParameterException", "MissingParameter"},
                                                          {"AccessDeniedException", "AccessDenied"},
                                                          {"UnrecognizedClientException", "InvalidClientTokenId"},
                                                          {"InvalidSignatureException", "SignatureDoesNotMatch"},
                                                          {"ExpiredTokenException", "ExpiredToken"},
                                                          {"IncompleteSignatureException", "IncompleteSignature"},
                                                          {"UnknownOperationException", "InvalidAction"},
                                                          {"SerializationException", "MalformedInput"}};
  if (code == "QueueDoesNotExist") return {sqs + code, query + "NonExistentQueue"};
  if (code == "QueueNameExists") return {sqs + code, "QueueAlreadyExists"};
  if (prefixed.contains(code)) return {sqs + code, query + code};
  if (plain.contains(code)) return {sqs + code, code};
  const auto found = renamed.find(code);
  return {common + code, found == renamed.end() ? code : found->second};
}

void refuse_parameter(const std::string& message) { throw Refusal{400, "InvalidParameterValueException", message, {}}; }

void refuse_missing(const std::string& name) {
  throw Refusal{400, "MissingRequiredParameterException", "The request must contain the parameter " + name + ".", {}};
}

void Faults::fail(const std::string& operation, int times, AwsFailure failure) {
  if (times > 0) failures_.push_back({operation, times, std::move(failure)});
}

void Faults::fail_entries(const std::string& operation,
                          std::function<bool(const std::string&, const std::string&)> which, AwsEntryFailure failure,
                          int times) {
  if (times > 0) entries_.push_back({operation, times, {std::move(which), std::move(failure)}});
}

void Faults::drop(const std::string& operation, int times, AwsDrop when) {
  if (times > 0) drops_.push_back({operation, times, when});
}

std::optional<AwsFailure> Faults::take_failure(const std::string& operation) {
  return take(failures_, operation, [](const AwsFailure&) { return true; });
}

std::optional<AwsEntryFailure> Faults::take_entry_failure(const std::string& operation, const std::string& id,
                                                          const std::string& body) {
  const auto taken = take(entries_, operation, [&](const Entries& each) { return each.which(id, body); });
  return taken ? std::optional(taken->failure) : std::nullopt;
}

bool Faults::take_drop(const std::string& operation, AwsDrop when) {
  return take(drops_, operation, [when](AwsDrop each) { return each == when; }).has_value();
}

std::string Faults::checked(std::string text) {
  if (corrupt == 0) return text;
  --corrupt;
  text.front() = text.front() == '0' ? '1' : '0';
  return text;
}

World::World(AwsStubOptions from) : options(std::move(from)) {
  if (!options.now) options.now = [] { return std::chrono::floor<Millis>(std::chrono::system_clock::now()); };
}

// SQS writes the action in lower case, SNS with its own name in capitals.
void World::authorize(const Call& call, const std::string& action, const std::string& resource) const {
  const bool refused = std::any_of(faults.denied.begin(), faults.denied.end(), [&](const Faults::Denied& each) {
    return matches(lower(each.action), lower(action)) && matches(each.resource, resource);
  });
  if (!refused) return;
  if (action.starts_with("s3:")) throw Refusal{403, "AccessDenied", "Access Denied", {}};
  const bool sqs = action.starts_with("sqs:");
  const std::string said = sqs ? lower(action) : "SNS" + action.substr(3);
  throw Refusal{403,
                sqs ? "AccessDeniedException" : "AuthorizationError",
                "User: " + call.principal + " is not authorized to perform: " + said + " on resource: " + resource +
                    " because no identity-based policy allows the " + said + " action",
                {}};
}

// Time on the injected clock passes as it likes, so a wait is as long as the clock says now, and its owner looks again.
bool World::await_change(std::unique_lock<std::mutex>& lock, Wall until) {
  constexpr Millis longest = std::chrono::hours(1);
  if (stopping) return false;
  const Millis left = std::min<Millis>(until - now(), longest);
  if (left > Millis::zero()) change.wait_for(lock, left);
  return !stopping;
}

}  // namespace tidings::support::aws
