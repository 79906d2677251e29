// Defects of the embedded log that were found once, so that they do not come back.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include <tidings/tidings.hpp>

#include "transport/sqlite/sqlite.hpp"

namespace tidings::transport {
namespace {

class TestClock : public Clock {
 public:
  [[nodiscard]] Wall wall() const noexcept override { return Wall(Millis(now_ + jumped_ + 1'700'000'000'000)); }
  [[nodiscard]] Steady steady() const noexcept override { return Millis(now_.load()); }
  void advance(Millis by) { now_ += by.count(); }
  void jump(Millis by) { jumped_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_{3'600'000}, jumped_{0};
};

class SqliteRegressionTest : public ::testing::Test {
 protected:
  SqliteRegressionTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "tidings-sqlite-regression-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    directory_ = pattern;
  }
  ~SqliteRegressionTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  [[nodiscard]] std::string file() const { return directory_ + "/log.db"; }
  std::shared_ptr<Transport> open(const std::string& path, const std::string& query = "?durability=process") {
    Environment environment;
    environment.clock = &clock_;
    environment.log = [](LogLevel, std::string_view) {};
    return open_sqlite(Url::parse("sqlite:" + path + query), environment);
  }
  std::shared_ptr<Transport> open() { return open(file()); }
  static void publish(Transport& transport, int first, int count, std::size_t size = 0) {
    for (int i = first; i < first + count; ++i) {
      const std::string id = "evt_" + std::to_string(i);
      const std::string text =
          R"({"id":")" + id + R"(","type":"user.created","data":{"note":")" + std::string(size, 'x') + R"("}})";
      const Outgoing event{"events:user", id, "user.created", "", "", text};
      Result result;
      transport.publish({&event, 1}, Level::process, Millis(10'000), {&result, 1});
      ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
    }
  }
  static Interest interest(Millis lease = Millis(30'000)) {
    Interest interest;
    interest.service = "reader";
    interest.streams = {"events:user"};
    interest.types = {"*"};
    interest.lease = lease;
    return interest;
  }
  static std::vector<Result> settle(Subscription& subscription, const std::vector<Delivery>& deliveries,
                                    const Settlement& how = {}) {
    std::vector<Settlement> items(deliveries.size(), how);
    for (std::size_t i = 0; i < items.size(); ++i) items[i].token = deliveries[i].token;
    std::vector<Result> results(items.size());
    subscription.settle(items, results);
    return results;
  }
  static ErrorCode code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::ok;
  }
  // Runs `body` in a child of its own, and returns how it ended.
  static int in_child(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);
      ::_exit(body());
    }
    int status = -1;
    return ::waitpid(child, &status, 0) == child ? status : -1;
  }

