#include "transport/aws/subscription.hpp"

#include <algorithm>
#include <atomic>
#include <set>
#include <tidings/stream.hpp>

#include "core/interest.hpp"

namespace tidings::transport::aws {
namespace {

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
  }
  if (store_.shelf() == nullptr) return;
  Interest aside = interest_;
  aside.start.kind = Start::Kind::end;
  // What comes from there is held here too, until it is handed out.
  aside.events = std::max<std::size_t>(interest_.events / 8, 1);
  shelf_ = store_.shelf()->subscribe(aside);
}

void AwsSubscription::join(Source& source) {
  source.queue = store_.topology().join(source.stream, interest_.service, interest_.types, deadline_in(Millis(60'000)));
  if (shelf_ || !source.queue.filter) return;
  // Without a shelf, the filter is what knows of other instances' types.
  std::set<std::string> all(interest_.types.begin(), interest_.types.end());
  if (types_) all.insert(types_->begin(), types_->end());
  all.insert(source.queue.filter->begin(), source.queue.filter->end());
  types_ = std::make_shared<const std::vector<std::string>>(all.begin(), all.end());
}

AwsSubscription::~AwsSubscription() {
  try {
    forget_polls();
    give_back();
  } catch (...) {
    // What could not be given back comes again when its time is over.
  }
}

unsigned AwsSubscription::lease_seconds() const {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(interest_.lease).count();
  return static_cast<unsigned>(std::clamp<std::int64_t>(seconds, 1, longest_seconds));
}

// All that is held is hidden for another lease, as far as 12 h from its receive allow.
std::vector<AckToken> AwsSubscription::renew() {
  struct Ask {
    std::uint64_t serial = 0;  // 0: not handed out yet.
    std::string receipt{};
    std::uint32_t source = 0;
    Steady until{};
    unsigned seconds = 0;
  };
  std::vector<AckToken> lost;
  std::vector<std::vector<Ask>> asks(sources_.size());
  const Steady at = now();
  {
    const std::lock_guard lock(mutex_);
    lost = std::exchange(lost_, {});
    const auto add = [&](std::uint64_t serial, const Held& held) {
      if (held.shelf) return;
      const auto left = std::chrono::floor<std::chrono::seconds>(held.received + longest_hidden - at).count();
      const auto seconds = std::min<std::int64_t>(lease_seconds(), left);
      if (seconds < 1 || held.until <= at) {
        if (serial != 0) lost.push_back({serial, 0, epoch_});
        return;
      }
      asks[held.source].push_back(
          {serial, held.receipt, held.source, at + std::chrono::seconds(seconds), static_cast<unsigned>(seconds)});
    };
    for (const auto& [serial, held] : ledger_) add(serial, held);
    for (const auto* const waiting : {&ready_, &alone_}) {
      for (const Held& held : *waiting) add(0, held);
    }
  }
  std::vector<std::string> bodies;
  std::vector<std::vector<Ask>> parts;
  for (std::vector<Ask>& of_source : asks) {
    for (std::size_t first = 0; first < of_source.size(); first += largest_batch) {
      auto& part = parts.emplace_back(
          of_source.begin() + static_cast<std::ptrdiff_t>(first),
          of_source.begin() + static_cast<std::ptrdiff_t>(std::min(first + largest_batch, of_source.size())));
      std::vector<sqs::Visibility> changes;
      for (const Ask& ask : part) changes.push_back({ask.receipt, ask.seconds});
      sqs::write_change_message_visibility_batch(bodies.emplace_back(), sources_[part.front().source].queue.url,
                                                 changes);
    }
  }
  std::vector<Call> calls;
  for (const std::string& body : bodies)
    calls.push_back({.service = Service::sqs, .operation = "ChangeMessageVisibilityBatch", .body = body});
  std::vector<Reply> replies(calls.size());
  store_.client().run(calls, replies, deadline_in(std::max(Millis(1'000), interest_.lease / 3)));
  std::optional<Error> failure;
  std::map<std::string, Steady> renewed;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    if (!replies[k].ok()) {
      if (!failure)
        failure.emplace(replies[k].error("ChangeMessageVisibilityBatch", sources_[parts[k].front().source].queue.name));
      continue;
    }
    std::vector<EntryResult> entries(parts[k].size());
    sqs::read_entries(replies[k].body, entries);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Ask& ask = parts[k][i];
      if (entries[i].ok()) renewed[ask.receipt] = ask.until;
      // Not in flight, or not by this handle: it is others' now, or settled meanwhile.
      if (!entries[i].ok() && !may_pass(entries[i].fault) && ask.serial != 0) lost.push_back({ask.serial, 0, epoch_});
    }
  }
  if (shelf_) {
    for (const AckToken& token : shelf_->renew()) {
      const std::lock_guard lock(mutex_);
      for (const auto& [serial, held] : ledger_) {
        if (held.shelf == token) lost.push_back({serial, 0, epoch_});
      }
    }
  }
  const std::lock_guard lock(mutex_);
  for (auto& [serial, held] : ledger_) {
    if (const auto found = renewed.find(held.receipt); found != renewed.end())
      held.until = std::max(held.until, found->second);
  }
  for (auto* const waiting : {&ready_, &alone_}) {
    for (Held& held : *waiting) {
      if (const auto found = renewed.find(held.receipt); found != renewed.end())
        held.until = std::max(held.until, found->second);
    }
  }
  std::erase_if(lost, [&](const AckToken& token) {
    const auto found = ledger_.find(token.lease);
    if (found == ledger_.end()) return true;
    bytes_ -= found->second.delivery.envelope.size();
    running_alone_ = running_alone_ && !found->second.alone;
    ledger_.erase(found);
    return false;
  });
  settled_.notify_all();
  if (failure && lost.empty()) throw Error(*failure);
  lost_ = {};
  return lost;
}

}  // namespace tidings::transport::aws
