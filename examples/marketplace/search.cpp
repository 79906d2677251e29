// Search: GET /search?q=WORDS over users and projects, in SQLite's FTS5.
//
// A project reaches the index by a command of search's own, since two events lead to the same work. Events may come
// twice, and a retried one after a later one: every row is written whole, an older revision never replaces a newer one,
// and "published" is never taken back.
#include <algorithm>

#include "events.hpp"
#include "program.hpp"
#include "requests.hpp"
#include "store.hpp"

using tidings::Context;
using tidings::DomainEvent;

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS entries(id TEXT PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL, rank INTEGER NOT "
    "NULL,"
    " correlation TEXT NOT NULL, at INTEGER NOT NULL);"
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='entries', content_rowid='rowid');"
    "CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON entries BEGIN"
    " INSERT INTO words(rowid, text) VALUES(new.rowid, new.text); END;"
    "CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE OF text ON entries BEGIN"
    " INSERT INTO words(words, rowid, text) VALUES('delete', old.rowid, old.text);"
    " INSERT INTO words(rowid, text) VALUES(new.rowid, new.text); END;";

std::string joined(std::string text, const std::vector<std::string>& words) {
  for (const std::string& word : words) text += ' ' + word;
  return text;
}

class Index {
 public:
  explicit Index(market::Store& store) : store_(store) {}

  /// Of two texts for one id the one of the higher rank stays; of the same rank the later.
  void put(const char* kind, const std::string& id, const std::string& text, std::int64_t rank,
           std::string_view correlation) {
    store_.query(
        "INSERT INTO entries(id, kind, text, rank, correlation, at) VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT(id) DO UPDATE"
        " SET text=excluded.text, rank=excluded.rank, correlation=excluded.correlation, at=excluded.at"
        " WHERE excluded.rank >= rank",
        id, std::string_view(kind), text, rank, correlation, market::now_ms());
  }

  std::vector<market::Hit> find(const std::string& words) {
    if (std::any_of(words.begin(), words.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; })) {
      throw market::HttpError(400, "q: holds a control character");
    }
    std::string phrases;  // Each word quoted, so that nothing a user types is an operator.
    for (std::size_t at = 0; at < words.size();) {
      const std::size_t end = std::min(words.find(' ', at), words.size());
      std::string word = words.substr(at, end - at);
      std::erase(word, '"');
      if (!word.empty()) phrases += '"' + word + "\"* ";
      at = end + 1;
    }
    if (phrases.empty()) throw market::HttpError(400, "q: say what to search for");
    std::vector<market::Hit> hits;
    for (const auto& row :
         store_.query("SELECT kind, id, entries.text FROM words JOIN entries ON entries.rowid = words.rowid"
                      " WHERE words MATCH ? ORDER BY words.rank LIMIT 20",
                      phrases)) {
      hits.push_back({row[0], row[1], row[2]});
    }
    return hits;
  }

 private:
  market::Store& store_;
};

void handle(tidings::Service& service, Index& index) {
  service.on<market::UserCreated>([&](const DomainEvent<market::UserCreated>& event) {
    if (event.data.name.empty()) throw tidings::Reject{"nothing to index: the user has no name"};
    index.put("user", event.data.userId, joined(event.data.name, event.data.skills), 0, event.correlationId);
  });
  service.on<market::UserUpdated>([&](const DomainEvent<market::UserUpdated>& event) {
    index.put("user", event.data.userId, joined(event.data.name, event.data.skills), event.data.revision,
              event.correlationId);
  });
  service.on<market::ProjectCreated>([](const DomainEvent<market::ProjectCreated>& event, Context& context) {
    context.send(
        market::IndexProject{event.data.projectId, event.data.title, event.data.skills, event.data.budget, false});
  });
  service.on<market::ProjectPublished>([](const DomainEvent<market::ProjectPublished>& event, Context& context) {
    context.send(
        market::IndexProject{event.data.projectId, event.data.title, event.data.skills, event.data.budget, true});
  });
  service.on<market::IndexProject>([&](const DomainEvent<market::IndexProject>& command) {
    index.put("project", command.data.projectId, joined(command.data.title, command.data.skills),
              command.data.published ? 1 : 0, command.correlationId);
  });
}

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("search", argc, argv, [](const market::Place& place) {
    market::Store store(place.file(".db"), schema);
    Index index(store);
    auto bus = market::open_bus("search-service");
    const market::HttpServer server = serve(place, [&](const market::Request& request) {
      if (request.method != "GET" || request.path != "/search")
        throw market::HttpError(404, "no such resource; GET /search?q=WORDS");
      return market::Response{200, market::to_json(index.find(request.parameter("q")))};
    });
    tidings::Service service{bus, "search"};
    handle(service, index);
    return market::run_service(service);
  });
}
