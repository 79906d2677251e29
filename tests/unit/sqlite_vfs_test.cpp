// The layer between SQLite and the disk, held against SQLite's own way: a second connection without the layer looks at
// the same file after every step, and the disk below can be made to fail at any write.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <filesystem>
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
  int code = SQLITE_FULL;
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
  FORWARD(xShmLock, (sqlite3_file * f, int o, int n, int g), (self(f).real(), o, n, g));
  FORWARD(xShmBarrier, (sqlite3_file * f), (self(f).real()));
  FORWARD(xShmUnmap, (sqlite3_file * f, int n), (self(f).real(), n));
#undef FORWARD
  m.xRead = [](sqlite3_file* f, void* into, int size, sqlite3_int64 offset) {
    ++disk.reads;
    return self(f).real()->pMethods->xRead(self(f).real(), into, size, offset);
  };
  m.xWrite = [](sqlite3_file* f, const void* bytes, int size, sqlite3_int64 offset) {
    if (self(f).wal ? !disk.only_database : true) {
      ++disk.writes;
      if (disk.fail_from > 0 && disk.writes >= disk.fail_from) return disk.code;
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
  // Everything, read without the layer; the blobs by their own bytes.
  static constexpr const char* all = "SELECT count(*), group_concat(tag), sum(length(body)), hex(max(body)) FROM t";
  std::string seen() { return plain_->text(all); }
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
  EXPECT_EQ(reader.text(all), before);
  EXPECT_LE(disk.reads, 40) << "128 pages and more";
}

TEST_F(SqliteVfs, WhatIsCommittedIsSeenByOthersAtOnceAndWhatIsReadIsNeverOld) {
  std::mt19937 random(20'261'126);
  Connection second(file(), layered());
  for (int step = 0; step < 400; ++step) {
    Connection& writer = random() % 2 == 0 ? *ours_ : second;
    Connection& reader = random() % 2 == 0 ? *ours_ : second;
    std::string sql = "BEGIN IMMEDIATE;";
    for (std::uint32_t i = 0; i <= random() % 4; ++i) {
      const int size = static_cast<int>(random() % 3 == 0 ? random() % 200'000 : random() % 5'000);
      sql += random() % 4 == 0 ? "DELETE FROM t WHERE id=(SELECT id FROM t ORDER BY random() LIMIT 1);"
                               : insert("r" + std::to_string(step), size);
    }
    ASSERT_EQ(writer.run(sql + (random() % 6 == 0 ? "ROLLBACK" : "COMMIT")), SQLITE_OK) << step;
    if (random() % 10 == 0) {
      const int code = (random() % 2 == 0 ? *ours_ : second).checkpoint(SQLITE_CHECKPOINT_RESTART);
      ASSERT_TRUE(code == SQLITE_OK || code == SQLITE_BUSY) << code;
    }
    ASSERT_EQ(reader.text(all), seen()) << step;
  }
  expect_sound();
}

TEST_F(SqliteVfs, WhatWasRolledBackIsNeverWrittenOverTheNextWritersFrames) {
  // A small cache spills frames into the WAL before anybody knows whether they will be committed.
  ASSERT_EQ(ours_->run("PRAGMA cache_size=10; PRAGMA cache_spill=5"), SQLITE_OK);
  ASSERT_EQ(ours_->run("BEGIN IMMEDIATE;" + insert("gone", 50'000) + insert("gone", 50'000) + "ROLLBACK"), SQLITE_OK);
  ASSERT_EQ(plain_->run(insert("theirs", 30'000)), SQLITE_OK);
  const std::string theirs = seen();
  ASSERT_EQ(ours_->text(all), theirs);
  ASSERT_EQ(ours_->run("BEGIN IMMEDIATE;" + insert("gone", 90'000) + "ROLLBACK"), SQLITE_OK);
  EXPECT_EQ(seen(), theirs);
  ASSERT_EQ(ours_->run(insert("ours", 90'000)), SQLITE_OK);
  EXPECT_EQ(ours_->text("SELECT group_concat(tag) FROM t"), "theirs,ours ");
  EXPECT_EQ(ours_->text(all), seen());
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
      ASSERT_EQ(ours_->text(all), before) << "write " << fail_from;
      ASSERT_LT(fail_from, 100);
    }
    EXPECT_GT(fail_from, 3) << "several writes were made to fail";
    EXPECT_NE(seen(), before);
    EXPECT_EQ(ours_->text(all), seen());
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
      const std::string expected = Connection(file(), nullptr).text(all);
      disk = {.fail_from = fail_from, .only_database = true};
      const int code = ours_->checkpoint(SQLITE_CHECKPOINT_RESTART);
      EXPECT_NE(code, SQLITE_OK) << fail_from;
      disk.fail_from = 0;
      EXPECT_EQ(Connection(file(), nullptr).text(all), expected) << "write " << fail_from << reader_in_the_way;
      if (reader_in_the_way) {
        ASSERT_EQ(plain_->run("COMMIT"), SQLITE_OK);
      }
      EXPECT_EQ(ours_->checkpoint(SQLITE_CHECKPOINT_RESTART), SQLITE_OK);
      EXPECT_EQ(seen(), expected);
      expect_sound();
    }
  }
}

}  // namespace
}  // namespace tidings::transport::sqlite
