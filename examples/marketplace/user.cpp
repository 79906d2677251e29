// Users: POST /users, PUT /users/ID.
#include "outbox.hpp"
#include "program.hpp"

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS users(id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL,"
    " revision INTEGER NOT NULL DEFAULT 0)";

class Users {
 public:
  Users(market::Store& store, tidings::Bus& bus) : store_(store), outbox_(store, bus) {}

  market::Response handle(const market::Request& request) {
    if (request.method == "POST" && request.path == "/users") return create(request);
    if (request.method == "PUT" && request.path.starts_with("/users/")) return update(request, request.path.substr(7));
    throw market::HttpError(404, "no such resource; POST /users, or PUT /users/ID");
  }

 private:
  market::Response create(const market::Request& request) {
    const auto user = read(request);
    const std::string id = market::fresh_id("usr_");
    const market::Made made = outbox_.once(request, id, [&] {
      store_.query("INSERT INTO users(id, name, email) VALUES(?,?,?)", id, user.name, user.email);
      return market::UserCreated{id, user.email, user.name, user.role, user.skills};
    });
    return {201, market::to_json(made)};
  }

  market::Response update(const market::Request& request, const std::string& id) {
    const auto user = read(request);
    const market::Made made = outbox_.once(request, id, [&] {
      const auto rows =
          store_.query("UPDATE users SET name=?, email=?, revision=revision+1 WHERE id=? RETURNING revision", user.name,
                       user.email, id);
      if (rows.empty()) throw market::HttpError(404, "no user " + id);
      return market::UserUpdated{id, user.email, user.name, user.skills, std::stoll(rows[0][0])};
    });
    return {200, market::to_json(made)};
  }

  static market::UserRequest read(const market::Request& request) {
    auto user = market::from_json<market::UserRequest>(request.body);
    if (!market::is_address(user.email)) throw market::HttpError(400, "email: not an address");
    return user;
  }

  market::Store& store_;
  market::Outbox outbox_;
};

}  // namespace

int main(int argc, char** argv) {
  market::block_stop_signals();
  return market::run_program("user", argc, argv, [](const market::Place& place) {
    market::Store store(place.file(".db"), (std::string(schema) + ";" + market::outbox_schema).c_str());
    auto bus = market::open_bus("user-service");
    Users users(store, bus);
    const market::HttpServer server =
        serve(place, [&](const market::Request& request) { return users.handle(request); });
    return market::wait_for_stop();
  });
}
