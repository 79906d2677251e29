// What becomes of what was handed out. Nothing is deleted from a queue before all that must be stored for it is.
#include <algorithm>
#include <thread>

#include <tidings/stream.hpp>

#include "core/failpoint.hpp"
#include "transport/aws/subscription.hpp"
#include "transport/aws/visibility.hpp"

namespace tidings::transport::aws {
namespace {

using Kind = Settlement::Kind;
constexpr Millis patience_with_stores{30'000};
constexpr std::size_t longest_error = 4096, longest_attribute = 1024;
constexpr unsigned most_rounds = 4;  // Of entries that failed for the moment.

void set_stale(Result& result) {
  result = {.code = ErrorCode::stale, .stale = true, .message = "aws: this delivery is not held any more"};
}

// What handlers threw may hold anything, and SQS refuses a whole message for one character of an attribute.
MessageAttribute attribute(std::string_view name, std::string_view value) {
  std::string text;
  for (const char c : value.substr(0, longest_attribute)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte < 0x20 && c != '\t' && c != '\n' && c != '\r' ? '?' : c;
  }
  // Where it was cut, the last character may be a part of one.
  if (value.size() > longest_attribute) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80U) text.pop_back();
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0U) text.pop_back();
  }
  if (!sqs::takes_body(text)) {
    for (char& c : text) c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
  }
  return {.name = std::string(name), .value = std::move(text)};
}

// Reasons are the command line's; this one waited for too long for who handles it.
Settlement nobodys_letter() {
  return {.kind = Kind::dead,
          .counted = false,
          .reason = "expired",
          .error =
              "no instance of its service that handles its type has taken it, however often it was handed on; start "
              "one, then redrive it"};
}

void fail_with(std::span<Result> results, const Error& error) {
  for (Result& each : results) each = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
}

}  // namespace

// Which items are ours, and what is to be done with each.
void AwsSubscription::sort(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts) {
  const Steady at = now();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Settlement& item = items[i];
    results[i] = {};
    const auto found = item.token.epoch == epoch_ ? ledger_.find(item.token.lease) : ledger_.end();
    const bool finished = item.kind == Kind::done || item.kind == Kind::ignored;
    if (found == ledger_.end() || found->second.naming ||
        (found->second.until <= at && !(finished && item.outputs.empty()))) {
      set_stale(results[i]);
      continue;
    }
    found->second.naming = true;
    auto& verdict = verdicts.all.emplace_back();
    verdict.item = i;
    verdict.serial = item.token.lease;
    verdict.held = found->second;
    if (verdict.held.shelf) continue;
    const auto seconds =
        static_cast<unsigned>(std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::seconds>(item.after).count(), 0,
                                                       std::max<std::int64_t>(seconds_left(verdict.held, at), 0)));
    verdict.nobodys = is_nobodys(verdict.held, item);
    if (item.kind == Kind::release && !verdict.nobodys && !verdict.held.buried) verdict.hide = seconds;
    if (item.kind == Kind::again) {
      verdict.aside = shelf_ && item.after > longest_queue_delay;
      if (!verdict.aside) verdict.hide = seconds;
    }
    if (item.kind == Kind::dead) verdict.aside = shelf_ != nullptr;
  }
}

void AwsSubscription::store_outputs(std::span<const Settlement> items, std::span<Result> results,
                                    const Verdicts& verdicts) {
  std::vector<Outgoing> outputs;
  std::vector<std::size_t> owners;
  for (const auto& verdict : verdicts.all) {
    const auto& of_item = items[verdict.item].outputs;
    outputs.insert(outputs.end(), of_item.begin(), of_item.end());
    owners.resize(outputs.size(), verdict.item);
  }
  if (outputs.empty()) return;
  std::vector<Result> stored(outputs.size());
  store_.publish(outputs, patience_with_stores, stored);
  for (std::size_t k = 0; k < stored.size(); ++k) {
    if (stored[k].code != ErrorCode::ok) results[owners[k]] = std::move(stored[k]);
  }
}

