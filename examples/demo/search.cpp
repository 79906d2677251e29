// Keeps a full-text index of users in a file of its own: demo_search INDEX.db
//
// An event may come twice (its process may die between the index and the settlement), and an update may come before its
// creation when that one is retried. Both are harmless here: a row is written whole, and a creation never replaces one.
#include <sqlite3.h>

#include <iostream>
#include <stdexcept>

#include "users.hpp"

using namespace std::chrono_literals;

namespace {

/// The index: one FTS5 table whose row is the user's number.
class Index {
 public:
  explicit Index(const char* path) {
    check(sqlite3_open(path, &db_));
    check(sqlite3_exec(db_,
                       "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                       "CREATE VIRTUAL TABLE IF NOT EXISTS users USING fts5(userId UNINDEXED, email, name)",
                       nullptr, nullptr, nullptr));
    // FTS5 knows OR REPLACE by rowid, but takes OR IGNORE for a failure.
    prepare(
        "INSERT INTO users(rowid, userId, email, name) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM users "
        "WHERE rowid = ?1)",
        &add_);
    prepare("INSERT OR REPLACE INTO users(rowid, userId, email, name) VALUES (?1, ?2, ?3, ?4)", &put_);
  }
  ~Index() {
    sqlite3_finalize(add_);
    sqlite3_finalize(put_);
    sqlite3_close(db_);
  }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  void created(const demo::UserCreated& user) { write(add_, user.userId, user.email, user.name); }
  void updated(const demo::UserUpdated& user) { write(put_, user.userId, user.email, user.name); }

 private:
  void check(int rc) const {
    if (rc != SQLITE_OK) throw std::runtime_error(std::string("the index: ") + sqlite3_errmsg(db_));
  }

  void prepare(const char* sql, sqlite3_stmt** statement) {
    check(sqlite3_prepare_v2(db_, sql, -1, statement, nullptr));
  }

  void write(sqlite3_stmt* statement, const std::string& id, const std::string& email, const std::string& name) {
    sqlite3_bind_int64(statement, 1, std::stoll(id.substr(id.find('_') + 1)));
    sqlite3_bind_text(statement, 2, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, email.data(), static_cast<int>(email.size()), SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, name.data(), static_cast<int>(name.size()), SQLITE_STATIC);
    sqlite3_step(statement);
    check(sqlite3_reset(statement));
  }

  sqlite3* db_ = nullptr;
  sqlite3_stmt* add_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: demo_search INDEX.db");
  Index index{argv[1]};
  auto bus = tidings::Bus::open({}, {.source = "search-service"});
  tidings::Service search{bus, "search"};
  search.on<demo::UserCreated>([&](const tidings::DomainEvent<demo::UserCreated>& event, tidings::Context& context) {
    if (event.data.name.empty()) throw tidings::Reject{"nothing to index: the user has no name"};
    if (event.data.name.starts_with("Zoe") && context.attempt() == 1)
      throw tidings::Again{300ms, "the index is being merged"};
    index.created(event.data);
  });
  search.on<demo::UserUpdated>(
      [&](const tidings::DomainEvent<demo::UserUpdated>& event) { index.updated(event.data); });
  return search.run();
} catch (const std::exception& error) {
  std::cerr << "search: " << error.what() << '\n';
  return 1;
}
