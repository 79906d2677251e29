#include "runtime/publisher.hpp"

#include <algorithm>

namespace tidings::runtime {
namespace {

/// Nothing of these is acknowledged; what was refused before keeps its own reason.
void fail(std::span<transport::Result> results, const Error& error) {
  for (transport::Result& result : results) {
    if (result.code != ErrorCode::ok) continue;
    result.code = error.code();
    result.retryable = error.retryable();
    result.message = error.what();
  }
}

}  // namespace

Publisher::Publisher(PublisherLimits limits, Store store, Harden harden)
    : limits_(limits),
      // Four chunks fit into the queue, so that one fills while others are stored and made durable.
      chunk_events_(std::clamp<std::size_t>(limits.events / 4, 1, 4096)),
      chunk_bytes_(std::clamp<std::size_t>(limits.bytes / 4, 1, 2U << 20)),
      store_(std::move(store)),
      harden_(std::move(harden)) {}

Publisher::~Publisher() { forget(); }

void Publisher::start() {
  thread_ = std::thread([self = shared_from_this()] { self->work(); });
  if (harden_) hardening_ = std::thread([self = shared_from_this()] { self->harden_loop(); });
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
  for (std::thread* thread : {&thread_, &hardening_}) {
    if (!thread->joinable()) continue;
    // The last handle of a bus may go away in a callback, on the very thread that would be waited for.
    if (thread->get_id() == std::this_thread::get_id()) {
      const std::lock_guard lock(mutex_);
      orphaned_ = true;
      thread->detach();
    } else {
      thread->join();
    }
  }
}

void Publisher::forget() noexcept {
  for (std::thread* thread : {&thread_, &hardening_}) {
    if (thread->joinable()) thread->detach();
  }
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
      storing_ended_ = true;
      stored_wake_.notify_all();
      return;
    } else {
      sleeping_ = true;
      work_.wait(lock, [this] { return !sleeping_; });
      continue;
    }
    lock.unlock();
    store(*chunk);
    if (harden_) {
      lock.lock();
      stored_.push_back(std::move(chunk));
      stored_wake_.notify_one();
    } else {
      decide(std::move(chunk));
      lock.lock();
    }
    if (orphaned_) return;
  }
}

void Publisher::harden_loop() {
  std::vector<std::unique_ptr<Chunk>> chunks;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      stored_wake_.wait(lock, [this] { return !stored_.empty() || storing_ended_; });
      if (stored_.empty() || orphaned_) return;
      chunks.swap(stored_);
    }
    try {
      harden_();
    } catch (const Error& error) {
      for (const auto& chunk : chunks) fail(chunk->results, error);
    } catch (const std::exception& error) {
      for (const auto& chunk : chunks) fail(chunk->results, Error(ErrorCode::internal, error.what()));
    }
    for (auto& chunk : chunks) decide(std::move(chunk));
    chunks.clear();
  }
}

void Publisher::decide(std::unique_ptr<Chunk> chunk) {
  report(*chunk);
  const std::size_t events = chunk->items.size(), bytes = chunk->arena.size();
  chunk->arena.clear();
  chunk->items.clear();
  chunk->callbacks.clear();
  const std::lock_guard lock(mutex_);
  waiting_events_ -= events;
  waiting_bytes_ -= bytes;
  decided_ += events;
  if (spare_.size() < 4) spare_.push_back(std::move(chunk));
  if (blocked_ > 0) room_.notify_all();
  decided_wake_.notify_all();
}

void Publisher::store(Chunk& chunk) {
  chunk.outgoing.clear();
  for (const Encoded& message : chunk.items) chunk.outgoing.push_back(outgoing(chunk.arena, message));
  chunk.results.assign(chunk.items.size(), {});
  try {
    store_(chunk.outgoing, chunk.results);
  } catch (const Error& error) {
    fail(chunk.results, error);
  } catch (const std::exception& error) {
    fail(chunk.results, Error(ErrorCode::internal, error.what()));
  }
}

void Publisher::report(const Chunk& chunk) {
  auto callback = chunk.callbacks.begin();
  for (std::size_t i = 0; i < chunk.results.size(); ++i) {
    const transport::Result& result = chunk.results[i];
    if (callback != chunk.callbacks.end() && callback->first == i) {
      PublishResult told;
      told.id = chunk.outgoing[i].id;
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
