// What all parts of an open log share: its files, its connections, the one way to write, and when to stop for good.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <tidings/environment.hpp>
#include <tidings/stream.hpp>
#include <tidings/url.hpp>

#include "transport/sqlite/database.hpp"
#include "transport/sqlite/fork.hpp"
#include "transport/sqlite/side_file.hpp"

namespace tidings::transport::sqlite {

/// How the offset of an event and the number of its stream share the key of a block.
inline constexpr int offset_bits = 44;
[[nodiscard]] constexpr std::int64_t block_key(std::int64_t stream, std::uint64_t offset) noexcept {
  return (stream << offset_bits) | static_cast<std::int64_t>(offset);
}
[[nodiscard]] constexpr std::uint64_t offset_of(std::int64_t key) noexcept {
  return static_cast<std::uint64_t>(key) & ((std::uint64_t{1} << offset_bits) - 1);
}

/// The deadline of a wait of `wait` from now, kept within what a clock can count.
[[nodiscard]] WaitClock::time_point deadline_in(Millis wait) noexcept;

/// A mutex whose waiters have deadlines. A thread that comes by may overtake those who wait, which keeps the processor
/// busy, but nobody for longer than half a millisecond.
class Turn {
 public:
  [[nodiscard]] bool lock(WaitClock::time_point deadline);
  void unlock();

 private:
  struct Waiter {
    std::condition_variable wake{};
    WaitClock::time_point since{};
    bool granted = false, nudged = false;
  };
  std::mutex mutex_{};
  bool held_ = false;
  std::deque<Waiter*> waiting_{};
};

class Store {
 public:
  Store(const Url& url, const Environment& environment);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Runs `body` in one transaction, alone among all processes, and commits it. Throws Error{timeout} when its turn
  /// does not come before `deadline`; whatever `body` or the commit throws leaves nothing behind.
  void write(WaitClock::time_point deadline, const std::function<void(Database&)>& body);
  /// How long a person's commands wait for their turn.
  static constexpr Millis operators_patience{10'000};
  /// The same with a deadline that only a stuck process exceeds.
  void write(const std::function<void(Database&)>& body) { write(deadline_in(Millis{30'000}), body); }
  /// Runs `body` in one short read transaction.
  void read(const std::function<void(Database&)>& body);
  /// Syncs what was committed before the call. A failure stops this log for good: nobody knows what it lost.
  void make_durable();
  /// make_durable() where this log was opened for `disk`.
  void make_durable_by_default() {
    if (level_ == Level::disk) make_durable();
  }
  /// Moves the WAL into the database when it is larger than `frames`; false when readers were in the way.
  bool checkpoint(int frames);
  /// For upkeep: looks at the file where this process has committed nothing since the last call, and so does not know
  /// how large others have made the WAL.
  void notice_wal();
  /// WAL frames at this process's last commit.
  [[nodiscard]] int wal_frames() const noexcept { return wal_frames_.load(std::memory_order_relaxed); }
  /// Throws when the log may not be used: after a failed sync, or in a forked child.
  void check_usable() const;
  [[nodiscard]] bool forked() const noexcept;

  /// Bytes that the file system has left for us; looked up ten times a second at most.
  [[nodiscard]] std::uint64_t free_bytes();
  [[nodiscard]] std::uint64_t reserve() const noexcept { return reserve_; }

  /// The number of a stream, inside a write transaction; made when it is unknown and `create`, else 0.
  [[nodiscard]] std::int64_t stream_number(Database& db, std::string_view name, bool create);

  [[nodiscard]] SideFile& side() noexcept { return *side_; }
  [[nodiscard]] const Environment& environment() const noexcept { return environment_; }
  [[nodiscard]] std::int64_t wall_ms() const noexcept { return environment_.clock->wall().time_since_epoch().count(); }
  /// The clock of due times and of when events were stored: wall time as it was when the first process of this boot
  /// opened the log, moved on by the boot clock. A jump of the wall clock moves no backoff and ages no event, and a
  /// restart of the machine loses none.
  [[nodiscard]] std::int64_t due_ms() const noexcept { return steady_ms() + anchor_; }
  [[nodiscard]] std::int64_t steady_ms() const noexcept {
    return std::chrono::duration_cast<Millis>(environment_.clock->steady()).count();
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& boot_id() const noexcept { return boot_id_; }
  [[nodiscard]] Level level() const noexcept { return level_; }

 private:
  void open_database();
  void stop_for_good(const Error& error) noexcept;
  void begin(WaitClock::time_point deadline);
  bool checkpoint_locked();

  Environment environment_;
  std::string path_;
  std::string boot_id_;
  Level level_ = Level::disk;
  std::uint64_t reserve_ = 16U << 20;
  std::int64_t anchor_ = 0;
  std::uint64_t generation_ = 0;  // Of forks, at opening.
  OpenMark mark_{};
  std::unique_ptr<SideFile> side_{};
  Turn turn_{};
  std::unique_ptr<Database> writer_{};
  Descriptor wal_{};
  std::atomic<int> wal_frames_{0};
  std::atomic<std::uint64_t> commits_{0}, commits_seen_{0};
  std::atomic<bool> shrink_{false};     // The WAL is not ours alone: cut it, so that its size tells what is in it.
  int vain_ = 1;                        // Grows with each wait for readers in vain; under the write lock.
  WaitClock::time_point patient_at_{};  // When a checkpoint may wait for readers again; under the write lock.
  std::unordered_map<std::string, std::int64_t> streams_{};  // Guarded by the write lock.
  std::mutex readers_mutex_{};
  std::vector<std::unique_ptr<Database>> readers_{};
  std::atomic<bool> stopped_{false};
  mutable std::mutex stopped_mutex_{};
  std::string stopped_why_{};
  std::mutex space_mutex_{};
  WaitClock::time_point space_at_{};
  std::uint64_t space_ = 0;
};

}  // namespace tidings::transport::sqlite
