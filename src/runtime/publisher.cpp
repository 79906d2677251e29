#include "runtime/publisher.hpp"

#include <algorithm>

namespace tidings::runtime {

Publisher::Publisher(PublisherLimits limits, Store store)
    : limits_(limits),
      // At least two chunks fit into the queue, so that one fills while the other is stored.
      chunk_events_(std::clamp<std::size_t>(limits.events / 2, 1, 4096)),
      chunk_bytes_(std::clamp<std::size_t>(limits.bytes / 2, 1, 2U << 20)),
      store_(std::move(store)) {}

Publisher::~Publisher() {
  if (thread_.joinable()) thread_.detach();
}

void Publisher::start() {
  thread_ = std::thread([self = shared_from_this()] { self->work(); });
}

void Publisher::wait_for_room(std::unique_lock<std::mutex>& lock) {
  const auto has_room = [this] {
    return closing_ || (waiting_events_ < limits_.events && waiting_bytes_ < limits_.bytes);
  };
  if (!has_room()) {
    ++blocked_;
    const bool room = room_.wait_for(lock, limits_.deadline, has_room);
    --blocked_;
    if (!room) {
      throw Error(ErrorCode::full, true,
                  "the queue of publish_async() stayed full (" + std::to_string(waiting_events_) + " events, " +
                      std::to_string(waiting_bytes_) + " bytes) until the deadline; the event was not queued, " +
                      "publish more slowly or raise BusOptions::async_events and async_bytes");
    }
  }
  if (closing_) throw Error(ErrorCode::closed, "the bus was closed; open it again to publish");
}

Publisher::Chunk& Publisher::open_chunk() {
  if (!open_) {
    if (spare_.empty()) {
      open_ = std::make_unique<Chunk>();
    } else {
      open_ = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  return *open_;
}

void Publisher::added(const Chunk& chunk, std::size_t bytes) {
  ++waiting_events_;
  waiting_bytes_ += bytes;
  ++added_;
  if (chunk.items.size() >= chunk_events_ || chunk.arena.size() >= chunk_bytes_) full_.push_back(std::move(open_));
  if (sleeping_) {
    sleeping_ = false;
    work_.notify_one();
  }
}

void Publisher::flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t until = added_;
  decided_wake_.wait(lock, [&] { return decided_ >= until; });
  if (failure_) {
    const Error failure = *std::exchange(failure_, std::nullopt);
    lock.unlock();
    throw failure;
  }
}

void Publisher::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    sleeping_ = false;
  }
  work_.notify_all();
  room_.notify_all();
  if (!thread_.joinable()) return;
  // The last handle of a bus may go away in a callback, on the very thread that would be waited for.
  if (thread_.get_id() == std::this_thread::get_id()) {
    const std::lock_guard lock(mutex_);
    orphaned_ = true;
    thread_.detach();
  } else {
    thread_.join();
  }
}

void Publisher::forget() noexcept {
  if (thread_.joinable()) thread_.detach();
}

std::optional<Error> Publisher::unseen_failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Publisher::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::unique_ptr<Chunk> chunk;
    if (!full_.empty()) {
      chunk = std::move(full_.front());
      full_.pop_front();
    } else if (open_) {
      chunk = std::move(open_);
    } else if (closing_) {
      return;
    } else {
      sleeping_ = true;
      work_.wait(lock, [this] { return !sleeping_; });
      continue;
    }
    lock.unlock();
    store(*chunk);
    const std::size_t events = chunk->items.size(), bytes = chunk->arena.size();
    chunk->arena.clear();
    chunk->items.clear();
    chunk->callbacks.clear();
    lock.lock();
    if (orphaned_) return;
    waiting_events_ -= events;
    waiting_bytes_ -= bytes;
    decided_ += events;
    if (spare_.size() < 4) spare_.push_back(std::move(chunk));
    if (blocked_ > 0) room_.notify_all();
    decided_wake_.notify_all();
  }
}

void Publisher::store(Chunk& chunk) {
  outgoing_.clear();
  for (const Encoded& message : chunk.items) outgoing_.push_back(outgoing(chunk.arena, message));
  results_.assign(chunk.items.size(), {});
  try {
    store_(outgoing_, results_);
  } catch (const Error& error) {
    for (transport::Result& result : results_) {
      result.code = error.code();
      result.retryable = error.retryable();
      result.message = error.what();
    }
  } catch (const std::exception& error) {
    for (transport::Result& result : results_) {
      result.code = ErrorCode::internal;
      result.message = error.what();
    }
  }
  report(chunk, results_);
}

void Publisher::report(const Chunk& chunk, std::span<const transport::Result> results) {
  auto callback = chunk.callbacks.begin();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const transport::Result& result = results[i];
    if (callback != chunk.callbacks.end() && callback->first == i) {
      PublishResult told;
      told.id = outgoing_[i].id;
      told.position = result.position;
      told.ambiguous = result.ambiguous;
      told.code = result.code;
      told.retryable = result.retryable;
      told.message = result.message;
      callback->second(told);
      ++callback;
    } else if (result.code != ErrorCode::ok) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_.emplace(result.code, result.retryable, result.message);
    }
  }
}

}  // namespace tidings::runtime
