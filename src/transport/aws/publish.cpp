#include "transport/aws/publish.hpp"

#include <algorithm>
#include <thread>
#include <tidings/stream.hpp>

#include "core/acceptable.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::size_t most_under_way = 24;
constexpr std::chrono::milliseconds one_attempt{10'000};
constexpr std::size_t longest_type = 200;
constexpr std::size_t most_storing = 8;

Result result_of(const EntryResult& entry, const Outgoing& item) {
  ErrorCode code = ErrorCode::internal;
  switch (entry.fault) {
    case Fault::denied:
      code = ErrorCode::unauthorized;
      break;
    case Fault::not_found:
      code = ErrorCode::not_found;
      break;
    case Fault::too_large:
      code = ErrorCode::too_large;
      break;
    case Fault::sender:
      code = ErrorCode::invalid;
      break;
    default:
      code = ErrorCode::unavailable;
  }
  return {.code = code,
          .retryable = may_pass(entry.fault),
          .message = std::string(item.id) + " for " + std::string(item.stream) + ": AWS says " + entry.code + ": " +
                     entry.message};
}

}  // namespace

// Refuses what cannot be sent, and lets the rest in.
void Publication::sort(std::span<Result> results) {
  std::vector<std::pair<std::string_view, std::string_view>> refused;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Outgoing& item = items_[i];
    results[i] = {};
    // What came out of a queue goes into its dead letters whatever it is: refused, it would come back for ever.
    bool fits = as_it_came_ || core::acceptable(item, item.stream, limits_, results[i]);
    const bool large = fits && payloads_ != nullptr && item.envelope.size() > largest_inline;
    if (large) note_large(i);
    if (fits && !large && !sqs::takes_body(item.envelope)) {
      results[i] = {.code = ErrorCode::invalid,
                    .message = std::string(item.id) + " for " + std::string(item.stream) +
                               ": it holds a character that SQS rejects (U+FFFE, U+FFFF or a control character); write "
                               "it as an escape"};
      fits = false;
    }
    const std::pair key{item.stream, item.key};
    if (!item.key.empty()) {
      if (!fits) refused.push_back(key);
      if (fits && std::find(refused.begin(), refused.end(), key) != refused.end()) {
        results[i] = {
            .code = ErrorCode::unavailable,
            .retryable = true,
            .message = std::string(item.id) + ": an earlier event of its key was refused; publish that first"};
        fits = false;
      }
    }
    if (!fits) continue;
    ++left_;
    if (item.key.empty()) {
      enter(i);
    } else {
      std::deque<std::size_t>& line = behind_[key];
      line.push_back(i);
      if (line.size() == 1) enter(i);
    }
  }
}

void Publication::enter(std::size_t item) {
  const auto large = large_.find(item);
  if (large != large_.end() && !large->second.stored) return unstored_.push_back(&large->second);
  const std::string_view stream = items_[item].stream;
  auto lane = lanes_.find(stream);
  if (lane == lanes_.end()) lane = lanes_.emplace(std::string(stream), Lane{}).first;
  lane->second.ready.push_back(item);
}

void Publication::note_large(std::size_t item) {
  const Outgoing& of = items_[item];
  Large& large = large_[item];
  large.item = item;
  large.key = payload_key(payloads_->place(), of.stream, of.id, hex(sha256({of.envelope})));
  large.pointer = write_pointer(payloads_->place(), large.key, of.envelope.size());
}

std::string_view Publication::body_of(std::size_t item) const {
  const auto large = large_.find(item);
  return large == large_.end() ? items_[item].envelope : std::string_view(large->second.pointer);
}

// Nothing is sent before its payload is durable: who receives the pointer finds it.
void Publication::store_some(Client::Flight& flight, std::span<Result> results, WaitClock::time_point deadline) {
  while (!unstored_.empty() && storing_ < most_storing && WaitClock::now() < deadline) {
    Large& large = *unstored_.front();
    unstored_.pop_front();
    const auto decided = payloads_->put(flight, large.work, large.key, items_[large.item].envelope, deadline);
    if (decided) {
      take_stored(large, *decided, results);
    } else {
      ++storing_;
    }
  }
}

