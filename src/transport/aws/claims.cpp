// Messages that point to a payload: fetched before they are handed out. See claim.hpp and payloads.hpp.
//
// A store that fails leaves a message to its queue, which gives it back later; what the store can never give any more
// is handed out as damaged, with the pointer's bytes, and the runtime makes a dead letter of it.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/envelope_member.hpp"
#include "transport/aws/subscription.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::size_t guessed_size = 1U << 20, padding = 64;
constexpr std::chrono::milliseconds patience_with_store{5'000}, rest_of_store{1'000};

}  // namespace

// Gives a delivery its bytes, and behind them what is wrong with it.
void AwsSubscription::fill(Held& held, std::string_view bytes, std::string_view damage) {
  const std::size_t behind = bytes.size() + padding;
  const std::shared_ptr<std::byte[]> block(new std::byte[behind + damage.size()]);
  std::memcpy(block.get(), bytes.data(), bytes.size());
  std::memset(block.get() + bytes.size(), 0, padding);
  if (!damage.empty()) std::memcpy(block.get() + behind, damage.data(), damage.size());
  const auto* const text = reinterpret_cast<const char*>(block.get());
  held.delivery.block = block;
  held.delivery.envelope = {text, bytes.size()};
  held.delivery.damaged = !damage.empty();
  held.delivery.damage = {text + behind, damage.size()};
}

// What cannot be followed goes where malformed events go, with its bytes, so that it can be redriven.
void AwsSubscription::refuse_claim(Held held, const std::string& why) {
  store_.environment().log(LogLevel::warning,
                           "aws: a message of " + sources_[held.source].name + " (" + held.message + "): " + why);
  fill(held, held.pointer, why);
  held.delivery.type = {};
  wait_for_turn(std::move(held));
}

void AwsSubscription::take_claim(Held held, std::string pointer) {
  held.pointer = std::move(pointer);
  if (store_.payloads() == nullptr) {
    return refuse_claim(std::move(held),
                        "its payload is not in the message, and this URL names no store to take it from; add "
                        "payloads=file:///FOLDER or payloads=s3://BUCKET/PREFIX, then redrive it");
  }
  Pointer said = read_pointer(store_.payloads()->place(), held.pointer);
  if (!said.refused.empty()) return refuse_claim(std::move(held), said.refused);
  auto claim = std::make_unique<Claim>();
  if (said.bytes == 0) {
    std::from_chars(held.told_size.data(), held.told_size.data() + held.told_size.size(), said.bytes);
  }
  claim->size = said.bytes == 0 ? guessed_size : std::min<std::size_t>(said.bytes, largest_payload);
  claim->pointer = std::move(said);
  claim->held = std::move(held);
  const std::lock_guard lock(mutex_);
  claims_.push_back(std::move(claim));
}

// Whether its bytes fit beside what is held here. The oldest is fetched in any case once nothing fetched waits, so that
// small events cannot hold it back for ever.
bool AwsSubscription::has_room_for(const Claim& claim) const {
  const std::lock_guard lock(mutex_);
  std::size_t taken = bytes_;
  bool others = false;
  for (const auto& each : claims_) {
    if (!each->started) continue;
    others = true;
    taken += each->size;
  }
  for (const auto* const waiting : {&ready_, &alone_}) {
    for (const Held& held : *waiting) {
      others = others || !held.pointer.empty();
      taken += held.delivery.envelope.size();
    }
  }
  return !others || taken + claim.size <= interest_.bytes;
}

void AwsSubscription::start_claims() {
  // Those at whose turn the store is decided at once leave the list meanwhile.
  for (std::size_t i = 0; i < claims_.size();) {
    Claim& claim = *claims_[i];
    if (claim.started) {
      ++i;
    } else if (WaitClock::now() < store_rests_until_) {
      postpone(take_out(claim));
    } else if (!has_room_for(claim)) {
      return;
    } else {
      if (!flight_) flight_ = std::make_unique<Client::Flight>(store_.client());
      claim.started = true;
      const auto patience = patience_with_store + std::chrono::seconds(claim.size >> 20U);
      auto decided = store_.payloads()->get(*flight_, claim.work, claim.pointer.key, WaitClock::now() + patience);
      if (decided) {
        finish_claim(claim, std::move(*decided), true);
      } else {
        ++i;
      }
    }
  }
}

