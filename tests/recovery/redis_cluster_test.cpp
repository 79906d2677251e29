// One node of a cluster is down and nothing takes its place: what lies on the other nodes goes on.
#include <gtest/gtest.h>
#include <tidings/tidings.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "support/redis_group.hpp"

namespace tidings {
namespace {

// Each category lies on another node.
struct OnFirst {
  std::int64_t n = 0;
};
struct OnSecond {
  std::int64_t n = 0;
};
struct OnThird {
  std::int64_t n = 0;
};
TIDINGS_EVENT(OnFirst, "user.counted", "1.0", n)
TIDINGS_EVENT(OnSecond, "contract.counted", "1.0", n)
TIDINGS_EVENT(OnThird, "project.counted", "1.0", n)

// Which kind of a silence a node falls into.
enum class Outage : std::uint8_t { killed, hung };

constexpr Millis lease{2'000};

/// Three categories on three nodes, and what a service over all of them has seen.
class RedisClusterOutage : public ::testing::TestWithParam<Outage> {
 protected:
  RedisClusterOutage() {
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      servers_.node(i).cli("CONFIG", "SET", "cluster-require-full-coverage", "no");
      servers_.node(i).cli("CONFIG", "SET", "cluster-replica-no-failover", "yes");
    }
    EXPECT_NE(&servers_.owner_of("events:user"), &servers_.owner_of("events:contract"));
    EXPECT_NE(&servers_.owner_of("events:contract"), &servers_.owner_of("events:project"));
    EXPECT_NE(&servers_.owner_of("events:user"), &servers_.owner_of("events:project"));
  }
  template <class Event>
  void publish(std::int64_t from) {
    for (std::int64_t n = from; n < from + 5; ++n) bus_.publish(Event{n});
  }
  template <class Event>
  void count(Service& service, int& seen) {
    service.on<Event>([this, &seen](const DomainEvent<Event>&) {
      const std::lock_guard lock(mutex_);
      ++seen;
      changed_.notify_all();
    });
  }
  void publish_to_each() {
    publish<OnFirst>(0);
    publish<OnSecond>(0);
    publish<OnThird>(0);
  }
  void serve(Service& service) {
    count<OnFirst>(service, first_);
    count<OnSecond>(service, second_);
    count<OnThird>(service, third_);
    running_ = std::jthread([&service](const std::stop_token& stop) { service.run(stop); });
  }
  // False when these were not seen in time; a fault costs seconds, not half a minute.
  bool await(const int& seen, int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return seen >= count; });
  }
  void take_down(support::RedisServer& server) const {
    GetParam() == Outage::killed ? server.kill() : server.suspend();
  }
  void bring_back(support::RedisServer& server) const {
    GetParam() == Outage::killed ? server.restart() : server.resume();
  }

  support::RedisCluster servers_{support::Aof::always};
  Bus bus_ = Bus::open(servers_.url(), {.source = "test"});
  std::mutex mutex_{};
  std::condition_variable changed_{};
  int first_ = 0, second_ = 0, third_ = 0;
  std::jthread running_{};
};

INSTANTIATE_TEST_SUITE_P(a_node, RedisClusterOutage, ::testing::Values(Outage::killed, Outage::hung),
                         [](const auto& info) { return info.param == Outage::killed ? "is_killed" : "hangs"; });

