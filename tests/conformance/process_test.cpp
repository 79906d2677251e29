// Properties that need a real death: children that are killed, stopped and restarted on one engine.
#include <signal.h>

#include <filesystem>
#include <random>
#include <sstream>

#include "process.hpp"

namespace tidings::conformance {

namespace {

#define NEEDS_PROCESSES(transport)                                                                      \
  do {                                                                                                  \
    if (!(transport)->capabilities().several_processes) NOT_OFFERED("the engine lives in one process"); \
  } while (false)

struct Handled {
  int times = 0;
  std::uint32_t attempt = 0, crashes = 0;  // Of the last time.
};

// What consumers wrote down: `id attempt crashes`, one line a call.
std::map<std::string, Handled> ledger(const std::string& path) {
  std::map<std::string, Handled> all;
  for (const std::string& line : file_lines(path)) {
    std::istringstream words(line);
    std::string id;
    Handled now;
    words >> id >> now.attempt >> now.crashes;
    now.times = all[id].times + 1;
    all[id] = now;
  }
  return all;
}

// Runs consumers one after the other until one ends by itself; returns how many died.
int consume_until_idle(const std::vector<std::string>& command, int most,
                       const std::vector<std::string>& environment = {}) {
  for (int deaths = 0; deaths <= most; ++deaths) {
    Child child{command, deaths == 0 ? environment : std::vector<std::string>{}};
    const int ended = child.wait();
    if (ended == 0) return deaths;
    EXPECT_EQ(ended, -SIGKILL);
    if (ended != -SIGKILL) return -1;
  }
  return most + 1;
}

void collect_acked(const std::vector<std::string>& lines, std::set<std::string>& acked) {
  for (const std::string& line : lines) {
    if (line.starts_with("acked ")) acked.insert(line.substr(6));
  }
}

}  // namespace

TEST_P(Conformance, P27_Poison_Among500) {
  NEEDS_DEATHS_SEEN;
  NEEDS_A_SHELF;
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  std::vector<Item> items;
  for (int n = 0; n < 500; ++n) items.push_back(tick(n, test_stream, n == 137 ? "poison" : ""));
  for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  const std::string path = directory() + "/ledger";
  const int deaths = consume_until_idle(consumer({"ledger=" + path, "concurrency=4"}), 10);
  EXPECT_LE(deaths, 3);
  EXPECT_GE(deaths, 1);
  const std::map<std::string, Handled> handled = ledger(path);
  EXPECT_EQ(handled.size(), 499U);
  EXPECT_FALSE(handled.contains("evt_137"));
  const std::vector<ShelfItem> dead = shelf(*transport, test_stream, "reader", {ShelfState::dead});
  ASSERT_EQ(dead.size(), 1U) << "exactly the poison goes aside";
  EXPECT_EQ(dead[0].id, "evt_137");
  EXPECT_EQ(dead[0].reason, "crashed");
  EXPECT_EQ(dead[0].crashes, 3U);
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 499U));
  EXPECT_EQ(group.pending, 0U);
  EXPECT_EQ(group.retrying, 0U);
}

TEST_P(Conformance, P33_CrashEffectBeforeAck) {
  NEEDS_DEATHS_SEEN;
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  std::vector<Item> items;
  for (int n = 0; n < 20; ++n) items.push_back(tick(n, test_stream, n == 10 ? "effect" : ""));
  for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok);
  const std::string path = directory() + "/ledger";
  EXPECT_EQ(consume_until_idle(consumer({"ledger=" + path}), 5), 1);
  std::map<std::string, Handled> handled = ledger(path);
  EXPECT_EQ(handled.size(), 20U);
  EXPECT_EQ(handled["evt_10"].times, 2) << "what was done but not settled is delivered again";
  EXPECT_EQ(handled["evt_10"].crashes, 1U);
  EXPECT_EQ(handled["evt_10"].attempt, 1U);
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 20U));
}

TEST_P(Conformance, P34_CrashDeadLetterBeforeAck_InAProcess) {
  NEEDS_A_SHELF;
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  const std::string engine(transport->capabilities().engine);
  int round = 0;
  for (const std::string& point : {std::string("runtime.before_settle"), std::string("runtime.after_settle"),
                                   engine + ".before_settle_commit", engine + ".after_settle_commit"}) {
    const std::int64_t first = 10 * round++;
    std::vector<Item> items;
    for (std::int64_t n = first; n < first + 3; ++n) items.push_back(tick(n, test_stream, "reject"));
    for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok);
    const std::string path = directory() + "/ledger";
    const int deaths = consume_until_idle(consumer({"ledger=" + path}), 5, {"TIDINGS_FAILPOINT=" + point});
    EXPECT_EQ(deaths, 1) << point << " must be passed";
  }
  std::map<std::string, int> letters;
  for (const ShelfItem& item : shelf(*transport, test_stream, "reader", {ShelfState::dead})) ++letters[item.id];
  EXPECT_EQ(letters.size(), 12U);
  for (const auto& [id, count] : letters) EXPECT_EQ(count, 1) << id << " is a dead letter twice";
  EXPECT_EQ(group_info(*transport, test_stream, "reader").pending, 0U);
}