void Publication::take_stored(Large& large, const Payloads::Outcome& outcome, std::span<Result> results) {
  if (!outcome.error) {
    large.stored = true;
    return enter(large.item);
  }
  const Outgoing& item = items_[large.item];
  // The pointer was not sent, so that nothing can have come of it.
  decide(large.item, results,
         {.code = outcome.error->code(),
          .retryable = outcome.error->retryable(),
          .message = std::string(item.id) + " for " + std::string(item.stream) +
                     ": nothing was sent: " + outcome.error->what()});
}

// Filters look at the type. All else is in the envelope: SNS discards what has more than ten attributes.
std::vector<MessageAttribute> Publication::attributes_of(std::size_t item) const {
  std::vector<MessageAttribute> attributes;
  const std::string_view type = items_[item].type;
  const bool written = !type.empty() && !(as_it_came_ && (type.size() > longest_type || !sqs::takes_body(type)));
  if (written) attributes.push_back({.name = "type", .value = std::string(type)});
  if (!extra_.empty()) attributes.insert(attributes.end(), extra_[item].begin(), extra_[item].end());
  if (large_.contains(item)) {
    MessageAttribute size = pointer_attribute(payloads_->place(), items_[item].envelope.size());
    if (!size.name.empty()) attributes.push_back(std::move(size));
  }
  return attributes;
}

void Publication::write(Batch& batch, const std::string& place, bool queue) const {
  std::vector<std::vector<MessageAttribute>> attributes(batch.items.size());
  std::vector<sns::Outbound> published(queue ? 0 : batch.items.size());
  std::vector<sqs::Outbound> sent(queue ? batch.items.size() : 0);
  for (std::size_t k = 0; k < batch.items.size(); ++k) {
    const std::string_view body = body_of(batch.items[k]);
    attributes[k] = attributes_of(batch.items[k]);
    if (queue) {
      sent[k].body = body;
      sent[k].attributes = attributes[k];
      if (!delays_.empty()) sent[k].delay_seconds = delays_[batch.items[k]];
    } else {
      published[k].body = body;
      published[k].attributes = attributes[k];
    }
  }
  if (queue) return sqs::write_send_message_batch(batch.body, place, sent);
  sns::write_publish_batch(batch.body, place, published);
}

// Finds out where a stream's items go.
void Publication::place(const std::string& stream, Lane& lane, WaitClock::time_point deadline) {
  if (lane.placed) return;
  lane.queue = !straight_to_.empty() || is_command_stream(stream);
  lane.place = !straight_to_.empty() ? std::string(straight_to_)
               : lane.queue          ? topology_.command_queue(stream, deadline)
                                     : topology_.topic(stream, deadline);
  lane.placed = true;
}

void Publication::start(Client::Flight& flight, const std::string& stream, Lane& lane, WaitClock::time_point deadline) {
  std::unique_ptr<Batch> batch;
  if (spare_.empty()) {
    batch = std::make_unique<Batch>();
  } else {
    batch = std::move(spare_.back());
    spare_.pop_back();
  }
  batch->stream = stream;
  batch->queue = lane.queue;
  batch->items.clear();
  batch->reply = {};
  std::size_t bytes = 0;
  while (!lane.ready.empty() && batch->items.size() < largest_batch) {
    const std::size_t item = lane.ready.front();
    bytes += size_of(item);
    if (!batch->items.empty() && (bytes > largest_message || goes_alone_[item])) break;
    batch->items.push_back(item);
    lane.ready.pop_front();
    if (goes_alone_[item]) break;
  }
  write(*batch, lane.place, lane.queue);
  const Call call{.service = lane.queue ? Service::sqs : Service::sns,
                  .operation = lane.queue ? "SendMessageBatch" : "PublishBatch",
                  .body = batch->body,
                  .limit = one_attempt};
  batches_.push_back(std::move(batch));
  flight.start(call, batches_.back()->reply, deadline);
}