// The fetch's answer, which next() returned. False when it is none of a claim.
bool AwsSubscription::take_payload(const Reply& reply, bool waited_for) {
  const auto found =
      std::find_if(claims_.begin(), claims_.end(), [&](const auto& each) { return &each->work.reply == &reply; });
  if (found == claims_.end()) return false;
  finish_claim(**found, store_.payloads()->outcome((*found)->work), waited_for);
  return true;
}

// While all handlers are busy nobody asks for more, and nobody drives what is under way. What was late for that is
// waited for before others are handed out, or it would be late for ever.
void AwsSubscription::await_late_claims(const std::stop_token& stop) {
  const auto late = [](const auto& each) { return each->started && each->late; };
  while (!stop.stop_requested() && std::any_of(claims_.begin(), claims_.end(), late))
    (void)await(deadline_in(Millis(1'000)), stop);
}

AwsSubscription::Held AwsSubscription::take_out(Claim& claim) {
  const std::lock_guard lock(mutex_);
  Held held = std::move(claim.held);
  std::erase_if(claims_, [&](const auto& each) { return each.get() == &claim; });
  return held;
}

void AwsSubscription::finish_claim(Claim& claim, Payloads::Outcome outcome, bool waited_for) {
  const Pointer pointer = claim.pointer;
  const Fault fault = claim.work.reply.fault;
  if (!waited_for && !claim.late && (fault == Fault::timeout || fault == Fault::passing)) {
    claim.late = true;  // Its store is not to blame.
    claim.started = false;
    return;
  }
  Held held = take_out(claim);
  if (outcome.error && !outcome.gone) {
    if (!store_fails_ && fault != Fault::stopped) {
      store_fails_ = true;
      store_.environment().log(LogLevel::warning, "aws: payloads cannot be fetched, and their messages come again: " +
                                                      std::string(outcome.error->what()));
    }
    // What was refused at once may be one object's; what took its time would hold up others too.
    if (fault != Fault::denied && fault != Fault::stopped) store_rests_until_ = WaitClock::now() + rest_of_store;
    return postpone(std::move(held));
  }
  if (std::exchange(store_fails_, false)) store_.environment().log(LogLevel::info, "aws: payloads are fetched again");
  if (outcome.gone) {
    return refuse_claim(std::move(held),
                        "its payload is gone: " + std::string(outcome.error->what()) + "; publish the event again");
  }
  if (!pointer.sha256.empty() && hex(sha256({outcome.bytes})) != pointer.sha256) {
    return refuse_claim(std::move(held), "its payload " + pointer.key +
                                             " does not have the SHA-256 in its name: it was changed in the store");
  }
  fill(held, outcome.bytes);
  held.delivery.type = core::envelope_text(held.delivery.envelope, "type");
  if (!held.shelf) learn_type(held.source, held.delivery.type);
  wait_for_turn(std::move(held));
  keep_one_suspect();
}

void AwsSubscription::postpone(Held held) {
  if (!held.shelf) return postponed_.push_back(std::move(held));
  const auto pause = pause_before(4, *store_.environment().random);
  unreleased_.push_back({.kind = Settlement::Kind::release, .token = *held.shelf, .after = pause});
}

// Until the shelf has heard of it, it keeps hidden what is no more here.
void AwsSubscription::release_on_shelf() {
  const auto begun = WaitClock::now();
  if (unreleased_.empty() || begun < release_look_) return;
  std::vector<Result> results(unreleased_.size());
  try {
    shelf_->settle(unreleased_, results);
  } catch (const Error&) {
    for (Result& each : results) each.code = ErrorCode::unavailable;
  }
  std::vector<Settlement> left;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].code != ErrorCode::ok && !results[i].stale) left.push_back(unreleased_[i]);
  }
  unreleased_ = std::move(left);
  if (unreleased_.empty()) return;
  release_look_ = deadline_in(std::max(4 * std::chrono::ceil<Millis>(WaitClock::now() - begun), Millis(rest_of_store)));
}

// What was not fetched yet comes again at once, to whoever asks.
void AwsSubscription::give_back_claims() {
  std::vector<std::vector<std::string>> receipts(sources_.size());
  {
    const std::lock_guard lock(mutex_);
    for (const auto& claim : claims_) {
      if (claim->held.shelf) continue;  // It goes back with the shelf's own subscription.
      receipts[claim->held.source].push_back(claim->held.receipt);
      note_returned(claim->held);
    }
    claims_.clear();
  }
  if (std::any_of(receipts.begin(), receipts.end(), [](const auto& each) { return !each.empty(); })) {
    give_back(std::move(receipts));
  }
  tell_postponed();
}

}  // namespace tidings::transport::aws
