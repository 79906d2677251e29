// The marketplace of ADR-005: seven services in processes of their own, which share nothing but the bus, and people who
// call them over HTTP. On the way one service is killed, one gets a second process, one is down for a while, mailboxes
// are gone, cards are declined and a legacy import publishes data of the wrong type. At the end every message must be
// accounted for in each service: in = handled + ignored + dead letters, and every effect must have happened.
//
// Without TIDINGS_URL each run uses a fresh file. Streams that hold events already are refused without DEMO_FORCE=1.
// SMTP_URL sends the mails to another server than the one that the demo starts.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>

#include <tidings/url.hpp>

#include "account.hpp"
#include "cast.hpp"
#include "http.hpp"
#include "load.hpp"
#include "measure.hpp"
#include "table.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace market {
namespace {

std::atomic<int> interrupted = 0;

constexpr const char* usage =
    "usage: demo [--stories N] [--rate REQUESTS_PER_SECOND] [--people N] [--kills N] [--measure]\n"
    "  --stories N   how much happens: two users, a project and a booking each (700)\n"
    "  --rate R      requests a second (300); 0: as fast as they are answered\n"
    "  --people N    requests at the same time (8)\n"
    "  --kills N     kills N services at random, instead of the show\n"
    "  --measure     only counts and times, and prints one line of JSON\n";

struct Options {
  LoadOptions load{};
  unsigned kills = 0;
  bool measure = false;
  [[nodiscard]] bool show() const { return kills == 0 && !measure; }
};

/// A number within bounds. Throws std::invalid_argument for anything else.
double number(const std::string& name, const char* text, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= least && value <= most)) {
    throw std::invalid_argument(name + " " + text + " is not a number that makes sense there");
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&](double least, double most) {
      if (i + 1 == argc) throw std::invalid_argument(name + " needs a value");
      return number(name, argv[++i], least, most);
    };
    if (name == "--measure") {
      options.measure = true;
    } else if (name == "--stories") {
      options.load.stories = static_cast<std::uint32_t>(value(1, 1e6));
    } else if (name == "--rate") {
      options.load.rate = value(0, 1e6);
    } else if (name == "--people") {
      options.load.people = static_cast<unsigned>(value(1, 200));
    } else if (name == "--kills") {
      options.kills = static_cast<unsigned>(value(0, 1e5));
    } else {
      throw std::invalid_argument(name + " is not known");
    }
  }
  return options;
}

/// Where a group has nothing of before it was made, all are made before the first request: a service answers before it
/// has joined.
void make_groups(const tidings::Bus& bus) {
  if (bus.transport().capabilities().from_beginning) return;
  for (const Part& part : parts()) {
    for (const std::string& stream : part.streams) {
      tidings::transport::GroupChange change;
      change.at.kind = tidings::Start::Kind::end;
      change.owner = part.name;
      try {
        bus.transport().change({stream, tidings::group_of(stream, part.name)}, change);
      } catch (const tidings::Error& error) {
        if (error.code() != tidings::ErrorCode::conflict) throw;
      }
    }
  }
}

/// Where this run keeps its files, and the engine that it uses.
struct Run {
  fs::path directory{}, binaries{};
  std::string url{};
};

fs::path make_directory() {
  std::string pattern = (fs::temp_directory_path() / "tidings-demo-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a directory like " + pattern);
  return pattern;
}

/// What goes wrong on purpose, each once its share of the stories is told.
class Script {
 public:
  Script(const Options& options, Cast& cast, tidings::Bus& bus, Table& table)
      : options_(options), cast_(cast), bus_(bus), table_(table) {}

  void play(double progress) {
    if (options_.kills > 0) return kill(progress);
    if (!options_.show()) return;
    if (step_ == 0 && progress > 0.1 && next("analytics goes down (SIGTERM); its events wait"))
      (void)cast_.lower("analytics");
    if (step_ == 1 && progress > 0.25 && next("a second notification process joins, and shares the work"))
      cast_.add("notification");
    if (step_ == 2 && progress > 0.4 && next("search is killed (SIGKILL) in the middle of its work, and started again"))
      cast_.crash("search");
    if (step_ == 3 && progress > 0.55 && next("a legacy import publishes users whose address is a number"))
      import_legacy();
    if (step_ == 4 && progress > 0.7 && next("analytics is back, and catches up")) cast_.raise("analytics");
  }
  [[nodiscard]] unsigned killed() const { return killed_; }
  /// Whether everything has happened.
  [[nodiscard]] bool over() const {
    return options_.kills > 0 ? step_ >= options_.kills : !options_.show() || step_ == 5;
  }

