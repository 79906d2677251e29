// Three processes on one file: this driver publishes users, `notification` and `search` handle them. On the way some
// handlers fail at first, some for ever, some events have data of the wrong type, and `search` is killed. At the end
// every event must be accounted for in each service: published = handled + ignored + dead letters.
//
// Without TIDINGS_URL each run uses a fresh file. Streams that hold events already are refused without DEMO_FORCE=1.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <thread>

#include <tidings/url.hpp>

#include "account.hpp"
#include "children.hpp"
#include "users.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace demo {
namespace {

/// 1: by Ctrl-C; 2: publishing failed.
std::atomic<int> interrupted = 0;

constexpr int users = 3000;
constexpr int chunk = 50;

/// The users between two numbers, with what will go wrong for some of them.
std::vector<UserCreated> created(int first, int last) {
  static const char* const names[] = {"Ada", "Bob", "Cem", "Dara", "Eve", "Finn", "Gita", "Hugo", "Iris", "Zoe"};
  std::vector<UserCreated> events;
  for (int i = first; i < last; ++i) {
    const char* domain = i % 100 == 7 ? "slow" : i % 250 == 13 ? "gone" : i % 500 == 99 ? "down" : "mail";
    const std::string name = i % 300 == 21 ? "" : std::string(names[i % 97 % 10]) + " " + std::to_string(i);
    events.push_back({.userId = "usr_" + std::to_string(i),
                      .email = "user" + std::to_string(i) + "@" + domain + ".example",
                      .name = name,
                      .role = i % 2 == 0 ? Role::FREELANCER : Role::CLIENT});
  }
  return events;
}

std::vector<UserUpdated> updated(int first, int last) {
  std::vector<UserUpdated> events;
  for (int i = first; i < last; ++i) {
    if (i % 10 < 4 || i % 10 > 6) continue;
    events.push_back(
        {"usr_" + std::to_string(i), "user" + std::to_string(i) + "@new.example", "Renamed " + std::to_string(i)});
  }
  return events;
}

template <class Event>
void publish(tidings::Bus& bus, const std::vector<Event>& events) {
  for (const auto& result : bus.publish_batch(events)) {
    if (result.code != tidings::ErrorCode::ok) throw std::runtime_error(result.message);
  }
}

/// Publishes everything, at a pace that can be watched.
void publish_all(const std::stop_token& stop, tidings::Bus& bus) {
  std::mutex mutex;
  std::condition_variable_any pace;
  for (int first = 1; first <= users && !stop.stop_requested(); first += chunk) {
    const int last = std::min(first + chunk, users + 1);
    publish(bus, created(first, last));
    publish(bus, updated(first, last));
    if (first / chunk % 2 == 0) publish(bus, std::vector<UserSeen>{{"usr_" + std::to_string(first)}});
    if (first / chunk % 6 == 0) {
      // What a publisher of another language may get wrong: the address is a number.
      const std::string wrong = R"({"type":"user.created","source":"legacy-import","data":{"userId":"usr_)" +
                                std::to_string(90000 + first) + R"(","email":42,"name":"Legacy"}})";
      const std::string_view text = wrong;
      for (const auto& result : bus.publish_json({&text, 1})) {
        if (result.code != tidings::ErrorCode::ok) throw std::runtime_error(result.message);
      }
    }
    std::unique_lock lock(mutex);
    pace.wait_for(lock, stop, 70ms, [] { return false; });
  }
}

/// The live table: in place on a terminal, a line per service now and then elsewhere.
class Table {
 public:
  void show(const std::vector<Row>& rows, bool last) {
    const auto now = std::chrono::steady_clock::now();
    if (!last && now - shown_ < (terminal_ ? 100ms : 1000ms)) return;
    shown_ = now;
    if (terminal_ && drawn_) std::cout << "\033[" << rows.size() + 1 << 'A';
    if (terminal_ || !drawn_) line("service", "published", "handled", "ignored", "retrying", "dead", "pending", "lag");
    for (const Row& row : rows)
      line(row.group, row.published, row.handled, row.ignored, row.retrying, row.dead, row.pending, row.lag);
    std::cout << std::flush;
    drawn_ = true;
  }
  /// Says something above the table's next drawing.
  void say(const std::string& text) {
    std::cout << (terminal_ ? "\033[K" : "") << text << '\n';
    if (terminal_) drawn_ = false;
  }

 private:
  template <class... Cells>
  void line(const std::string& name, const Cells&... cells) {
    std::cout << (terminal_ ? "\033[K" : "") << "  " << std::left << std::setw(13) << name << std::right;
    ((std::cout << std::setw(10) << cells), ...);
    std::cout << '\n';
  }

  const bool terminal_ = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point shown_{};
};

struct Place {
  fs::path directory{};
  std::string url{};
};

