#include "transport/aws/subscription.hpp"

#include <algorithm>
#include <atomic>
#include <set>
#include <tidings/stream.hpp>

#include "core/interest.hpp"
#include "transport/aws/visibility.hpp"

namespace tidings::transport::aws {
namespace {

// Two instances that start at once may each write the filter as they found it, and the later one's stands; so do two
// services that take one command.
constexpr Millis races_are_over{15'000};
constexpr unsigned longest_seconds = 43'200;  // SQS: a message stays hidden for 12 h at most, from its receive on.

}  // namespace

AwsSubscription::AwsSubscription(Store& store, const Interest& interest)
    : store_(store), interest_(interest), started_(now()) {
  static std::atomic<std::uint32_t> epochs{0};
  epoch_ = ++epochs;
  core::check_interest(interest_);
  if (interest_.lease > longest_hidden) {
    throw Error(ErrorCode::not_supported,
                "aws: a lease is at most 12 h, counted from when a message is received; ask for less");
  }
  for (const std::string& stream : interest_.streams) {
    Source& source = sources_.emplace_back();
    source.stream = stream;
    source.group = group_of(stream, interest_.service);
    join(source);
    source.name = source.queue.name;
    source.url = source.queue.url;
    source.dead_url = source.queue.dead_url;
  }
  filters_look_ = now() + races_are_over;
  if (store_.shelf() == nullptr) return;
  Interest aside = interest_;
  aside.start.kind = Start::Kind::end;
  // What comes from there is held here too, until it is handed out.
  aside.events = std::max<std::size_t>(interest_.events / 8, 1);
  shelf_ = store_.shelf()->subscribe(aside);
  shelf_renewed_ = now();
}

void AwsSubscription::join(Source& source) {
  source.queue = store_.topology().join(source.stream, interest_.service, interest_.types, deadline_in(Millis(60'000)));
  know_types(source);
}

// Without a shelf, the filter is what knows of other instances' types.
void AwsSubscription::know_types(const Source& source) {
  if (store_.shelf() != nullptr || (!source.queue.filter && !source.queue.everything)) return;
  std::set<std::string> all(interest_.types.begin(), interest_.types.end());
  if (types_) all.insert(types_->begin(), types_->end());
  if (source.queue.filter) all.insert(source.queue.filter->begin(), source.queue.filter->end());
  if (source.queue.everything) all.insert("*");
  types_ = std::make_shared<const std::vector<std::string>>(all.begin(), all.end());
}

// A type that nobody was known to handle may be that of an instance that joined since; that one widened the filter.
void AwsSubscription::learn_type(std::uint32_t source, std::string_view type) {
  if (store_.shelf() != nullptr || !types_ || type.empty() || WaitClock::now() < types_look_) return;
  const auto known = [&](std::string_view name) { return std::binary_search(types_->begin(), types_->end(), name); };
  if (known(type) || known("*")) return;
  types_look_ = deadline_in(Millis(1'000));
  if (is_command_stream(sources_[source].stream)) return;
  try {
    sources_[source].queue.filter =
        store_.topology().filter_of(sources_[source].stream, sources_[source].queue, deadline_in(patience));
    know_types(sources_[source]);
  } catch (const Error& error) {
    // What was received is handed out all the same.
    store_.environment().log(LogLevel::warning,
                             std::string("aws: which types others handle is not known: ") + error.what());
  }
}

// Once, when those that started beside this instance have written what they wanted.
void AwsSubscription::look_at_filters() {
  if (now() < filters_look_) return;
  filters_look_ = Steady::max();
  for (Source& source : sources_) {
    try {
      store_.topology().look_again(source.stream, source.queue, interest_.service, interest_.types,
                                   deadline_in(patience));
      know_types(source);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::conflict) throw;  // Another took the same command in the same moment.
      store_.environment().log(LogLevel::warning, std::string("aws: whether a filter still lets all through that this "
                                                              "service handles is not known: ") +
                                                      error.what());
    }
  }
}

AwsSubscription::~AwsSubscription() {
  try {
    end_polls();
    give_back(true);
  } catch (...) {
    // What could not be given back comes again when its time is over.
  }
}

// How long SQS lets it stay hidden: 12 h from its receive, less a moment for the way there.
std::int64_t AwsSubscription::seconds_left(const Held& held, Steady at) {
  return std::chrono::floor<std::chrono::seconds>(held.received + longest_hidden - at).count() - 1;
}

unsigned AwsSubscription::lease_seconds() const {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(interest_.lease).count();
  return static_cast<unsigned>(std::clamp<std::int64_t>(seconds, 1, longest_seconds));
}

// All that is held is hidden for another lease, as far as 12 h from its receive allow.
std::vector<AckToken> AwsSubscription::renew() {
  std::vector<AckToken> lost;
  std::vector<Renewal> renewals;
  std::optional<Error> failure;
  {
    const std::lock_guard visibility(visibility_);
    renewals = renewals_due(lost);
    failure = hide_again(renewals, lost);
  }
  renew_on_shelf(lost);
  const std::lock_guard lock(mutex_);
  std::unordered_map<std::string_view, Steady> renewed;
  for (const Renewal& each : renewals) {
    if (each.done) renewed.emplace(each.receipt, each.until);
  }
  const auto note = [&](Held& held) {
    if (const auto found = renewed.find(held.receipt); found != renewed.end())
      held.until = std::max(held.until, found->second);
  };
  for (auto& [serial, held] : ledger_) note(held);
  for (auto* const waiting : {&ready_, &alone_}) std::for_each(waiting->begin(), waiting->end(), note);
  for (const auto& claim : claims_) note(claim->held);
  // What was settled meanwhile is no loss, nor what AWS has deleted for a settlement that does not know it yet.
  const auto is_being_settled = [&](const AckToken& token) {
    const auto found = ledger_.find(token.lease);
    return found != ledger_.end() && found->second.naming;
  };
  std::erase_if(lost, [&](const AckToken& token) { return is_being_settled(token) || !forget(token.lease); });
  settled_.notify_all();
  // What is lost is told in any case; a failure is told when there is nothing else to tell.
  if (failure && lost.empty()) throw Error(*failure);
  return lost;
}

// A shelf that is away is no reason to end what came out of the queues; and what came off it is ours as long as nobody
// else may have it.
void AwsSubscription::renew_on_shelf(std::vector<AckToken>& lost) {
  if (!shelf_) return;
  const Steady asked = now();
  std::optional<std::vector<AckToken>> gone;
  try {
    gone = shelf_->renew();
  } catch (const Error& error) {
    if (!error.retryable()) throw;
  }
  const std::lock_guard lock(mutex_);
  if (gone) shelf_renewed_ = std::max(shelf_renewed_, asked);
  const bool all = !gone && now() - shelf_renewed_ >= interest_.lease * 2 / 3;
  for (const auto& [serial, held] : ledger_) {
    if (held.shelf && (all || (gone && std::find(gone->begin(), gone->end(), *held.shelf) != gone->end())))
      lost.push_back({serial, 0, epoch_});
  }
}

// What is to be hidden again, and what cannot be any more.
std::vector<AwsSubscription::Renewal> AwsSubscription::renewals_due(std::vector<AckToken>& lost) const {
  std::vector<Renewal> due;
  const Steady at = now();
  const std::lock_guard lock(mutex_);
  const auto add = [&](std::uint64_t serial, const Held& held) {
    if (held.shelf || held.leaving) return;
    const auto left = seconds_left(held, at);
    const auto seconds = std::min<std::int64_t>(lease_seconds(), left);
    if (seconds < 1 || held.until <= at) {
      if (serial != 0) lost.push_back({serial, 0, epoch_});
      return;
    }
    due.push_back({.serial = serial,
                   .receipt = held.receipt,
                   .source = held.source,
                   .until = at + std::chrono::seconds(seconds),
                   .seconds = static_cast<unsigned>(seconds)});
  };
  for (const auto& [serial, held] : ledger_) add(serial, held);
  for (const auto* const waiting : {&ready_, &alone_}) {
    for (const Held& held : *waiting) add(0, held);
  }
  for (const auto& claim : claims_) add(0, claim->held);
  std::stable_sort(due.begin(), due.end(), [](const Renewal& a, const Renewal& b) { return a.source < b.source; });
  return due;
}

// Asks for all of them at once. Returns the first failure of a whole call.
std::optional<Error> AwsSubscription::hide_again(std::vector<Renewal>& renewals, std::vector<AckToken>& lost) {
  std::vector<VisibilityChange> changes;
  for (const Renewal& each : renewals) {
    changes.push_back({.queue = sources_[each.source].name,
                       .queue_url = sources_[each.source].url,
                       .change = {each.receipt, each.seconds}});
  }
  auto failure = change_visibility(store_.client(), changes, deadline_in(std::max(Millis(1'000), interest_.lease / 3)));
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Renewal& each = renewals[i];
    each.done = changes[i].result.ok();
    // Not in flight, or not by this handle: it is others' now, or settled meanwhile.
    if (!each.done && !may_pass(changes[i].result.fault) && each.serial != 0) lost.push_back({each.serial, 0, epoch_});
  }
  return failure;
}

// Under the lock. False when it is not held.
bool AwsSubscription::forget(std::uint64_t serial) {
  const auto found = ledger_.find(serial);
  if (found == ledger_.end()) return false;
  ++settlements_;
  bytes_ -= found->second.delivery.envelope.size();
  running_alone_ = running_alone_ && !found->second.alone;
  ledger_.erase(found);
  return true;
}

}  // namespace tidings::transport::aws
