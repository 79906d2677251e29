// The embedded log as a whole, on a file of its own and a clock that the test moves. What every engine must do is the
// conformance suite's; here stands what is this engine's own.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "transport/sqlite/sqlite.hpp"

namespace tidings::transport {
namespace {

class TestClock : public Clock {
 public:
  [[nodiscard]] Wall wall() const noexcept override { return Wall(Millis(now_.load() + 1'700'000'000'000)); }
  [[nodiscard]] Steady steady() const noexcept override { return Millis(now_.load()); }
  void advance(Millis by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_{3'600'000};
};

class SqliteTransportTest : public ::testing::Test {
 protected:
  SqliteTransportTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "tidings-sqlite-unit-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    directory_ = pattern;
  }
  ~SqliteTransportTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  [[nodiscard]] std::string file() const { return directory_ + "/log.db"; }
  std::shared_ptr<Transport> open(const std::string& query = "?durability=process") {
    Environment environment;
    environment.clock = &clock_;
    environment.log = [](LogLevel, std::string_view) {};
    return open_sqlite(Url::parse("sqlite:" + file() + query), environment);
  }
  static std::string envelope(const std::string& id) {
    return R"({"id":")" + id + R"(","type":"user.created","data":{}})";
  }
  static void publish(Transport& transport, int first, int count, const std::string& stream = "events:user") {
    std::vector<std::string> ids, texts;
    for (int i = first; i < first + count; ++i) {
      ids.push_back("evt_" + std::to_string(i));
      texts.push_back(envelope(ids.back()));
    }
    std::vector<Outgoing> events;
    for (std::size_t i = 0; i < ids.size(); ++i) events.push_back({stream, ids[i], "user.created", "", "", texts[i]});
    std::vector<Result> results(events.size());
    transport.publish(events, Level::process, Millis(10'000), results);
    for (const Result& result : results) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  static Interest interest(const std::string& service = "reader", std::size_t events = 512) {
    Interest interest;
    interest.service = service;
    interest.streams = {"events:user"};
    interest.types = {"*"};
    interest.events = events;
    return interest;
  }
  static std::vector<Result> settle(Subscription& subscription, const std::vector<Delivery>& deliveries,
                                    Settlement how = {}) {
    std::vector<Settlement> items(deliveries.size(), how);
    for (std::size_t i = 0; i < items.size(); ++i) items[i].token = deliveries[i].token;
    std::vector<Result> results(items.size());
    subscription.settle(items, results);
    return results;
  }
  // One number from a second connection, as `sqlite3` would show it.
  std::int64_t ask(const char* sql) {
    sqlite3* db = nullptr;
    sqlite3_stmt* statement = nullptr;
    std::int64_t answer = -1;
    if (sqlite3_open_v2(file().c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
      answer = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
  }

  TestClock clock_;
  std::string directory_;
};

TEST_F(SqliteTransportTest, ABatchIsOneRowAndAClaimIsOneRow) {
  const auto transport = open();
  publish(*transport, 0, 400);
  EXPECT_EQ(ask("SELECT count(*) FROM blocks"), 1);
  const auto reader = transport->subscribe(interest());
  Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 400U);
  EXPECT_EQ(ask("SELECT count(*) FROM claims"), 1);
  // Out of order, with a failure in the middle: bits of the range, and one row for what failed.
  const std::vector<Delivery> later(batch.deliveries.begin() + 100, batch.deliveries.end());
  settle(*reader, later);
  settle(*reader, {batch.deliveries[50]}, {.kind = Settlement::Kind::again, .after = Millis(1'000), .error = "no"});
  EXPECT_EQ(ask("SELECT settled FROM claims"), 301);
  EXPECT_EQ(ask("SELECT count(*) FROM items"), 1);
  std::vector<Delivery> rest(batch.deliveries.begin(), batch.deliveries.begin() + 100);
  rest.erase(rest.begin() + 50);
  settle(*reader, rest);
  EXPECT_EQ(ask("SELECT count(*) FROM claims"), 0);
  clock_.advance(Millis(1'001));
  batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 1U);
  EXPECT_EQ(batch.deliveries[0].envelope, envelope("evt_50"));
  EXPECT_EQ(batch.deliveries[0].attempt, 2U);
  EXPECT_EQ(batch.deliveries[0].origin, Origin::retry);
}

TEST_F(SqliteTransportTest, LargeBatchesMakeSeveralBlocksAndClaimsReachOverThem) {
  const auto transport = open();
  const std::string text = R"({"id":"evt_x","data":")" + std::string(100'000, 'x') + R"("})";
  std::vector<Outgoing> events(9, Outgoing{"events:user", "evt_x", "user.created", "", "", text});
  std::vector<Result> results(9);
  transport->publish(events, Level::disk, Millis(10'000), results);
  EXPECT_EQ(results[8].position.major, 9U);
  EXPECT_EQ(ask("SELECT count(*) FROM blocks"), 5);
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 9U);
  EXPECT_EQ(ask("SELECT count(*) FROM claims"), 1);
  for (const Delivery& delivery : batch.deliveries) EXPECT_EQ(delivery.envelope, text);
}

TEST_F(SqliteTransportTest, TheEndOfASubscriptionGivesItsRangesBackToTheCursor) {
  const auto transport = open();
  publish(*transport, 0, 300);
  {
    const auto reader = transport->subscribe(interest("reader", 100));
    const Batch first = reader->fetch(Millis(0), {});
    settle(*reader, {first.deliveries.begin(), first.deliveries.begin() + 30});
    const Batch second = reader->fetch(Millis(0), {});
    ASSERT_EQ(second.deliveries.size(), 30U);
  }
  EXPECT_EQ(ask("SELECT cursor FROM groups"), 31);
  EXPECT_EQ(ask("SELECT (SELECT count(*) FROM claims) + (SELECT count(*) FROM items) + (SELECT count(*) FROM owners)"),
            0);
}

TEST_F(SqliteTransportTest, TheDeadAreTakenOverOnceTheirLeaseIsPast) {
  const auto transport = open();
  publish(*transport, 0, 5);
  const auto stalled = transport->subscribe(interest());
  const Batch held = stalled->fetch(Millis(0), {});
  ASSERT_EQ(held.deliveries.size(), 5U);
  clock_.advance(Millis(30'001));
  const auto other = transport->subscribe(interest());
  std::set<std::string> seen;
  for (int i = 0; i < 5; ++i) {
    const Batch batch = other->fetch(Millis(0), {});
    ASSERT_EQ(batch.deliveries.size(), 1U);
    EXPECT_TRUE(batch.deliveries[0].alone);
    EXPECT_EQ(batch.deliveries[0].crashes, 1U);
    EXPECT_EQ(batch.deliveries[0].attempt, 1U);
    EXPECT_TRUE(other->fetch(Millis(0), {}).deliveries.empty());
    seen.emplace(batch.deliveries[0].envelope);
    for (const Result& result : settle(*stalled, held.deliveries, {.kind = Settlement::Kind::again}))
      EXPECT_TRUE(result.stale);
    settle(*other, batch.deliveries);
  }
  EXPECT_EQ(seen.size(), 5U);
  EXPECT_EQ(stalled->renew().size(), 5U);
  EXPECT_TRUE(other->fetch(Millis(0), {}).deliveries.empty());
  publish(*transport, 5, 1);
  EXPECT_EQ(stalled->fetch(Millis(0), {}).deliveries.size(), 1U);
}

TEST_F(SqliteTransportTest, AProcessThatDiesIsSeenAtOnce) {
  publish(*open(), 0, 1);  // A log that is open at the fork would be refused in the child.
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = open();
    auto reader = own->subscribe(interest());
    const Batch batch = reader->fetch(Millis(0), {});
    ::_exit(batch.deliveries.size() == 1 ? 0 : 1);  // Without a destructor, as a kill would.
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto transport = open();
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 1U);
  EXPECT_EQ(batch.deliveries[0].crashes, 1U);
}

TEST_F(SqliteTransportTest, CallsAfterAForkAreRefused) {
  const auto transport = open();
  publish(*transport, 0, 1);
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      (void)transport->describe("");
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::closed ? 0 : 1);
    }
    ::_exit(2);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  publish(*transport, 1, 1);
}

TEST_F(SqliteTransportTest, OtherFilesAreRefused) {
  {
    std::ofstream text(file());
    text << "this is a letter to a friend, and no database at all; it is longer than a header of a hundred bytes would "
            "be";
  }
  const auto code = [&](const std::string& query = "") {
    try {
      open(query);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::ok;
  };
  EXPECT_EQ(code(), ErrorCode::corrupt);
  std::filesystem::remove(file());
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "CREATE TABLE notes(text)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  EXPECT_EQ(code(), ErrorCode::corrupt);
  std::filesystem::remove(file());
  EXPECT_EQ(code("?nonsense=1"), ErrorCode::invalid);
  EXPECT_EQ(code(), ErrorCode::ok);
  ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  EXPECT_EQ(code(), ErrorCode::not_supported);
  directory_ += "/missing";
  EXPECT_EQ(code(), ErrorCode::unavailable) << "it may still be mounted";
  directory_.resize(directory_.size() - 8);
}

TEST_F(SqliteTransportTest, AFullDiskRefusesPublishesAndSettles) {
  {
    const auto roomy = open();
    publish(*roomy, 0, 1);
  }
  const auto transport = open("?reserve=1000000000000MiB");
  std::vector<Result> results(1);
  const std::string text = envelope("evt_1");
  const Outgoing event{"events:user", "evt_1", "user.created", "", "", text};
  transport->publish({&event, 1}, Level::process, Millis(1'000), results);
  EXPECT_EQ(results[0].code, ErrorCode::full);
  EXPECT_TRUE(results[0].retryable);
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 1U);
  EXPECT_EQ(settle(*reader, batch.deliveries)[0].code, ErrorCode::ok);
}

TEST_F(SqliteTransportTest, ManyThreadsShareCommitsAndLoseNothing) {
  const auto transport = open();
  std::atomic<int> left{4 * 200};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) publish(*transport, t * 1000 + i, 1);
    });
  }
  std::mutex mutex;
  std::set<std::string> seen;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const auto reader = transport->subscribe(interest("reader", 16));
      while (left > 0) {
        const Batch batch = reader->fetch(Millis(20), {});
        for (const Result& result : settle(*reader, batch.deliveries))
          EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
        std::lock_guard lock(mutex);
        for (const Delivery& delivery : batch.deliveries) {
          EXPECT_TRUE(seen.emplace(delivery.envelope).second) << delivery.envelope << " came twice";
        }
        left -= static_cast<int>(batch.deliveries.size());
      }
    });
  }
  threads.emplace_back([&] {
    while (left > 0) (void)transport->tend({}, {});
  });
  threads.clear();
  EXPECT_EQ(seen.size(), 800U);
  EXPECT_EQ(transport->describe("events:user").at(0).groups.at(0).handled, 800U);
}

TEST_F(SqliteTransportTest, RetentionPassesANamedGroupWithAGap) {
  const auto transport = open();
  publish(*transport, 0, 10);
  const auto reader = transport->subscribe(interest("slow", 3));
  const Batch held = reader->fetch(Millis(0), {});
  ASSERT_EQ(held.deliveries.size(), 3U);
  clock_.advance(Millis(1'000));
  publish(*transport, 10, 5);
  Retention retention;
  retention.age = Millis(500);
  transport->tend(retention, {});
  EXPECT_EQ(transport->describe("events:user").at(0).length, 15U);
  retention.pass_groups = {"slow"};
  transport->tend(retention, {});
  EXPECT_EQ(transport->describe("events:user").at(0).length, 5U);
  settle(*reader, held.deliveries);
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.gaps.size(), 1U);
  EXPECT_EQ(batch.gaps[0].first.major, 4U);
  EXPECT_EQ(batch.gaps[0].last.major, 10U);
  EXPECT_EQ(batch.deliveries.at(0).position.major, 11U);
}

TEST_F(SqliteTransportTest, AnIdIsFoundAmongManyBlocks) {
  const auto transport = open();
  for (int i = 0; i < 50; ++i) publish(*transport, i * 10, 10);
  ReadRange range;
  range.stream = "events:user";
  range.id = "evt_321";
  Page page = transport->read(range);
  ASSERT_EQ(page.records.size(), 1U);
  EXPECT_EQ(page.records[0].position.major, 322U);
  EXPECT_TRUE(page.end);
  range.id.clear();
  range.last = true;
  range.limit = 15;
  page = transport->read(range);
  ASSERT_EQ(page.records.size(), 15U);
  EXPECT_EQ(page.records.front().position.major, 486U);
  EXPECT_EQ(page.next.major, 501U);
  range.last = false;
  range.from = {491, 0};
  range.limit = 4;
  page = transport->read(range);
  EXPECT_EQ(page.next.major, 495U);
  EXPECT_FALSE(page.end);
}

}  // namespace
}  // namespace tidings::transport
