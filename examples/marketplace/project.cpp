// Projects: POST /projects, POST /projects/ID/publish.
#include "outbox.hpp"
#include "program.hpp"

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS projects(id TEXT PRIMARY KEY, body TEXT NOT NULL, published INTEGER NOT NULL DEFAULT "
    "0)";

constexpr std::int64_t largest_budget = 1'000'000'000'000;  // Cents.

class Projects {
 public:
  Projects(market::Store& store, tidings::Bus& bus) : store_(store), outbox_(store, bus) {}

  market::Response handle(const market::Request& request) {
    constexpr std::string_view root = "/projects/", publish = "/publish";
    const std::string_view path = request.path;
    if (request.method == "POST" && path == "/projects") return create(request);
    if (request.method == "POST" && path.starts_with(root) && path.ends_with(publish) &&
        path.size() > root.size() + publish.size()) {
      return this->publish(request, std::string(path.substr(root.size(), path.size() - root.size() - publish.size())));
    }
    throw market::HttpError(404, "no such resource; POST /projects, or POST /projects/ID/publish");
  }

 private:
  market::Response create(const market::Request& request) {
    const auto project = market::from_json<market::ProjectRequest>(request.body);
    if (project.title.empty()) throw market::HttpError(400, "title: is empty");
    if (project.budget <= 0 || project.budget > largest_budget)
      throw market::HttpError(400, "budget: must be above zero, in cents");
    if (!market::is_address(project.clientEmail)) throw market::HttpError(400, "clientEmail: not an address");
    const std::string id = market::fresh_id("prj_");
    const market::Made made = outbox_.once(request, id, [&] {
      store_.query("INSERT INTO projects(id, body) VALUES(?,?)", id, request.body);
      return market::ProjectCreated{id, project.clientEmail, project.title, project.skills, project.budget};
    });
    return {201, market::to_json(made)};
  }

  market::Response publish(const market::Request& request, const std::string& id) {
    // A project is published once, whoever asks how often and with which key.
    const market::Request one{.method = "POST", .path = request.path, .idempotency_key = "publish", .id = request.id};
    const market::Made made = outbox_.once(one, id, [&] {
      const auto rows = store_.query("UPDATE projects SET published = 1 WHERE id=? RETURNING body", id);
      if (rows.empty()) throw market::HttpError(404, "no project " + id);
      const auto project = market::from_json<market::ProjectRequest>(rows[0][0]);
      return market::ProjectPublished{id, project.clientEmail, project.title, project.skills, project.budget};
    });
    return {200, market::to_json(made)};
  }

  market::Store& store_;
  market::Outbox outbox_;
};

}  // namespace

int main(int argc, char** argv) {
  market::block_stop_signals();
  return market::run_program("project", argc, argv, [](const market::Place& place) {
    market::Store store(place.file(".db"), (std::string(schema) + ";" + market::outbox_schema).c_str());
    auto bus = market::open_bus("project-service");
    Projects projects(store, bus);
    const market::HttpServer server =
        serve(place, [&](const market::Request& request) { return projects.handle(request); });
    return market::wait_for_stop();
  });
}
