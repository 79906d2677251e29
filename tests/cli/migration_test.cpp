// A live system moves from Redis to AWS: producers publish all the time, the bridge is killed, and then one producer
// after the other moves, as docs/guide/11-moving.md says.
#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <tidings/tidings.hpp>

#include "moving.hpp"

namespace tidings::cli_test {

namespace {

using WaitClock = std::chrono::steady_clock;

constexpr int producers = 7;  // One a key of numbered_lines(), so that each key's order is one producer's.
constexpr int window = 512;   // What one bridge holds at most, and so what its death repeats at most.
constexpr std::size_t part = 50, ahead = 5'000;

}  // namespace

class Migration : public MovingTest {
 protected:
  /// Moves `count` events of seven producers, `kills` bridges dying meanwhile, and looks at what arrived.
  void migrate(int count, int kills);

  struct Producer {
    /// A test that ends before its time must not wait for what nobody will say any more.
    ~Producer() {
      release(told_to_stop);
      release(told_to_go_on);
    }
    std::vector<std::string> lines{};
    std::atomic<bool> told_to_stop{false}, stopped{false}, told_to_go_on{false};
    std::jthread thread{};
  };

  static void release(std::atomic<bool>& flag) {
    flag = true;
    flag.notify_all();
  }

  /// Publishes on Redis, never far ahead of the bridge, until it is told to stop, and goes on on AWS.
  void produce(Producer& me, const std::string& from, const std::string& to) {
    Bus old_bus = Bus::open(from, {.source = "producer"});
    // A fifth is kept for the new engine, however late it is told to stop.
    const std::size_t most_on_old = me.lines.size() / 5 * 4;
    std::size_t next = 0;
    while (next < most_on_old && !me.told_to_stop) {
      const std::size_t published = published_ += part;
      if (published > ahead) {
        EXPECT_TRUE(aws_.await_requests("PublishBatch", static_cast<int>((published - ahead) / 10)));
      }
      publish_part(old_bus, me, next, std::min(next + part, most_on_old));
      next = std::min(next + part, most_on_old);
    }
    me.told_to_stop.wait(false);
    release(me.stopped);
    me.told_to_go_on.wait(false);
    Bus new_bus = Bus::open(to, {.source = "producer"});
    for (; next < me.lines.size(); next = std::min(next + part, me.lines.size())) {
      publish_part(new_bus, me, next, std::min(next + part, me.lines.size()));
    }
  }

  static void publish_part(Bus& bus, const Producer& me, std::size_t first, std::size_t end) {
    const auto at = [&](std::size_t n) { return me.lines.begin() + static_cast<std::ptrdiff_t>(n); };
    const std::vector<std::string_view> events(at(first), at(end));
    for (const PublishResult& result : bus.publish_json(events)) EXPECT_EQ(result.code, ErrorCode::ok);
  }

  /// Consumes on AWS until it is stopped.
  void consume(const std::string& url, const std::stop_token& stop) {
    const Bus bus = Bus::open(url, {.source = "search"});
    Service search{bus, "search", {.concurrency = 4}};
    search.on("user.created", [&](const Event& event, Context&) {
      const std::lock_guard lock(mutex_);
      handled_.insert(event.id);
    });
    search.run(stop);
  }

  [[nodiscard]] std::size_t handled() {
    const std::lock_guard lock(mutex_);
    return handled_.size();
  }

  /// Kills the running bridge after a number of requests that nobody knew before, and starts the next one.
  void kill_bridge(std::mt19937& random) {
    ASSERT_TRUE(aws_.await_requests(
        "PublishBatch", aws_.requests("PublishBatch") + 1 + std::uniform_int_distribution(100, 900)(random)));
    bridge_->signal(SIGKILL);
    EXPECT_EQ(bridge_->wait().code, 1000 + SIGKILL);
    deaths_.push_back(aws_.sent(queue).size());
    bridge_ = start_bridge(from_, to_, {"--lease", "500ms"});
  }

