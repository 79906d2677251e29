// What comes out of the queues and off the shelf.
#include <algorithm>
#include <thread>

#include <tidings/stream.hpp>

#include "core/envelope_member.hpp"
#include "transport/aws/subscription.hpp"

namespace tidings::transport::aws {
namespace {

constexpr unsigned longest_poll = 20;  // SQS: seconds.
constexpr std::chrono::milliseconds beyond_poll{10'000};
constexpr std::size_t most_polls = 8;  // Of one queue, while it is full.
constexpr Millis shelf_pause{250}, shelf_away_pause{1'000};
constexpr unsigned turn_seconds = 1;
constexpr Millis comes_again{5'000};
// How long a receive may take whose answer is there, and how long is waited for one that may just have been answered.
constexpr std::chrono::milliseconds longest_answer{1'000}, last_look{50};
constexpr std::chrono::milliseconds turn_look{50};

// What SNS wraps a message in where raw delivery is off.
std::string unwrapped(std::string body) {
  if (core::envelope_text(body, "Type") != "Notification" || core::envelope_text(body, "TopicArn").empty()) return body;
  std::string message = core::envelope_member(body, "Message");
  return message.empty() ? body : message;
}

}  // namespace

std::size_t AwsSubscription::room() const {
  const std::lock_guard lock(mutex_);
  if (running_alone_ || bytes_ >= interest_.bytes) return 0;
  const std::size_t taken = ledger_.size() + ready_.size() + alone_.size() + claims_.size() + asked_;
  return interest_.events - std::min(interest_.events, taken);
}

void AwsSubscription::start_poll(std::uint32_t source, unsigned most, unsigned wait_seconds) {
  auto poll = std::make_unique<Poll>();
  poll->source = source;
  poll->most = most;
  poll->patient = wait_seconds > 0;
  poll->started = now();
  poll->asked = WaitClock::now();
  sqs::write_receive_message(poll->body, sources_[source].url,
                             {.most = most, .wait_seconds = wait_seconds, .visibility_seconds = lease_seconds()});
  const Call call{.service = Service::sqs,
                  .operation = "ReceiveMessage",
                  .body = poll->body,
                  .limit = std::chrono::seconds(wait_seconds) + beyond_poll};
  const auto deadline = WaitClock::now() + std::chrono::seconds(wait_seconds) + 3 * beyond_poll;
  flight_->start(call, poll->reply, deadline);
  ++sources_[source].polls;
  asked_ += most;
  polls_.push_back(std::move(poll));
}

// Asks where there is room for what may come: what was received and cannot be handled burns its time.
void AwsSubscription::poll(Millis wait) {
  if (!flight_) flight_ = std::make_unique<Client::Flight>(store_.client());
  // What must run alone has its turn when all else is settled, and nothing is asked for meanwhile.
  if (!alone_.empty()) return;
  // Where there is no room for all, each has its turn of a second: one that is idle must not hold up the others.
  const bool in_turns = sources_.size() > interest_.events;
  // Nor does a poll outlast a short wait: should that one not ask again, what comes a moment later would be handed out
  // to nobody. Who waits for longer, as a service does, asks again and again.
  const auto seconds =
      static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(std::min(wait, comes_again)).count());
  start_polls(in_turns ? std::min(seconds, turn_seconds) : wait < comes_again ? seconds : longest_poll);
}

// A stream at rest keeps no more of the room than its share, which another may need before anything comes.
void AwsSubscription::start_polls(unsigned wait_seconds) {
  const std::size_t fair = std::max<std::size_t>(interest_.events / sources_.size(), 1);
  const std::size_t first = turn_;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const auto index = static_cast<std::uint32_t>((first + i) % sources_.size());
    Source& source = sources_[index];
    if (source.paused) continue;
    const std::size_t at_once = is_careful() ? careful_ : largest_batch;
    const std::size_t wanted = source.busy && at_once == largest_batch ? most_polls : 1;
    while (source.polls < wanted) {
      const std::size_t left = room();
      const std::size_t share = source.polls > 0 ? left : std::min(left, fair);
      const auto most = static_cast<unsigned>(std::min(share, at_once));
      // Few at a time cost as much as many: with something in hand, a full batch is waited for.
      if (most == 0 || (source.polls > 0 && most < largest_batch)) break;
      if (source.polls == 0) turn_ = index + 1;
      start_poll(index, most, source.polls == 0 ? wait_seconds : 0);
    }
  }
}

void AwsSubscription::take_message(std::uint32_t source, sqs::Inbound& message, Steady now) {
  Held held;
  held.source = source;
  held.receipt = std::move(message.receipt);
  held.message = std::move(message.id);
  held.receives = message.receives;
  held.received = now;
  held.until = now + std::chrono::seconds(lease_seconds());
  std::string body = unwrapped(std::move(message.body));
  Delivery& delivery = held.delivery;
  delivery.stored_at = message.sent;
  delivery.stream = source;
  const std::uint32_t given_back = store_.given_back(held.message);
  if (const std::string* const run = message.attribute("run")) {
    delivery.run = std::strtoull(run->c_str(), nullptr, 10);
    const std::string* const origin = message.attribute("origin");
    delivery.origin = origin != nullptr && *origin == "redrive" ? Origin::redrive : Origin::replay;
  } else if (message.attribute("reason") != nullptr) {
    delivery.origin = Origin::redrive;  // A dead letter of ours, which AWS itself moved back.
  }
  for (const std::string_view name : {older_size_attribute, size_attribute}) {
    if (const std::string* const size = message.attribute(name)) held.told_size = *size;
  }
  const bool points = is_pointer(body);
  take_attributes(held, message, points);
  delivery.attempt = held.carried + std::max(message.receives, given_back + 1) - given_back;
  if (delivery.attempt > 1 && delivery.origin == Origin::live) delivery.origin = Origin::retry;
  held.alone = is_new() && is_suspect(held, given_back);
  delivery.alone = held.alone;
  if (points) return take_claim(std::move(held), std::move(body));
  fill(held, body);
  delivery.type = core::envelope_text(delivery.envelope, "type");
  learn_type(source, delivery.type);
  wait_for_turn(std::move(held));
}

// Perhaps its last process died of it. Nobody can tell, so that a new process runs such ones alone at first; but not
// what failed here and was received by nobody since.
bool AwsSubscription::is_suspect(const Held& held, std::uint32_t given_back) const {
  const std::uint32_t failed_at = store_.failed_at(held.message);
  const bool ours = failed_at > 0 && failed_at + 1 == held.receives;
  if (held.delivery.attempt > 1 && given_back == 0 && !ours) return true;
  const std::lock_guard lock(mutex_);
  return suspects_.contains(held.message);
}

void AwsSubscription::wait_for_turn(Held held) {
  const std::lock_guard lock(mutex_);
  (held.alone ? alone_ : ready_).push_back(std::move(held));
}

void AwsSubscription::take(Poll& poll, Steady at) {
  Source& source = sources_[poll.source];
  --source.polls;
  asked_ -= poll.most;
  if (!poll.reply.ok()) {
    source.busy = false;
    if (poll.reply.fault == Fault::stopped) return;
    if (poll.reply.fault == Fault::not_found) {
      // Somebody removed the queue: it is made again, as it was in the beginning.
      // Its name may be free only after a minute, and it is told once until then.
      if (ending_) return;
      if (!std::exchange(source.gone, true))
        store_.environment().log(LogLevel::warning, "aws: the queue " + source.name + " is gone, and is joined again");
      join(source);
      source.gone = false;
      return;
    }
    throw poll.reply.error("ReceiveMessage", source.name);
  }
  std::vector<sqs::Inbound> messages = sqs::read_receive_message(poll.reply.body);
  source.busy = messages.size() >= poll.most;
  if (!messages.empty()) careful_ = std::min(2 * careful_, largest_batch);
  for (sqs::Inbound& message : messages) {
    if (message.intact) {
      take_message(poll.source, message, at);
    } else {
      // It was changed on the way here, and comes again when its time is over.
      store_.environment().log(LogLevel::warning, "aws: a message of " + source.name +
                                                      " does not have the MD5 that SQS says; it is received again");
    }
  }
  keep_one_suspect();
}

// Should it kill this process, too, then it alone has been received once more: what else may have killed the last one
// can be received at once, and is done with when this one comes again. What was received no more than twice may as well
// come from a process that was stopped, and is run one by one as it came.
void AwsSubscription::keep_one_suspect() {
  std::vector<std::vector<std::string>> receipts(sources_.size());
  {
    const std::lock_guard lock(mutex_);
    const auto is_single = [](const Held& each) { return !each.shelf && each.receives > 2; };
    if (std::none_of(alone_.begin(), alone_.end(), is_single)) return;
    careful_ = 1;
    std::stable_sort(alone_.begin(), alone_.end(),
                     [](const Held& a, const Held& b) { return a.receives < b.receives; });
    const bool first_runs = !running_alone_ && is_single(alone_.front());
    for (auto each = alone_.begin() + (first_runs ? 1 : 0); each != alone_.end();) {
      if (!is_single(*each)) {
        ++each;
        continue;
      }
      receipts[each->source].push_back(each->receipt);
      note_returned(*each);
      each = alone_.erase(each);
    }
  }
  give_back(std::move(receipts));
}

// Takes what one poll brought; false when none is decided at `until`. What was decided before anybody looked may have
// come at any time since the last look, and its time at AWS runs from then.
bool AwsSubscription::take_next(WaitClock::time_point until, bool just_now, const std::stop_token& stop) {
  const Reply* const reply = flight_->next(until, stop);
  if (reply == nullptr) return false;
  if (take_payload(*reply, just_now)) return true;
  const auto poll = std::find_if(polls_.begin(), polls_.end(), [&](const auto& each) { return &each->reply == reply; });
  const std::unique_ptr<Poll> taken = std::move(*poll);
  polls_.erase(poll);
  take(*taken, just_now ? now() : std::max(looked_, taken->started));
  return true;
}

// Waits for a poll to be decided. False at the end of the wait, and when `stop` fires: then what AWS has handed out
// already is still to be taken, see end_polls().
bool AwsSubscription::await(WaitClock::time_point until, const std::stop_token& stop) {
  if (take_next(WaitClock::now(), false)) return true;
  looked_ = now();
  const bool came = take_next(until, true, stop);
  looked_ = now();
  return came;
}

// What has come is taken, that it can be given back; the rest is hung up on. What AWS hands out to nobody is hidden for
// a lease, and counts as an attempt: a poll that began just now is on its way back with what its queue holds, and only
// to one that waits does nothing come but by chance.
void AwsSubscription::end_polls() {
  const auto begun = WaitClock::now();
  ending_ = true;  // A queue that somebody removed is left removed.
  if (flight_) flight_->send_no_more();
  while (flight_ && !polls_.empty()) {
    auto until = begun + last_look;
    for (const auto& poll : polls_) until = std::max(until, poll->asked + longest_answer);
    try {
      if (!take_next(until, false)) break;
    } catch (const Error&) {
      // Whatever failed brought nothing.
    }
  }
  flight_.reset();
  give_back_claims();
  polls_.clear();
  for (Source& source : sources_) source.polls = 0;
  asked_ = 0;
  ending_ = false;
}

// Which of the streams are paused, which only their shelf knows.
void AwsSubscription::look_for_pauses(bool paused) {
  for (Source& source : sources_) {
    source.paused = false;
    if (!paused) continue;
    for (const StreamInfo& info : store_.shelf()->describe(source.stream)) {
      for (const GroupInfo& group : info.groups)
        source.paused = source.paused || (group.group == source.group && group.paused);
    }
  }
}

void AwsSubscription::take_shelf(const std::stop_token& stop) {
  const auto begun = WaitClock::now();
  if (!shelf_ || begun < shelf_look_) return;
  shelf_look_ = deadline_in(shelf_pause);
  const Steady asked = now();
  Batch batch;
  try {
    batch = shelf_->fetch(Millis(0), stop);
    types_ = batch.types;
    {
      const std::lock_guard lock(mutex_);
      shelf_renewed_ = std::max(shelf_renewed_, asked);
    }
    // First, since what the shelf has handed out is hidden for as long as this lives.
    take_off_shelf(std::move(batch.deliveries));
    look_for_pauses(batch.paused);
    shelf_away_ = false;
  } catch (const Error& error) {
    if (!error.retryable()) throw;
    // Looking for one that hangs must not take the time that the queues need.
    const auto took = std::chrono::ceil<Millis>(WaitClock::now() - begun);
    shelf_look_ = deadline_in(std::max(4 * took, shelf_away_pause));
    if (std::exchange(shelf_away_, true)) return;
    store_.environment().log(LogLevel::warning,
                             std::string("aws: the shelf is away; the queues are read meanwhile, and what waits on the "
                                         "shelf comes when it is back: ") +
                                 error.what());
  }
}

void AwsSubscription::take_off_shelf(std::vector<Delivery> deliveries) {
  const Steady at = now();
  for (Delivery& delivery : deliveries) {
    Held held;
    held.source = delivery.stream;
    held.shelf = delivery.token;
    held.received = at;
    held.until = Steady::max();
    held.alone = delivery.alone;
    held.delivery = std::move(delivery);
    shelf_look_ = {};  // There may be more.
    if (is_pointer(held.delivery.envelope)) {
      std::string pointer(held.delivery.envelope);
      take_claim(std::move(held), std::move(pointer));
    } else {
      wait_for_turn(std::move(held));
    }
  }
}

// What waited here for too long is no longer ours: it comes again.
void AwsSubscription::drop_expired() {
  const Steady at = now();
  const std::lock_guard lock(mutex_);
  for (auto* const waiting : {&ready_, &alone_}) {
    std::erase_if(*waiting, [&](const Held& held) { return held.until <= at; });
  }
  std::erase_if(claims_, [&](const auto& claim) { return !claim->started && claim->held.until <= at; });
}

// What came while its group was paused waits in its queue, not in the room of the other streams.
void AwsSubscription::give_back_paused() {
  if (std::none_of(sources_.begin(), sources_.end(), [](const Source& each) { return each.paused; })) return;
  std::vector<std::vector<std::string>> receipts(sources_.size());
  {
    const std::lock_guard lock(mutex_);
    for (auto* const waiting : {&ready_, &alone_}) {
      std::erase_if(*waiting, [&](const Held& held) {
        if (held.shelf || !sources_[held.source].paused) return false;
        receipts[held.source].push_back(held.receipt);
        note_returned(held);
        return true;
      });
    }
  }
  give_back(std::move(receipts));
}

void AwsSubscription::hand_out(Batch& batch) {
  const std::lock_guard lock(mutex_);
  const auto give = [&](std::deque<Held>& from) {
    Held held = std::move(from.front());
    from.pop_front();
    held.id = core::envelope_member(held.delivery.envelope, "id");
    held.delivery.token = {next_serial_, 0, epoch_};
    bytes_ += held.delivery.envelope.size();
    batch.deliveries.push_back(held.delivery);
    ledger_.emplace(next_serial_++, std::move(held));
  };
  if (running_alone_) return;
  if (!alone_.empty() && ready_.empty()) {
    // Nothing beside it: what runs is waited for, and nothing else begins.
    if (!ledger_.empty()) return;
    running_alone_ = true;
    return give(alone_);
  }
  while (!ready_.empty() && ledger_.size() < interest_.events) {
    const std::size_t size = ready_.front().delivery.envelope.size();
    const bool first = ledger_.empty();
    if (!first && bytes_ + size > interest_.bytes) break;
    give(ready_);
    // One that is larger than the room comes alone in its batch.
    if (first && size > interest_.bytes) break;
  }
}

// Until a settlement, which makes room or ends what ran alone, since `settlements`; or until the end of the wait.
void AwsSubscription::idle(WaitClock::time_point until, std::uint64_t settlements, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  settled_.wait_until(lock, stop, until, [&] { return settlements_ != settlements; });
}

// Whether something was received that may come out once something else is settled.
bool AwsSubscription::waits_for_turn() const {
  const std::lock_guard lock(mutex_);
  return !alone_.empty() || !ready_.empty() ||
         std::any_of(claims_.begin(), claims_.end(), [](const auto& claim) { return !claim->started; });
}

bool AwsSubscription::answers_at_once() const {
  return std::any_of(polls_.begin(), polls_.end(), [](const auto& each) { return !each->patient; }) ||
         std::any_of(claims_.begin(), claims_.end(), [](const auto& claim) { return claim->started; });
}

// What can be handed out now; false when there is nothing.
bool AwsSubscription::look(Batch& batch, const std::stop_token& stop) {
  drop_expired();
  look_at_filters();
  take_shelf(stop);
  if (!stop.stop_requested()) start_claims();
  await_late_claims(stop);
  tell_postponed();
  give_back_paused();
  hand_out(batch);
  batch.types = types_;
  batch.paused = std::any_of(sources_.begin(), sources_.end(), [](const Source& each) { return each.paused; });
  if (stop.stop_requested()) {
    end_polls();
    give_back(false);
  }
  return !batch.deliveries.empty() || stop.stop_requested();
}

// What is there now, on the shelf too. Longer polls of before may bring something, and are not waited for.
Batch AwsSubscription::fetch_now(const std::stop_token& stop) {
  if (!shelf_away_) shelf_look_ = {};
  const auto patient = deadline_in(Millis(10'000));
  for (bool asked = false;; asked = true) {
    Batch batch;
    if (look(batch, stop) || (asked && !answers_at_once()) || WaitClock::now() >= patient) return batch;
    if (!asked) poll(Millis(0));
    if (answers_at_once()) {
      (void)await(patient, stop);
    } else {
      (void)take_next(WaitClock::now(), false);
    }
  }
}

Batch AwsSubscription::fetch(Millis wait, std::stop_token stop) {
  if (wait.count() <= 0) return fetch_now(stop);
  const auto deadline = deadline_in(wait);
  for (;;) {
    Batch batch;
    std::uint64_t settlements = 0;
    {
      const std::lock_guard lock(mutex_);
      settlements = settlements_;
    }
    const auto at = WaitClock::now();
    if (look(batch, stop) || at >= deadline) return batch;
    poll(wait);
    auto until = shelf_ ? std::min(deadline, std::max(shelf_look_, at)) : deadline;
    if (flight_->under_way() > 0) {
      // A settlement, which nobody tells here, may let out what waits for its turn.
      if (waits_for_turn()) until = std::min(until, at + turn_look);
      (void)await(until, stop);
    } else {
      idle(std::min<WaitClock::time_point>(deadline, at + shelf_pause), settlements, stop);
    }
  }
}

}  // namespace tidings::transport::aws
