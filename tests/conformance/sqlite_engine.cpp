// The SQLite transport under test, and what can be broken in its file.
#include <sqlite3.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "conformance.hpp"

namespace tidings::conformance {

namespace {

// Runs one statement on a connection of its own, and returns the first column of its first row.
std::string query(const std::string& file, const char* sql) {
  sqlite3* db = nullptr;
  std::string answer;
  if (sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
    answer = sqlite3_errmsg(db);
  } else {
    const auto row = [](void* out, int, char** values, char**) {
      auto& text = *static_cast<std::string*>(out);
      if (text.empty() && values[0] != nullptr) text = values[0];
      return 0;
    };
    char* error = nullptr;
    if (sqlite3_exec(db, sql, row, &answer, &error) != SQLITE_OK) answer = error == nullptr ? "failed" : error;
    sqlite3_free(error);
  }
  sqlite3_close(db);
  return answer;
}

class SqlitePlace : public Place {
 public:
  SqlitePlace() : owned_(true) {
    std::string pattern = std::filesystem::temp_directory_path() / "tidings-sqlite-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
    directory_ = pattern;
  }
  explicit SqlitePlace(std::string directory) : directory_(std::move(directory)) {}
  ~SqlitePlace() override {
    std::error_code ignored;
    if (owned_) std::filesystem::remove_all(directory_, ignored);
  }
  SqlitePlace(const SqlitePlace&) = delete;
  SqlitePlace& operator=(const SqlitePlace&) = delete;

  [[nodiscard]] std::string url() const override { return "sqlite:" + file(); }
  [[nodiscard]] std::string file() const override { return directory_ + "/events.db"; }

  bool flip_bit(std::string_view text) override {
    // A bit in the WAL would only cut its tail; what is to be damaged here is a page at rest.
    query(file(), "PRAGMA wal_checkpoint(TRUNCATE)");
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const std::size_t at = bytes.find(text);
    if (at == std::string::npos) return false;
    stream.clear();
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(static_cast<char>(bytes[at] ^ 1));
    return stream.flush().good();
  }

  std::string integrity() override { return query(file(), "PRAGMA integrity_check"); }

 private:
  std::string directory_;
  bool owned_ = false;
};

Engine sqlite_engine() {
  Engine engine;
  engine.name = "sqlite";
  engine.fresh = [] { return std::make_unique<SqlitePlace>(); };
  engine.in_directory = [](const std::string& directory) { return std::make_unique<SqlitePlace>(directory); };
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(sqlite, Conformance, ::testing::Values(sqlite_engine()),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
