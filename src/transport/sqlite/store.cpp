#include "transport/sqlite/store.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/failpoint.hpp"
#include "transport/sqlite/format.hpp"
#include "transport/sqlite/schema.hpp"

namespace tidings::transport::sqlite {
namespace {

// Past this the publisher itself moves the WAL; normally upkeep has done it long before.
constexpr int hard_wal_frames = (64 << 20) / 4096;

constexpr int large_wal_frames = (16 << 20) / 4096;
constexpr std::int64_t frame_bytes = 4096 + 24;
constexpr std::int64_t noticed_wal_bytes = 4 << 20;

// The one name of a file, whatever the working directory becomes and whichever link leads to it: the side files and
// the locks go by it.
std::string true_path(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  std::filesystem::path whole = std::filesystem::absolute(path, error);
  if (error) return path;
  for (int links = 0; links < 40 && std::filesystem::is_symlink(whole, error); ++links) {
    const std::filesystem::path target = std::filesystem::read_symlink(whole, error);
    if (error) break;
    whole = whole.parent_path() / target;
  }
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(whole, error);
  return error ? whole.string() : canonical.string();
}

std::string read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

void check_directory(const std::string& path) {
  if (path.empty()) {
    throw Error(ErrorCode::invalid, "a sqlite URL names a file: write sqlite:PATH, for example sqlite:events.db");
  }
  std::filesystem::path directory = std::filesystem::path(path).parent_path();
  if (directory.empty()) directory = ".";
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) {
    if (errno == EACCES) {
      throw Error(ErrorCode::unauthorized,
                  "cannot look into " + directory.string() + ": permission denied; allow this user to");
    }
    // It may come: a file system that is not mounted yet looks the same as a name that is mistyped.
    throw Error(ErrorCode::unavailable, true,
                "cannot open " + path + ": the directory " + directory.string() + " does not exist; create it");
  }
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::invalid, "cannot open " + path + ": it is not a regular file; name a file");
  }
  struct statfs system {};
  if (::statfs(directory.c_str(), &system) != 0) return;
  constexpr unsigned long cifs = 0xff534d42, smb2 = 0xfe534d42, fuse = 0x65735546, ceph = 0x00c36400, afs = 0x5346414f;
  for (const unsigned long network :
       {static_cast<unsigned long>(NFS_SUPER_MAGIC), static_cast<unsigned long>(SMB_SUPER_MAGIC),
        static_cast<unsigned long>(V9FS_MAGIC), cifs, smb2, fuse, ceph, afs}) {
    if (static_cast<unsigned long>(system.f_type) == network) {
      throw Error(ErrorCode::not_supported,
                  "cannot open " + path +
                      ": it lies on a network or user-space file system, whose locks and shared memory "
                      "cannot be trusted; use a local disk, or Redis for several machines");
    }
  }
}

std::int64_t pragma(Database& db, const char* sql) {
  Query query(db, sql);
  return query.step() ? query.integer(0) : 0;
}

}  // namespace

WaitClock::time_point deadline_in(Millis wait) noexcept {
  return WaitClock::now() + std::clamp(wait, Millis{0}, Millis{std::chrono::hours(24 * 365)});
}

bool Turn::lock(WaitClock::time_point deadline) {
  std::unique_lock lock(mutex_);
  if (!held_) return held_ = true;
  Waiter waiter;
  waiter.since = WaitClock::now();
  waiting_.push_back(&waiter);
  for (;;) {
    const bool in_time = waiter.wake.wait_until(lock, deadline, [&] { return waiter.granted || waiter.nudged; });
    if (waiter.granted) return true;
    waiter.nudged = false;
    const bool taken = !held_;
    if (!taken && in_time) continue;
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
    return taken && (held_ = true);
  }
}

void Turn::unlock() {
  std::lock_guard lock(mutex_);
  held_ = false;
  if (waiting_.empty()) return;
  Waiter& first = *waiting_.front();
  if (WaitClock::now() - first.since > std::chrono::microseconds(500)) {
    first.granted = held_ = true;
    waiting_.pop_front();
  } else {
    first.nudged = true;
  }
  first.wake.notify_one();
}