  TestClock clock_;
  std::string directory_;
};

TEST_F(SqliteRegressionTest, WhoeverTendsCutsAWalThatOthersHaveMadeLarge) {
  const auto writer = open(), keeper = open();
  (void)keeper->tend({}, {});
  publish(*writer, 0, 10, 900'000);
  ASSERT_GT(std::filesystem::file_size(file() + "-wal"), 8U << 20);
  (void)keeper->tend({}, {});
  (void)keeper->tend({}, {});
  EXPECT_LT(std::filesystem::file_size(file() + "-wal"), 1U << 20);
}

TEST_F(SqliteRegressionTest, AForkedChildKeepsNoLockOfADeadParent) {
  publish(*open(), 0, 1);
  int channel[2], ready[2];
  ASSERT_EQ(::pipe2(channel, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const int ended = in_child([&] {
    const auto own = open();
    const auto reader = own->subscribe(interest());
    if (reader->fetch(Millis(0), {}).deliveries.size() != 1) return 1;
    if (::fork() == 0) {
      // Lives until the test closes its end, and holds whatever a fork hands on.
      ::close(channel[1]);
      char nothing = 0;
      (void)!::write(ready[1], &nothing, 1);
      (void)!::read(channel[0], &nothing, 1);
      ::_exit(0);
    }
    // Only once the child runs has it let go of what the fork handed on.
    char nothing = 0;
    (void)!::read(ready[0], &nothing, 1);
    ::kill(::getpid(), SIGKILL);
    return 2;
  });
  EXPECT_TRUE(WIFSIGNALED(ended));
  const auto transport = open();
  const Batch batch = transport->subscribe(interest())->fetch(Millis(0), {});
  for (const int fd : {channel[0], channel[1], ready[0], ready[1]}) ::close(fd);
  ASSERT_EQ(batch.deliveries.size(), 1U) << "the dead process still seems to hold it";
  EXPECT_EQ(batch.deliveries[0].crashes, 1U);
}

TEST_F(SqliteRegressionTest, ALogThatWasOpenAtTheForkIsRefusedInTheChild) {
  const auto transport = open();
  EXPECT_EQ(in_child([&] { return code_of([&] { (void)open(); }) == ErrorCode::conflict ? 0 : 1; }), 0);
  publish(*transport, 0, 1);
}

TEST_F(SqliteRegressionTest, ALogIsTheSameWhateverItIsCalled) {
  publish(*open(), 0, 2);
  EXPECT_EQ(in_child([&] {
              if (::chdir(directory_.c_str()) != 0) return 1;
              std::filesystem::create_symlink("log.db", "link.db");
              std::filesystem::create_directory("below");
              const auto first = open("log.db");
              if (::chdir("below") != 0) return 2;
              const auto holder = first->subscribe(interest());
              if (holder->fetch(Millis(0), {}).deliveries.size() != 2) return 3;
              const auto second = open("../link.db");
              if (!second->subscribe(interest())->fetch(Millis(0), {}).deliveries.empty()) return 4;
              return std::filesystem::exists("log.db") || std::filesystem::exists("../link.db-tidings") ? 5 : 0;
            }),
            0);
}

TEST_F(SqliteRegressionTest, ASideFileThatWasReplacedIsNoticed) {
  const auto transport = open();
  std::filesystem::remove(file() + "-tidings");
  EXPECT_EQ(code_of([&] { (void)transport->subscribe(interest()); }), ErrorCode::io);
  std::ofstream(file() + "-tidings") << "another";
  EXPECT_EQ(code_of([&] { (void)transport->subscribe(interest()); }), ErrorCode::io);
}

TEST_F(SqliteRegressionTest, WhatFetchFindsLostIsNamedByRenew) {
  const auto transport = open();
  publish(*transport, 0, 4);
  const auto slow = transport->subscribe(interest(Millis(1'000)));
  const Batch held = slow->fetch(Millis(0), {});
  ASSERT_EQ(held.deliveries.size(), 4U);
  settle(*slow, {held.deliveries[0]});
  clock_.advance(Millis(5'000));
  const auto other = transport->subscribe(interest());
  (void)other->fetch(Millis(0), {});
  (void)slow->fetch(Millis(0), {});
  EXPECT_EQ(slow->renew().size(), 3U);
  EXPECT_EQ(slow->renew().size(), 0U);
}

TEST_F(SqliteRegressionTest, ACorruptPageCostsItsBlockAndNoMore) {
  publish(*open(), 0, 3, 9'000);
  std::string bytes;
  {
    std::ifstream in(file(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  // An overflow page begins with the number of the next one.
  std::size_t page = 0;
  for (std::size_t at = 4096; at + 4096 <= bytes.size() && page == 0; at += 4096) {
    if (bytes.compare(at + 100, 50, std::string(50, 'x')) == 0 && bytes.compare(at, 4, std::string(4, '\0')) != 0)
      page = at;
  }
  ASSERT_NE(page, 0U);
  {
    std::fstream out(file(), std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(page));
    out.write("\x7f\1\2\3", 4);
  }
  for (const char* copy : {"-wal", "-shm"}) std::filesystem::remove(file() + copy);  // All of it is in the file.
  const auto transport = open();
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 3U);
  int damaged = 0;
  for (const Delivery& delivery : batch.deliveries) damaged += delivery.damaged ? 1 : 0;
  EXPECT_EQ(damaged, 1);
  const std::vector<Result> results =
      settle(*reader, batch.deliveries, {.kind = Settlement::Kind::dead, .reason = "undecodable"});
  for (const Result& result : results) EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
}

TEST_F(SqliteRegressionTest, TooManyOpenFilesCanBeTriedAgain) {
  publish(*open(), 0, 1);
  EXPECT_EQ(in_child([&] {
              const auto transport = open();
              rlimit limit{};
              ::getrlimit(RLIMIT_NOFILE, &limit);
              limit.rlim_cur = 64;
              ::setrlimit(RLIMIT_NOFILE, &limit);
              std::vector<int> taken;
              for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
              try {
                (void)transport->describe("");
                return 1;
              } catch (const Error& error) {
                if (error.code() != ErrorCode::unavailable || !error.retryable()) return 2;
              }
              for (const int fd : taken) ::close(fd);
              return transport->describe("").size() == 1 ? 0 : 3;
            }),
            0);
}

TEST_F(SqliteRegressionTest, TheBusTellsTheLogItsDurability) {
  const auto durability = [&](const std::string& query) {
    for (const Check& check : open_transport("sqlite:" + file() + query)->diagnose()) {
      if (check.check == "durability") return check.detail.substr(0, check.detail.find(':'));
    }
    return std::string{};
  };
  EXPECT_EQ(durability("?durability=process"), "process");
  EXPECT_EQ(durability("?durability=disk"), "disk");
  EXPECT_EQ(durability(""), "disk");
}

TEST_F(SqliteRegressionTest, DeadLettersAreFoundByIdKeyStateReasonAndPage) {
  const auto transport = open();
  publish(*transport, 0, 6);
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 6U);
  const std::vector<Delivery> some(batch.deliveries.begin(), batch.deliveries.begin() + 4);
  settle(*reader, some, {.kind = Settlement::Kind::dead, .reason = "rejected", .error = "no"});
  settle(*reader, {batch.deliveries[4]}, {.kind = Settlement::Kind::again, .after = Millis(60'000), .error = "no"});
  const GroupRef group{"events:user", "reader"};
  EXPECT_EQ(transport->shelf(group, {}).size(), 6U);  // One of them is still leased.
  const std::vector<ShelfItem> dead = transport->shelf(group, {.states = {ShelfState::dead}, .reason = "rejected"});
  ASSERT_EQ(dead.size(), 4U);
  EXPECT_TRUE(transport->shelf(group, {.reason = "crashed"}).empty());
  EXPECT_EQ(transport->shelf(group, {.states = {ShelfState::retrying}}).size(), 1U);
  EXPECT_EQ(transport->shelf(group, {.states = {ShelfState::dead}, .after = dead[1].key}).size(), 2U);
  EXPECT_EQ(transport->shelf(group, {.ids = {"evt_2", dead[2].key}}).size(), 1U);
  EXPECT_EQ(transport->describe("events:user").at(0).groups.at(0).dead_letters, 4U);
  EXPECT_EQ(transport->move(group, {.ids = {"evt_1"}}, ShelfAction::hand_out), 1U);
  EXPECT_EQ(transport->move(group, {.ids = {"evt_1"}}, ShelfAction::hand_out), 0U);
  EXPECT_EQ(transport->move(group, {.ids = {dead[0].key}}, ShelfAction::drop), 1U);
  EXPECT_EQ(transport->move(group, {.ids = {"evt_4"}}, ShelfAction::drop), 0U);  // It is retrying, not dead.
  EXPECT_EQ(transport->move(group, {}, ShelfAction::hand_out), 3U);
}

TEST_F(SqliteRegressionTest, OutputsOfHandlersLeaveTheReserveToSettlements) {
  publish(*open(), 0, 2);
  const auto transport = open(file(), "?reserve=1000000000000MiB");
  const auto reader = transport->subscribe(interest());
  const Batch batch = reader->fetch(Millis(0), {});
  ASSERT_EQ(batch.deliveries.size(), 2U);
  std::vector<Settlement> items(2);
  items[0].token = batch.deliveries[0].token;
  items[1].token = batch.deliveries[1].token;
  const std::vector<Outgoing> outputs{{"events:user", "evt_9", "user.created", "", "", R"({"id":"evt_9"})"}};
  items[0].outputs = outputs;
  std::vector<Result> results(2);
  reader->settle(items, results);
  EXPECT_EQ(results[0].code, ErrorCode::full);
  EXPECT_TRUE(results[0].retryable);
  EXPECT_EQ(results[1].code, ErrorCode::ok);
  EXPECT_EQ(transport->describe("events:user").at(0).end.major, 3U);
}

TEST_F(SqliteRegressionTest, AJumpOfTheWallClockTrimsNothing) {
  const auto transport = open();
  publish(*transport, 0, 2);
  clock_.jump(Millis(1'000'000'000));
  Retention retention;
  retention.age = Millis(3'600'000);
  (void)transport->tend(retention, {});
  EXPECT_EQ(transport->describe("events:user").at(0).first.major, 1U);
  clock_.advance(Millis(3'600'001));
  (void)transport->tend(retention, {});
  EXPECT_EQ(transport->describe("events:user").at(0).first.major, 3U);
}

}  // namespace
}  // namespace tidings::transport