ShelfItem AwsSubscription::shelf_item_of(const Held& held, const Settlement& item) const {
  const bool dead = item.kind == Kind::dead, failed = item.kind == Kind::again || item.counted;
  ShelfItem aside;
  aside.id = held.id;
  aside.type = held.delivery.type;
  // Where the shelf does not take it, its pointer lies there, and is followed once more when it comes back.
  const bool whole =
      held.pointer.empty() || !shelf_ || held.delivery.envelope.size() <= store_.shelf()->capabilities().largest_event;
  aside.envelope = whole ? held.delivery.envelope : std::string_view(held.pointer);
  aside.stream = sources_[held.source].stream;
  aside.group = sources_[held.source].group;
  aside.state = dead ? ShelfState::dead : ShelfState::retrying;
  aside.origin = held.delivery.origin == Origin::live ? Origin::retry : held.delivery.origin;
  aside.run = held.delivery.run;
  aside.reason = item.reason;
  aside.error = item.error.substr(0, longest_error);
  // Of a dead letter the failures, otherwise the attempt that comes.
  aside.attempts = dead ? held.delivery.attempt - (failed ? 0 : 1) : held.delivery.attempt + 1;
  aside.crashes = held.delivery.crashes;
  const Wall wall = store_.environment().clock->wall();
  aside.last_failed = wall;
  // When it was first received is as near as anybody can know.
  aside.first_failed = aside.attempts > 1 && held.first_received > Wall{} ? std::min(held.first_received, wall) : wall;
  if (!dead) aside.due = wall + item.after;
  return aside;
}

// Somebody removed it. It is made again, for whoever settles these once more.
void AwsSubscription::make_dead_queue(const Source& source, std::span<Result> stored) {
  if (store_.topology().mode() == TopologyMode::none) return;
  try {
    (void)store_.topology().join(source.stream, interest_.service, interest_.types, deadline_in(patience));
    store_.environment().log(LogLevel::warning,
                             "aws: the queue of dead letters of " + source.name + " was gone, and is there again");
    for (Result& each : stored) {
      if (each.code == ErrorCode::not_found) each.retryable = true;
    }
  } catch (const Error& error) {
    fail_with(stored, error);
  }
}

// Dead letters, and what waits for longer than a queue should hold it, are stored where they stay, before they leave
// their queue.
void AwsSubscription::bury(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts) {
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    std::vector<ShelfItem> aside;
    std::vector<Outgoing> letters;
    std::vector<std::vector<MessageAttribute>> attributes;
    std::vector<Verdicts::Verdict*> owners;
    for (auto& verdict : verdicts.all) {
      const Settlement item = verdict.nobodys ? nobodys_letter() : items[verdict.item];
      if (verdict.held.source != source || verdict.held.shelf || verdict.held.buried ||
          results[verdict.item].code != ErrorCode::ok)
        continue;
      if (!verdict.aside && item.kind != Kind::dead) continue;
      ShelfItem whole = shelf_item_of(verdict.held, item);
      owners.push_back(&verdict);
      if (verdict.aside) {
        aside.push_back(std::move(whole));
        continue;
      }
      letters.push_back({.stream = sources_[source].stream,
                         .id = verdict.held.id,
                         .type = verdict.held.delivery.type,
                         .envelope = verdict.held.delivery.envelope});
      auto& beside = attributes.emplace_back();
      beside.push_back(attribute("reason", whole.reason.empty() ? "rejected" : whole.reason));
      if (!whole.error.empty()) beside.push_back(attribute("error", whole.error));
      beside.push_back(attribute("attempts", std::to_string(whole.attempts)));
      beside.push_back(attribute("failedAt", format_time(*whole.last_failed)));
      if (whole.run != 0) beside.push_back(attribute("run", std::to_string(whole.run)));
      // A pointer that stays one is one for others too.
      const Held& held = verdict.held;
      if (held.delivery.damaged && !held.told_size.empty()) {
        beside.push_back({.name = std::string(size_attribute), .value = held.told_size, .type = "Number"});
      }
    }
    if (owners.empty()) continue;
    std::vector<Result> stored(owners.size());
    try {
      if (!aside.empty()) {
        store_.shelf()->shelve({sources_[source].stream, sources_[source].group}, aside, stored);
      } else {
        const std::string& place = sources_[source].dead_url;
        if (place.empty()) {
          throw Error(ErrorCode::not_found, "aws: " + sources_[source].name +
                                                " has no queue for its dead letters (-dlq), and none is made with "
                                                "topology=none; make it and start again");
        }
        store_.send({.to = place, .attributes = attributes, .as_it_came = true}, letters, patience_with_stores, stored);
      }
    } catch (const Error& error) {
      fail_with(stored, error);
    }
    const auto is_gone = [](const Result& each) { return each.code == ErrorCode::not_found; };
    if (!letters.empty() && std::any_of(stored.begin(), stored.end(), is_gone))
      make_dead_queue(sources_[source], stored);
    for (std::size_t k = 0; k < owners.size(); ++k) {
      owners[k]->held.buried = stored[k].code == ErrorCode::ok;
      if (stored[k].code != ErrorCode::ok) results[owners[k]->item] = std::move(stored[k]);
    }
  }
}

