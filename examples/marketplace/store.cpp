#include "store.hpp"

#include <chrono>
#include <stdexcept>

namespace market {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Store::Store(const std::filesystem::path& file, const char* schema) {
  check(sqlite3_open(file.c_str(), &db_));
  sqlite3_busy_timeout(db_, 10'000);
  check(sqlite3_exec(db_, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", nullptr, nullptr, nullptr));
  check(sqlite3_exec(db_, schema, nullptr, nullptr, nullptr));
}

Store::~Store() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

void Store::check(int code) const {
  if (code != SQLITE_OK) throw std::runtime_error(std::string("the store: ") + sqlite3_errmsg(db_));
}

sqlite3_stmt* Store::prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) check(sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
  return statement;
}

std::vector<Store::Row> Store::run(sqlite3_stmt* statement) {
  std::vector<Row> rows;
  while (sqlite3_step(statement) == SQLITE_ROW) {
    Row& row = rows.emplace_back();
    for (int column = 0; column < sqlite3_column_count(statement); ++column) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      // By its length: a text may hold a zero byte.
      row.emplace_back(text == nullptr ? "" : text, static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
    }
  }
  check(sqlite3_reset(statement));
  return rows;
}

}  // namespace market
