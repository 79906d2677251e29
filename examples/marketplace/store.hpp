// A service's own SQLite database: what it keeps for itself, and what makes its effects happen once.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace market {

/// Milliseconds since 1970: when an effect happened, for whoever measures.
[[nodiscard]] std::int64_t now_ms();

/// One connection, used by one thread at a time: transaction() and query() wait for each other.
class Store {
 public:
  using Row = std::vector<std::string>;

  /// Opens or creates `file`, and runs `schema` (CREATE … IF NOT EXISTS …). What is committed survives the death of the
  /// process; throws std::runtime_error for whatever SQLite refuses.
  Store(const std::filesystem::path& file, const char* schema);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Runs `body` in one transaction, which is rolled back when it throws.
  template <class Body>
  auto transaction(Body body) {
    const std::lock_guard lock(mutex_);
    Rollback rollback{*this};
    query("BEGIN IMMEDIATE");
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      query("COMMIT");
    } else {
      auto result = body();
      query("COMMIT");
      return result;
    }
  }

  /// Runs one statement; `sql` must be a literal, which is compiled once. Returns its rows as text.
  template <class... Values>
  std::vector<Row> query(const char* sql, const Values&... values) {
    const std::lock_guard lock(mutex_);
    sqlite3_stmt* const statement = prepare(sql);
    int index = 0;
    (bind(statement, ++index, values), ...);
    return run(statement);
  }
  /// Rows that the last statement changed.
  [[nodiscard]] int changes() const { return sqlite3_changes(db_); }

 private:
  struct Rollback {
    Store& store;
    ~Rollback() {
      if (sqlite3_get_autocommit(store.db_) == 0) sqlite3_exec(store.db_, "ROLLBACK", nullptr, nullptr, nullptr);
    }
  };
  sqlite3_stmt* prepare(const char* sql);
  std::vector<Row> run(sqlite3_stmt* statement);
  static void bind(sqlite3_stmt* statement, int index, std::string_view text) {
    sqlite3_bind_text(statement, index, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  }
  static void bind(sqlite3_stmt* statement, int index, std::int64_t value) {
    sqlite3_bind_int64(statement, index, value);
  }
  void check(int code) const;

  sqlite3* db_ = nullptr;
  std::recursive_mutex mutex_{};
  std::map<const char*, sqlite3_stmt*> statements_{};
};

}  // namespace market
