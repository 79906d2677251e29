// What goes back to its queue for others, or for later, without having been tried: as a new message. Hiding the old one
// would do, were it not that SQS counts receives and nothing else: what was only passed round would then look like what
// killed each process that received it. What was counted so far goes along.
#include <algorithm>
#include <charconv>

#include "transport/aws/subscription.hpp"
#include "transport/aws/visibility.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::string_view attempts_before = "received", times_handed = "handed", times_postponed = "postponed";
constexpr std::size_t most_attributes = 10;  // SQS.
constexpr unsigned longest_delay = 900;      // SQS, seconds.

std::uint32_t number_of(const sqs::Inbound& message, std::string_view name) {
  const std::string* const text = message.attribute(name);
  std::uint32_t number = 0;
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

// Among many instances the one that handles a type may need a while to receive it. Who is still looked for then is
// looked for less often.
unsigned delay_of(std::uint32_t handed, Millis after) {
  constexpr std::uint32_t quick = 20;
  constexpr unsigned longest = 300;
  const auto seconds = static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(after).count());
  if (handed < quick) return std::min(seconds, longest_delay);
  return std::max(seconds, handed - quick < 9 ? 1U << (handed - quick) : longest);
}

}  // namespace

// The n-th time that the store of payloads failed a message.
std::chrono::seconds AwsSubscription::pause_before(std::uint32_t times, Random& random) {
  constexpr std::chrono::seconds first{1}, longest{120};
  auto bound = first;
  for (std::uint32_t i = 0; i < times && bound < longest; ++i) bound *= 2;
  bound = std::min(bound, longest);
  return std::chrono::seconds(1 + static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(bound.count())));
}

// What a message says of the ones that it stands for, and what it says to others.
void AwsSubscription::take_attributes(Held& held, sqs::Inbound& message, bool points) {
  held.carried = number_of(message, attempts_before);
  held.handed = number_of(message, times_handed);
  held.postponed = number_of(message, times_postponed);
  held.first_received = message.first_received;
  // The type is written anew, where the event is there to be asked.
  std::erase_if(message.attributes, [&](const MessageAttribute& each) {
    return (each.name == "type" && !points) || each.name == attempts_before || each.name == times_handed ||
           each.name == times_postponed;
  });
  held.attributes = std::move(message.attributes);
}

// Sends those of one queue anew; says which it did. What it did not is hidden, and so counted.
void AwsSubscription::send_anew(std::uint32_t source, std::span<Anew> all) {
  std::vector<Outgoing> items;
  std::vector<std::vector<MessageAttribute>> attributes;
  std::vector<unsigned> delays;
  std::vector<Anew*> owners;
  for (Anew& each : all) {
    const Held& held = *each.held;
    std::vector<MessageAttribute> beside = held.attributes;
    const auto add = [&](std::string_view name, std::uint32_t value) {
      if (value > 0) beside.push_back({.name = std::string(name), .value = std::to_string(value)});
    };
    add(attempts_before, held.delivery.attempt - 1);
    add(times_handed, held.handed);
    add(times_postponed, held.postponed);
    if (beside.size() >= most_attributes || !may_send_anew_) continue;
    const bool points = !held.pointer.empty();
    items.push_back({.stream = sources_[source].stream,
                     .id = held.id.empty() ? std::string_view(held.message) : held.id,
                     .type = points ? std::string_view() : held.delivery.type,
                     .envelope = points ? std::string_view(held.pointer) : held.delivery.envelope});
    attributes.push_back(std::move(beside));
    delays.push_back(std::min(each.seconds, longest_delay));
    owners.push_back(&each);
  }
  if (items.empty()) return;
  std::vector<Result> sent(items.size());
  store_.send({.to = sources_[source].url, .attributes = attributes, .delays = delays, .as_it_came = true}, items,
              patience, sent);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    owners[i]->sent = sent[i].code == ErrorCode::ok;
    if (sent[i].code != ErrorCode::unauthorized || !may_send_anew_.exchange(false)) continue;
    store_.environment().log(
        LogLevel::warning,
        "aws: what others handle cannot be handed on and is hidden for a moment instead, which counts "
        "as an attempt; allow sqs:SendMessage on " +
            sources_[source].name + ": " + sent[i].message);
  }
}