// What an item counts for in the limit of a batch.
std::size_t Publication::size_of(std::size_t item) const {
  constexpr std::size_t beside_type = 64;
  std::size_t bytes = body_of(item).size() + items_[item].type.size() + 2 * beside_type;
  if (extra_.empty()) return bytes;
  for (const MessageAttribute& each : extra_[item]) bytes += each.name.size() + each.value.size() + beside_type;
  return bytes;
}

void Publication::start_some(Client::Flight& flight, std::span<Result> results, WaitClock::time_point deadline) {
  for (auto& [stream, lane] : lanes_) {
    try {
      while (!lane.ready.empty() && batches_.size() < most_under_way) {
        place(stream, lane, deadline);
        start(flight, stream, lane, deadline);
      }
    } catch (const Error& error) {
      // This stream's place is not known; the others' events go on.
      while (!lane.ready.empty()) {
        const std::size_t item = lane.ready.front();
        lane.ready.pop_front();
        decide(item, results,
               {.code = error.code(),
                .retryable = error.retryable(),
                .message = std::string(items_[item].id) + ": " + error.what()});
      }
    }
  }
}

void Publication::decide(std::size_t item, std::span<Result> results, Result result) {
  const bool stored = result.code == ErrorCode::ok;
  result.ambiguous = result.ambiguous || unclear_[item];
  results[item] = std::move(result);
  --left_;
  if (items_[item].key.empty()) return;
  const auto line = behind_.find({items_[item].stream, items_[item].key});
  line->second.pop_front();
  if (stored && !line->second.empty()) return enter(line->second.front());
  for (const std::size_t later : line->second) {
    results[later] = {.code = ErrorCode::unavailable,
                      .retryable = true,
                      .message = std::string(items_[later].id) + ": an earlier event of its key was not stored"};
    --left_;
  }
  behind_.erase(line);
}

void Publication::again(std::size_t item, Fault fault) {
  later_.emplace_back(WaitClock::now() + wait_before(++tries_[item], fault, *environment_.random), item);
}

// What AWS said of a batch. An entry that failed for the moment is sent again alone, under the same id.
void Publication::take(Batch& batch, std::span<Result> results, WaitClock::time_point deadline) {
  constexpr unsigned most_places = 2;
  if (batch.reply.ambiguous) {
    for (const std::size_t i : batch.items) unclear_[i] = true;
  }
  if (!batch.reply.ok()) {
    const bool refused = batch.reply.fault == Fault::too_large || batch.reply.fault == Fault::sender;
    if (refused && batch.items.size() > 1) {
      // Because of one of them, and nobody says which: each has a call of its own, and who is refused then is refused.
      for (const std::size_t i : batch.items) {
        goes_alone_[i] = true;
        enter(i);
      }
      return;
    }
    if (batch.reply.fault == Fault::not_found && straight_to_.empty()) {
      // Somebody removed it since we knew it.
      topology_.forget(batch.stream);
      lanes_[batch.stream].placed = false;
      if (std::all_of(batch.items.begin(), batch.items.end(), [&](std::size_t i) { return tries_[i] < most_places; })) {
        for (const std::size_t i : batch.items) again(i, Fault::passing);
        return;
      }
    }
    const Error error = batch.reply.error(batch.queue ? "SendMessageBatch" : "PublishBatch", batch.stream);
    for (const std::size_t i : batch.items) {
      const bool unclear = batch.reply.ambiguous;
      decide(i, results,
             {.code = unclear ? ErrorCode::timeout : error.code(),
              .retryable = unclear || error.retryable(),
              .message = std::string(items_[i].id) + ": " + error.what()});
    }
    return;
  }
  std::vector<EntryResult> entries(batch.items.size());
  if (batch.queue) {
    std::vector<sqs::Outbound> sent(batch.items.size());
    std::vector<std::vector<MessageAttribute>> attributes(batch.items.size());
    for (std::size_t k = 0; k < batch.items.size(); ++k) {
      attributes[k] = attributes_of(batch.items[k]);
      sent[k] = {.body = body_of(batch.items[k]), .attributes = attributes[k]};
    }
    sqs::read_send_message_batch(batch.reply.body, sent, entries);
  } else {
    sns::read_publish_batch(batch.reply.body, entries);
  }
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const std::size_t i = batch.items[k];
    if (entries[k].ok()) {
      decide(i, results, {});
    } else if (may_pass(entries[k].fault) && WaitClock::now() < deadline) {
      // AWS said nothing of it, or that it stored something else.
      if (entries[k].code == "Missing" || entries[k].code.ends_with("Changed")) unclear_[i] = true;
      again(i, entries[k].fault);
    } else {
      decide(i, results, result_of(entries[k], items_[i]));
    }
  }
}

