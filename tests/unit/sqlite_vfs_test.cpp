// The layer between SQLite and the disk, held against SQLite's own way: a second connection without the layer looks at
// the same file after every step, and the disk below can be made to fail at any write.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "transport/sqlite/vfs.hpp"

namespace tidings::transport::sqlite {
namespace {

// The default VFS with a count of its writes, of which one and all behind it can fail.
struct Disk {
  int writes = 0, reads = 0;
  int fail_from = 0;  // 0: never.
  bool only_database = false;
  bool once = false;  // Only that one fails.
  int code = SQLITE_FULL;
  std::function<void(int lock, int flags)> before_lock{};
} disk;

struct DiskFile {
  sqlite3_file base{};
  bool wal = false;
  [[nodiscard]] sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

DiskFile& self(sqlite3_file* file) { return *reinterpret_cast<DiskFile*>(file); }

sqlite3_io_methods disk_methods() {
  sqlite3_io_methods m{};
  m.iVersion = 2;
#define FORWARD(name, parameters, arguments) m.name = [] parameters { return self(f).real()->pMethods->name arguments; }
  FORWARD(xClose, (sqlite3_file * f), (self(f).real()));
  FORWARD(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (self(f).real(), n));
  FORWARD(xSync, (sqlite3_file * f, int n), (self(f).real(), n));
  FORWARD(xFileSize, (sqlite3_file * f, sqlite3_int64 * n), (self(f).real(), n));
  FORWARD(xLock, (sqlite3_file * f, int n), (self(f).real(), n));
  FORWARD(xUnlock, (sqlite3_file * f, int n), (self(f).real(), n));
  FORWARD(xCheckReservedLock, (sqlite3_file * f, int* n), (self(f).real(), n));
  FORWARD(xFileControl, (sqlite3_file * f, int n, void* a), (self(f).real(), n, a));
  FORWARD(xSectorSize, (sqlite3_file * f), (self(f).real()));
  FORWARD(xDeviceCharacteristics, (sqlite3_file * f), (self(f).real()));
  FORWARD(xShmMap, (sqlite3_file * f, int r, int n, int e, void volatile** p), (self(f).real(), r, n, e, p));
  FORWARD(xShmBarrier, (sqlite3_file * f), (self(f).real()));
  FORWARD(xShmUnmap, (sqlite3_file * f, int n), (self(f).real(), n));
#undef FORWARD
  m.xShmLock = [](sqlite3_file* f, int lock, int count, int flags) {
    if (disk.before_lock) disk.before_lock(lock, flags);
    return self(f).real()->pMethods->xShmLock(self(f).real(), lock, count, flags);
  };
  m.xRead = [](sqlite3_file* f, void* into, int size, sqlite3_int64 offset) {
    ++disk.reads;
    return self(f).real()->pMethods->xRead(self(f).real(), into, size, offset);
  };
  m.xWrite = [](sqlite3_file* f, const void* bytes, int size, sqlite3_int64 offset) {
    if (self(f).wal ? !disk.only_database : true) {
      ++disk.writes;
      const bool due = disk.once ? disk.writes == disk.fail_from : disk.writes >= disk.fail_from;
      if (disk.fail_from > 0 && due) return disk.code;
    }
    return self(f).real()->pMethods->xWrite(self(f).real(), bytes, size, offset);
  };
  return m;
}

// Registers the disk and the layer over it, once a process.
const char* layered() {
  static const bool registered = [] {
    static const sqlite3_io_methods methods = disk_methods();
    static sqlite3_vfs vfs = *sqlite3_vfs_find(nullptr);
    static sqlite3_vfs* const base = sqlite3_vfs_find(nullptr);
    vfs.zName = "test-disk";
    vfs.pNext = nullptr;
    vfs.iVersion = 2;
    vfs.szOsFile = static_cast<int>(sizeof(DiskFile)) + base->szOsFile;
    vfs.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
      DiskFile& opened = *new (file) DiskFile;
      opened.wal = (flags & SQLITE_OPEN_WAL) != 0;
      const int code = base->xOpen(base, name, opened.real(), flags, out);
      file->pMethods = opened.real()->pMethods != nullptr ? &methods : nullptr;
      return code;
    };
    sqlite3_vfs_register(&vfs, 0);
    register_gathering_vfs(&vfs, "test-layer");
    return true;
  }();
  (void)registered;
  return "test-layer";
}

class Connection {
 public:
  Connection(const std::string& path, const char* vfs) {
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
    EXPECT_EQ(run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0"), SQLITE_OK);
  }
  ~Connection() { sqlite3_close(db_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  int run(const std::string& sql) { return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); }
  std::string text(const std::string& sql) {
    std::string result;
    const int code = sqlite3_exec(
        db_, sql.c_str(),
        [](void* into, int columns, char** values, char**) {
          for (int i = 0; i < columns; ++i)
            *static_cast<std::string*>(into) += (values[i] ? values[i] : "-") + std::string(" ");
          return 0;
        },
        &result, nullptr);
    return code == SQLITE_OK ? result : "error " + std::string(sqlite3_errmsg(db_));
  }
  // What the table holds: all of its bytes, as a digest that is short enough to be printed.
  std::string content() {
    const std::string bytes = text("SELECT id, tag, hex(body) FROM t ORDER BY id");
    return text("SELECT count(*), group_concat(tag) FROM t") + std::to_string(std::hash<std::string>{}(bytes));
  }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  int checkpoint(int mode) { return sqlite3_wal_checkpoint_v2(db_, nullptr, mode, nullptr, nullptr); }

 private:
  sqlite3* db_ = nullptr;
};

class SqliteVfs : public ::testing::Test {
 protected:
  SqliteVfs() {
    disk = {};
    std::string pattern = std::filesystem::temp_directory_path() / "tidings-vfs-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    directory_ = pattern;
    ours_ = std::make_unique<Connection>(file(), layered());
    EXPECT_EQ(ours_->run("CREATE TABLE t(id INTEGER PRIMARY KEY, tag TEXT, body BLOB)"), SQLITE_OK);
    plain_ = std::make_unique<Connection>(file(), nullptr);
  }
  ~SqliteVfs() override {
    disk = {};
    ours_.reset();
    plain_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  [[nodiscard]] std::string file() const { return directory_ + "/t.db"; }
  static std::string insert(const std::string& tag, int bytes) {
    return "INSERT INTO t(tag, body) VALUES('" + tag + "', randomblob(" + std::to_string(bytes) + "));";
  }
  // Everything, read without the layer.
  std::string seen() { return plain_->content(); }
  void expect_sound() { EXPECT_EQ(Connection(file(), nullptr).text("PRAGMA integrity_check"), "ok "); }

  std::string directory_;
  std::unique_ptr<Connection> ours_, plain_;
};

TEST_F(SqliteVfs, ABlockTakesFewSystemCalls) {
  ASSERT_EQ(ours_->run(insert("a", 262'144)), SQLITE_OK);
  disk.writes = 0;
  ASSERT_EQ(ours_->run(insert("b", 262'144)), SQLITE_OK);
  EXPECT_LE(disk.writes, 6) << "64 pages and more";
  disk.writes = disk.reads = 0;
  ASSERT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART), SQLITE_OK);
  EXPECT_LE(disk.writes, 16);
  EXPECT_LE(disk.reads, 16);
  const std::string before = seen();
  Connection reader(file(), layered());
  disk.reads = 0;
  EXPECT_EQ(reader.content(), before);
  EXPECT_LE(disk.reads, 40) << "128 pages and more";
}

TEST_F(SqliteVfs, WhatIsCommittedIsSeenByOthersAtOnceAndWhatIsReadIsNeverOld) {
  std::mt19937 random(20'261'126);
  Connection second(file(), layered());
  for (int step = 0; step < 150; ++step) {
    Connection& writer = random() % 2 == 0 ? *ours_ : second;
    Connection& reader = random() % 2 == 0 ? *ours_ : second;
    std::string sql = "BEGIN IMMEDIATE;";
    for (std::uint32_t i = 0; i <= random() % 4; ++i) {
      const int size = static_cast<int>(random() % 4 == 0 ? random() % 150'000 : random() % 5'000);
      sql += random() % 4 == 0 ? "DELETE FROM t WHERE id=(SELECT id FROM t ORDER BY random() LIMIT 1);"
                               : insert("r" + std::to_string(step), size);
    }
    ASSERT_EQ(writer.run(sql + (random() % 6 == 0 ? "ROLLBACK" : "COMMIT")), SQLITE_OK) << step;
    if (random() % 10 == 0) {
      const int code = (random() % 2 == 0 ? *ours_ : second).checkpoint(SQLITE_CHECKPOINT_RESTART);
      ASSERT_TRUE(code == SQLITE_OK || code == SQLITE_BUSY) << code;
    }
    ASSERT_EQ(reader.content(), seen()) << step;
  }
  expect_sound();
}

TEST_F(SqliteVfs, WhatWasRolledBackIsNeverWrittenOverTheNextWritersFrames) {
  // A small cache spills frames into the WAL before anybody knows whether they will be committed.
  ASSERT_EQ(ours_->run("PRAGMA cache_size=10; PRAGMA cache_spill=5"), SQLITE_OK);
  ASSERT_EQ(ours_->run("BEGIN IMMEDIATE;" + insert("gone", 50'000) + insert("gone", 50'000) + "ROLLBACK"), SQLITE_OK);
  ASSERT_EQ(plain_->run(insert("theirs", 30'000)), SQLITE_OK);
  const std::string theirs = seen();
  ASSERT_EQ(ours_->content(), theirs);
  ASSERT_EQ(ours_->run("BEGIN IMMEDIATE;" + insert("gone", 90'000) + "ROLLBACK"), SQLITE_OK);
  EXPECT_EQ(seen(), theirs);
  ASSERT_EQ(ours_->run(insert("ours", 90'000)), SQLITE_OK);
  EXPECT_EQ(ours_->text("SELECT group_concat(tag) FROM t"), "theirs,ours ");
  EXPECT_EQ(ours_->content(), seen());
  expect_sound();
}

TEST_F(SqliteVfs, ACommitWhoseWriteFailsIsRefusedAndLeavesNothing) {
  ASSERT_EQ(ours_->run(insert("kept", 100'000)), SQLITE_OK);
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    const std::string before = seen();
    int fail_from = 1;
    for (;; ++fail_from) {
      disk.writes = 0;
      disk.fail_from = fail_from;
      disk.code = code;
      const int result = ours_->run("BEGIN IMMEDIATE;" + insert("more", 300'000) + "COMMIT");
      disk.fail_from = 0;
      if (result == SQLITE_OK) break;
      (void)ours_->run("ROLLBACK");
      ASSERT_EQ(seen(), before) << "write " << fail_from;
      ASSERT_EQ(ours_->content(), before) << "write " << fail_from;
      ASSERT_LT(fail_from, 100);
    }
    EXPECT_GT(fail_from, 3) << "several writes were made to fail";
    EXPECT_NE(seen(), before);
    EXPECT_EQ(ours_->content(), seen());
  }
  expect_sound();
}

TEST_F(SqliteVfs, ACheckpointWhoseWriteFailsMovesNothingThatReadersWouldMiss) {
  for (const bool reader_in_the_way : {false, true}) {
    for (int fail_from = 1; fail_from <= 4; ++fail_from) {
      ASSERT_EQ(ours_->run(insert("first", 150'000)), SQLITE_OK);
      if (reader_in_the_way) {
        ASSERT_EQ(plain_->text("BEGIN; SELECT count(*) > 0 FROM t"), "1 ");
      }
      ASSERT_EQ(ours_->run(insert("second", 150'000)), SQLITE_OK);
      const std::string expected = Connection(file(), nullptr).content();
      disk = {.fail_from = fail_from, .only_database = true};
      const int code = ours_->checkpoint(SQLITE_CHECKPOINT_RESTART);
      EXPECT_NE(code, SQLITE_OK) << fail_from;
      disk.fail_from = 0;
      EXPECT_EQ(Connection(file(), nullptr).content(), expected) << "write " << fail_from << reader_in_the_way;
      if (reader_in_the_way) {
        ASSERT_EQ(plain_->run("COMMIT"), SQLITE_OK);
      }
      EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART), SQLITE_OK);
      EXPECT_EQ(seen(), expected);
      expect_sound();
    }
  }
}

// A checkpoint that readers keep from moving everything counts what it wrote as moved without asking for a result.
class SqliteVfsPartialCheckpoint : public SqliteVfs {
 protected:
  SqliteVfsPartialCheckpoint() {
    EXPECT_EQ(ours_->run(insert("base", 20'000)), SQLITE_OK);
    EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
    EXPECT_EQ(ours_->run("UPDATE t SET tag='second', body=randomblob(40000);" + insert("third", 20'000)), SQLITE_OK);
    EXPECT_EQ(plain_->text("BEGIN; SELECT count(*) FROM t"), "2 ");
    EXPECT_EQ(ours_->run(insert("fourth", 50'000)), SQLITE_OK);
    expected_ = Connection(file(), nullptr).content();
  }
  std::string expected_;
};

TEST_F(SqliteVfsPartialCheckpoint, ShowsNobodyWhatItCouldNotMove) {
  disk = {.fail_from = 1, .only_database = true, .code = SQLITE_IOERR_WRITE};
  int looks = 0;
  bool looking = false;
  disk.before_lock = [&](int lock, int flags) {
    if ((flags & SQLITE_SHM_UNLOCK) == 0 || lock > 1 || looking) return;
    looking = true;
    ++looks;
    EXPECT_EQ(Connection(file(), nullptr).content(), expected_) << "at the unlock of " << lock;
    expect_sound();
    looking = false;
  };
  EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART) & 0xff, SQLITE_IOERR) << "the failure is reported";
  EXPECT_GE(looks, 2);
  disk = {};
  EXPECT_EQ(plain_->run("COMMIT"), SQLITE_OK);
  EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART), SQLITE_OK);
  EXPECT_EQ(seen(), expected_);
}

TEST_F(SqliteVfsPartialCheckpoint, LosesNothingWhenItsProcessIsKilledAfterAFailedWrite) {
  const pid_t child = ::fork();
  if (child == 0) {
    disk = {.fail_from = 1, .only_database = true, .code = SQLITE_IOERR_WRITE};
    Connection dying(file(), layered());
    disk.before_lock = [](int lock, int flags) {
      if ((flags & SQLITE_SHM_UNLOCK) != 0 && lock == 0) ::_exit(0);
    };
    (void)dying.checkpoint(SQLITE_CHECKPOINT_RESTART);
    ::_exit(1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "it died in the middle";
  EXPECT_EQ(Connection(file(), nullptr).content(), expected_);
  EXPECT_EQ(plain_->run("COMMIT"), SQLITE_OK);
  EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  EXPECT_EQ(seen(), expected_);
  expect_sound();
}

// A spilled frame that was held back, and then could not be written, is missing from its transaction: whatever goes on
// after that must not become a commit.
TEST_F(SqliteVfs, ATransactionThatLostASpilledFrameIsNotCommitted) {
  int refused = 0;
  for (int round = 0; round < 48; ++round) {
    ASSERT_EQ(ours_->run("DELETE FROM t; PRAGMA cache_size=10; PRAGMA cache_spill=5"), SQLITE_OK);
    for (int i = 0; i < 6; ++i) ASSERT_EQ(ours_->run(insert("old", 3'000 * (i + 1))), SQLITE_OK);
    const std::string before = seen();
    disk = {.fail_from = 1 + round % 12, .once = true, .code = SQLITE_FULL};
    (void)ours_->run("BEGIN IMMEDIATE");
    // SQLite ends the whole transaction itself where it knows that it has to.
    for (int step = 0; step < 5 && ours_->in_transaction(); ++step) {
      (void)ours_->run("UPDATE t SET body=randomblob(length(body)+2000), tag='new" + std::to_string(step) + "'");
      if (!ours_->in_transaction()) break;
      (void)ours_->run("INSERT INTO t(tag, body) SELECT 'copy', body FROM t LIMIT 2");
    }
    const bool ended = !ours_->in_transaction();
    const int code = ended ? SQLITE_FULL : ours_->run("COMMIT");
    disk = {};
    if (code != SQLITE_OK) {
      ++refused;
      (void)ours_->run("ROLLBACK");
      EXPECT_EQ(seen(), before) << round;
    }
    EXPECT_EQ(ours_->content(), seen()) << round;
    expect_sound();
    if (round % 20 == 19) {
      ASSERT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART), SQLITE_OK);
    }
  }
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace tidings::transport::sqlite
