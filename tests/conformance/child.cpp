// A process that the suite starts, stops and kills: conformance_child ROLE URL [NAME=VALUE…].
//
//   publish  first= count= [size=] [patience=]  ticks one by one; each acknowledged id is a line on stdout, then the
//   first refusal consume  ledger= [concurrency=] [lease=]  handles until idle; appends each id to the ledger, dies of
//   poison stall                               a handler that waits for its stop token, with a short lease tend nothing
//   but upkeep, until killed
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>
#include <tidings/tidings.hpp>

struct Tick {
  std::int64_t n = 0;
  std::string note{};
};
TIDINGS_EVENT(Tick, "test.tick", "1.0", n, note)

namespace {

using namespace std::chrono_literals;

std::map<std::string, std::string> options;

std::int64_t number(const std::string& name, std::int64_t otherwise) {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::stoll(found->second);
}

// One write a line, so that a kill leaves whole lines only.
void say(int file, const std::string& line) {
  const std::string text = line + "\n";
  if (::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(9);
}

tidings::Bus open_bus(const std::string& url) {
  tidings::BusOptions bus;
  bus.source = "conformance";
  bus.deadline = bus.connect = tidings::Millis(number("patience", 10'000));
  return tidings::Bus::open(url, bus);
}

int publish(const std::string& url) {
  const tidings::Bus opened = open_bus(url);
  tidings::Bus bus = opened;
  const std::int64_t first = number("first", 0), count = number("count", 10);
  const std::string note(static_cast<std::size_t>(number("size", 10)), 'x');
  int refused = 0;
  for (std::int64_t n = first; n < first + count && refused < 2; ++n) {
    const std::string id = "evt_" + std::to_string(n);
    try {
      bus.publish(Tick{n, note}, {.id = id});
      say(1, "acked " + id);
    } catch (const tidings::Error& error) {
      ++refused;
      say(1, "refused " + std::string(tidings::to_string(error.code())) + " " + id);
    }
  }
  say(1, "end");
  return refused == 0 ? 0 : 3;
}

int consume(const std::string& url) {
  tidings::Bus bus = open_bus(url);
  const int ledger = ::open(options["ledger"].c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (ledger < 0) return 9;
  tidings::ServiceOptions policy;
  policy.concurrency = static_cast<unsigned>(number("concurrency", 1));
  policy.lease = tidings::Millis(number("lease", 30'000));
  policy.until_idle = tidings::Millis(number("idle", 300));
  tidings::Service service{bus, "reader", policy};
  service.on<Tick>([&](const tidings::DomainEvent<Tick>& event, tidings::Context& context) {
    if (event.data.note == "poison") ::kill(::getpid(), SIGKILL);
    say(ledger, event.id + " " + std::to_string(context.attempt()) + " " + std::to_string(context.crashes()));
    if (event.data.note == "effect" && context.crashes() == 0) ::kill(::getpid(), SIGKILL);
    if (event.data.note == "reject") throw tidings::Reject{"rejected by the test"};
  });
  return service.run();
}

int stall(const std::string& url) {
  tidings::Bus bus = open_bus(url);
  tidings::Service service{bus, "reader", {.lease = 1s, .max_events = 1}};
  std::mutex mutex;
  std::condition_variable_any changed;
  service.on<Tick>([&](const tidings::DomainEvent<Tick>&, tidings::Context& context) {
    say(1, "started");
    std::unique_lock lock(mutex);
    changed.wait_for(lock, context.stop_token(), 60s, [] { return false; });
    say(1, context.stop_token().stop_requested() ? "cancelled" : "deaf");
  });
  return service.run();
}

int tend(const std::string& url) {
  const auto transport = tidings::open_transport(url);
  say(1, "started");
  // As often as it asks, and more often than any bus: races are what this is for.
  for (;;) std::this_thread::sleep_for(std::min(transport->tend({}, {}), tidings::Millis(5)));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string role = argv[1], url = argv[2];
  for (int i = 3; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) return 2;
    options[word.substr(0, equals)] = word.substr(equals + 1);
  }
  try {
    if (role == "publish") return publish(url);
    if (role == "consume") return consume(url);
    if (role == "stall") return stall(url);
    if (role == "tend") return tend(url);
  } catch (const std::exception& error) {
    std::cerr << role << ": " << error.what() << '\n';
    return 1;
  }
  return 2;
}
