// Bare SQLite and the bare disk.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "yardstick.hpp"

namespace yardstick {

namespace {
constexpr std::size_t block_limit = 256U << 10;
constexpr int wal_limit_pages = (4 << 20) / 4096;
}  // namespace

void give_up(const std::string& why) {
  std::fprintf(stderr, "yardstick: %s\n", why.c_str());
  std::_Exit(1);
}

std::vector<std::string> blocks_of(std::size_t events, std::size_t size) {
  const std::size_t per_block = std::max<std::size_t>(1, block_limit / size);
  std::vector<std::string> blocks;
  std::uint64_t state = 0x9E3779B97F4A7C15U;
  for (std::size_t left = events; left > 0;) {
    const std::size_t count = std::min(left, per_block);
    std::string block(count * (size + index_bytes), ' ');
    for (char& c : block) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      c = static_cast<char>('0' + (state >> 58));
    }
    blocks.push_back(std::move(block));
    left -= count;
  }
  return blocks;
}

Database::Database(const std::string& path, bool sync) {
  if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) !=
      SQLITE_OK) {
    fail("open");
  }
  // A reader that meets a checkpoint at its narrowest point is told to come again.
  sqlite3_busy_timeout(db_, 5'000);
  run("PRAGMA page_size=4096");
  run("PRAGMA journal_mode=WAL");
  run(sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  run("PRAGMA wal_autocheckpoint=0");
  run("CREATE TABLE IF NOT EXISTS blocks(id INTEGER PRIMARY KEY, count INTEGER, stored_at INTEGER, bytes INTEGER, "
      "types TEXT, filter BLOB, body BLOB)");
  sqlite3_wal_hook(
      db_,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
}

Database::~Database() {
  for (sqlite3_stmt* s = sqlite3_next_stmt(db_, nullptr); s != nullptr; s = sqlite3_next_stmt(db_, nullptr)) {
    sqlite3_finalize(s);
  }
  sqlite3_close(db_);
}

void Database::fail(const char* what) { give_up(std::string(what) + ": " + sqlite3_errmsg(db_)); }

void Database::run(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

sqlite3_stmt* Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) fail(sql);
  return statement;
}

bool Database::step(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) fail(sqlite3_sql(statement));
  sqlite3_reset(statement);
  return false;
}

void Database::insert_block(std::int64_t id, const std::string& block, std::size_t size) {
  if (insert_ == nullptr) insert_ = prepare("INSERT INTO blocks VALUES(?1, ?2, 0, 0, 'user.created', ?3, ?4)");
  const std::size_t count = block.size() / (size + index_bytes);
  sqlite3_bind_int64(insert_, 1, id);
  sqlite3_bind_int64(insert_, 2, static_cast<std::int64_t>(count));
  sqlite3_bind_blob64(insert_, 3, block.data(), count * filter_bytes, SQLITE_STATIC);
  sqlite3_bind_blob64(insert_, 4, block.data(), block.size(), SQLITE_STATIC);
  step(insert_);
}

void Database::checkpoint_when_due() {
  if (wal_pages_ < wal_limit_pages) return;
  const int code = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
  if (code != SQLITE_OK && code != SQLITE_BUSY) fail("checkpoint");
}

Outcome insert_blocks(const Job& job) {
  Database database(job.directory + "/insert.db", job.sync);
  const std::vector<std::string> blocks = blocks_of(job.batch, job.size);
  sqlite3_stmt* begin = database.prepare("BEGIN IMMEDIATE");
  sqlite3_stmt* commit = database.prepare("COMMIT");
  std::int64_t id = 0;
  const auto start = Now::now();
  for (std::uint64_t done = 0; done < job.events; done += job.batch) {
    database.step(begin);
    for (const std::string& block : blocks) {
      database.insert_block(++id, block, job.size);
    }
    database.step(commit);
    database.checkpoint_when_due();
  }
  return {.seconds = seconds_since(start)};
}

Outcome append_file(const Job& job) {
  const std::string path = job.directory + "/append.log";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) give_up("cannot create " + path);
  const std::vector<std::string> blocks = blocks_of(job.batch, job.size);
  const auto start = Now::now();
  for (std::uint64_t done = 0; done < job.events; done += job.batch) {
    for (const std::string& block : blocks) {
      if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size())) give_up("short write");
    }
    if (::fdatasync(fd) != 0) give_up("fdatasync failed");
  }
  const double seconds = seconds_since(start);
  ::close(fd);
  return {.seconds = seconds};
}

}  // namespace yardstick