TEST_P(Conformance, P37_RenewalDead_Stopped) {
  NEEDS_DEATHS_SEEN;
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  publish_ticks(*transport, 0, 1);
  Child child{child_command("stall", place().url())};
  ASSERT_EQ(child.line(), "started");
  child.signal(SIGSTOP);
  // Its lease runs out while it stands still; another takes over.
  const auto successor = transport->subscribe(interest("reader"));
  std::vector<Delivery> taken;
  for (int look = 0; look < 60 && taken.empty(); ++look) {
    transport->tend({}, {});
    taken = successor->fetch(1s, {}).deliveries;
  }
  ASSERT_EQ(taken.size(), 1U) << "a stopped process keeps its lease for ever";
  EXPECT_EQ(taken[0].crashes, 1U);
  child.signal(SIGCONT);
  EXPECT_EQ(child.line(), "cancelled") << "on waking it must notice that its lease is gone";
  settle_done(*successor, taken);
  child.signal(SIGTERM);
  (void)child.wait();  // What it acknowledges although it has lost it is not counted in the end.
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 1U));
}

TEST_P(Conformance, P54_TwoProcesses) {
  NEEDS_A_SHELF;
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  const std::string path = directory() + "/ledger";
  const auto reader = [&] { return Child{consumer({"ledger=" + path, "concurrency=2", "idle=1000"})}; };
  std::int64_t range = 0;
  const auto writer = [&] {
    range += 1000;
    return Child{child_command("publish", place().url(), {"first=" + std::to_string(range), "count=200"})};
  };
  std::vector<std::unique_ptr<Child>> readers, writers;
  for (int i = 0; i < 4; ++i) {
    readers.push_back(std::make_unique<Child>(reader()));
    writers.push_back(std::make_unique<Child>(writer()));
  }
  std::mt19937 random{20240125};
  std::set<std::string> acked;
  for (int kill = 0; kill < 16; ++kill) {
    std::unique_ptr<Child>& pace = writers[random() % writers.size()];
    // The pace is that of the writers: some more of its acknowledgements, then somebody dies.
    for (unsigned lines = random() % 40; lines > 0; --lines) {
      const std::string line = pace->line();
      if (line.empty()) break;
      collect_acked({line}, acked);
    }
    if (kill % 2 == 0) {
      pace->signal(SIGKILL);
      collect_acked(pace->lines(), acked);
      pace->wait();
      pace = std::make_unique<Child>(writer());
    } else {
      std::unique_ptr<Child>& victim = readers[random() % readers.size()];
      victim->signal(SIGKILL);
      victim->wait();
      victim = std::make_unique<Child>(reader());
    }
  }
  for (auto& child : writers) {
    collect_acked(child->lines(), acked);
    EXPECT_EQ(child->wait(), 0) << "a writer hangs or was refused";
  }
  for (auto& child : readers) EXPECT_EQ(child->wait(), 0);
  EXPECT_EQ(consume_until_idle(consumer({"ledger=" + path}), 0), 0);
  std::map<std::string, Handled> handled = ledger(path);
  for (const ShelfItem& item : shelf(*transport, test_stream, "reader", {ShelfState::dead})) handled[item.id];
  EXPECT_GE(acked.size(), 800U);
  for (const std::string& id : acked) EXPECT_TRUE(handled.contains(id)) << id << " was acknowledged and never handled";
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_EQ(group.lag.value_or(99), 0U);
  EXPECT_EQ(group.pending, 0U);
  EXPECT_EQ(place().integrity(), "ok");
}

TEST_P(Conformance, P55_CheckpointRace) {
  const auto transport = open_real();
  NEEDS_PROCESSES(transport);
  if (place().file().empty()) NOT_OFFERED("the engine has no log that is checkpointed");
  std::vector<std::unique_ptr<Child>> upkeep, writers;
  for (int i = 0; i < 2; ++i) {
    upkeep.push_back(std::make_unique<Child>(child_command("tend", place().url())));
    ASSERT_EQ(upkeep.back()->line(), "started");
  }
  for (int i = 0; i < 3; ++i) {
    writers.push_back(std::make_unique<Child>(
        child_command("publish", place().url(), {"first=" + std::to_string(10'000 * i), "count=300", "size=30000"})));
  }
  std::set<std::string> acked;
  for (auto& child : writers) collect_acked(child->lines(), acked);
  for (auto& child : writers) EXPECT_EQ(child->wait(), 0);
  upkeep.clear();
  EXPECT_EQ(acked.size(), 900U);
  EXPECT_EQ(place().integrity(), "ok");
  const std::vector<std::string> stored = read_ids(*transport, test_stream);
  const std::set<std::string> ids(stored.begin(), stored.end());
  for (const std::string& id : acked) ASSERT_TRUE(ids.contains(id)) << id;
  EXPECT_EQ(stored.size(), ids.size());
  std::error_code none;
  const std::uintmax_t wal = std::filesystem::file_size(place().file() + "-wal", none);
  EXPECT_TRUE(none || wal < 20U << 20) << "27 MB were written and the log of " << wal
                                       << " bytes was never checkpointed";
}

}  // namespace tidings::conformance
