#include "mover.hpp"

#include <algorithm>
#include <iostream>
#include <set>
#include <tidings/event.hpp>

#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

namespace {

/// The most that a bridge holds, and so the most that its death repeats.
constexpr std::size_t window = 512;
/// What is not stored by then is tried again by us, who can say so and can be stopped in between.
constexpr Millis publish_within{3'000};
constexpr Millis first_pause{500}, longest_pause{30'000}, longest_wait{1'000};
constexpr Millis progress_on_terminal{3'000}, progress_in_log{30'000};

/// Whether the source hands out in the order of a log, and lists what it has handed out: then order can be kept when
/// a bridge has died.
bool is_log(const transport::Capabilities& source) { return source.from_beginning && source.shelf; }

}  // namespace

Holding::Holding(transport::Transport& source, const transport::Interest& interest)
    : subscription_(source.subscribe(interest)) {
  renewing_ = std::jthread([this, every = interest.lease / 3](const std::stop_token& stop) { renew(stop, every); });
}

Holding::~Holding() {
  renewing_.request_stop();
  renewing_.join();
}

void Holding::renew(const std::stop_token& stop, Millis every) {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, stop, every, [] { return false; })) {
    if (stop.stop_requested()) return;
    try {
      if (!subscription_->renew().empty()) lost_ = true;
    } catch (const Error& error) {
      // The engine is down for now: whether the leases outlived that is known when it answers again.
      if (!error.retryable()) lost_ = true;
    }
  }
}

/// One event on its way, or what came instead of one. The views live as long as what they were made of.
struct Mover::Parcel {
  Place place{};
  transport::AckToken token{};
  std::string_view envelope{};
  std::string id{}, type{}, correlation{}, key{}, fault{};
  Wall timestamp{};
  bool fresh = true;   ///< Not handed out again by an operator.
  bool known = false;  ///< This bridge has stored it on the target.

  void read(bool validated) {
    try {
      if (!validated) validate_json(envelope, {.bytes = envelope.size()});
      Event event = decode<Json>(envelope);
      key = event.metadata.string("partitionKey").value_or("");
      id = std::move(event.id);
      type = std::move(event.type);
      correlation = std::move(event.correlationId);
      timestamp = event.timestamp;
    } catch (const Error& error) {
      fault = error.what();
    }
  }
};

Mover::Mover(Bus& source, Bus& target, MoveOptions options, const Interrupt& interrupt)
    : source_(source.transport()),
      target_(target.transport()),
      level_(target.level()),
      options_(std::move(options)),
      interrupt_(interrupt),
      idle_since_(system_clock().steady()),
      shown_at_(idle_since_) {}

Mover::~Mover() = default;

bool Mover::done() const {
  return interrupt_.fired() || room() == 0 || idle_;
}

std::size_t Mover::room() const {
  if (options_.max == 0) return window;
  return static_cast<std::size_t>(options_.max - std::min(options_.max, passage_.moved() + passage_.dead()));
}

transport::GroupRef Mover::group(std::size_t stream) const {
  return {options_.streams[stream], group_of(options_.streams[stream], options_.group)};
}

void Mover::run() {
  while (!done()) {
    try {
      if (!join()) continue;
      idle_since_ = system_clock().steady();
      while (!done() && !holding_->lost()) step();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) break;
      if (!error.retryable()) throw;
      holding_.reset();
      (void)pause("the source: " + std::string(error.what()));
      idle_since_ = system_clock().steady();
    }
    holding_.reset();
  }
  holding_.reset();
  if (terminal_errors()) std::cerr << '\n';
  if (echoes_ > 0) complain(std::to_string(echoes_) + " events had come back, and were not published again");
}

