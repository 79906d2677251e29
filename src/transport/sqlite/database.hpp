// SQLite, as much of it as is used here: a connection, its statements, and its errors as tidings::Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include <tidings/error.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace tidings::transport::sqlite {

/// A connection. One thread at a time.
class Database {
 public:
  /// Opens `path`, or creates it with `create`. The connection never checkpoints by itself; `busy_ms` is how long a
  /// statement waits for others.
  Database(std::string path, int busy_ms, bool create = false);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const char* sql);
  /// Rows that the last statement changed.
  [[nodiscard]] std::int64_t changes() const noexcept;
  [[nodiscard]] std::int64_t last_id() const noexcept;
  [[nodiscard]] sqlite3* raw() const noexcept { return db_; }
  [[nodiscard]] bool in_transaction() const noexcept;
  /// Reads the whole of a blob column into `into`, page by page and without a copy between. False when there is no such
  /// row any more, or the sizes differ.
  [[nodiscard]] bool read_blob(const char* table, const char* column, std::int64_t row, std::span<std::byte> into);
  /// The statement of a literal, compiled once a connection.
  [[nodiscard]] sqlite3_stmt* statement(const char* sql);
  /// Throws the Error that `code` means.
  [[noreturn]] void fail(int code);
  /// Set once a read, write or sync failed: what is on disk is unknown until the log is opened again.
  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  std::string path_;
  sqlite3* db_ = nullptr;
  bool broken_ = false;
  std::unordered_map<const void*, sqlite3_stmt*> statements_{};
};

/// One use of a statement. `sql` must be a literal: its address is its name.
class Query {
 public:
  template <class... Values>
  Query(Database& db, const char* sql, const Values&... values) : db_(db), statement_(db.statement(sql)) {
    int index = 0;
    (bind(++index, values), ...);
  }
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  /// Moves to the next row; false behind the last.
  bool step();
  /// Steps to the end.
  void run() {
    while (step()) {
    }
  }
  [[nodiscard]] std::int64_t integer(int column) const noexcept;
  [[nodiscard]] bool null(int column) const noexcept;
  /// Text and blobs are valid until the next step.
  [[nodiscard]] std::string_view text(int column) const noexcept;
  [[nodiscard]] std::span<const std::byte> blob(int column) const noexcept;

 private:
  template <class T>
  requires std::is_integral_v<T>
  void bind(int index, T value) { bind_integer(index, static_cast<std::int64_t>(value)); }
  void bind(int index, std::nullptr_t);
  void bind(int index, std::string_view text);
  void bind(int index, const std::string& text) { bind(index, std::string_view(text)); }
  void bind(int index, std::span<const std::byte> blob);
  void bind_integer(int index, std::int64_t value);

  Database& db_;
  sqlite3_stmt* statement_;
};

/// A transaction that is rolled back unless it is committed.
class Transaction {
 public:
  /// `sql` is BEGIN or BEGIN IMMEDIATE.
  Transaction(Database& db, const char* sql) : db_(db) { Query(db, sql).run(); }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() { Query(db_, "COMMIT").run(); }

 private:
  Database& db_;
};

}  // namespace tidings::transport::sqlite