TEST_P(RedisClusterOutage, LeavesTheOtherStreamsAlone) {
  Service service{bus_, "reader", {.lease = lease}};
  serve(service);
  publish_to_each();
  ASSERT_TRUE(await(first_, 5) && await(second_, 5) && await(third_, 5));
  support::RedisServer& down = servers_.owner_of("events:user");
  take_down(down);
  // Until the lease is over too, which cannot be renewed there, the node was asked for again more than once, and it was
  // looked for new partitions.
  const auto over = std::chrono::steady_clock::now() + Millis(14'000);
  for (int round = 1; round <= 3 || std::chrono::steady_clock::now() < over; ++round) {
    publish<OnSecond>(5L * round);
    ASSERT_TRUE(await(second_, 5 + 5 * round)) << "round " << round;
    publish<OnThird>(5L * round);
    ASSERT_TRUE(await(third_, 5 + 5 * round)) << "round " << round;
  }
  bring_back(down);
  publish<OnFirst>(5);
  EXPECT_TRUE(await(first_, 10)) << "what was away goes on by itself";
  running_.request_stop();
  running_.join();
}

TEST_P(RedisClusterOutage, DoesNotKeepAServiceFromStarting) {
  publish_to_each();
  support::RedisServer& down = servers_.owner_of("events:user");
  take_down(down);
  Service service{bus_, "reader", {.lease = lease}};
  serve(service);
  EXPECT_TRUE(await(second_, 5));
  EXPECT_TRUE(await(third_, 5));
  bring_back(down);
  EXPECT_TRUE(await(first_, 5)) << "its group begins where it would have begun";
  running_.request_stop();
  running_.join();
}

// Whoever opens the cluster now works with what the other nodes hold, is shown it, and hears of what he cannot see.
TEST_P(RedisClusterOutage, DoesNotKeepAnybodyFromOpening) {
  publish_to_each();
  take_down(servers_.owner_of("events:user"));
  std::mutex mutex;
  std::string said;
  Environment environment;
  environment.log = [&](LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex);
    said.append(line).append("\n");
  };
  {
    Bus bus = Bus::open(servers_.url(), {.source = "test", .environment = environment});
    EXPECT_NO_THROW(bus.publish(OnSecond{5}));
    std::vector<std::string> names;
    for (const transport::StreamInfo& info : bus.transport().describe("")) names.push_back(info.name);
    EXPECT_EQ(names, (std::vector<std::string>{"events:contract", "events:project"}));
    EXPECT_EQ(bus.transport().read({.stream = "events:contract"}, {}).records.size(), 6U);
  }
  EXPECT_NE(said.find("cannot be asked what it offers"), std::string::npos) << said;
  EXPECT_NE(said.find("its streams are not listed"), std::string::npos) << said;
  // Who wants a level for certain is refused where nobody can tell, neither now nor when something is stored.
  const bool waits = servers_.owner_of("events:contract").cli("WAITAOF", 0, 0, 1).find("unknown") == std::string::npos;
  if (!waits) {
    EXPECT_THROW(open_transport(servers_.url() + "?durability=disk", environment), Error);
  }
  EXPECT_NO_THROW(open_transport(servers_.url() + "?durability=process", environment));
}

// Nor from joining, whichever of the streams it is that lies there.
TEST_P(RedisClusterOutage, DoesNotKeepAnybodyFromJoining) {
  publish_to_each();
  take_down(servers_.owner_of("events:contract"));
  const auto transport = open_transport(servers_.url());
  transport::Interest interest;
  interest.service = "g";
  interest.instance = "a";
  interest.streams = {"events:user", "events:contract", "events:project"};
  interest.types = {"*"};
  const auto subscription = transport->subscribe(interest);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::size_t came = 0;
  while (came < 10 && std::chrono::steady_clock::now() < deadline) {
    came += subscription->fetch(Millis(500), {}).deliveries.size();
  }
  EXPECT_EQ(came, 10U);
}

TEST_P(RedisClusterOutage, DoesNotKeepTheOthersFromTheirUpkeep) {
  const auto transport = open_transport(servers_.url());
  publish_to_each();
  take_down(servers_.owner_of("events:user"));
  transport::Retention retention;
  retention.age = Millis(0);
  const auto left = [&] {
    return transport->describe("events:contract").at(0).length + transport->describe("events:project").at(0).length;
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  bool told = false;
  while (left() > 0 && std::chrono::steady_clock::now() < deadline) {
    try {
      (void)transport->tend(retention, {});
    } catch (const Error& error) {
      told = error.retryable();
    }
  }
  EXPECT_EQ(left(), 0U);
  EXPECT_TRUE(told) << "what could not be tended is said";
}

}  // namespace
}  // namespace tidings
