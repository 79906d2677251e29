#include "transport/aws/retry.hpp"

#include <algorithm>
#include <charconv>

#include <tidings/detail/json_reader.hpp>
#include <tidings/error.hpp>

#include "transport/aws/xml.hpp"

namespace tidings::transport::aws {
namespace {

struct Meaning {
  std::string_view name;
  Fault fault;
};

// The older spellings of SQS stand beside the newer.
constexpr Meaning meanings[] = {
    {"AccessDenied", Fault::denied},
    {"AccessDeniedException", Fault::denied},
    {"AuthFailure", Fault::denied},
    {"AuthorizationError", Fault::denied},
    {"AuthorizationErrorException", Fault::denied},
    {"IncompleteSignature", Fault::denied},
    {"InvalidAccessKeyId", Fault::denied},
    {"InvalidClientTokenId", Fault::denied},
    {"InvalidSecurity", Fault::denied},
    {"KMSAccessDenied", Fault::denied},
    {"KMSAccessDeniedException", Fault::denied},
    {"KmsAccessDenied", Fault::denied},
    {"MissingAuthenticationToken", Fault::denied},
    {"MissingAuthenticationTokenException", Fault::denied},
    {"NotAuthorized", Fault::denied},
    {"OptInRequired", Fault::denied},
    {"UnauthorizedException", Fault::denied},
    {"UnrecognizedClientException", Fault::denied},
    {"AWS.SimpleQueueService.NonExistentQueue", Fault::not_found},
    {"NotFound", Fault::not_found},
    {"NotFoundException", Fault::not_found},
    {"QueueDoesNotExist", Fault::not_found},
    {"ResourceNotFound", Fault::not_found},
    {"ResourceNotFoundException", Fault::not_found},
    {"AWS.SimpleQueueService.QueueDeletedRecently", Fault::conflict},
    {"QueueAlreadyExists", Fault::conflict},
    {"QueueDeletedRecently", Fault::conflict},
    {"QueueNameExists", Fault::conflict},
    {"FilterPolicyLimitExceeded", Fault::full},
    {"FilterPolicyLimitExceededException", Fault::full},
    {"OverLimit", Fault::full},
    {"SubscriptionLimitExceeded", Fault::full},
    {"SubscriptionLimitExceededException", Fault::full},
    {"TopicLimitExceeded", Fault::full},
    {"TopicLimitExceededException", Fault::full},
    {"AWS.SimpleQueueService.BatchRequestTooLong", Fault::too_large},
    {"BatchRequestTooLong", Fault::too_large},
    {"BatchRequestTooLongException", Fault::too_large},
    {"RequestEntityTooLarge", Fault::too_large},
    {"AWS.SimpleQueueService.MessageNotInflight", Fault::stale},
    {"MessageNotInflight", Fault::stale},
    {"ReceiptHandleIsInvalid", Fault::stale},
    {"AWS.SimpleQueueService.UnsupportedOperation", Fault::unsupported},
    {"InvalidAction", Fault::unsupported},
    {"UnknownOperationException", Fault::unsupported},
    {"UnsupportedOperation", Fault::unsupported},
    {"ExpiredToken", Fault::expired},
    {"ExpiredTokenException", Fault::expired},
    {"InvalidSignatureException", Fault::skewed},
    {"RequestExpired", Fault::skewed},
    {"RequestInTheFuture", Fault::skewed},
    {"RequestTimeTooSkewed", Fault::skewed},
    {"SignatureDoesNotMatch", Fault::skewed},
    {"BandwidthLimitExceeded", Fault::throttled},
    {"EC2ThrottledException", Fault::throttled},
    {"KMSThrottling", Fault::throttled},
    {"KMSThrottlingException", Fault::throttled},
    {"KmsThrottled", Fault::throttled},
    {"LimitExceededException", Fault::throttled},
    {"PriorRequestNotComplete", Fault::throttled},
    {"ProvisionedThroughputExceededException", Fault::throttled},
    {"RequestLimitExceeded", Fault::throttled},
    {"RequestThrottled", Fault::throttled},
    {"RequestThrottledException", Fault::throttled},
    {"SlowDown", Fault::throttled},
    {"ThrottledException", Fault::throttled},
    {"TooManyRequestsException", Fault::throttled},
    {"TransactionInProgressException", Fault::throttled},
    {"InternalError", Fault::passing},
    {"InternalErrorException", Fault::passing},
    {"InternalFailure", Fault::passing},
    {"InternalServerError", Fault::passing},
    {"RequestTimeout", Fault::passing},
    {"RequestTimeoutException", Fault::passing},
    {"ServiceUnavailable", Fault::passing},
    {"ServiceUnavailableException", Fault::passing},
    {"AWS.SimpleQueueService.InternalError", Fault::passing},
    {"IDPCommunicationError", Fault::passing},
};

Fault fault_named(std::string_view code) noexcept {
  if (code.starts_with("Throttling")) return Fault::throttled;
  for (const Meaning& each : meanings) {
    if (each.name == code) return each.fault;
  }
  return Fault::none;
}

/// A shape's name without its namespace and without the address that some services append.
std::string_view bare(std::string_view code) noexcept {
  if (const std::size_t hash = code.find('#'); hash != std::string_view::npos) code.remove_prefix(hash + 1);
  return code.substr(0, code.find(':'));
}

struct JsonRefusal {
  std::string type{}, code{}, message{}, description{};
};

void read_member(detail::JsonValue& value, const detail::JsonPath& path, void* target) {
  JsonRefusal& out = *static_cast<JsonRefusal*>(target);
  constexpr std::pair<std::string_view, std::string JsonRefusal::*> known[] = {
      {"__type", &JsonRefusal::type},
      {"code", &JsonRefusal::code},
      {"Code", &JsonRefusal::code},
      {"error", &JsonRefusal::code},
      {"message", &JsonRefusal::message},
      {"Message", &JsonRefusal::message},
      {"error_description", &JsonRefusal::description}};
  for (const auto& [name, member] : known) {
    if (path.key == name && detail::kind_of(value, path) == detail::JsonKind::string) {
      return detail::read_string(value, path, out.*member);
    }
  }
}

}  // namespace

Refusal read_json_refusal(int status, std::string_view body, std::string_view query_error) {
  JsonRefusal read;
  try {
    const std::string padded = detail::padded_copy(body);
    detail::read_document(
        std::string_view(padded).substr(0, body.size()),
        [](detail::JsonValue& value, const detail::JsonPath& path, void* target) {
          detail::read_entries(value, path, read_member, target);
        },
        &read);
  } catch (const Error&) {  // What stands between us and AWS answers in HTML.
    read = {};
  }
  Refusal out{.status = status};
  out.code = bare(read.type.empty() ? read.code : read.type);
  out.message = read.message.empty() ? read.description : read.message;
  out.query_code = query_error.substr(0, query_error.find(';'));
  if (out.code.empty()) out.code = out.query_code;
  return out;
}

Refusal read_xml_refusal(int status, std::string_view body) {
  Refusal out{.status = status};
  const std::optional<XmlElement> root = parse_xml(body);
  if (!root) return out;
  const XmlElement* error = root->name == "Error" ? &*root : root->find("Error");
  if (error == nullptr) error = root->find("Errors/Error");
  if (error == nullptr) return out;
  out.code = bare(error->at("Code"));
  out.message = error->at("Message");
  out.request_id = root->at("RequestId");
  return out;
}

Fault fault_of(const Refusal& refusal) noexcept {
  if (refusal.status >= 200 && refusal.status < 300) return Fault::none;
  for (const std::string_view code : {std::string_view(refusal.code), std::string_view(refusal.query_code)}) {
    if (const Fault fault = fault_named(code); fault != Fault::none) return fault;
  }
  switch (refusal.status) {
    case 429:
      return Fault::throttled;
    case 401:
    case 403:
      return Fault::denied;
    case 404:
      return Fault::not_found;
    case 413:
      return Fault::too_large;
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
      return Fault::passing;
    default:
      return Fault::sender;
  }
}

Fault fault_of_entry(std::string_view code, bool sender_fault) noexcept {
  const Fault named = fault_named(bare(code));
  // The flag is AWS's own word on whether repeating helps; the name only says more.
  if (sender_fault) return named == Fault::none || may_pass(named) ? Fault::sender : named;
  return named == Fault::throttled ? named : Fault::passing;
}

Millis wait_before(unsigned repetition, Fault fault, Random& random, Millis at_least, const Backoff& backoff) noexcept {
  const Millis first = fault == Fault::throttled ? backoff.throttled : backoff.first;
  Millis bound = std::min(first, backoff.longest);
  for (unsigned i = 1; i < repetition && bound < backoff.longest; ++i) bound = std::min(bound * 2, backoff.longest);
  const auto choices = static_cast<std::uint64_t>(bound.count()) + 1;
  return std::max(Millis(static_cast<std::int64_t>(random.next() % choices)), at_least);
}

Millis retry_after(std::string_view header) noexcept {
  constexpr std::int64_t longest = 60;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (error != std::errc() || end != header.data() + header.size() || seconds < 0) return Millis(0);
  return std::chrono::seconds(std::min(seconds, longest));
}

}  // namespace tidings::transport::aws