void AwsSubscription::settle_on_shelf(std::span<const Settlement> items, std::span<Result> results,
                                      const Verdicts& verdicts) {
  std::vector<Settlement> passed;
  std::vector<std::size_t> owners;
  for (const auto& verdict : verdicts.all) {
    if (!verdict.held.shelf || results[verdict.item].code != ErrorCode::ok) continue;
    Settlement item = items[verdict.item];
    item.token = *verdict.held.shelf;
    item.outputs = {};  // They are where all events go.
    passed.push_back(item);
    owners.push_back(verdict.item);
  }
  if (passed.empty()) return;
  std::vector<Result> settled(passed.size());
  try {
    shelf_->settle(passed, settled);
  } catch (const Error& error) {
    fail_with(settled, error);
  }
  for (std::size_t k = 0; k < owners.size(); ++k) results[owners[k]] = std::move(settled[k]);
}

// Renewals of these end here: what was asked for before is answered, and nothing more is asked for.
void AwsSubscription::leave(const Verdicts& verdicts) {
  const std::lock_guard lock(mutex_);
  for (const auto& verdict : verdicts.all) {
    const auto found = ledger_.find(verdict.serial);
    if (found != ledger_.end() && verdict.hide) found->second.leaving = true;
  }
}

// Deletes what is finished, and hides what comes again, by tens.
void AwsSubscription::tell_queues(std::span<Result> results, const Verdicts& verdicts) {
  Open open;
  for (const auto& verdict : verdicts.all) {
    if (verdict.held.shelf || results[verdict.item].code != ErrorCode::ok) continue;
    open[{verdict.held.source, verdict.hide.has_value()}].push_back(&verdict);
  }
  const bool hides = std::any_of(open.begin(), open.end(), [](const auto& each) { return each.first.second; });
  if (hides) {
    const std::lock_guard visibility(visibility_);
    leave(verdicts);
  }
  for (unsigned round = 1; !open.empty(); ++round) {
    open = tell_once(results, open, round == most_rounds);
    if (!open.empty()) std::this_thread::sleep_for(wait_before(round, Fault::throttled, *store_.environment().random));
  }
}

// One round. Returns what failed for the moment, unless it is the last one.
AwsSubscription::Open AwsSubscription::tell_once(std::span<Result> results, const Open& open, bool last) {
  std::vector<std::vector<const Verdicts::Verdict*>> parts;
  std::deque<std::string> bodies;
  std::vector<Call> calls;
  for (const auto& [place, all] : open) {
    for (std::size_t first = 0; first < all.size(); first += largest_batch) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
      auto& part =
          parts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(std::min(largest_batch, all.size() - first)));
      std::string& body = bodies.emplace_back();
      const std::string& url = sources_[place.first].url;
      if (place.second) {
        std::vector<sqs::Visibility> changes;
        for (const auto* each : part) changes.push_back({each->held.receipt, *each->hide});
        sqs::write_change_message_visibility_batch(body, url, changes);
      } else {
        std::vector<std::string_view> receipts;
        for (const auto* each : part) receipts.push_back(each->held.receipt);
        sqs::write_delete_message_batch(body, url, receipts);
      }
      calls.push_back({.service = Service::sqs,
                       .operation = place.second ? "ChangeMessageVisibilityBatch" : "DeleteMessageBatch",
                       .body = body});
    }
  }
  std::vector<Reply> replies(calls.size());
  store_.client().run(calls, replies, deadline_in(patience_with_stores));
  Open again;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    std::vector<EntryResult> entries(parts[k].size());
    if (replies[k].ok()) sqs::read_entries(replies[k].body, entries);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto& verdict = *parts[k][i];
      Result& result = results[verdict.item];
      if (!replies[k].ok()) {
        const Error error = replies[k].error(calls[k].operation, sources_[verdict.held.source].name);
        result = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
        if (replies[k].fault == Fault::not_found) set_stale(result);  // Its queue is gone, with all that was in it.
      } else if (entries[i].fault == Fault::stale || entries[i].fault == Fault::sender) {
        // Others have it by now, or it is gone. Finished work is finished; a failure is theirs to find.
        if (verdict.hide) set_stale(result);
      } else if (!entries[i].ok() && may_pass(entries[i].fault) && !last) {
        again[{verdict.held.source, verdict.hide.has_value()}].push_back(&verdict);
      } else if (!entries[i].ok()) {
        result = {.code = ErrorCode::unavailable,
                  .retryable = true,
                  .message = "aws: " + entries[i].code + ": " + entries[i].message};
      }
    }
  }
  return again;
}

