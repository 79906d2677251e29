// A Redis server, or a network, at its limits: reads that come late, groups removed under a read, permissions missing,
// servers that do not answer.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <tidings/bus.hpp>
#include <tidings/environment.hpp>
#include <tidings/transport.hpp>

#include <atomic>
#include <set>
#include <thread>

#include "redis_recovery.hpp"
#include "support/child.hpp"
#include "support/proxy.hpp"

namespace tidings::transport {
namespace {

class RedisLimits : public RedisRecovery {
 protected:
  std::string member() { return server_.cli("ZRANGE", "{events:user}:live:g", 0, -1); }
  [[nodiscard]] std::string place() const { return "@127.0.0.1:" + std::to_string(server_.port()); }
  std::string url_without(const std::string& permission) {
    server_.cli("ACL", "SETUSER", "some", "on", ">secret", "~*", "&*", "+@all", permission);
    return "redis://some:secret" + place();
  }
  static Outgoing outgoing(std::string_view event) {
    Outgoing item;
    item.stream = stream;
    item.id = "evt_1";
    item.type = "user.created";
    item.envelope = event;
    return item;
  }
  int connections() {
    const std::string stats = server_.cli("INFO", "stats"), name = "total_connections_received:";
    return std::stoi(stats.substr(stats.find(name) + name.size()));
  }
};

TEST_F(RedisLimits, TheDoctorNamesWhatAUserMayNotRun) {
  const auto row = [](const std::string& url, const std::string& name) {
    for (const Check& each : open_transport(url)->diagnose()) {
      if (each.check == name) return each;
    }
    return Check{name, false, "there is no such row", ""};
  };
  const std::string all = "redis://127.0.0.1:" + std::to_string(server_.port());
  EXPECT_TRUE(row(all, "permissions").ok) << row(all, "permissions").detail;
  EXPECT_EQ(server_.cli("EXISTS", "events:#doctor"), "0");
  for (const auto& [without, named] : {std::pair("-xadd", "XADD"), {"-xreadgroup", "XREADGROUP"}, {"-zadd", "ZADD"}}) {
    const Check check = row(url_without(without), "permissions");
    EXPECT_FALSE(check.ok);
    EXPECT_NE(check.detail.find(named), std::string::npos) << check.detail;
    server_.cli("ACL", "DELUSER", "some");
  }
  EXPECT_TRUE(row(url_without("-info"), "server").ok) << "it is optional";
}

TEST_F(RedisLimits, TheDoctorKnowsAReplica) {
  server_.cli("REPLICAOF", "127.0.0.1", "1");
  const auto replica = open_transport("redis://127.0.0.1:" + std::to_string(server_.port()));
  const std::vector<Check> checks = replica->diagnose();
  EXPECT_TRUE(
      std::any_of(checks.begin(), checks.end(), [](const Check& each) { return each.check == "role" && !each.ok; }));
  server_.cli("REPLICAOF", "NO", "ONE");
}

// As a network does that holds the request for a while, behind a proxy whose address says nothing.
TEST_F(RedisLimits, ALateReadIsGivenBack) {
  support::Proxy proxy(server_.port());
  transport_ = open_transport("redis://127.0.0.1:" + std::to_string(proxy.port()));
  const auto subscription = subscribe("a");
  publish(1);
  (void)settle(*subscription, fetch(*subscription, 1));
  proxy.cut();
  try {
    (void)subscription->fetch(Millis(10), {});
  } catch (const Error& error) {
    EXPECT_TRUE(error.retryable()) << error.what();
  }
  (void)subscription->fetch(Millis(10), {});
  for (int i = 0; i < 3; ++i) server_.cli("XADD", stream, "*", "event", envelope(100 + i));
  ASSERT_NE(server_.cli("XREADGROUP", "GROUP", "g", member(), "COUNT", 3, "STREAMS", stream, ">"), "");
  const auto late = fetch(*subscription, 3);
  EXPECT_EQ(late.size(), 3U) << "they are ours, and nobody else's";
  for (const Delivery& each : late) EXPECT_EQ(each.attempt, 1U);
  EXPECT_EQ(pending(), "0") << "the rest of the group's streams holds them";
}

TEST_F(RedisLimits, AGroupIsRemovedUnderAReadAhead) {
  publish(60'000);
  const auto subscription = subscribe("a", Millis(30'000), 512);
  constexpr int rounds = 60;
  std::atomic<int> round{0};
  std::jthread remover([&] {
    GroupChange change;
    change.kind = GroupChange::Kind::remove;
    change.force = true;
    for (int i = 0; i < rounds; ++i) {
      round.wait(i);
      try {
        transport_->change({stream, "g"}, change);
      } catch (const Error& error) {
        EXPECT_TRUE(error.retryable() || error.code() == ErrorCode::not_found) << error.what();
      }
    }
  });
  const auto release = [&](void*) {
    round = -1;
    round.notify_one();
  };
  const std::unique_ptr<void, decltype(release)> released(&round, release);  // However the test ends.
  // Each time a read is under way, or about to be.
  for (int i = 0; i < rounds; ++i) {
    for (int k = 0; k < 3; ++k) {
      const auto some = fetch(*subscription, 1);
      ASSERT_FALSE(some.empty()) << "round " << i;
      (void)settle(*subscription, some);
      if (k != 0) continue;
      ++round;
      round.notify_one();
    }
  }
}

TEST_F(RedisLimits, AStreamThatWasMadeAnewIsReadFromItsBeginning) {
  const auto subscription = subscribe("a");
  server_.cli("XADD", stream, "99999999999999-1", "event", envelope(0));
  (void)settle(*subscription, fetch(*subscription, 1));
  server_.cli("FLUSHALL");
  published_ = 100;
  publish(3);
  EXPECT_EQ(fetch(*subscription, 3).size(), 3U) << "their ids are older than what was read last";
}

// An operator who destroys the group, or the consumer, takes from the server what it knows of deliveries that are out.
class RedisForgotten : public RedisLimits, public ::testing::WithParamInterface<bool> {
 protected:
  void forget() {
    ASSERT_EQ(GetParam() ? server_.cli("XGROUP", "DESTROY", stream, "g")
                         : server_.cli("XGROUP", "DELCONSUMER", stream, "g", member()),
              GetParam() ? "1" : "4");
  }
  // What a failed handler's settlement leaves: all of it comes again, once.
  void expect_again(Subscription& subscription, const std::vector<Result>& results) {
    for (const Result& result : results) EXPECT_TRUE(result.code == ErrorCode::ok && !result.stale) << result.message;
    const auto again = fetch(subscription, 4);
    ASSERT_EQ(again.size(), 4U) << "what fails is never lost";
    for (const Delivery& each : again) EXPECT_EQ(each.attempt, 2U);
    EXPECT_TRUE(subscription.fetch(Millis(100), {}).deliveries.empty());
    (void)settle(subscription, again);
    EXPECT_EQ(transport_->describe(stream).at(0).groups.at(0).handled, 4U);
  }
};
INSTANTIATE_TEST_SUITE_P(By, RedisForgotten, ::testing::Bool(),
                         [](const auto& info) { return info.param ? std::string("Group") : std::string("Consumer"); });

TEST_P(RedisForgotten, WhatFailsComesAgain) {
  publish(4);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 4);
  ASSERT_EQ(deliveries.size(), 4U);
  forget();
  expect_again(*subscription, settle(*subscription, deliveries, Settlement::Kind::again));
}

TEST_P(RedisForgotten, WhatFailsAfterALookComesAgain) {
  publish(4);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 4);
  ASSERT_EQ(deliveries.size(), 4U);
  forget();
  EXPECT_TRUE(subscription->fetch(Millis(100), {}).deliveries.empty()) << "it is held";
  expect_again(*subscription, settle(*subscription, deliveries, Settlement::Kind::again));
}

TEST_P(RedisForgotten, WhatIsHandledStoresItsOutputs) {
  publish(4);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 4);
  ASSERT_EQ(deliveries.size(), 4U);
  forget();
  const std::string event = envelope(9);
  Outgoing output = outgoing(event);
  output.stream = "events:out";
  for (const Result& result : settle(*subscription, deliveries, Settlement::Kind::done, {&output, 1})) {
    EXPECT_TRUE(result.code == ErrorCode::ok && !result.stale) << result.message;
  }
  EXPECT_EQ(server_.cli("XLEN", "events:out"), "4");
  EXPECT_TRUE(subscription->fetch(Millis(100), {}).deliveries.empty());
}

TEST_F(RedisLimits, AGroupThatIsMadeAgainHoldsWhatIsOut) {
  publish(4);
  auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 4);
  ASSERT_EQ(deliveries.size(), 4U);
  (void)settle(*subscription, std::span(deliveries).first(1));
  server_.cli("XGROUP", "DESTROY", stream, "g");
  EXPECT_TRUE(subscription->fetch(Millis(100), {}).deliveries.empty());
  EXPECT_EQ(pending(), "3") << "also a death finds it then";
  publish(1);
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
  subscription.reset();
  EXPECT_EQ(fetch(*subscribe("b"), 4).size(), 4U);
}

// What another member took over is its own, whatever the first one says of it.
TEST_F(RedisLimits, WhatWasTakenOverStaysStale) {
  publish(2);
  const auto late = subscribe("late");
  const auto deliveries = fetch(*late, 2);
  ASSERT_EQ(deliveries.size(), 2U);
  server_.cli("ZADD", "{events:user}:live:g", 1, member());
  const auto next = subscribe("next");
  ASSERT_EQ(fetch(*next, 1).size(), 1U);
  for (const Result& result : settle(*late, deliveries, Settlement::Kind::again)) EXPECT_TRUE(result.stale);
  EXPECT_EQ(server_.cli("ZCARD", "{events:user}:due:g"), "0");
}

TEST_F(RedisLimits, AFullServerIsTrimmed) {
  server_.cli("XADD", stream, "1000-1", "event", envelope(0));
  server_.cli("XADD", stream, "2000-1", "event", envelope(1));
  GroupChange create;
  create.kind = GroupChange::Kind::create;
  create.at.kind = Start::Kind::beginning;
  transport_->change({stream, "slow"}, create);
  server_.cli("CONFIG", "SET", "maxmemory", "1");
  Retention retention;
  retention.age = std::chrono::hours(1);
  retention.pass_groups = {"slow"};
  EXPECT_NO_THROW(transport_->tend(retention, {}));
  EXPECT_EQ(server_.cli("XLEN", stream), "0");
  EXPECT_EQ(server_.cli("LRANGE", "{events:user}:gaps:slow", 0, -1), "1000-1 2000-1");
}

// Nothing makes room but its settlements, so whoever comes back must be let in.
TEST_F(RedisLimits, AFullServerIsJoinedAgain) {
  publish(3);
  const std::vector<std::string> commands{"commands:mail.send"};
  (void)subscribe("a", Millis(30'000), 1000, std::size_t{8} << 20U, commands);
  server_.cli("CONFIG", "SET", "maxmemory", "1");
  const auto subscription = subscribe("b", Millis(30'000), 1000, std::size_t{8} << 20U, commands);
  const auto deliveries = fetch(*subscription, 3);
  ASSERT_EQ(deliveries.size(), 3U);
  EXPECT_TRUE(subscription->renew().empty());
  const auto failed = settle(*subscription, std::span(deliveries).first(1), Settlement::Kind::again);
  for (const Result& result : failed) EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  for (const Result& result : settle(*subscription, std::span(deliveries).subspan(1))) {
    EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U) << "a retry";
}

TEST_F(RedisLimits, WhoMayNotUnblockReadsInTurns) {
  Environment environment;
  std::atomic<int> told{0};
  environment.log = [&](LogLevel, std::string_view line) { told += line.find("UNBLOCK") != line.npos ? 1 : 0; };
  transport_ = open_transport(url_without("-client|unblock"), environment);
  // The commands of a stream have a group of another name, and so a read of their own.
  const auto subscription = subscribe("a", Millis(30'000), 1000, std::size_t{8} << 20U, {"commands:mail.send"});
  for (int i = 0; i < 5; ++i) {
    publish(1);
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U);
    (void)settle(*subscription, one);
  }
  EXPECT_EQ(told, 1);
}

TEST_F(RedisLimits, WhoMayNotWaitIsToldOnce) {
  support::RedisServer replica;
  replica.cli("REPLICAOF", "127.0.0.1", server_.port());
  (void)replica.await_log("MASTER <-> REPLICA sync: Finished with success");
  const auto with = open_transport(url_without("+wait"));
  (void)url_without("-wait");
  const auto without = open_transport("redis://some:secret" + place());
  const auto levels = without->capabilities().levels;
  EXPECT_EQ(std::count(levels.begin(), levels.end(), Level::replicated), 0);
  const std::string event = envelope(1);
  const Outgoing item = outgoing(event);
  Result result;
  server_.cli("CONFIG", "RESETSTAT");
  with->publish({&item, 1}, Level::replicated, Millis(1'000), {&result, 1});
  EXPECT_NE(result.code, ErrorCode::ok);
  const std::string stats = server_.cli("INFO", "commandstats");
  const std::size_t at = stats.find("rejected_calls=", stats.find("cmdstat_wait:"));
  ASSERT_NE(at, std::string::npos) << stats;
  EXPECT_LT(std::stoi(stats.substr(at + 15)), 5) << "what is forbidden stays so";
}

TEST_F(RedisLimits, ATightDeadlineCostsNobodyTheConnection) {
  publish(1);
  const int before = connections();
  const std::string event = envelope(1);
  const Outgoing item = outgoing(event);
  for (int i = 0; i < 20; ++i) {
    Result result;
    transport_->publish({&item, 1}, Level::process, Millis(0), {&result, 1});
  }
  publish(1);
  EXPECT_LT(connections() - before, 5) << "those of redis-cli";
}

// A port whose queue is full: the kernel lets a connection hang.
class Silent {
 public:
  Silent() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 0) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port");
    }
    port_ = ntohs(address.sin_port);
    for (int& each : queued_) {
      each = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      (void)::connect(each, reinterpret_cast<sockaddr*>(&address), size);
    }
  }
  ~Silent() {
    for (const int each : queued_) ::close(each);
    ::close(listener_);
  }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  int listener_, queued_[4] = {};
  std::uint16_t port_ = 0;
};

std::string watched(std::uint16_t port) {
  return "sentinel monitor tidings 127.0.0.1 " + std::to_string(port) + " 1\n";
}

// As long as the first sentinel has not heard of it, say.
TEST_F(RedisLimits, ASilentMasterLeavesTimeForTheOthers) {
  const Silent silent;
  support::RedisOptions wrong, right;
  wrong.sentinel = watched(silent.port());
  right.sentinel = watched(server_.port());
  const support::RedisServer first(wrong), second(right);
  EXPECT_NO_THROW(open_transport("redis+sentinel://127.0.0.1:" + std::to_string(first.port()) +
                                 ",127.0.0.1:" + std::to_string(second.port()) + "/tidings"));
}

}  // namespace
}  // namespace tidings::transport