void Publication::wake_due() {
  const auto now = WaitClock::now();
  for (std::size_t k = 0; k < later_.size();) {
    if (later_[k].first > now) {
      ++k;
      continue;
    }
    const std::size_t item = later_[k].second;
    later_[k] = later_.back();
    later_.pop_back();
    enter(item);
  }
}

WaitClock::time_point Publication::next_wake(WaitClock::time_point deadline) const {
  for (const auto& [at, item] : later_) deadline = std::min(deadline, at);
  return deadline;
}

void Publication::run(std::span<const Outgoing> items, Millis within, std::span<Result> results,
                      const Straight& straight) {
  items_ = items;
  straight_to_ = straight.to;
  extra_ = straight.attributes;
  delays_ = straight.delays;
  as_it_came_ = straight.as_it_came;
  tries_.assign(items.size(), 0);
  unclear_.assign(items.size(), false);
  goes_alone_.assign(items.size(), false);
  const auto deadline = WaitClock::now() + std::clamp(within, Millis(0), Millis(86'400'000));
  sort(results);
  Client::Flight flight(client_);
  while (left_ > 0) {
    wake_due();
    store_some(flight, results, deadline);
    start_some(flight, results, deadline);
    // What is under way at the deadline is decided right behind it, and nothing is left open.
    const bool over = WaitClock::now() >= deadline;
    if (Reply* const reply = flight.next(over ? WaitClock::time_point::max() : next_wake(deadline))) {
      take_reply(*reply, results, deadline);
      continue;  // What became ready behind it is sent before anything is waited for.
    }
    if (!batches_.empty() || storing_ > 0 || left_ == 0) continue;
    if (WaitClock::now() >= deadline) break;
    if (!later_.empty()) std::this_thread::sleep_until(next_wake(deadline));
  }
  if (left_ > 0) time_out(results);
}

void Publication::take_reply(const Reply& reply, std::span<Result> results, WaitClock::time_point deadline) {
  const auto batch =
      std::find_if(batches_.begin(), batches_.end(), [&](const auto& each) { return &each->reply == &reply; });
  if (batch != batches_.end()) {
    take(**batch, results, deadline);
    spare_.push_back(std::move(*batch));
    batches_.erase(batch);
    return;
  }
  const auto large =
      std::find_if(large_.begin(), large_.end(), [&](const auto& each) { return &each.second.work.reply == &reply; });
  --storing_;
  take_stored(large->second, payloads_->outcome(large->second.work), results);
}

// Whatever is left was not stored as far as anybody knows.
void Publication::time_out(std::span<Result> results) {
  const auto mark = [&](std::size_t item) {
    results[item] = {.code = ErrorCode::timeout,
                     .retryable = true,
                     .ambiguous = unclear_[item],
                     .message = std::string(items_[item].id) + ": the deadline passed first"};
  };
  for (const auto& [stream, lane] : lanes_) std::for_each(lane.ready.begin(), lane.ready.end(), mark);
  for (const auto& [at, item] : later_) mark(item);
  for (const Large* large : unstored_) mark(large->item);
  for (const auto& [key, line] : behind_) std::for_each(line.begin(), line.end(), mark);
}

}  // namespace tidings::transport::aws
