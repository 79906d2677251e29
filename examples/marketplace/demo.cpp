// The marketplace of ADR-005: seven services in processes of their own, which share nothing but the bus, and people who
// call them over HTTP. On the way one service is killed, one gets a second process, one is down for a while, mailboxes
// are gone, cards are declined and a legacy import publishes data of the wrong type. At the end every message must be
// accounted for in each service: in = handled + ignored + dead letters, and every effect must have happened.
//
//   demo [--stories N] [--rate REQUESTS_PER_SECOND] [--people N] [--kills N] [--measure]
//
// --kills N kills that many services at random instead; --measure only counts and times, and prints one line of JSON.
//
// Without TIDINGS_URL each run uses a fresh file. Streams that hold events already are refused without DEMO_FORCE=1.
// SMTP_URL sends the mails to another server than the one that the demo starts.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>

#include <tidings/url.hpp>

#include "account.hpp"
#include "cast.hpp"
#include "load.hpp"
#include "measure.hpp"
#include "table.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace market {
namespace {

std::atomic<bool> interrupted = false;

struct Options {
  LoadOptions load{};
  unsigned kills = 0;
  bool measure = false;
  [[nodiscard]] bool show() const { return kills == 0 && !measure; }
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--measure") {
      options.measure = true;
      continue;
    }
    if (i + 1 == argc) throw std::invalid_argument(name + " needs a value, or is not known; see the head of demo.cpp");
    const double value = std::stod(argv[++i]);
    if (name == "--stories") {
      options.load.stories = static_cast<std::uint32_t>(value);
    } else if (name == "--rate") {
      options.load.rate = value;
    } else if (name == "--people") {
      options.load.people = std::max(1U, static_cast<unsigned>(value));
    } else if (name == "--kills") {
      options.kills = static_cast<unsigned>(value);
    } else {
      throw std::invalid_argument(name + " is not known; see the head of demo.cpp");
    }
  }
  return options;
}

/// Where this run keeps its files, and the engine that it uses.
struct Run {
  fs::path directory{}, binaries{};
  std::string url{};
};

Run choose_place(const fs::path& binaries) {
  std::string pattern = (fs::temp_directory_path() / "tidings-demo-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a directory like " + pattern);
  const char* url = std::getenv("TIDINGS_URL");
  return {pattern, binaries, url != nullptr && *url != '\0' ? url : "sqlite:" + pattern + "/events.db"};
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
      cast_.crash(parts()[random_() % parts().size()].name);
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
  unsigned step_ = 0;
  std::mt19937 random_{20'261'126};
};

/// Runs until all stories are told and everything is settled. Returns false when that takes too long.
bool play(const Account& account, Cast& cast, Load& load, Script& script, Table* table) {
  const auto deadline = std::chrono::steady_clock::now() + 240s;
  while (!interrupted && std::chrono::steady_clock::now() < deadline) {
    script.play(load.progress());
    cast.check();
    if (const auto why = load.failure()) throw std::runtime_error(*why);
    const auto rows = account.rows();
    if (table != nullptr) table->show(rows, false);
    const bool told = load.done() && script.over();
    if (told && std::none_of(rows.begin(), rows.end(), [](const Row& row) { return row.open() > 0; })) {
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
  out << "\ndead letters\n";
  account.print_dead_letters(out);
  return lost;
}

void print_next(const Run& run, const Answered& example) {
  const std::string tidings = (run.binaries / "tidings").string();
  std::cout << "\none booking across the services: tidings trace " << example.correlation_id << '\n' << std::flush;
  Child({tidings, "trace", example.correlation_id}, "").wait();
  std::cout << "\nwhat to type next\n"
            << "  export TIDINGS_URL=" << tidings::Url::parse(run.url).redacted() << '\n'
            << "  " << tidings << " groups\n"
            << "  " << tidings << " dlq ls --group commands commands:send.email\n"
            << "  " << tidings << " dlq retry --group payment events:booking --all --yes\n"
            << "  " << tidings << " trace " << example.correlation_id << '\n'
            << "  sqlite3 " << (run.directory / "search.db").string()
            << " \"SELECT text FROM words WHERE words MATCH 'bakery rust' LIMIT 3\"\n\n";
}

int run_all(const Options& options, const fs::path& binaries) {
  const Run run = choose_place(binaries);
  setenv("TIDINGS_URL", run.url.c_str(), 1);
  auto bus = tidings::Bus::open(run.url, {.source = "legacy-import"});
  if (!bus.transport().capabilities().several_processes) {
    std::cerr << "demo: this engine lives in one process, the demo needs many; unset TIDINGS_URL\n";
    return 2;
  }
  const Account account(bus);
  const char* force = std::getenv("DEMO_FORCE");
  if (account.before() > 0 && (force == nullptr || std::string_view(force) != "1")) {
    std::cerr << "demo: the streams hold " << account.before()
              << " messages already; unset TIDINGS_URL for a fresh file, or set DEMO_FORCE=1 to add to them\n";
    return 2;
  }
  std::cerr << "files in " << run.directory.string() << "\n";
  Cast cast(binaries, run.directory);
  Table table;
  std::unique_ptr<Load> load = std::make_unique<Load>(cast, options.load);
  Script script(options, cast, bus, table);
  const bool finished = play(account, cast, *load, script, options.measure ? nullptr : &table);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - load->began()).count();
  if (interrupted) {
    load.reset();
    (void)cast.stop();
    std::cout << "interrupted; the services were stopped\n";
    return 130;
  }
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
  if (options.show() && !load->example().correlation_id.empty()) print_next(run, load->example());
  if (!finished) std::cout << "this took too long\n";
  if (codes != 0) std::cout << "a service did not end well; its log says why\n";
  std::cout << "lost " << lost << '\n';
  return lost == 0 && finished && codes == 0 ? 0 : 1;
}

}  // namespace
}  // namespace market

int main(int argc, char** argv) {
  struct sigaction action {};
  action.sa_handler = [](int) { market::interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  try {
    return market::run_all(market::parse(argc, argv), fs::read_symlink("/proc/self/exe").parent_path());
  } catch (const std::invalid_argument& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
  }
}
