// A process of the recovery tests, to be killed at any moment:
//   recovery_child writer  URL ARENA SLOT LOG NAME [COUNT]  publishes work; after each acknowledgement appends the ids
//   to LOG recovery_child worker  URL ARENA SLOT LOG               handles work.made, publishes done.made; appends the
//   ids to LOG recovery_child auditor URL ARENA SLOT LOG               handles done.made; appends the ids to LOG
//   recovery_child operator URL ARENA SLOT LOG              pauses, redrives, replays and trims
//   recovery_child scene   URL ARENA SLOT LOG NAME          a bit of everything in one process, for failpoints
// A line in LOG is written before the next step, by one write(2): it survives the death of the process.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "arena.hpp"
#include "messages.hpp"

namespace {

using namespace std::chrono_literals;
using recovery::Done;
using recovery::Slot;
using recovery::Work;

/// An append-only text file whose lines are there when write() returns.
class Journal {
 public:
  explicit Journal(const std::string& path)
      : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (fd_ < 0) throw std::runtime_error("cannot open " + path);
  }
  void write(const std::string& lines) const {
    if (::write(fd_, lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) std::abort();
  }

 private:
  int fd_;
};

/// Marks the slot busy for a scope. The step is counted at its start, so that whoever waits for it finds it under way.
class Busy {
 public:
  explicit Busy(Slot& slot) : slot_(slot) {
    slot_.busy.store(1);
    recovery::advance(slot_);
  }
  ~Busy() { slot_.busy.store(0); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  Slot& slot_;
};

/// Keeps the processor busy, as a real handler would.
void work_for(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

struct Run {
  tidings::Bus bus;
  recovery::Arena& arena;
  Slot& slot;
  Journal journal;
  std::string name;
};

std::vector<Work> next_work(const Run& run, std::uint64_t& number) {
  // Sizes vary so that single events, small batches and several blocks a batch all occur.
  static constexpr std::size_t sizes[] = {1, 1, 3, 50, 1, 400, 7};
  std::vector<Work> batch(sizes[number % std::size(sizes)]);
  for (Work& work : batch) work = {run.name, number++, std::string(number % 97, 'x')};
  return batch;
}

void publish_once(Run& run, std::uint64_t& number) {
  const std::vector<Work> batch = next_work(run, number);
  std::string acknowledged;
  {
    const Busy busy(run.slot);
    if (batch.size() == 1) {
      acknowledged = run.bus.publish(batch.front()).id + '\n';
    } else {
      for (const auto& result : run.bus.publish_batch(batch)) {
        if (result.code == tidings::ErrorCode::ok) acknowledged += result.id + '\n';
      }
    }
    run.journal.write(acknowledged);
  }
}

int write_work(Run& run, std::uint64_t count) {
  std::uint64_t number = 0;
  while (run.arena.stop.load() == 0 && (count == 0 || number < count)) publish_once(run, number);
  return 0;
}

void on_work(Run& run, tidings::Service& service) {
  service.on<Work>(
      [&run](const tidings::DomainEvent<Work>& event, tidings::Context& context) {
        const Busy busy(run.slot);
        if (event.data.number % 23 == 5 && context.attempt() == 1) throw std::runtime_error("fails the first time");
        if (event.data.number % 101 == 7) throw tidings::Reject("of the kind that is refused");
        context.publish(Done{event.id});
        run.journal.write(event.id + '\n');
      },
      {.backoff = {.first = 1ms, .longest = 5ms}});
}

void on_done(Run& run, tidings::Service& service) {
  service.on<Done>([&run](const tidings::DomainEvent<Done>& event) {
    const Busy busy(run.slot);
    work_for(200us);
    run.journal.write(event.id + '\n');
  });
}

/// Readers stop when the writers have stopped and nothing came for a while.
int serve(Run& run, const char* name, void (*subscribe)(Run&, tidings::Service&)) {
  bool last = false;
  while (!last) {
    last = run.arena.stop.load() != 0;
    tidings::Service service(run.bus, name, {.concurrency = 2, .prefetch_events = 64, .until_idle = 150ms});
    subscribe(run, service);
    service.run(std::stop_token{});
  }
  return 0;
}

/// What an operator does: pauses and resumes, redrives the dead letters, replays, takes items of another engine, and
/// trims.
int operate(const Run& run) {
  namespace transport = tidings::transport;
  transport::Transport& engine = run.bus.transport();
  const transport::GroupRef worker{"events:work", "worker"};
  engine.change(worker, {.kind = transport::GroupChange::Kind::pause});
  (void)engine.move(worker, {.states = {transport::ShelfState::dead}}, transport::ShelfAction::hand_out);
  const transport::Page page = engine.read({.stream = "events:work", .limit = 10});
  std::vector<transport::Outgoing> copies;
  std::vector<tidings::Event> events;
  for (const auto& record : page.records) events.push_back(tidings::decode<tidings::Json>(record.envelope));
  for (std::size_t i = 0; i < events.size(); ++i) {
    copies.push_back({.stream = "events:work",
                      .id = events[i].id,
                      .type = events[i].type,
                      .correlation = events[i].correlationId,
                      .envelope = page.records[i].envelope});
  }
  for (std::uint64_t replay = 1; replay <= 7; ++replay) {
    std::vector<transport::Result> results(copies.size());
    engine.inject(worker, transport::Origin::replay, replay, copies, results);
    std::vector<transport::ShelfItem> aside(copies.size());
    for (std::size_t i = 0; i < copies.size(); ++i) {
      aside[i].id = copies[i].id;
      aside[i].type = copies[i].type;
      aside[i].envelope = copies[i].envelope;
      aside[i].run = replay;
    }
    engine.shelve(worker, aside, results);
    engine.change(worker, {.kind = transport::GroupChange::Kind::resume});
    (void)engine.move(worker, {.states = {transport::ShelfState::dead}}, transport::ShelfAction::hand_out);
  }
  for (int slice = 0; slice < 50; ++slice) engine.tend({.age = 0ms}, {});
  return 0;
}

/// Publishes, fails, rejects and publishes from handlers: whatever has a failpoint is passed.
int play_scene(Run& run) {
  std::uint64_t number = 0;
  for (int round = 0; round < 12; ++round) publish_once(run, number);
  for (int i = 0; i < 3000; ++i) {
    Work work{run.name, number++, std::string(200, 'y')};
    run.bus.publish_async(work, {}, [&run](const tidings::PublishResult& result) {
      if (result.code == tidings::ErrorCode::ok) run.journal.write(result.id + '\n');
    });
  }
  run.bus.flush();
  const Journal handled(run.name);
  Run reading{run.bus, run.arena, run.slot, handled, run.name};
  tidings::Service worker(run.bus, "worker", {.prefetch_events = 256, .until_idle = 100ms});
  on_work(reading, worker);
  worker.run(std::stop_token{});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const std::string role = argv[1];
  try {
    recovery::Arena& arena = recovery::map_arena(argv[3]);
    Slot& slot = arena.slot[std::atoi(argv[4])];
    Run run{tidings::Bus::open(argv[2], {.source = role}), arena, slot, Journal(argv[5]), argc > 6 ? argv[6] : ""};
    recovery::advance(slot);
    if (role == "writer") return write_work(run, argc > 7 ? std::strtoull(argv[7], nullptr, 10) : 0);
    if (role == "worker") return serve(run, "worker", on_work);
    if (role == "auditor") return serve(run, "auditor", on_done);
    if (role == "scene") return play_scene(run);
    if (role == "operator") return operate(run);
    return 2;
  } catch (const std::exception& error) {
    std::cerr << role << ": " << error.what() << '\n';
    return 1;
  }
}
