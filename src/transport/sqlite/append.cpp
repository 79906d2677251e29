#include <algorithm>

#include "core/failpoint.hpp"
#include "transport/sqlite/log.hpp"

namespace tidings::transport::sqlite {
namespace {

constexpr std::uint64_t largest_group_commit = 8U << 20;

}  // namespace

struct Publisher::Request {
  std::vector<Placing> items{};
  std::vector<Result*> results{};
  std::uint64_t bytes = 0;
  Level level = Level::disk;
  WaitClock::time_point deadline{};
  std::condition_variable wake{};
  bool taken = false, done = false;
};

void Appender::append(Store& store, Database& db, std::vector<Placing>& items) {
  const auto by_stream = [](const Placing& a, const Placing& b) { return a.event->stream < b.event->stream; };
  if (!std::is_sorted(items.begin(), items.end(), by_stream)) std::stable_sort(items.begin(), items.end(), by_stream);
  for (std::size_t from = 0; from < items.size();) {
    std::size_t to = from + 1;
    while (to < items.size() && items[to].event->stream == items[from].event->stream) ++to;
    append_stream(store, db, std::span(items).subspan(from, to - from));
    from = to;
  }
}

void Appender::append_stream(Store& store, Database& db, std::span<Placing> items) {
  const std::int64_t stream = store.stream_number(db, items.front().event->stream, true);
  std::uint64_t bytes = 0, next = 0;
  for (const Placing& item : items) bytes += item.event->envelope.size();
  {
    Query query(db, "UPDATE streams SET next=next+?, bytes=bytes+? WHERE id=? RETURNING next", items.size(), bytes,
                stream);
    if (!query.step()) throw Error(ErrorCode::corrupt, store.path() + " has lost a stream; restore it from a copy");
    next = static_cast<std::uint64_t>(query.integer(0)) - items.size();
    query.run();
  }
  const std::int64_t now = store.due_ms();
  for (std::size_t from = 0; from < items.size();) {
    block_.clear();
    std::size_t size = 0, to = from;
    do {
      size += items[to].event->envelope.size();
      block_.push_back(items[to].event);
      if (items[to].position != nullptr) *items[to].position = Position{next + (to - from), 0};
      ++to;
    } while (to < items.size() && size + items[to].event->envelope.size() <= block_bytes);
    builder_.build(block_);
    Query(db, "INSERT INTO blocks(id,count,stored_at,bytes,types,bloom,body) VALUES(?,?,?,?,?,?,?)",
          block_key(stream, next), block_.size(), now, size, builder_.types(), builder_.bloom(), builder_.body())
        .run();
    next += to - from;
    from = to;
  }
}

void Publisher::select(std::span<const Outgoing> items, std::span<Result> results, Request& request) const {
  std::vector<const Outgoing*> refused;
  request.items.reserve(items.size());
  request.results.reserve(items.size());
  std::string_view checked;  // Most batches go to one stream; its name is checked once.
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Outgoing& item = items[i];
    results[i] = {};
    const bool quick = item.stream == checked && item.envelope.size() <= limits_.largest_event &&
                       !item.envelope.empty() && item.type.size() <= 200 &&
                       item.type.find('\n') == std::string_view::npos;
    if (!quick && !acceptable(item, limits_, results[i])) {
      refused.push_back(&item);
      continue;
    }
    checked = item.stream;
    const bool behind_refused = !refused.empty() && !item.key.empty() &&
                                std::any_of(refused.begin(), refused.end(), [&](const Outgoing* other) {
                                  return other->key == item.key && other->stream == item.stream;
                                });
    if (behind_refused) {
      results[i] = {
          .code = ErrorCode::unavailable,
          .retryable = true,
          .message = std::string(item.id) + ": an earlier event of its key was refused; publish that one first"};
      continue;
    }
    request.items.push_back({&item, &results[i].position});
    request.results.push_back(&results[i]);
    request.bytes += item.envelope.size();
  }
}

void Publisher::decide(Request& request, const Error* error) {
  if (error != nullptr) {
    for (Result* result : request.results) {
      *result = {.code = error->code(), .retryable = error->retryable(), .message = error->what()};
    }
  }
}

void Publisher::publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) {
  store_.check_usable();
  if (level == Level::replicated) {
    throw Error(ErrorCode::not_supported, "sqlite has no replicas; publish at level disk, or use Redis with replicas");
  }
  if (items.empty()) {
    if (level >= Level::disk) store_.make_durable();
    return;
  }
  Request request;
  request.level = level;
  request.deadline = deadline_in(within);
  select(items, results, request);
  if (request.items.empty()) return;
  if (store_.reserve() > 0 && store_.free_bytes() < store_.reserve() + request.bytes) {
    const Error full(
        ErrorCode::full, true,
        store_.path() + ": less than " + std::to_string((store_.reserve() + request.bytes) >> 20) +
            " MiB are free, and the reserve is kept for settling; make room on its file system (option reserve)");
    return decide(request, &full);
  }
  std::unique_lock lock(mutex_);
  waiting_.push_back(&request);
  while (!request.done) {
    if (!led_ && !request.taken) {
      led_ = true;
      lock.unlock();
      lead(request);
      lock.lock();
      led_ = false;
      if (!waiting_.empty()) waiting_.front()->wake.notify_one();
      continue;
    }
    // Once taken it is part of a commit, which is short; its memory is in use until then.
    if (request.taken) {
      request.wake.wait(lock);
    } else if (request.wake.wait_until(lock, request.deadline) == std::cv_status::timeout && !request.taken && led_) {
      std::erase(waiting_, &request);
      const Error late(ErrorCode::timeout, true,
                       store_.path() + ": the publish's deadline passed before its turn came; publish again");
      return decide(request, &late);
    }
  }
}

void Publisher::lead(Request& own) {
  std::vector<Request*> group;
  Level level = Level::process;
  std::unique_ptr<Error> failure;
  try {
    store_.write(own.deadline, [&](Database& db) {
      {
        std::lock_guard lock(mutex_);
        std::uint64_t bytes = 0;
        placing_.clear();
        while (!waiting_.empty() && (group.empty() || bytes + waiting_.front()->bytes <= largest_group_commit)) {
          Request& next = *waiting_.front();
          waiting_.pop_front();
          next.taken = true;
          bytes += next.bytes;
          level = std::max(level, next.level);
          placing_.insert(placing_.end(), next.items.begin(), next.items.end());
          group.push_back(&next);
        }
      }
      appender_.append(store_, db, placing_);
      TIDINGS_FAILPOINT("sqlite.before_publish_commit");
    });
    TIDINGS_FAILPOINT("sqlite.after_publish_commit");
    store_.side().wake();
    if (level >= Level::disk) store_.make_durable();
    TIDINGS_FAILPOINT("sqlite.after_publish_sync");
  } catch (const Error& error) {
    failure = std::make_unique<Error>(error);
  } catch (const std::exception& error) {
    failure =
        std::make_unique<Error>(ErrorCode::unavailable, true, store_.path() + ": " + error.what() + "; try again");
  }
  std::lock_guard lock(mutex_);
  if (group.empty()) {  // Its turn did not come.
    std::erase(waiting_, &own);
    group.push_back(&own);
  }
  for (Request* request : group) {
    decide(*request, failure.get());
    request->done = true;
    if (request != &own) request->wake.notify_one();
  }
}

}  // namespace tidings::transport::sqlite