 private:
  bool next(const char* what) {
    ++step_;
    table_.say(what);
    return true;
  }
  void kill(double progress) {
    while (step_ < options_.kills && progress * (options_.kills + 1) > step_ + 1) {
      ++step_;
      killed_ += cast_.crash(parts()[random_() % parts().size()].name) ? 1 : 0;
      if (progress < 1) return;
    }
  }
  void import_legacy() {
    for (int i = 0; i < 10; ++i) {
      const std::string wrong = R"({"type":"user.created","source":"legacy-import","data":{"userId":"old_)" +
                                std::to_string(i) + R"(","email":42,"name":"Legacy"}})";
      const std::string_view text = wrong;
      for (const auto& result : bus_.publish_json({&text, 1})) {
        if (result.code != tidings::ErrorCode::ok) throw std::runtime_error(result.message);
      }
    }
  }

  const Options& options_;
  Cast& cast_;
  tidings::Bus& bus_;
  Table& table_;
  unsigned step_ = 0, killed_ = 0;
  std::mt19937 random_{20'261'126};
};

/// Runs until all stories are told and everything is settled. Returns false when that takes too long.
bool play(const Account& account, Cast& cast, Load& load, Script& script, Table* table) {
  const auto deadline = std::chrono::steady_clock::now() + 240s;
  const unsigned looks = account.sees_all_at_once() ? 1 : 3;
  unsigned quiet = 0;
  while (interrupted == 0 && std::chrono::steady_clock::now() < deadline) {
    script.play(load.progress());
    cast.check();
    if (const auto why = load.failure()) throw std::runtime_error(*why);
    const auto rows = account.rows();
    if (table != nullptr) table->show(rows, false);
    const bool told = load.done() && script.over();
    const bool open = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.open() > 0; });
    quiet = told && !open ? quiet + 1 : 0;
    if (quiet == looks) {
      if (table != nullptr) table->show(rows, true);
      return true;
    }
    std::this_thread::sleep_for(20ms);
  }
  if (table != nullptr) table->show(account.rows(), true);
  return false;
}

/// Prints the account; returns what is not accounted for.
std::uint64_t print_account(const Account& account, const Load& load, const Run& run, std::ostream& out) {
  std::uint64_t lost = 0;
  out << "\nthe account: in = handled + ignored + dead letters\n";
  for (const Row& row : account.rows()) {
    out << "  " << std::left << std::setw(13) << row.service << std::setw(20) << row.stream << std::right
        << std::setw(6) << row.in << " = " << row.handled << " + " << row.ignored << " + " << row.dead;
    if (row.open() > 0) out << ", still open " << row.open();
    out << '\n';
    lost += row.missing() + row.open();
  }
  const std::uint64_t forgotten = account.forgotten(load.answered());
  out << "\nthe effects\n  requests answered " << load.answered().size() << ", sent again " << load.repeated()
      << ", their events missing " << forgotten << '\n';
  lost += forgotten;
  for (const Effects& effects : account.effects(run.directory)) {
    out << "  " << effects.name << ' ' << effects.found << " of " << effects.expected << ", more than once "
        << effects.repeated << ", missing " << effects.missing << '\n';
    lost += effects.missing;
  }
  if (!fs::exists(run.directory / "sink.db")) out << "  mails went to SMTP_URL, and are not counted here\n";
  out << "  published twice under one id " << account.copies() << ", second charges refused "
      << Account::refused_charges(run.directory) << '\n';
  out << "\ndead letters\n";
  const std::uint64_t unplanned = account.print_dead_letters(out);
  out << "  of reasons that the demo does not provoke " << unplanned << '\n';
  return lost;
}

/// Asks three services what a page would ask them: queries are direct calls.
std::string ask(Cast& cast, const Answered& example) {
  std::ostringstream answers;
  HttpClient client;
  for (const auto& [service, target] : {std::pair<std::string, std::string>{"search", "/search?q=bakery+rust"},
                                        {"booking", "/bookings/" + example.id},
                                        {"analytics", "/stats"}}) {
    cast.await(service);  // It may have been started again a moment ago.
    const Response response = client.request(cast.port(service), "GET", target, "");
    answers << "  GET " << target << "  " << response.status << ' ' << response.body.substr(0, 150)
            << (response.body.size() > 150 ? " …" : "") << '\n';
  }
  return answers.str();
}

/// What a process of a service said at its end.
std::string handled_by(const fs::path& log) {
  std::string word, count = "0";
  for (std::ifstream in(log); in >> word;) {
    if (word == "handled") in >> count;
  }
  return count;
}

