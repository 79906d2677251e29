// What AWS said when it refused, what that means, and how long to wait before asking again. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tidings/id.hpp>
#include <tidings/time.hpp>

namespace tidings::transport::aws {

/// A refusal, in AWS's words.
struct Refusal {
  int status = 0;
  std::string code{};        ///< `QueueDoesNotExist`, without what stands before its `#`.
  std::string query_code{};  ///< The older spelling, where SQS adds it: `AWS.SimpleQueueService.NonExistentQueue`.
  std::string message{};
  std::string request_id{};

  /// Whether it is called so in either spelling.
  [[nodiscard]] bool is(std::string_view name) const noexcept { return code == name || query_code == name; }
};

/// What kind of refusal, or silence, it is.
enum class Fault : std::uint8_t {
  none,
  passing,    ///< AWS failed, or could not be reached: the same request may pass later.
  throttled,  ///< Too much at once. Nothing was done.
  skewed,     ///< AWS's clock, or its reading of the signature, differs: sign again with its time.
  expired,    ///< The keys were lent and their time is over: get new ones.
  denied,     ///< The keys are unknown, or may not do this.
  not_found,  ///< The queue, topic or subscription does not exist.
  conflict,   ///< It exists otherwise, or was deleted a moment ago.
  full,       ///< A limit of the account or of the queue.
  too_large,
  stale,  ///< A receipt handle that is not, or not any more, one of a message in flight.
  unsupported,
  sender,   ///< The request is wrong otherwise. Repeating it cannot help.
  timeout,  ///< The deadline passed first.
  stopped,
};

/// Reads what SQS, SSO and the credential endpoints say: JSON with `__type`, and the header `x-amzn-query-error`.
[[nodiscard]] Refusal read_json_refusal(int status, std::string_view body, std::string_view query_error);
/// Reads what SNS and STS say: XML with `Error/Code`.
[[nodiscard]] Refusal read_xml_refusal(int status, std::string_view body);

/// What a refusal means.
[[nodiscard]] Fault fault_of(const Refusal& refusal) noexcept;
/// What an entry of a batch that failed means: `sender_fault` as AWS says it.
[[nodiscard]] Fault fault_of_entry(std::string_view code, bool sender_fault) noexcept;
/// Whether the same request, unchanged, may pass later.
[[nodiscard]] constexpr bool may_pass(Fault fault) noexcept {
  return fault == Fault::passing || fault == Fault::throttled || fault == Fault::skewed || fault == Fault::expired;
}

/// How long between repetitions.
struct Backoff {
  Millis first{25}, throttled{150};  ///< The largest wait before the first repetition; it doubles with each.
  Millis longest{5'000};
};

/// A wait before repetition `repetition` (1 is the first): uniform between nothing and a bound that grows; at least
/// `at_least`, which AWS asked for.
[[nodiscard]] Millis wait_before(unsigned repetition, Fault fault, Random& random, Millis at_least = Millis(0),
                                 const Backoff& backoff = {}) noexcept;

/// What a `Retry-After` in seconds asks for; nothing for anything else.
[[nodiscard]] Millis retry_after(std::string_view header) noexcept;

}  // namespace tidings::transport::aws
