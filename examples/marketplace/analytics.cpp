// Analytics: what is asked for in the marketplace. GET /stats.
//
// Counting is not idempotent by itself, so that the ids of counted events are kept beside the counts: an inbox by hand.
#include <set>

#include "events.hpp"
#include "program.hpp"
#include "requests.hpp"
#include "store.hpp"

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS counted(event TEXT PRIMARY KEY, correlation TEXT NOT NULL, at INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS skills(skill TEXT PRIMARY KEY, projects INTEGER NOT NULL, budget INTEGER NOT NULL)";

void count(market::Store& store, const tidings::DomainEvent<market::ProjectCreated>& event) {
  store.transaction([&] {
    store.query("INSERT OR IGNORE INTO counted(event, correlation, at) VALUES(?,?,?)", event.source + " " + event.id,
                event.correlationId, market::now_ms());
    if (store.changes() == 0) return;
    const std::set<std::string> skills(event.data.skills.begin(), event.data.skills.end());
    for (const std::string& skill : skills) {
      store.query(
          "INSERT INTO skills(skill, projects, budget) VALUES(?1, 1, ?2) ON CONFLICT(skill) DO UPDATE"
          " SET projects = projects + 1, budget = budget + ?2",
          skill, event.data.budget);
    }
  });
}

market::Response show(market::Store& store) {
  std::vector<market::SkillCount> stats;
  for (const auto& row : store.query("SELECT skill, projects, budget FROM skills ORDER BY projects DESC, skill")) {
    stats.push_back({row[0], std::stoll(row[1]), std::stoll(row[2])});
  }
  return {200, market::to_json(stats)};
}

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("analytics", argc, argv, [](const market::Place& place) {
    market::Store store(place.file(".db"), schema);
    auto bus = market::open_bus("analytics-service");
    const market::HttpServer server = serve(place, [&](const market::Request& request) {
      if (request.method != "GET" || request.path != "/stats")
        throw market::HttpError(404, "no such resource; GET /stats");
      return show(store);
    });
    tidings::Service service{bus, "analytics"};
    service.on<market::ProjectCreated>(
        [&](const tidings::DomainEvent<market::ProjectCreated>& event) { count(store, event); });
    return market::run_service(service);
  });
}