void print_next(const Run& run, const Answered& example, const std::string& answers, bool history) {
  const std::string tidings = (run.binaries / "tidings").string();
  std::cout << "\nthe work of notification, shared: " << handled_by(run.directory / "notification.log")
            << " in one process, " << handled_by(run.directory / "notification-2.log") << " in the other\n";
  std::cout << "\nqueries\n" << answers;
  if (history) {
    std::cout << "\none booking across the services: tidings trace " << example.correlation_id << '\n' << std::flush;
    Child({tidings, "trace", example.correlation_id}, "").wait();
  }
  std::cout << "\nwhat to type next\n"
            << "  export TIDINGS_URL='" << tidings::Url::parse(run.url).redacted() << "'\n"
            << "  " << tidings << " groups\n"
            << "  " << tidings << " dlq ls --group payment events:booking\n"
            << "  " << tidings << " dlq retry --group payment events:booking --all --yes\n"
            << "  " << (run.binaries / "marketplace_payment").string() << ' ' << run.directory.string()
            << "   # payment once more, which handles what was retried; Ctrl-C ends it\n"
            << (history ? "  " + tidings + " trace " + example.correlation_id + "\n" : "") << "files are in "
            << run.directory.string() << "; delete them when you are done\n\n";
}

int run_all(const Options& options, const fs::path& binaries) {
  const char* url = std::getenv("TIDINGS_URL");
  Run run{.binaries = binaries};
  if (url != nullptr && *url != '\0') {
    run.url = url;
  } else {
    run.directory = make_directory();
    run.url = "sqlite:" + (run.directory / "events.db").string();
    setenv("TIDINGS_URL", run.url.c_str(), 1);
  }
  auto bus = tidings::Bus::open(run.url, {.source = "legacy-import"});
  if (!bus.transport().capabilities().several_processes) {
    std::cerr << "demo: this engine lives in one process, the demo needs many; unset TIDINGS_URL\n";
    return 2;
  }
  if (!bus.transport().capabilities().shelf) {
    std::cerr << "demo: this engine alone cannot list dead letters, which the account counts; add a shelf to the URL, "
                 "for example shelf=sqlite:shelf.db\n";
    return 2;
  }
  make_groups(bus);
  const Account account(bus);
  const char* force = std::getenv("DEMO_FORCE");
  if (account.before() > 0 && (force == nullptr || std::string_view(force) != "1")) {
    std::cerr << "demo: the streams hold " << account.before()
              << " messages already; unset TIDINGS_URL for a fresh file, or set DEMO_FORCE=1 to add to them\n";
    return 2;
  }
  if (run.directory.empty()) run.directory = make_directory();
  std::cerr << "files in " << run.directory.string() << "\n";
  Cast cast(binaries, run.directory);
  Table table;
  std::unique_ptr<Load> load = std::make_unique<Load>(cast, options.load);
  Script script(options, cast, bus, table);
  const bool finished = play(account, cast, *load, script, options.measure ? nullptr : &table);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - load->began()).count();
  if (interrupted > 0) {
    load->stop();
    (void)cast.stop();
    load.reset();
    std::cout << "interrupted; the services were stopped\n";
    return 130;
  }
  const bool show = options.show() && !load->example().correlation_id.empty();
  const std::string answers = show ? ask(cast, load->example()) : "";
  const int codes = cast.stop();
  std::ostringstream told;
  const std::uint64_t lost = print_account(account, *load, run, told);
  if (options.measure) {
    Figures figures{.requests = load->answered().size(), .events = account.published(), .seconds = seconds};
    for (const Row& row : account.rows()) figures.deliveries += row.handled + row.ignored + row.dead;
    figures.requests_per_second = static_cast<double>(figures.requests) / seconds;
    figures.events_per_second = static_cast<double>(figures.events) / seconds;
    figures.deliveries_per_second = static_cast<double>(figures.deliveries) / seconds;
    figures.repeated = load->repeated();
    figures.lost = lost;
    measure_latency(run.directory, load->answered(), figures);
    std::cout << to_json(figures) << '\n';
    return lost == 0 && finished && codes == 0 ? 0 : 1;
  }
  std::cout << told.str();
  if (show) print_next(run, load->example(), answers, bus.transport().capabilities().read);
  if (options.kills > 0) std::cout << "killed " << script.killed() << " services\n";
  if (!finished) std::cout << "this took too long\n";
  if (codes != 0) std::cout << "a service did not end well; its log says why\n";
  std::cout << "lost " << lost << '\n';
  return lost == 0 && finished && codes == 0 ? 0 : 1;
}

}  // namespace
}  // namespace market

int main(int argc, char** argv) {
  struct sigaction action {};
  action.sa_handler = [](int) {
    // A second one ends this process at once; its children end with it.
    if (market::interrupted++ > 0) ::_exit(130);
  };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  try {
    return market::run_all(market::parse(argc, argv), fs::read_symlink("/proc/self/exe").parent_path());
  } catch (const std::invalid_argument& error) {
    std::cerr << "demo: " << error.what() << '\n' << market::usage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
  }
}
