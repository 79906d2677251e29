// A live system moves from Redis to AWS while producers publish, consumers consume, and the bridge is killed.
#include <signal.h>

#include <mutex>
#include <set>
#include <thread>
#include <tidings/tidings.hpp>

#include "moving.hpp"

namespace tidings::cli_test {

class Migration : public MovingTest {
 protected:
  static constexpr int count = 20'000, kills = 5, window = 512;

  /// Publishes every event on Redis, a few at a time.
  static void produce(const std::string& url) {
    const Bus bus = Bus::open(url, {.source = "producer"});
    Bus copy = bus;
    const auto all = lines(numbered_lines(0, count));
    for (std::size_t first = 0; first < all.size(); first += 100) {
      const std::vector<std::string_view> part(all.begin() + static_cast<std::ptrdiff_t>(first),
                                               all.begin() + static_cast<std::ptrdiff_t>(first + 100));
      for (const PublishResult& result : copy.publish_json(part)) EXPECT_EQ(result.code, ErrorCode::ok);
    }
  }

  /// Consumes on AWS until every event was handled.
  void consume(const std::string& url) {
    const Bus bus = Bus::open(url, {.source = "search"});
    Service search{bus, "search", {.concurrency = 4}};
    std::stop_source all_here;
    search.on("user.created", [&](const Event& event, Context&) {
      const std::lock_guard lock(mutex_);
      handled_.insert(event.id);
      if (handled_.size() == static_cast<std::size_t>(count)) all_here.request_stop();
    });
    search.run(all_here.get_token());
  }

  std::mutex mutex_{};
  std::set<std::string> handled_{};
};

TEST_F(Migration, FromRedisToAwsUnderKills) {
  support::RedisServer redis;
  support::AwsStub aws;
  const std::string from = redis.url(), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  std::jthread producer([&] { produce(from); });
  std::jthread consumer([&] { consume(to); });
  for (int kill = 1; kill <= kills; ++kill) {
    const auto running = start_bridge(from, to, {"--lease", "500ms"});
    // Ten events a request.
    ASSERT_TRUE(aws.await_requests("PublishBatch", kill * 300));
    running->signal(SIGKILL);
    EXPECT_EQ(running->wait().code, 1000 + SIGKILL);
  }
  const auto last = start_bridge(from, to, {"--lease", "500ms"});
  producer.join();
  consumer.join();
  last->signal(SIGTERM);
  EXPECT_EQ(last->wait().code, 0);
  std::vector<std::string> bodies;
  for (const support::AwsMessage& message : aws.sent("t-search-events-user")) bodies.push_back(message.body);
  const Account account = account_of(bodies, count);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.foreign, 0);
  EXPECT_EQ(account.disordered, 0);
  EXPECT_LE(account.repeated, kills * window);
  EXPECT_EQ(handled_.size(), static_cast<std::size_t>(count));
  std::printf("%d events, %d kills: %d lost, %d repeated\n", count, kills, account.lost, account.repeated);
}

}  // namespace tidings::cli_test