// What another instance handles, going by what the runtime decided: it is given back for later.
void AwsSubscription::hand_on(std::span<const Settlement> items, std::span<const Result> results, Verdicts& verdicts) {
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    std::vector<Anew> all;
    std::vector<Verdicts::Verdict*> owners;
    for (auto& verdict : verdicts.all) {
      Held& held = verdict.held;
      const Settlement& item = items[verdict.item];
      if (held.source != source || held.shelf || held.buried || verdict.nobodys ||
          item.kind != Settlement::Kind::release || item.after <= Millis(0) ||
          results[verdict.item].code != ErrorCode::ok)
        continue;
      const unsigned seconds = delay_of(held.handed++, item.after);
      all.push_back({.held = &held, .seconds = seconds});
      owners.push_back(&verdict);
    }
    if (all.empty()) continue;
    send_anew(source, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      owners[i]->held.buried = all[i].sent;
      if (all[i].sent) owners[i]->hide.reset();
    }
  }
}

// Where no shelf knows who is there, a type may be one that nobody handles any more: it does not go round for ever.
bool AwsSubscription::is_nobodys(const Held& held, const Settlement& item) const {
  constexpr std::uint32_t most_times = 64;  // That takes three hours.
  return !shelf_ && item.kind == Settlement::Kind::release && item.after > Millis(0) && held.handed >= most_times;
}

// What could not be fetched goes back to its queue, uncounted, for longer each time.
void AwsSubscription::tell_postponed() {
  release_on_shelf();
  if (postponed_.empty()) return;
  std::vector<std::vector<Anew>> all(sources_.size());
  std::vector<Held> postponed;
  std::swap(postponed, postponed_);
  for (Held& held : postponed) {
    const auto seconds = static_cast<unsigned>(pause_before(held.postponed++, *store_.environment().random).count());
    all[held.source].push_back({.held = &held, .seconds = seconds});
  }
  std::vector<VisibilityChange> changes;
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    send_anew(source, all[source]);
    std::vector<std::string_view> done;
    for (const Anew& each : all[source]) {
      if (each.sent) {
        done.push_back(each.held->receipt);
        continue;
      }
      {
        const std::lock_guard lock(mutex_);
        note_returned(*each.held);
      }
      const auto left = std::max<std::int64_t>(seconds_left(*each.held, now()), 0);
      changes.push_back(
          {.queue = sources_[source].name,
           .queue_url = sources_[source].url,
           .change = {each.held->receipt, static_cast<unsigned>(std::min<std::int64_t>(each.seconds, left))}});
    }
    remove(source, done);
  }
  // What fails comes again when its lease is over.
  (void)change_visibility(store_.client(), changes, deadline_in(patience));
}

// What is there anew. Should it fail, it comes twice under one id.
void AwsSubscription::remove(std::uint32_t source, std::span<const std::string_view> receipts) {
  std::deque<std::string> bodies;
  std::vector<Call> calls;
  for (std::size_t first = 0; first < receipts.size(); first += largest_batch) {
    const auto part = receipts.subspan(first, std::min(largest_batch, receipts.size() - first));
    sqs::write_delete_message_batch(bodies.emplace_back(), sources_[source].url, part);
    calls.push_back({.service = Service::sqs, .operation = "DeleteMessageBatch", .body = bodies.back()});
  }
  std::vector<Reply> replies(calls.size());
  if (!calls.empty()) store_.client().run(calls, replies, deadline_in(patience));
}

}  // namespace tidings::transport::aws
