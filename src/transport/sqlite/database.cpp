#include "transport/sqlite/database.hpp"

#include <errno.h>
#include <sqlite3.h>

#include "transport/sqlite/vfs.hpp"

namespace tidings::transport::sqlite {

Database::Database(std::string path, int busy_ms, bool create) : path_(std::move(path)) {
  const int code =
      sqlite3_open_v2(path_.c_str(), &db_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0), gathering_vfs());
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> closer(db_, sqlite3_close);
  if (code != SQLITE_OK) fail(code);
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, busy_ms);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // A checkpoint of SQLite's own would be PASSIVE and outside our lock, where 3.40 can corrupt the file.
  sqlite3_wal_autocheckpoint(db_, 0);
  (void)closer.release();
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

void Database::execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

std::int64_t Database::changes() const noexcept { return sqlite3_changes64(db_); }
std::int64_t Database::last_id() const noexcept { return sqlite3_last_insert_rowid(db_); }
bool Database::in_transaction() const noexcept { return sqlite3_get_autocommit(db_) == 0; }

sqlite3_stmt* Database::statement(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) {
      statements_.erase(sql);
      fail(code);
    }
  }
  return statement;
}

bool Database::read_blob(const char* table, const char* column, std::int64_t row, std::span<std::byte> into) {
  sqlite3_blob* blob = nullptr;
  const int opened = sqlite3_blob_open(db_, "main", table, column, row, 0, &blob);
  const std::unique_ptr<sqlite3_blob, int (*)(sqlite3_blob*)> closer(blob, sqlite3_blob_close);
  if (opened == SQLITE_ERROR) return false;
  if (opened != SQLITE_OK) fail(opened);
  if (static_cast<std::size_t>(sqlite3_blob_bytes(blob)) != into.size()) return false;
  const int code = sqlite3_blob_read(blob, into.data(), static_cast<int>(into.size()), 0);
  if (code != SQLITE_OK) fail(code);
  return true;
}

void Database::fail(int code) {
  const std::string what = path_ + ": " + (db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code));
  const int os_error = db_ != nullptr ? sqlite3_system_errno(db_) : errno;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error(ErrorCode::unavailable, true, what + "; another program holds the file, try again or close it");
    case SQLITE_FULL:
      throw Error(ErrorCode::full, true, what + "; make room on its file system, then try again");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      throw Error(ErrorCode::corrupt,
                  what + "; it is damaged or not a Tidings log: restore it from a copy, or name another file");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw Error(ErrorCode::unauthorized, what + "; make the file and its directory writable for this user");
    case SQLITE_CANTOPEN:
      if (os_error == EMFILE || os_error == ENFILE) {
        throw Error(ErrorCode::unavailable, true, what + "; too many files are open: close some or raise the limit");
      }
      throw Error(os_error == EACCES || os_error == EPERM ? ErrorCode::unauthorized : ErrorCode::io,
                  what + "; check the path and its permissions");
    case SQLITE_NOMEM:
      throw Error(ErrorCode::unavailable, true, what + "; free memory, then try again");
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_NOMEM) {
        throw Error(ErrorCode::unavailable, true, what + "; free memory, then try again");
      }
      if (os_error == ENOSPC || os_error == EDQUOT) {
        throw Error(ErrorCode::full, true, what + "; make room on its file system, then try again");
      }
      broken_ = true;
      throw Error(ErrorCode::io, what + "; what was written last is unknown: reopen the log");
    default:
      throw Error(ErrorCode::internal, what + " (SQLite code " + std::to_string(code) + "); please report it");
  }
}

Query::~Query() { sqlite3_reset(statement_); }

bool Query::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  db_.fail(code);
}

std::int64_t Query::integer(int column) const noexcept { return sqlite3_column_int64(statement_, column); }

bool Query::null(int column) const noexcept { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::string_view Query::text(int column) const noexcept {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text == nullptr ? std::string_view{}
                         : std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

std::span<const std::byte> Query::blob(int column) const noexcept {
  const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {bytes, bytes == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

void Query::bind(int index, std::nullptr_t) { sqlite3_bind_null(statement_, index); }

// Static binding: what is bound outlives the step, since queries are used where they are made.
void Query::bind(int index, std::string_view text) {
  sqlite3_bind_text64(statement_, index, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_STATIC,
                      SQLITE_UTF8);
}

void Query::bind(int index, std::span<const std::byte> blob) {
  const int code =
      sqlite3_bind_blob64(statement_, index, blob.data() == nullptr ? static_cast<const void*>("") : blob.data(),
                          blob.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) db_.fail(code);
}

void Query::bind_integer(int index, std::int64_t value) { sqlite3_bind_int64(statement_, index, value); }

Transaction::~Transaction() {
  // After most failures SQLite has rolled back by itself; a rollback that fails leaves nothing that could be done.
  if (db_.in_transaction()) sqlite3_exec(db_.raw(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace tidings::transport::sqlite
