// Publishing for rate: callers write events into chunks, one thread stores whole chunks. While one chunk is stored the
// next one fills, so that the caller's work and the engine's overlap. Where the engine can make durable what it has
// stored in a step of its own, a second thread does that, once for all chunks that wait for it, while the first goes
// on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <tidings/bus.hpp>

#include "runtime/message.hpp"

namespace tidings::runtime {

/// What the queue may hold.
struct PublisherLimits {
  std::size_t events = 16384;
  std::size_t bytes = 16U << 20;
  Millis deadline{10'000};
};

/// The queue and its thread. Members may be called from any thread.
class Publisher : public std::enable_shared_from_this<Publisher> {
 public:
  using Store = std::function<void(std::span<const transport::Outgoing>, std::span<transport::Result>)>;
  using OnResult = std::function<void(const PublishResult&)>;
  /// Writes one message into the arena it is given; may throw, having written nothing.
  using Write = std::function<Encoded(std::string&)>;

  /// Returns when everything stored before is durable; throws Error otherwise.
  using Harden = std::function<void()>;

  /// `store` stores a chunk as durably as a publish must be, or, with `harden`, just far enough that it can follow.
  Publisher(PublisherLimits limits, Store store, Harden harden = {});
  ~Publisher();

  /// Starts the thread; it keeps the queue alive until close().
  void start();
  /// Queues what `write` writes. Blocks while the queue is full; throws Error{full} at the deadline.
  template <class F>
  void add(F&& write, OnResult on_result) {
    std::unique_lock lock(mutex_);
    wait_for_room(lock);
    Chunk& chunk = open_chunk();
    const std::size_t before = chunk.arena.size();
    const Encoded message = write(chunk.arena);
    chunk.items.push_back(message);
    if (on_result) chunk.callbacks.emplace_back(chunk.items.size() - 1, std::move(on_result));
    added(chunk, chunk.arena.size() - before);
  }
  /// Waits until everything added before is decided, then throws the first failure that no callback saw.
  void flush();
  /// Waits until everything is decided, and ends the thread.
  void close() noexcept;
  /// Forgets the thread without waiting for it: in a forked child, which does not have it.
  void forget() noexcept;
  /// A failure that no callback and no flush() has seen.
  [[nodiscard]] std::optional<Error> unseen_failure();

 private:
  struct Chunk {
    std::string arena;
    std::vector<Encoded> items;
    std::vector<std::pair<std::size_t, OnResult>> callbacks;
    std::vector<transport::Outgoing> outgoing;
    std::vector<transport::Result> results;
  };

  void wait_for_room(std::unique_lock<std::mutex>& lock);
  Chunk& open_chunk();
  void added(const Chunk& chunk, std::size_t bytes);
  void work();
  void store(Chunk& chunk);
  void harden_loop();
  void decide(std::unique_ptr<Chunk> chunk);
  void report(const Chunk& chunk);

  const PublisherLimits limits_;
  const std::size_t chunk_events_;
  const std::size_t chunk_bytes_;
  const Store store_;
  const Harden harden_;
  std::mutex mutex_;
  std::condition_variable work_, room_, decided_wake_, stored_wake_;
  std::unique_ptr<Chunk> open_;
  std::deque<std::unique_ptr<Chunk>> full_;
  std::vector<std::unique_ptr<Chunk>> stored_;  // Not durable yet.
  std::vector<std::unique_ptr<Chunk>> spare_;
  std::size_t waiting_events_ = 0, waiting_bytes_ = 0;
  std::uint64_t added_ = 0, decided_ = 0;
  unsigned blocked_ = 0;  // Callers in wait_for_room().
  bool sleeping_ = false, closing_ = false;
  bool storing_ended_ = false;
  bool orphaned_ = false;  // Closed by its own callback: what `store_` refers to is gone.
  std::optional<Error> failure_;
  std::thread thread_, hardening_;
};

}  // namespace tidings::runtime