Store::Store(const Url& url, const Environment& environment)
    : environment_(environment), path_(true_path(url.path)), boot_id_(read_boot_id()), generation_(fork_generation()) {
  url.check_options({"durability", "retention_age", "retention_bytes", "retention_pass", "reserve"});
  if (const auto level = url.option("durability")) {
    if (*level != "process" && *level != "disk") {
      throw Error(ErrorCode::invalid, "durability=" + *level + " is not offered by sqlite; write process or disk");
    }
    level_ = *level == "disk" ? Level::disk : Level::process;
  }
  reserve_ = url.size("reserve").value_or(reserve_);
  check_directory(path_);
  if (open_since_fork(path_)) {
    throw Error(ErrorCode::conflict,
                "cannot open " + path_ + ": it was open when this process was forked; exec, or fork before opening");
  }
  side_ = std::make_unique<SideFile>(path_ + "-tidings", stable_hash(boot_id_) | 1U);
  if (!side_->lock_write(deadline_in(Millis{10'000}))) {
    throw Error(ErrorCode::unavailable, true,
                "cannot open " + path_ + ": another process has been writing for 10 s; is it stopped?");
  }
  try {
    open_database();
    anchor_ = side_->anchor(stable_hash(boot_id_) | 1U, wall_ms() - steady_ms());
  } catch (...) {
    side_->unlock_write();
    throw;
  }
  side_->unlock_write();
}

void Store::open_database() {
  writer_ = std::make_unique<Database>(path_, 2'000, true);
  mark_ = OpenMark(path_);
  Database& db = *writer_;
  const std::int64_t id = pragma(db, "PRAGMA application_id");
  const std::int64_t pages = pragma(db, "PRAGMA page_count");
  if (pages > 0 && id != application_id) {
    throw Error(ErrorCode::corrupt, path_ + " is a SQLite file, but not a Tidings log; name another file");
  }
  if (const std::int64_t version = pragma(db, "PRAGMA user_version"); version > format_version) {
    throw Error(ErrorCode::not_supported, path_ + " was written by a newer Tidings (format " + std::to_string(version) +
                                              ", this one knows " + std::to_string(format_version) +
                                              "); upgrade this program");
  }
  if (pages == 0) {
    db.execute("PRAGMA page_size=4096");
    Transaction transaction(db, "BEGIN IMMEDIATE");
    db.execute(("PRAGMA application_id=" + std::to_string(application_id)).c_str());
    db.execute(("PRAGMA user_version=" + std::to_string(format_version)).c_str());
    db.execute(schema);
    transaction.commit();
  }
  // NORMAL leaves the sync after a commit to us: make_durable() does it outside the lock, for all who wait for it.
  db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192; PRAGMA secure_delete=OFF");
  // The WAL exists from the first read on, and SQLite takes no lock on it that closing our own descriptor could drop.
  (void)pragma(db, "SELECT count(*) FROM streams");
  wal_ = Descriptor(::open((path_ + "-wal").c_str(), O_RDWR | O_CLOEXEC));
  if (wal_.get() < 0) {
    const bool refused = errno == EACCES || errno == EPERM || errno == EROFS;
    throw Error(
        refused ? ErrorCode::unauthorized : ErrorCode::io,
        "cannot open " + path_ + "-wal: " + std::strerror(errno) + "; make the file and its directory writable");
  }
  sqlite3_busy_timeout(db.raw(), 0);
  sqlite3_wal_hook(
      db.raw(),
      [](void* self, sqlite3*, const char*, int frames) {
        static_cast<Store*>(self)->wal_frames_.store(frames, std::memory_order_relaxed);
        return SQLITE_OK;
      },
      this);
  if (pages == 0) {
    // The names of new files are part of what must survive.
    std::filesystem::path directory = std::filesystem::path(path_).parent_path();
    const Descriptor opened(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened.get() >= 0) ::fsync(opened.get());
  }
}

Store::~Store() {
  if (forked()) {
    // The parent still uses these files; closing them here could disturb its locks.
    (void)writer_.release();
    for (auto& reader : readers_) (void)reader.release();
    return;
  }
  try {
    checkpoint(0);
  } catch (...) {
    // The next process that opens the log reads the WAL as it is.
  }
}

bool Store::forked() const noexcept { return fork_generation() != generation_; }

void Store::check_usable() const {
  if (forked()) {
    throw Error(ErrorCode::closed, path_ + " was open when this process was forked: exec, or fork before opening");
  }
  if (stopped_.load(std::memory_order_relaxed)) {
    std::lock_guard lock(stopped_mutex_);
    throw Error(ErrorCode::io, stopped_why_);
  }
}

void Store::stop_for_good(const Error& error) noexcept {
  std::lock_guard lock(stopped_mutex_);
  if (stopped_.load(std::memory_order_relaxed)) return;
  stopped_why_ = path_ + " refuses everything since an earlier failure (" + error.what() + "); reopen it";
  stopped_.store(true, std::memory_order_relaxed);
}

void Store::begin(WaitClock::time_point deadline) {
  for (;;) {
    try {
      Query(*writer_, "BEGIN IMMEDIATE").run();
      return;
    } catch (const Error& error) {
      // Only foreign programs can be in the way: ours queue at the turnstile.
      if (error.code() != ErrorCode::unavailable) throw;
      if (WaitClock::now() >= deadline) throw Error(ErrorCode::timeout, true, error.what());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Store::write(WaitClock::time_point deadline, const std::function<void(Database&)>& body) {
  check_usable();
  if (!turn_.lock(deadline))
    throw Error(ErrorCode::timeout, true, path_ + ": its turn to write did not come in time; try again");
  struct Release {
    Turn& turn;
    ~Release() { turn.unlock(); }
  } release{turn_};
  check_usable();
  if (!side_->lock_write(deadline)) {
    throw Error(ErrorCode::timeout, true,
                path_ + ": other processes kept the write lock until the deadline; try again");
  }
  struct Unlock {
    SideFile& side;
    ~Unlock() { side.unlock_write(); }
  } unlock{*side_};
  begin(deadline);
  try {
    struct Rollback {
      Database& db;
      ~Rollback() {
        if (db.in_transaction()) sqlite3_exec(db.raw(), "ROLLBACK", nullptr, nullptr, nullptr);
      }
    } rollback{*writer_};
    body(*writer_);
    Query(*writer_, "COMMIT").run();
  } catch (const Error& error) {
    streams_.clear();  // A stream that was made in the transaction is not there now.
    if (writer_->broken()) stop_for_good(error);
    throw;
  } catch (...) {
    streams_.clear();
    throw;
  }
  commits_.fetch_add(1, std::memory_order_relaxed);
  if (wal_frames() <= hard_wal_frames || WaitClock::now() < patient_at_) return;
  try {
    checkpoint_locked();
  } catch (const Error&) {
    // What was written is committed. Where a checkpoint's failure leaves that in doubt, the next call says so.
  }
}

bool Store::checkpoint_locked() {
  TIDINGS_FAILPOINT("sqlite.in_checkpoint");
  int frames = 0, moved = 0, code = SQLITE_OK;
  // Beside readers that come and go one of them is nearly always there. The larger the WAL, the longer it is worth it
  // to stand at the door until none is; after a wait in vain the next one comes later and later, so that a reader that
  // never ends costs the writers little.
  const int large = wal_frames() / large_wal_frames;
  const int mode = large >= 4 || shrink_.exchange(false) ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_RESTART;
  const auto start = WaitClock::now();
  const auto patience = std::chrono::milliseconds(start >= patient_at_ ? std::min(large * 10, 200) : 0);
  for (;;) {
    code = sqlite3_wal_checkpoint_v2(writer_->raw(), "main", mode, &frames, &moved);
    if ((code & 0xff) != SQLITE_BUSY || WaitClock::now() >= start + patience) break;
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
  if (code == SQLITE_OK) {
    wal_frames_.store(0, std::memory_order_relaxed);
    vain_ = 1;
    return true;
  }
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_FULL) {
    if (frames > 0) wal_frames_.store(frames, std::memory_order_relaxed);
    if (large > 0 && start >= patient_at_) {
      vain_ = std::min(2 * vain_, 32);
      const auto now = WaitClock::now();
      patient_at_ = now + vain_ * (now - start);
    }
    return false;
  }
  try {
    writer_->fail(code);
  } catch (const Error& error) {
    if (writer_->broken()) stop_for_good(error);
    throw;
  }
}

void Store::notice_wal() {
  const std::uint64_t commits = commits_.load(std::memory_order_relaxed);
  if (commits_seen_.exchange(commits) != commits) return;
  struct stat status {};
  if (::fstat(wal_.get(), &status) != 0 || status.st_size <= noticed_wal_bytes) return;
  const auto frames = static_cast<int>(std::min<std::int64_t>(status.st_size / frame_bytes, 1 << 30));
  if (frames <= wal_frames()) return;
  shrink_ = true;
  wal_frames_.store(frames, std::memory_order_relaxed);
}

bool Store::checkpoint(int frames) {
  check_usable();
  if (wal_frames() <= frames) return true;
  // The checkpoint syncs the WAL first, under the lock: what is synced before it costs nobody a wait.
  if (frames > 0) make_durable();
  if (!turn_.lock(deadline_in(Millis{100}))) return false;
  struct Release {
    Turn& turn;
    ~Release() { turn.unlock(); }
  } release{turn_};
  if (!side_->lock_write(deadline_in(Millis{100}))) return false;
  struct Unlock {
    SideFile& side;
    ~Unlock() { side.unlock_write(); }
  } unlock{*side_};
  return checkpoint_locked();
}

void Store::read(const std::function<void(Database&)>& body) {
  check_usable();
  std::unique_ptr<Database> reader;
  {
    std::lock_guard lock(readers_mutex_);
    if (!readers_.empty()) {
      reader = std::move(readers_.back());
      readers_.pop_back();
    }
  }
  if (!reader) {
    reader = std::make_unique<Database>(path_, 2'000);
    // Without a mapping: a read that the disk fails would be a SIGBUS there, and is an Error here.
    reader->execute("PRAGMA mmap_size=0; PRAGMA query_only=1");
  }
  try {
    Transaction transaction(*reader, "BEGIN");
    body(*reader);
    transaction.commit();
  } catch (const Error& error) {
    if (reader->broken()) stop_for_good(error);
    throw;
  }
  std::lock_guard lock(readers_mutex_);
  readers_.push_back(std::move(reader));
}

void Store::make_durable() {
  check_usable();
  TIDINGS_FAILPOINT("sqlite.before_sync");
  // A file system that is shut down (by an error of its own, or by hand) during a sync can report it as done: ext4 does
  // when it cannot convert the extents that were just written. A write of nothing asks whether it still stands; that
  // costs a system call, and the answer comes after the fact, so that no such sync is believed.
  bool failed = ::fdatasync(wal_.get()) != 0;
  if (!failed) failed = ::pwrite(wal_.get(), "", 0, 0) != 0 && (errno == EIO || errno == EROFS);
  if (!failed) return;
  const Error error(ErrorCode::io, path_ + "-wal: the sync failed: " + std::strerror(errno) +
                                       "; whether the last events are on disk is unknown: reopen the log");
  stop_for_good(error);
  throw error;
}

std::uint64_t Store::free_bytes() {
  std::lock_guard lock(space_mutex_);
  const auto now = WaitClock::now();
  if (space_at_ == WaitClock::time_point{} || now - space_at_ > std::chrono::milliseconds(100)) {
    struct statvfs system {};
    if (::fstatvfs(wal_.get(), &system) != 0) return UINT64_MAX;
    space_ = std::uint64_t{system.f_bavail} * system.f_frsize;
    space_at_ = now;
  }
  return space_;
}

std::int64_t Store::stream_number(Database& db, std::string_view name, bool create) {
  const std::string key(name);
  if (const auto known = streams_.find(key); known != streams_.end()) return known->second;
  {
    Query query(db, "SELECT id FROM streams WHERE name=?", name);
    if (query.step()) return streams_[key] = query.integer(0);
  }
  if (!create) return 0;
  Query(db, "INSERT INTO streams(name) VALUES(?)", name).run();
  return streams_[key] = db.last_id();
}

}  // namespace tidings::transport::sqlite
