// The yardsticks: what the machine can do without Tidings. Nothing of ours is used here, only SQLite, files and
// futexes.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace yardstick {

/// What is measured, and on what.
struct Job {
  std::string directory{};        ///< Where files are made; they are removed at the end.
  std::uint64_t events = 100000;  ///< How many events in all.
  std::size_t batch = 1000;       ///< Events of one transaction, or of one block that moves.
  std::size_t size = 300;         ///< Bytes of one event.
  bool sync = false;              ///< SQLite's FULL instead of NORMAL.
  double rate = 1000;             ///< Wake-ups a second.
  std::uint16_t port = 0;         ///< Where redis-server, or the emulator of AWS, listens.
  std::string prefix{};           ///< What names of topics and queues begin with.
};

/// What came out.
struct Outcome {
  double seconds = 0;
  std::vector<double> micros{};  ///< One sample each, where latency is what is measured.
  std::optional<double> cpu{};   ///< Seconds while it was measured; without one the program's whole life counts.
};

using Now = std::chrono::steady_clock;

/// Seconds since `start`.
inline double seconds_since(Now::time_point start) { return std::chrono::duration<double>(Now::now() - start).count(); }

/// Bytes an event that a block of Tidings holds beside the envelopes: its line of the index. Another two are its share
/// of the block's filter, which has a column of its own.
inline constexpr std::size_t index_bytes = 28;
inline constexpr std::size_t filter_bytes = 2;

/// The blocks of `events` events of `size` bytes, as large as those of Tidings and cut as it cuts them: at most 256 KiB
/// of envelopes each.
std::vector<std::string> blocks_of(std::size_t events, std::size_t size);

/// A SQLite handle that ends the program with a sentence when anything fails.
class Database {
 public:
  Database(const std::string& path, bool sync);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  void run(const char* sql);
  sqlite3_stmt* prepare(const char* sql);
  /// Steps a statement to its end, or to its next row; true for a row.
  bool step(sqlite3_stmt* statement);
  /// Inserts one block of blocks_of(…, size), with the columns that Tidings fills.
  void insert_block(std::int64_t id, const std::string& block, std::size_t size);
  /// RESTART once the log is past 4 MB, as Tidings does.
  void checkpoint_when_due();
  sqlite3* raw() { return db_; }

 private:
  [[noreturn]] void fail(const char* what);
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  int wal_pages_ = 0;
};

/// Inserts pre-built blocks, one transaction a batch.
Outcome insert_blocks(const Job& job);
/// Appends the same bytes to a file, with one fdatasync a batch.
Outcome append_file(const Job& job);
/// Moves blocks from one process to another through one SQLite file.
Outcome move_blocks(const Job& job);
/// Wakes another process through a futex at a steady rate; the samples are the one-way times.
Outcome wake_process(const Job& job);

// The same events through a Redis server with a plain client: published, read with decoding and acknowledgement, both
// at once by two processes, and one by one at a steady rate.
Outcome redis_publish(const Job& job);
Outcome redis_consume(const Job& job);
Outcome redis_move(const Job& job);
Outcome redis_wake(const Job& job);

// The same events through SNS and SQS with a plain client: published by tens, received and deleted by tens, and one by
// one at a steady rate. The topic PREFIX-events-user and the queue PREFIX-bench-events-user are there.
Outcome aws_publish(const Job& job);
Outcome aws_consume(const Job& job);
Outcome aws_wake(const Job& job);

/// Ends the program with a sentence.
[[noreturn]] void give_up(const std::string& why);

}  // namespace yardstick
