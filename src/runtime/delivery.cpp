#include "runtime/delivery.hpp"

#include <algorithm>

namespace tidings::runtime {
namespace {

using Kind = transport::Settlement::Kind;

/// A uniform part of `whole`: 0 to `whole`, both possible.
Millis part_of(Millis whole, std::uint64_t random) noexcept {
  if (whole <= Millis::zero()) return Millis::zero();
  return Millis(static_cast<Millis::rep>(random % (static_cast<std::uint64_t>(whole.count()) + 1)));
}

/// `first` doubled `doublings` times, at most `longest`.
Millis doubled(Millis first, Millis longest, std::uint32_t doublings) noexcept {
  Millis delay = std::max(first, Millis::zero());
  for (std::uint32_t i = 0; i < doublings && delay < longest; ++i) {
    if (delay == Millis::zero()) return delay;
    delay = delay > longest / 2 ? longest : delay * 2;
  }
  return std::min(delay, longest);
}

Verdict failed_attempt(Ending ending, std::uint32_t attempt, Millis after, const HandlerOptions& policy) noexcept {
  if (attempt >= std::max(policy.max_attempts, 1U)) {
    return {Kind::dead, {}, true, ending == Ending::timed_out ? "timed_out" : "attempts_exhausted"};
  }
  return {Kind::again, after, true, {}};
}

std::string_view major(std::string_view version) noexcept { return version.substr(0, version.find('.')); }

bool is_number(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view without_zeros(std::string_view digits) noexcept {
  return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
}

}  // namespace

Millis backoff_delay(const Backoff& backoff, std::uint32_t failures, std::uint64_t random) noexcept {
  const Millis whole = doubled(backoff.first, backoff.longest, failures == 0 ? 0 : failures - 1);
  return backoff.jitter ? part_of(whole, random) : whole;
}

Millis reconnect_delay(std::uint32_t failures, std::uint64_t random) noexcept {
  const Millis whole = doubled(Millis(100), Millis(5'000), failures == 0 ? 0 : failures - 1);
  return whole / 2 + part_of(whole / 2, random);
}

Verdict decide(Ending ending, std::uint32_t attempt, Millis asked, const HandlerOptions& policy,
               std::uint64_t random) noexcept {
  switch (ending) {
    case Ending::returned:
      return {Kind::done, {}, true, {}};
    case Ending::ignored:
      return {Kind::ignored, {}, true, {}};
    // Late enough not to circle between instances, soon enough for a deploy; jittered, so that a backlog spreads.
    case Ending::elsewhere:
      return {Kind::release, Millis(500) + part_of(Millis(1000), random), false, {}};
    case Ending::released:
      return {Kind::release, {}, false, {}};
    case Ending::failed:
    case Ending::timed_out:
      return failed_attempt(ending, attempt, backoff_delay(policy.backoff, attempt, random), policy);
    case Ending::again:
      return failed_attempt(ending, attempt, std::max(asked, Millis::zero()), policy);
    case Ending::rejected:
      return {Kind::dead, {}, true, "rejected"};
    case Ending::undecodable:
      return {Kind::dead, {}, false, "undecodable"};
    case Ending::unsupported:
      return {Kind::dead, {}, false, "unsupported_version"};
    case Ending::crashed:
      return {Kind::dead, {}, false, "crashed"};
  }
  return {Kind::release, {}, false, {}};
}

bool version_supported(std::string_view handler, std::string_view event) noexcept {
  if (handler.empty() || handler == event) return true;
  const std::string_view ours = major(handler), theirs = major(event);
  if (!is_number(ours) || !is_number(theirs)) return ours == theirs;
  const std::string_view a = without_zeros(ours), b = without_zeros(theirs);
  return a.size() != b.size() ? b.size() < a.size() : b <= a;
}

}  // namespace tidings::runtime