bool Mover::join() {
  transport::Interest interest;
  interest.service = options_.group;
  interest.streams = options_.streams;
  interest.types = {"*"};
  interest.start = options_.start;
  interest.events = window;
  interest.lease = options_.lease;
  holding_ = std::make_unique<Holding>(source_, interest);
  if (!is_log(source_.capabilities())) return true;
  if (others_work()) {
    holding_.reset();
    if (!std::exchange(told_waiting_, true)) {
      complain("another process works as the group " + options_.group +
               ", or died less than its lease ago; waiting, since two would mix the order of events");
    }
    // Two that wait must not look at the same time for ever.
    (void)interrupt_.wait(Millis(200 + static_cast<std::int64_t>(system_random().next() % 300)));
    idle_since_ = system_clock().steady();
    return false;
  }
  told_waiting_ = false;
  carry_leftovers();
  return true;
}

bool Mover::others_work() const {
  for (std::size_t i = 0; i < options_.streams.size(); ++i) {
    for (const transport::StreamInfo& info : source_.describe(options_.streams[i])) {
      for (const transport::GroupInfo& each : info.groups) {
        if (each.group == group(i).group && each.consumers > 1) return true;
      }
    }
  }
  return false;
}

/// What a bridge before this one had in its hands comes back one by one, beside newer events. So that none of them
/// passes an earlier one of its key, all of it is published first, in the order of the stream, and only settled when it
/// comes.
void Mover::carry_leftovers() {
  std::vector<transport::ShelfItem> items;
  std::set<Place> places, before;
  // What is handed over from a dead owner to the next one may be seen at neither of two places, but not twice.
  do {
    before = std::exchange(places, {});
    items.clear();
    for (std::uint32_t i = 0; i < options_.streams.size(); ++i) {
      using State = transport::ShelfState;
      for (transport::ShelfItem& item : list_shelf(source_, group(i), {.states = {State::waiting, State::leased}})) {
        const bool live = item.origin == transport::Origin::live || item.origin == transport::Origin::retry;
        if (!live || item.run != 0 || item.attempts > 1 || item.position == Position{}) continue;
        if (places.insert({i, item.position}).second) items.push_back(std::move(item));
      }
    }
  } while (places != before);
  passage_.keep_only(places);
  Parcels parcels;
  for (const transport::ShelfItem& item : items) {
    const auto stream = std::find(options_.streams.begin(), options_.streams.end(), item.stream);
    Parcel parcel;
    parcel.place = {static_cast<std::uint32_t>(stream - options_.streams.begin()), item.position};
    parcel.envelope = item.envelope;
    if (passage_.is_stored(parcel.place)) continue;
    parcel.read(false);
    parcels.push_back(std::move(parcel));
  }
  if (parcels.empty()) return;
  std::sort(parcels.begin(), parcels.end(), [](const Parcel& a, const Parcel& b) { return a.place < b.place; });
  skip_known(parcels);
  const std::uint64_t moved = passage_.moved();
  begin(parcels);
  (void)publish(parcels, false);
  passage_.forget_refusals();
  passage_.count_repeated(passage_.moved() - moved);
}

/// What stands among the target's last events got there before the one who published it died.
void Mover::skip_known(const Parcels& parcels) {
  if (!target_.capabilities().read) return;
  for (std::uint32_t i = 0; i < options_.streams.size(); ++i) {
    transport::ReadRange range;
    range.stream = options_.streams[i];
    range.last = true;
    range.limit = 4 * window;
    std::set<std::string> ids;
    try {
      for (const transport::Record& record : target_.read(range, interrupt_.token()).records) {
        Parcel there;
        there.envelope = record.envelope;
        if (!record.damaged) there.read(record.validated);
        ids.insert(std::move(there.id));
      }
    } catch (const Error&) {
      continue;  // They are repeated then, under their own ids.
    }
    for (const Parcel& parcel : parcels) {
      if (parcel.place.stream == i && parcel.fault.empty() && ids.contains(parcel.id)) passage_.remember(parcel.place);
    }
  }
}

