#include "transport/aws/publish.hpp"

#include <algorithm>
#include <thread>
#include <tidings/stream.hpp>

#include "core/acceptable.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::size_t most_under_way = 24;
constexpr std::chrono::milliseconds one_attempt{10'000};

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
    bool fits = core::acceptable(item, item.stream, limits_, results[i]);
    if (fits && !sqs::takes_body(item.envelope)) {
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
  const std::string_view stream = items_[item].stream;
  auto lane = lanes_.find(stream);
  if (lane == lanes_.end()) lane = lanes_.emplace(std::string(stream), Lane{}).first;
  lane->second.ready.push_back(item);
}

// Filters look at the type. All else is in the envelope: SNS discards what has more than ten attributes.
std::vector<MessageAttribute> Publication::attributes_of(std::size_t item) const {
  std::vector<MessageAttribute> attributes;
  if (!items_[item].type.empty()) attributes.push_back({.name = "type", .value = std::string(items_[item].type)});
  if (!extra_.empty()) attributes.insert(attributes.end(), extra_[item].begin(), extra_[item].end());
  return attributes;
}

void Publication::write(Batch& batch, const std::string& place, bool queue) const {
  std::vector<std::vector<MessageAttribute>> attributes(batch.items.size());
  std::vector<sns::Outbound> published(queue ? 0 : batch.items.size());
  std::vector<sqs::Outbound> sent(queue ? batch.items.size() : 0);
  for (std::size_t k = 0; k < batch.items.size(); ++k) {
    const Outgoing& item = items_[batch.items[k]];
    attributes[k] = attributes_of(batch.items[k]);
    if (queue) {
      sent[k].body = item.envelope;
      sent[k].attributes = attributes[k];
    } else {
      published[k].body = item.envelope;
      published[k].attributes = attributes[k];
    }
  }
  if (queue) return sqs::write_send_message_batch(batch.body, place, sent);
  sns::write_publish_batch(batch.body, place, published);
}

void Publication::start(Client::Flight& flight, const std::string& stream, Lane& lane, WaitClock::time_point deadline) {
  if (!lane.placed) {
    lane.queue = !straight_to_.empty() || is_command_stream(stream);
    lane.place = !straight_to_.empty() ? std::string(straight_to_)
                 : lane.queue          ? topology_.command_queue(stream, deadline)
                                       : topology_.topic(stream, deadline);
    lane.placed = true;
  }
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
    const Outgoing& item = items_[lane.ready.front()];
    bytes += item.envelope.size() + item.type.size() + 64;
    if (!batch->items.empty() && bytes > largest_message) break;
    batch->items.push_back(lane.ready.front());
    lane.ready.pop_front();
  }
  write(*batch, lane.place, lane.queue);
  const Call call{.service = lane.queue ? Service::sqs : Service::sns,
                  .operation = lane.queue ? "SendMessageBatch" : "PublishBatch",
                  .body = batch->body,
                  .limit = one_attempt};
  batches_.push_back(std::move(batch));
  flight.start(call, batches_.back()->reply, deadline);
}

void Publication::start_some(Client::Flight& flight, WaitClock::time_point deadline) {
  for (auto& [stream, lane] : lanes_) {
    while (!lane.ready.empty() && batches_.size() < most_under_way) start(flight, stream, lane, deadline);
  }
}

void Publication::decide(std::size_t item, std::span<Result> results, Result result) {
  const bool stored = result.code == ErrorCode::ok;
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
  if (!batch.reply.ok()) {
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
      sent[k] = {.body = items_[batch.items[k]].envelope, .attributes = attributes[k]};
    }
    sqs::read_send_message_batch(batch.reply.body, sent, entries);
  } else {
    sns::read_publish_batch(batch.reply.body, entries);
  }
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const std::size_t i = batch.items[k];
    if (entries[k].ok()) {
      decide(i, results, {.ambiguous = batch.reply.ambiguous});
    } else if (may_pass(entries[k].fault) && WaitClock::now() < deadline) {
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
                      std::string_view straight_to, std::span<const std::vector<MessageAttribute>> extra) {
  items_ = items;
  straight_to_ = straight_to;
  extra_ = extra;
  tries_.assign(items.size(), 0);
  const auto deadline = WaitClock::now() + std::clamp(within, Millis(0), Millis(86'400'000));
  sort(results);
  std::optional<Error> failure;
  Client::Flight flight(client_);
  while (left_ > 0 && !failure) {
    wake_due();
    try {
      start_some(flight, deadline);
    } catch (const Error& error) {
      failure.emplace(error);  // The place is not known; what is under way is waited for all the same.
    }
    while (Reply* const reply = flight.next(failure ? deadline : next_wake(deadline))) {
      const auto batch =
          std::find_if(batches_.begin(), batches_.end(), [&](const auto& each) { return &each->reply == reply; });
      take(**batch, results, deadline);
      spare_.push_back(std::move(*batch));
      batches_.erase(batch);
      if (!failure) break;
    }
    const bool ready =
        std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return !lane.second.ready.empty(); });
    if (ready && !failure && WaitClock::now() < deadline) continue;
    if (batches_.empty() && !later_.empty() && !failure) {
      if (WaitClock::now() >= deadline) break;
      std::this_thread::sleep_until(next_wake(deadline));
    } else if (WaitClock::now() >= deadline && batches_.empty()) {
      break;
    }
  }
  if (left_ == 0) return;
  // Whatever is left was not stored as far as anybody knows.
  std::vector<bool> undecided(items.size(), false);
  const auto mark = [&](std::size_t item) { undecided[item] = true; };
  for (const auto& [stream, lane] : lanes_) std::for_each(lane.ready.begin(), lane.ready.end(), mark);
  for (const auto& [at, item] : later_) mark(item);
  for (const auto& [key, line] : behind_) std::for_each(line.begin(), line.end(), mark);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!undecided[i]) continue;
    results[i] = failure
                     ? Result{.code = failure->code(), .retryable = failure->retryable(), .message = failure->what()}
                     : Result{.code = ErrorCode::timeout,
                              .retryable = true,
                              .message = std::string(items[i].id) + ": the deadline passed first"};
  }
}

}  // namespace tidings::transport::aws
