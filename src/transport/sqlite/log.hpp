// The log proper: events in, blocks out.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include <tidings/inspection.hpp>
#include <tidings/transport.hpp>

#include "core/acceptable.hpp"
#include "transport/sqlite/format.hpp"
#include "transport/sqlite/store.hpp"

namespace tidings::transport::sqlite {

/// A block with its place.
struct StoredBlock {
  std::uint64_t first = 0;  ///< Offset of its first event.
  std::int64_t stored_at = 0;
  Block block{};
  [[nodiscard]] std::uint64_t end() const noexcept { return first + block.count(); }
  /// The record of `offset`, which lies in this block.
  [[nodiscard]] Record record(std::uint64_t offset) const;
};

/// Reads the block that holds `offset`, or the next one behind a hole; null behind the last.
[[nodiscard]] std::shared_ptr<const StoredBlock> load_block(Database& db, std::int64_t stream, std::uint64_t offset);

/// One event on its way into a transaction, and where to put its position.
struct Placing {
  const Outgoing* event = nullptr;
  Position* position = nullptr;
};

/// Writes events as blocks, inside somebody's transaction.
class Appender {
 public:
  /// Appends `items` per stream in order. Reorders `items` by stream.
  void append(Store& store, Database& db, std::vector<Placing>& items);

 private:
  void append_stream(Store& store, Database& db, std::span<Placing> items);
  BlockBuilder builder_{};
  std::vector<const Outgoing*> block_{};
};

/// Whether an event may be stored at all: its Result says why not.
[[nodiscard]] inline bool acceptable(const Outgoing& event, const Capabilities& limits, Result& result) {
  return core::acceptable(event, event.stream, limits, result);
}

/// Publishing: whoever comes first commits for all who have come by then.
class Publisher {
 public:
  Publisher(Store& store, const Capabilities& limits) : store_(store), limits_(limits) {}
  void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results);

 private:
  struct Request;
  void select(std::span<const Outgoing> items, std::span<Result> results, Request& request) const;
  void lead(Request& own);
  void decide(Request& request, const Error* error);

  Store& store_;
  const Capabilities& limits_;
  std::mutex mutex_{};
  std::deque<Request*> waiting_{};
  bool led_ = false;
  Appender appender_{};  // The leader's.
  std::vector<Placing> placing_{};
};

/// Reads without a group.
[[nodiscard]] Page read_log(Store& store, const ReadRange& range, std::stop_token stop);

}  // namespace tidings::transport::sqlite