void Mover::step() {
  Millis wait = longest_wait;
  if (options_.until_idle) {
    const auto left = *options_.until_idle - (system_clock().steady() - idle_since_);
    // At its end with none left: what the source has now, however long it takes to say so.
    wait = std::clamp(std::chrono::ceil<Millis>(left), Millis(0), wait);
  }
  const transport::Batch batch = (*holding_)->fetch(wait, interrupt_.token());
  pause_ = Millis(0);
  look_at(batch);
  show_progress();
  if (batch.deliveries.empty()) {
    idle_ = options_.until_idle && wait == Millis(0);
    return;
  }
  Parcels parcels;
  for (const transport::Delivery& delivery : batch.deliveries) {
    Parcel& parcel = parcels.emplace_back();
    parcel.place = {delivery.stream, delivery.position};
    parcel.token = delivery.token;
    parcel.envelope = delivery.envelope;
    if (delivery.damaged) parcel.fault = delivery.damage.empty() ? "its bytes fail their checksum" : delivery.damage;
    if (!delivery.damaged) parcel.read(delivery.validated);
    parcel.fresh = delivery.origin == transport::Origin::live || delivery.origin == transport::Origin::retry;
  }
  if (options_.leads_on) skip_echoes(parcels);
  // A queue's order is none; when they were made is the best that can be known of it.
  if (!is_log(source_.capabilities())) {
    std::stable_sort(parcels.begin(), parcels.end(),
                     [](const Parcel& a, const Parcel& b) { return a.timestamp < b.timestamp; });
  }
  begin(parcels);
  (void)publish(parcels, true);
  idle_since_ = system_clock().steady();
}

void Mover::look_at(const transport::Batch& batch) {
  for (const transport::Gap& gap : batch.gaps) {
    complain(options_.streams[gap.stream] + ": the events from " + to_string(gap.first) + " to " + to_string(gap.last) +
             " were removed by retention before they were moved");
  }
  if (batch.paused && !told_paused_) complain("the group " + options_.group + " is paused; `tidings group resume`");
  told_paused_ = batch.paused;
}

/// Two bridges in a circle would pass every event round for ever: what this one has brought away is not brought again.
void Mover::skip_echoes(Parcels& parcels) {
  for (Parcel& parcel : parcels) {
    if (!parcel.fresh || !parcel.fault.empty()) continue;
    parcel.known = echo_.came_back(Echo::mark_of(parcel.envelope), parcel.place);
    if (!parcel.known || parcel.place.position == Position{}) continue;
    if (echoes_++ == 0) {
      complain(parcel.id + " of " + options_.streams[parcel.place.stream] +
               " has come back, and is not published again, nor are others that do: a bridge leads from the target to "
               "the source, or it was published twice; of two bridges in a circle stop one");
    }
  }
}

void Mover::begin(const Parcels& parcels) {
  std::vector<Passage::Item> items;
  items.reserve(parcels.size());
  for (const Parcel& parcel : parcels) items.push_back({parcel.place, parcel.fault, parcel.known});
  passage_.begin(std::move(items));
}

/// Publishes what waits, again and again until all is decided; false when a signal or `max` came first, or the lease
/// was lost. What is stored is settled at once, where it was delivered.
bool Mover::publish(const Parcels& parcels, bool settles) {
  Millis backoff = first_pause;
  for (;;) {
    if (settles) settle(parcels);
    const auto next = passage_.publish(std::min({room(), window, target_.capabilities().largest_batch}));
    if (next.empty()) return passage_.finished();
    const Passage::Answer answer = publish_once(parcels, next);
    if (answer.fatal != ErrorCode::ok) {
      // What it did take is not to be repeated by the next bridge.
      if (settles) settle(parcels);
      throw Error(answer.fatal, "the target: " + answer.why + "; what it has not taken stays on the source for group " +
                                    options_.group + ": mend the cause, and start the bridge again");
    }
    if (!answer.again || answer.stored + answer.aside > 0) {
      backoff = first_pause;
      continue;
    }
    complain("the target: " + answer.why + "; trying again in " + format_duration(backoff));
    if (!interrupt_.wait(backoff) || holding_->lost()) return false;
    backoff = std::min(backoff * 2, longest_pause);
  }
}