/// Where this run keeps its files, and the engine that it uses.
Place choose_place() {
  std::string pattern = (fs::temp_directory_path() / "tidings-demo-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a directory like " + pattern);
  const char* url = std::getenv("TIDINGS_URL");
  return {pattern, url != nullptr && *url != '\0' ? url : "sqlite:" + pattern + "/events.db"};
}

/// Runs until everything is settled. Returns false when interrupted or when it takes too long.
bool run(const Account& account, Child& notification, Child& search, const std::atomic<bool>& published) {
  Table table;
  bool killed = false;
  const auto deadline = std::chrono::steady_clock::now() + 90s;
  while (interrupted == 0 && std::chrono::steady_clock::now() < deadline) {
    const auto rows = account.rows();
    table.show(rows, false);
    if (!killed && rows[1].handled > users / 3) {
      killed = true;
      search.kill();
      table.say("  ** search was killed (SIGKILL) in the middle of its work, and is started again");
      search.start();
    }
    if (!notification.running() || !search.running())
      throw std::runtime_error("a service ended by itself; its log says why");
    if (killed && published && std::none_of(rows.begin(), rows.end(), [](const Row& row) { return row.open(); })) {
      table.show(rows, true);
      return true;
    }
    std::this_thread::sleep_for(30ms);
  }
  table.show(account.rows(), true);
  return false;
}

/// Prints the account, and what to look at next. Returns how many events are unaccounted for.
std::int64_t print_account(const Account& account, const Place& place, const fs::path& binaries) {
  std::int64_t lost = 0;
  std::cout << "\nthe account\n";
  for (const Row& row : account.rows()) {
    std::cout << "  " << std::left << std::setw(13) << row.group << "published " << row.published << " = handled "
              << row.handled << " + ignored " << row.ignored << " + dead letters " << row.dead;
    if (row.open()) std::cout << " + still open " << row.lag + row.pending + row.retrying;
    std::cout << '\n';
    lost += std::abs(row.lost()) + static_cast<std::int64_t>(row.lag + row.pending + row.retrying);
  }
  std::cout << "\ndead letters\n";
  account.print_dead_letters(std::cout);
  const std::string tidings = (binaries / "tidings").string();
  std::cout << "\nwhat to type next\n"
            << "  export TIDINGS_URL=" << tidings::Url::parse(place.url).redacted() << '\n'
            << "  " << tidings << " groups\n"
            << "  " << tidings << " dlq ls --group notification\n"
            << "  " << tidings << " dlq retry --group notification --reason attempts_exhausted --yes\n"
            << "  " << tidings << " tail events:notification -n 3\n"
            << "  sqlite3 " << (place.directory / "search.db").string()
            << " \"SELECT * FROM users WHERE users MATCH 'zoe' LIMIT 3\"\n\n";
  return lost;
}

int main_of(const fs::path& binaries) {
  const Place place = choose_place();
  setenv("TIDINGS_URL", place.url.c_str(), 1);
  auto bus = tidings::Bus::open(place.url, {.source = "user-service"});
  if (!bus.transport().capabilities().several_processes) {
    std::cerr << "demo: this engine lives in one process, the demo needs three; unset TIDINGS_URL\n";
    return 2;
  }
  const Account account(bus, {"notification", "search"});
  const char* force = std::getenv("DEMO_FORCE");
  if (account.before() > 0 && (force == nullptr || std::string_view(force) != "1")) {
    std::cerr << "demo: " << user_stream << " holds " << account.before()
              << " events already; unset TIDINGS_URL for a fresh file, or set DEMO_FORCE=1 to add to them\n";
    return 2;
  }
  std::cout << "files in " << place.directory.string() << "\n\n";
  Child notification({binaries / "demo_notification"}, place.directory / "notification.log");
  Child search({binaries / "demo_search", place.directory / "search.db"}, place.directory / "search.log");

  std::atomic<bool> published = false;
  std::string failure;
  std::jthread publisher([&](const std::stop_token& stop) {
    try {
      publish_all(stop, bus);
      published = true;
    } catch (const std::exception& error) {
      failure = error.what();
      interrupted = 2;
    }
  });
  const bool finished = run(account, notification, search, published);
  publisher.request_stop();
  publisher.join();
  const int codes = notification.stop() + search.stop();
  if (interrupted == 1) {
    std::cout << "interrupted; the services were stopped\n";
    return 130;
  }
  if (!failure.empty()) throw std::runtime_error("publishing failed: " + failure);
  const std::int64_t lost = print_account(account, place, binaries);
  if (!finished) std::cout << "this took too long\n";
  if (codes != 0) std::cout << "a service did not end well\n";
  std::cout << "lost " << lost << '\n';
  return lost == 0 && finished && codes == 0 ? 0 : 1;
}

}  // namespace
}  // namespace demo

int main() {
  struct sigaction action {};
  action.sa_handler = [](int) { demo::interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  try {
    return demo::main_of(fs::read_symlink("/proc/self/exe").parent_path());
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
  }
}