  [[nodiscard]] bool group_exists() const {
    const Outcome groups = tidings({"groups", "events:user", "--json", "-u", from_});
    return groups.code == 0 && groups.out.find("\"bridge\"") != std::string::npos;
  }

  /// Stops one producer, waits until the bridge holds nothing older, and lets it go on on the new engine.
  void move_producer(Producer& producer) {
    release(producer.told_to_stop);
    producer.stopped.wait(false);
    const auto stopped = WaitClock::now();
    await(
        [&] {
          const auto since = std::chrono::duration_cast<Millis>(WaitClock::now() - stopped);
          const std::string age = group_value(from_, "bridge", "oldest_age_ms");
          return age == "null" || Millis(std::stoll(age)) < since;
        },
        "all that the producer published has moved");
    release(producer.told_to_go_on);
  }

  void expect_repeats_only_behind_deaths(const std::vector<std::string>& bodies) const;

  static constexpr const char* queue = "t-search-events-user";
  support::RedisServer redis_{};
  support::AwsStub aws_{};
  std::string from_ = redis_.url(), to_ = aws_url(aws_);
  std::unique_ptr<Running> bridge_{};
  std::vector<std::size_t> deaths_{};  ///< How many events had arrived by then.
  std::atomic<std::size_t> published_{0};
  std::mutex mutex_{};
  std::set<std::string> handled_{};
};

/// Each bridge's death repeats at most what it held, and nothing else is repeated.
void Migration::expect_repeats_only_behind_deaths(const std::vector<std::string>& bodies) const {
  std::set<std::string_view> seen;
  std::size_t at = 0;
  for (std::size_t death = 0; death <= deaths_.size(); ++death) {
    const std::size_t end = death < deaths_.size() ? deaths_[death] : bodies.size();
    int repeated = 0;
    for (; at < end; ++at) repeated += seen.insert(bodies[at]).second ? 0 : 1;
    EXPECT_LE(repeated, death == 0 ? 0 : window) << "behind death " << death;
  }
}

void Migration::migrate(int count, int kills) {
  std::mt19937 random(std::random_device{}());
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to_});
  std::array<Producer, producers> all;
  const auto events = lines(numbered_lines(0, count));
  for (std::size_t n = 0; n < events.size(); ++n) all[n % producers].lines.push_back(events[n]);
  std::jthread consumer([&](const std::stop_token& stop) { consume(to_, stop); });
  bridge_ = start_bridge(from_, to_, {"--lease", "500ms"});
  await([&] { return group_exists(); }, "the bridge's group is there");
  for (Producer& producer : all) producer.thread = std::jthread([&] { produce(producer, from_, to_); });
  for (int kill = 0; kill < kills; ++kill) kill_bridge(random);
  for (Producer& producer : all) move_producer(producer);
  for (Producer& producer : all) producer.thread.join();
  await([&] { return handled() == events.size(); }, "every event was handled");
  consumer.request_stop();
  consumer.join();
  bridge_->signal(SIGTERM);
  const Outcome ending = bridge_->wait();
  EXPECT_EQ(ending.code, 0) << ending.err;
  std::vector<std::string> bodies;
  for (support::AwsMessage& message : aws_.sent(queue)) bodies.push_back(std::move(message.body));
  const Account account = account_of(bodies, count);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.foreign, 0) << "an id or a byte has changed";
  EXPECT_EQ(account.disordered, 0) << "of one key, by first occurrence, in the order in which the target took them";
  EXPECT_LE(account.repeated, kills * window);
  expect_repeats_only_behind_deaths(bodies);
  EXPECT_EQ(handled(), events.size());
  EXPECT_EQ(group_value(from_, "bridge", "dead_letters"), "0");
  std::printf("%d events, %s of them by bridges, %d kills: %d lost, %d repeated\n", count,
              group_value(from_, "bridge", "handled").c_str(), kills, account.lost, account.repeated);
}

TEST_F(Migration, FromRedisToAwsUnderKills) { migrate(100'000, 5); }

TEST_F(Migration, WithoutADeathNothingIsRepeated) { migrate(20'000, 0); }

}  // namespace tidings::cli_test