Passage::Answer Mover::publish_once(const Parcels& parcels, const std::vector<std::size_t>& next) {
  std::vector<transport::Outgoing> items;
  items.reserve(next.size());
  for (const std::size_t i : next) {
    const Parcel& parcel = parcels[i];
    items.push_back({.stream = options_.streams[parcel.place.stream],
                     .id = parcel.id,
                     .type = parcel.type,
                     .correlation = parcel.correlation,
                     .key = parcel.key,
                     .envelope = parcel.envelope});
  }
  std::vector<transport::Result> results(items.size());
  try {
    target_.publish(items, level_, publish_within, results);
  } catch (const Error& error) {
    if (!error.retryable()) throw Error(error.code(), "the target: " + std::string(error.what()));
    passage_.unknown(next);
    return {.again = true, .why = error.what()};
  }
  if (options_.leads_on) {
    for (std::size_t i = 0; i < next.size(); ++i) {
      const Parcel& parcel = parcels[next[i]];
      if (results[i].code == ErrorCode::ok) echo_.remember(Echo::mark_of(parcel.envelope), parcel.place);
    }
  }
  return passage_.published(next, results);
}

void Mover::settle(const Parcels& parcels) {
  const std::vector<Passage::Verdict> verdicts = passage_.settle();
  if (verdicts.empty()) return;
  std::vector<transport::Settlement> items;
  items.reserve(verdicts.size());
  for (const Passage::Verdict& verdict : verdicts) {
    const Parcel& parcel = parcels[verdict.item];
    transport::Settlement& item = items.emplace_back();
    item.token = parcel.token;
    if (!verdict.dead) continue;
    item.kind = transport::Settlement::Kind::dead;
    item.counted = false;
    item.reason = verdict.reason;
    item.error = verdict.error;
    complain((parcel.id.empty()
                  ? "an entry of " + options_.streams[parcel.place.stream] + " at " + to_string(parcel.place.position)
                  : parcel.id) +
             ": " + verdict.reason + ", it is a dead letter of " + options_.group + " now: " + verdict.error);
  }
  std::vector<transport::Result> results(items.size());
  (*holding_)->settle(items, results);
  const transport::Result* failed = nullptr;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].code != ErrorCode::ok || results[i].stale) {
      failed = &results[i];
    } else {
      passage_.settled(verdicts[i].item);
    }
  }
  // What is stored and was not settled comes again, and is settled then.
  if (failed != nullptr && failed->code != ErrorCode::ok && failed->code != ErrorCode::stale) {
    throw Error(failed->code, failed->retryable, failed->message);
  }
  if (failed != nullptr) throw Error(ErrorCode::unavailable, true, "a lease ran out before its event was settled");
}

bool Mover::pause(const std::string& why) {
  pause_ = pause_ == Millis(0) ? first_pause : std::min(pause_ * 2, longest_pause);
  complain(why + "; trying again in " + format_duration(pause_));
  return interrupt_.wait(pause_);
}

void Mover::show_progress() {
  const bool terminal = terminal_errors();
  const Steady now = system_clock().steady();
  if (now - shown_at_ < (terminal ? progress_on_terminal : progress_in_log)) return;
  shown_at_ = now;
  std::optional<std::uint64_t> lag;
  std::optional<Millis> oldest;
  for (std::size_t i = 0; i < options_.streams.size(); ++i) {
    for (const transport::StreamInfo& info : source_.describe(options_.streams[i])) {
      for (const transport::GroupInfo& each : info.groups) {
        if (each.group != group(i).group) continue;
        if (each.lag) lag = lag.value_or(0) + *each.lag;
        if (each.oldest_age) oldest = std::max(oldest.value_or(Millis(0)), *each.oldest_age);
      }
    }
  }
  const std::string text =
      "moved " + std::to_string(passage_.moved()) + ", lag " + cell(lag) + ", oldest " + cell(oldest);
  if (terminal) {
    std::cerr << '\r' << text << "\x1b[K" << std::flush;
  } else {
    complain(text);
  }
}

}  // namespace tidings::cli
