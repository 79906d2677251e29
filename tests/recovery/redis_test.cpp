// What goes wrong around a Redis server, one case a test: replies lost, outputs refused, leases run out, memory full.
#include <gtest/gtest.h>
#include <tidings/bus.hpp>
#include <tidings/environment.hpp>
#include <tidings/transport.hpp>

#include <set>
#include <thread>

#include "redis_recovery.hpp"

namespace tidings::transport {

namespace {

// What is given back goes out in the order in which it was published, whoever gave it back, and when.
TEST_F(RedisRecovery, GivenBackKeepsItsOrder) {
  publish(20);
  auto subscription = subscribe("a", Millis(30'000), 16);
  const auto all = fetch(*subscription, 16);
  ASSERT_EQ(all.size(), 16U);
  const std::span<const Delivery> held(all);
  // The last that came first, then what waited, then what a run did not come to; and the rest with the subscription.
  (void)settle(*subscription, held.subspan(0, 2));
  (void)settle(*subscription, held.subspan(12, 2), Settlement::Kind::release);
  (void)settle(*subscription, held.subspan(6, 4), Settlement::Kind::release);
  (void)settle(*subscription, held.subspan(2, 2), Settlement::Kind::release);
  subscription = subscribe("b");
  std::vector<std::string> expected, seen;
  for (int i = 2; i < 20; ++i) expected.push_back(envelope(i));
  for (const Delivery& each : fetch(*subscription, expected.size())) seen.emplace_back(each.envelope);
  EXPECT_EQ(seen, expected);
}

// Also where those who come and go have room for a part of it only, and handle less.
TEST_F(RedisRecovery, GivenBackComesBeforeWhatIsNew) {
  publish(60);
  std::vector<std::string> expected, seen;
  for (int i = 0; i < 60; ++i) expected.push_back(envelope(i));
  for (std::size_t round = 0; round < 200 && seen.size() < 60; ++round) {
    const std::size_t room = std::vector<std::size_t>{9, 30, 1, 5}[round % 4];
    const auto subscription = subscribe("a", Millis(30'000), room);
    const auto some = fetch(*subscription, 1);
    ASSERT_FALSE(some.empty());
    const std::size_t handled = std::min<std::size_t>(some.size(), 1 + round % 3);
    for (std::size_t i = 0; i < handled; ++i) seen.emplace_back(some[i].envelope);
    (void)settle(*subscription, std::span(some).first(handled));
  }
  EXPECT_EQ(seen, expected);
}

// A container's processes all have the same host name and process id.
TEST_F(RedisRecovery, TheSameInstanceNameIsAnotherMember) {
  std::set<std::string> names;
  for (int i = 0; i < 2; ++i) {
    const auto subscription = subscribe("host:1:1");
    publish(1);
    ASSERT_FALSE(fetch(*subscription, 1).empty());
    const std::string name = server_.cli("ZRANGE", "{events:user}:live:g", 0, -1);
    // Behind the epoch, which counts from one in every process, stands what no other process has.
    ASSERT_NE(name.find('.', name.find('/')), std::string::npos) << name;
    names.insert(name.substr(name.find('.', name.find('/'))));
  }
  EXPECT_EQ(names.size(), 2U);
}

TEST_F(RedisRecovery, AUserWithoutAPasswordIsNobodyElse) {
  const std::string place = "@127.0.0.1:" + std::to_string(server_.port());
  EXPECT_THROW(open_transport("redis://nobody" + place), Error);
  server_.cli("ACL", "SETUSER", "guest", "on", "nopass", "~*", "&*", "+@all");
  EXPECT_NO_THROW(open_transport("redis://guest" + place));
}

TEST_F(RedisRecovery, EntriesOfALostReplyComeAgain) {
  publish(3);
  const auto subscription = subscribe("a");
  ASSERT_EQ(fetch(*subscription, 3).size(), 3U);
  const std::string member = server_.cli("ZRANGE", "{events:user}:live:g", 0, -1);
  // What stands between the server's answer and us takes these three away.
  for (int i = 0; i < 3; ++i) server_.cli("XADD", stream, "*", "event", envelope(100 + i));
  (void)server_.cli("XREADGROUP", "GROUP", "g", member, "COUNT", 3, "STREAMS", stream, ">");
  std::jthread killer([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) server_.cli("CLIENT", "KILL", "TYPE", "normal");
  });
  Batch first;
  try {
    while (first.deliveries.empty()) first = subscription->fetch(Millis(200), {});
  } catch (const Error& error) {
    EXPECT_TRUE(error.retryable()) << error.what();
  }
  killer.request_stop();
  killer.join();
  std::size_t came = first.deliveries.size();
  came += fetch(*subscription, 3 - std::min<std::size_t>(came, 3)).size();
  EXPECT_EQ(came, 3U);
}

TEST_F(RedisRecovery, ARefusedOutputLeavesItsDelivery) {
  publish(2);
  server_.cli("SET", "events:out", "not a stream");
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 2);
  ASSERT_EQ(deliveries.size(), 2U);
  const std::string text = envelope(9);
  std::vector<Outgoing> outputs(2);
  for (std::size_t i = 0; i < 2; ++i) {
    outputs[i].stream = i == 0 ? "events:good" : "events:out";
    outputs[i].id = "evt_9";
    outputs[i].type = "user.created";
    outputs[i].envelope = text;
  }
  const std::span<const Delivery> one(deliveries.data(), 1);
  const auto refused = settle(*subscription, one, Settlement::Kind::done, outputs);
  EXPECT_NE(refused[0].code, ErrorCode::ok);
  EXPECT_FALSE(refused[0].stale);
  EXPECT_EQ(pending(), "2");
  EXPECT_EQ(server_.cli("XLEN", "events:good"), "0") << "half of the outputs was stored";
  server_.cli("DEL", "events:out");
  const auto done = settle(*subscription, one, Settlement::Kind::done, outputs);
  EXPECT_EQ(done[0].code, ErrorCode::ok) << done[0].message;
  EXPECT_FALSE(done[0].stale);
  EXPECT_EQ(server_.cli("XLEN", "events:good") + server_.cli("XLEN", "events:out"), "11");
  EXPECT_EQ(pending(), "1");
}

// A read that stood in the server's queue when its member was taken over makes the consumer again.
TEST_F(RedisRecovery, AConsumerThatIsNoMemberIsTakenOver) {
  const auto subscription = subscribe("a");
  publish(2);
  (void)server_.cli("XREADGROUP", "GROUP", "g", "host:1:1/1.7", "COUNT", 2, "STREAMS", stream, ">");
  (void)server_.cli("XREADGROUP", "GROUP", "g", "foreign", "COUNT", 2, "STREAMS", stream, ">");
  transport_->tend({}, {});
  const auto deliveries = fetch(*subscription, 1);
  ASSERT_FALSE(deliveries.empty());
  EXPECT_TRUE(deliveries[0].alone);
  settle(*subscription, deliveries);
  EXPECT_EQ(fetch(*subscription, 2 - deliveries.size()).size(), 2 - deliveries.size());
}

TEST_F(RedisRecovery, ATakeoverByPagesIsOneTakeover) {
  publish(1'500);
  const auto late = subscribe("late", Millis(200), 1'500);
  const auto deliveries = fetch(*late, 1'500);
  ASSERT_EQ(deliveries.size(), 1'500U);
  const auto next = subscribe("next");
  // Until the lease has run out and the first page was taken.
  for (int i = 0; i < 100 && server_.cli("XLEN", "{events:user}:alone:g") == "0"; ++i)
    (void)next->fetch(Millis(100), {});
  EXPECT_EQ(late->renew().size(), 1'500U);
  for (const Result& result : settle(*late, deliveries)) ASSERT_TRUE(result.stale || result.code != ErrorCode::ok);
}

TEST_F(RedisRecovery, AMembershipThatEndsInOneStreamGivesBackTheOthers) {
  publish(2);
  const auto subscription = subscribe("a", Millis(30'000), 1000, std::size_t{8} << 20U, {"events:zeta"});
  ASSERT_EQ(fetch(*subscription, 2).size(), 2U);
  // As a takeover in the other stream does.
  server_.cli("DEL", "{events:zeta}:live:g");
  EXPECT_EQ(subscription->renew().size(), 2U);
  const auto again = fetch(*subscription, 2);
  ASSERT_EQ(again.size(), 2U);
  for (const Delivery& each : again) {
    EXPECT_FALSE(each.alone);
    EXPECT_EQ(each.crashes, 0U);
  }
  settle(*subscription, again);
  EXPECT_EQ(pending(), "0");
}

TEST_F(RedisRecovery, AFullServerEndsNoLease) {
  publish(2);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 2);
  ASSERT_EQ(deliveries.size(), 2U);
  server_.cli("CONFIG", "SET", "maxmemory", "1mb");
  EXPECT_TRUE(subscription->renew().empty());
  for (const Result& result : settle(*subscription, deliveries)) EXPECT_EQ(result.code, ErrorCode::ok);
  server_.cli("CONFIG", "SET", "maxmemory", "0");
  EXPECT_EQ(pending(), "0");
}

TEST_F(RedisRecovery, UpkeepTakesAGroupThatBeganAtATime) {
  server_.cli("XADD", stream, "1000-1", "event", envelope(0));
  GroupChange create;
  create.kind = GroupChange::Kind::create;
  create.at.kind = Start::Kind::time;
  create.at.time = Wall(Millis(5'000));
  transport_->change({stream, "g2"}, create);
  Retention retention;
  retention.age = Millis(0);
  EXPECT_NO_THROW(transport_->tend(retention, {}));
}

TEST_F(RedisRecovery, UpkeepOfABadStreamStopsNoOther) {
  publish(1);
  server_.cli("XADD", "events:aaa", "*", "event", "{}");
  server_.cli("XGROUP", "CREATE", "events:aaa", "bad", "0");
  server_.cli("SADD", "{events:aaa}:groups", "bad");
  server_.cli("SET", "{events:aaa}:live:bad", "not a sorted set");
  const auto dying = subscribe("dying", Millis(100));
  ASSERT_EQ(fetch(*dying, 1).size(), 1U);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (server_.cli("XLEN", "{events:user}:alone:g") != "1" && std::chrono::steady_clock::now() < deadline)
    EXPECT_THROW(transport_->tend({}, {}), Error);
  EXPECT_EQ(server_.cli("XLEN", "{events:user}:alone:g"), "1");
}

TEST_F(RedisRecovery, WhatIsRemovedWhileItIsLeasedIsKeptOrTold) {
  server_.cli("XADD", stream, "1000-1", "event", envelope(0));
  server_.cli("XADD", stream, "2000-1", "event", envelope(1));
  auto alive = subscribe("alive", Millis(30'000), 1);
  const auto one = fetch(*alive, 1);
  const auto dying = subscribe("dying", Millis(100), 1);
  ASSERT_EQ(one.size(), 1U);
  ASSERT_EQ(fetch(*dying, 1).size(), 1U);
  Retention retention;
  retention.age = Millis(0);
  retention.pass_groups = {"g"};
  transport_->tend(retention, {});
  ASSERT_EQ(server_.cli("XLEN", stream), "0");
  settle(*alive, one, Settlement::Kind::again);
  const auto again = fetch(*alive, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].envelope, envelope(0));
  settle(*alive, again);
  std::vector<Gap> gaps;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (gaps.empty() && std::chrono::steady_clock::now() < deadline) {
    transport_->tend({}, {});
    const Batch batch = alive->fetch(Millis(100), {});
    gaps.insert(gaps.end(), batch.gaps.begin(), batch.gaps.end());
  }
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].first, (Position{2000, 1}));
}

TEST_F(RedisRecovery, NoRoomIsWaitedOut) {
  publish(1, 3'000);
  const auto subscription = subscribe("a", Millis(30'000), 1000, 2'000);
  const auto deliveries = fetch(*subscription, 1);
  ASSERT_EQ(deliveries.size(), 1U);
  server_.cli("CONFIG", "RESETSTAT");
  (void)subscription->fetch(Millis(1'000), {});
  EXPECT_LT(calls("evalsha"), 100);
}

TEST_F(RedisRecovery, TheShelfIsPagedToItsEnd) {
  publish(6);
  const auto dying = subscribe("dying", Millis(100));
  const auto deliveries = fetch(*dying, 6);
  ASSERT_EQ(deliveries.size(), 6U);
  settle(*dying, std::span(deliveries.data(), 3), Settlement::Kind::dead);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (server_.cli("XLEN", "{events:user}:alone:g") != "3" && std::chrono::steady_clock::now() < deadline)
    transport_->tend({}, {});
  ShelfQuery query;
  query.limit = 2;
  std::set<std::string> seen;
  for (auto page = transport_->shelf({stream, "g"}, query); !page.empty();
       page = transport_->shelf({stream, "g"}, query)) {
    for (const ShelfItem& item : page) seen.insert(item.key);
    query.after = page.back().key;
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST_F(RedisRecovery, ThePageBehindTheLastIsEmpty) {
  publish(5);
  ReadRange range;
  range.stream = stream;
  range.last = true;
  range.limit = 2;
  const Page last = transport_->read(range, {});
  ASSERT_EQ(last.records.size(), 2U);
  range.last = false;
  range.from = last.next;
  EXPECT_TRUE(transport_->read(range, {}).records.empty());
  // A wait for what does not come neither spins nor connects again and again.
  server_.cli("CONFIG", "RESETSTAT");
  range.from = {};
  range.id = "none";
  range.wait = Millis(500);
  EXPECT_TRUE(transport_->read(range, {}).records.empty());
  EXPECT_LT(calls("xread"), 20);
}

// Redis 7.0 says nothing of the lag after an entry was deleted, and something wrong after a trim.
TEST_F(RedisRecovery, TheLagIsRightAfterDeletionsAndTrims) {
  const auto lag = [&] { return transport_->describe(stream).at(0).groups.at(0).lag; };
  const auto subscription = subscribe("a", Millis(30'000), 3);
  publish(10);
  EXPECT_EQ(lag(), 10U);
  const auto deliveries = fetch(*subscription, 3);
  ASSERT_EQ(deliveries.size(), 3U);
  EXPECT_EQ(lag(), 7U);
  const auto id_at = [&](int index) {
    const std::string words = server_.cli("--raw", "XRANGE", stream, "-", "+");
    std::size_t at = 0;
    for (int i = 0; i < 3 * index; ++i) at = words.find('\n', at) + 1;
    return words.substr(at, words.find('\n', at) - at);
  };
  server_.cli("XDEL", stream, id_at(5));
  EXPECT_EQ(lag(), 6U) << "one that was not read is gone";
  server_.cli("XDEL", stream, id_at(0));
  EXPECT_EQ(lag(), 6U) << "one that was read is gone";
  server_.cli("XTRIM", stream, "MAXLEN", 2);
  EXPECT_EQ(lag(), 2U) << "somebody trimmed beyond what was read";
  publish(1);
  EXPECT_EQ(lag(), 3U);
  GroupChange seek;
  seek.kind = GroupChange::Kind::seek;
  seek.at.kind = Start::Kind::position;
  const std::string middle = id_at(1);
  seek.at.position = {std::stoull(middle), std::stoull(middle.substr(middle.find('-') + 1))};
  transport_->change({stream, "g"}, seek);
  EXPECT_EQ(lag(), 2U) << "sought into the middle";
}

// What acknowledges without a script counts what it acknowledged, and no more.
TEST_F(RedisRecovery, AnEntryThatSomebodyElseAcknowledgedIsNotCounted) {
  publish(3);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 3);
  ASSERT_EQ(deliveries.size(), 3U);
  const Position taken = deliveries[1].position;
  server_.cli("XACK", stream, "g", std::to_string(taken.major) + "-" + std::to_string(taken.minor));
  (void)settle(*subscription, deliveries);
  EXPECT_EQ(transport_->describe(stream).at(0).groups.at(0).handled, 2U);
  EXPECT_EQ(pending(), "0");
}

TEST_F(RedisRecovery, WhoIsNoMemberAnyMoreIsToldAtHisNextSettlement) {
  publish(2);
  const auto subscription = subscribe("a");
  const auto deliveries = fetch(*subscription, 2);
  ASSERT_EQ(deliveries.size(), 2U);
  server_.cli("ZADD", "{events:user}:live:g", 0, server_.cli("ZRANGE", "{events:user}:live:g", 0, -1));
  for (const Result& result : settle(*subscription, deliveries)) EXPECT_TRUE(result.stale);
}

// Large windows read ahead: what is under way then must neither pass a pause nor be lost.
class ReadAhead : public RedisRecovery {
 protected:
  // After it, the server holds more for us than we have fetched.
  std::vector<Delivery> begin() {
    publish(2'000);
    subscription_ = subscribe("a", Millis(30'000), 512);
    std::vector<Delivery> first = fetch(*subscription_, 1);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (pending_now() <= first.size() && std::chrono::steady_clock::now() < deadline) {
    }
    EXPECT_GT(pending_now(), first.size()) << "nothing was read ahead";
    return first;
  }
  // All that comes within the window.
  std::size_t fill(std::size_t begun) {
    for (;;) {
      const std::size_t more = subscription_->fetch(Millis(200), {}).deliveries.size();
      if (more == 0) return begun;
      begun += more;
    }
  }
  std::size_t pending_now() { return static_cast<std::size_t>(std::stoull(pending())); }
  void change(GroupChange::Kind kind) {
    GroupChange change;
    change.kind = kind;
    change.force = true;
    transport_->change({stream, "g"}, change);
  }
  std::unique_ptr<Subscription> subscription_{};
};

TEST_F(ReadAhead, StaysWithinTheWindow) {
  const auto first = begin();
  EXPECT_EQ(fill(first.size()), 512U);
  EXPECT_EQ(pending_now(), 512U);
}

TEST_F(ReadAhead, WaitsForTheEndOfAPause) {
  const auto first = begin();
  change(GroupChange::Kind::pause);
  const std::size_t before = first.size() + subscription_->fetch(Millis(300), {}).deliveries.size();
  const Batch later = subscription_->fetch(Millis(300), {});
  EXPECT_TRUE(later.paused);
  EXPECT_TRUE(later.deliveries.empty());
  change(GroupChange::Kind::resume);
  EXPECT_EQ(fill(before), 512U) << "nothing of it is lost";
}

TEST_F(ReadAhead, IsGivenBackAtTheEnd) {
  const auto first = begin();
  subscription_.reset();
  EXPECT_EQ(pending_now(), 0U);
  EXPECT_EQ(server_.cli("XINFO", "CONSUMERS", stream, "g"), "") << "no consumer is left to hold anything";
  const auto other = subscribe("b", Millis(30'000), 4'000);
  EXPECT_EQ(fetch(*other, 2'000).size(), 2'000U);
}

TEST_F(ReadAhead, SurvivesItsConnectionAndItsGroup) {
  const auto first = begin();
  server_.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  (void)settle(*subscription_, first);
  std::size_t seen = first.size();
  while (seen < 2'000) {
    const auto more = fetch(*subscription_, 1);
    ASSERT_FALSE(more.empty()) << seen;
    seen += more.size();
    (void)settle(*subscription_, more);
  }
  EXPECT_EQ(pending_now(), 0U);
  publish(600);
  ASSERT_FALSE(fetch(*subscription_, 1).empty());
  server_.cli("FLUSHALL");
  publish(3);
  std::set<std::string> ids;
  for (int tries = 0; tries < 20 && !ids.contains(envelope(published_ - 1)); ++tries) {
    for (const Delivery& each : fetch(*subscription_, 1)) ids.emplace(each.envelope);
  }
  EXPECT_TRUE(ids.contains(envelope(published_ - 1)));
}

}  // namespace

}  // namespace tidings::transport