// Under the lock: it goes back uncounted, and no less suspect than it came.
void AwsSubscription::note_returned(const Held& held) {
  store_.note_given_back(held.message);
  if (held.alone) suspects_.insert(held.message);
}

void AwsSubscription::conclude(std::span<const Settlement> items, std::span<const Result> results,
                               const Verdicts& verdicts) {
  const std::lock_guard lock(mutex_);
  for (const auto& verdict : verdicts.all) {
    const auto found = ledger_.find(verdict.serial);
    if (found == ledger_.end()) continue;
    Held& held = found->second;
    held.naming = held.leaving = false;
    held.buried = verdict.held.buried;
    const Result& result = results[verdict.item];
    if (result.code != ErrorCode::ok && !result.stale) continue;
    const Kind kind = items[verdict.item].kind;
    // Whoever came to an end here did not kill its process.
    if (kind != Kind::release) suspects_.erase(held.message);
    if (kind == Kind::release && !held.shelf && verdict.hide) {
      note_returned(held);
    } else if (!verdict.hide) {
      store_.forget_given_back(held.message);
    } else if (!result.stale) {
      store_.note_failed(held.message, held.receives);
    }
    forget(verdict.serial);
  }
  settled_.notify_all();
}

void AwsSubscription::settle(std::span<const Settlement> items, std::span<Result> results) {
  Verdicts verdicts;
  sort(items, results, verdicts);
  try {
    store_outputs(items, results, verdicts);
    bury(items, results, verdicts);
    hand_on(items, results, verdicts);
    settle_on_shelf(items, results, verdicts);
    TIDINGS_FAILPOINT("aws.before_settle_commit");
    tell_queues(results, verdicts);
    TIDINGS_FAILPOINT("aws.after_settle_commit");
  } catch (const std::exception& error) {
    // Whatever was not told is open, and can be named again.
    for (const auto& verdict : verdicts.all) {
      if (results[verdict.item].code == ErrorCode::ok)
        results[verdict.item] = {.code = ErrorCode::unavailable, .retryable = true, .message = error.what()};
    }
  }
  conclude(items, results, verdicts);
}

// Gives back at once what was not handed out, or everything, that others need not wait for it.
void AwsSubscription::give_back(bool all) {
  std::vector<std::vector<std::string>> receipts(sources_.size());
  {
    const std::lock_guard lock(mutex_);
    const auto add = [&](const Held& held) {
      if (held.shelf) return;
      receipts[held.source].push_back(held.receipt);
      note_returned(held);
    };
    for (auto* const waiting : {&ready_, &alone_}) {
      std::for_each(waiting->begin(), waiting->end(), add);
      // What came off the shelf goes back with the shelf's own subscription.
      std::erase_if(*waiting, [&](const Held& held) { return all || !held.shelf; });
    }
    if (all) {
      for (const auto& [serial, held] : ledger_) add(held);
      ledger_.clear();
    }
  }
  give_back(std::move(receipts));
}

void AwsSubscription::give_back(std::vector<std::vector<std::string>> receipts) {
  std::vector<VisibilityChange> changes;
  for (std::size_t s = 0; s < receipts.size(); ++s) {
    for (const std::string& receipt : receipts[s])
      changes.push_back({.queue = sources_[s].name, .queue_url = sources_[s].url, .change = {receipt, 0}});
  }
  // What could not be given back comes again when its time is over.
  (void)change_visibility(store_.client(), changes, deadline_in(Millis(5'000)));
}

}  // namespace tidings::transport::aws
