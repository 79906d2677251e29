// Categories of several streams: what is stored where, order by key, growth under traffic, and tools that see one
// stream.
#include <gtest/gtest.h>
#include <tidings/tidings.hpp>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "redis_recovery.hpp"
#include "support/redis_group.hpp"

namespace tidings::transport {
namespace {

class RedisPartitions : public RedisRecovery {
 protected:
  RedisPartitions() { transport_ = open(4); }
  std::shared_ptr<Transport> open(int partitions) {
    return open_transport(server_.url() + "?partitions=user:" + std::to_string(partitions));
  }
  // `count` events of each key, in turns; the number of an event stands in its id.
  static void publish(Transport& transport, int first, int count, const std::vector<std::string>& keys) {
    std::vector<std::string> envelopes, ids;
    for (int i = 0; i < count; ++i) {
      for (std::size_t k = 0; k < keys.size(); ++k) {
        ids.push_back("evt_" + std::to_string((first + i) * 1000 + static_cast<int>(k)));
        envelopes.push_back(R"({"id":")" + ids.back() + R"(","type":"user.created","key":")" + keys[k] + "\"}");
      }
    }
    std::vector<Outgoing> items(ids.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      items[i].stream = stream;
      items[i].id = ids[i];
      items[i].type = "user.created";
      items[i].key = keys[i % keys.size()];
      items[i].envelope = envelopes[i];
    }
    std::vector<Result> results(items.size());
    transport.publish(items, Level::process, Millis(20'000), results);
    for (const Result& result : results) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  // Where an envelope's number stands in the order of its key.
  static void expect_in_order(std::span<const Delivery> deliveries) {
    std::map<int, int> last;
    for (const Delivery& each : deliveries) {
      const int number = std::stoi(std::string(each.envelope.substr(each.envelope.find("evt_") + 4)));
      const auto [at, first] = last.try_emplace(number % 1000, -1);
      EXPECT_LT(at->second, number / 1000) << "key " << number % 1000;
      at->second = number / 1000;
    }
  }
  std::vector<int> lengths(int partitions) {
    std::vector<int> all{std::stoi(server_.cli("XLEN", stream))};
    for (int k = 1; k < partitions; ++k) {
      all.push_back(std::stoi(server_.cli("XLEN", std::string(stream) + "#" + std::to_string(k))));
    }
    return all;
  }
  std::vector<std::string> keys_{"ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ian", "joe", "kim", "lea"};
};

TEST_F(RedisPartitions, SpreadKeysAndKeepTheirOrder) {
  publish(*transport_, 0, 50, keys_);
  for (const int length : lengths(4)) EXPECT_GT(length, 0);
  // What other languages have to do: CRC16 of the key (here 0x31c3 of "123456789"), modulo the count.
  publish(*transport_, 50, 1, {"123456789"});
  EXPECT_NE(server_.cli("XREVRANGE", "events:user#3", "+", "-", "COUNT", 1).find("123456789"), std::string::npos);
  const auto subscription = subscribe("a");
  const auto all = fetch(*subscription, 601);
  ASSERT_EQ(all.size(), 601U);
  for (const Delivery& each : all) EXPECT_EQ(each.stream, 0U);
  expect_in_order(all);
  for (const Result& result : settle(*subscription, all)) EXPECT_FALSE(result.stale) << result.message;
  const StreamInfo info = transport_->describe(stream).at(0);
  EXPECT_EQ(info.length, 601U);
  ASSERT_EQ(info.groups.size(), 1U);
  EXPECT_EQ(info.groups[0].handled, 601U);
  EXPECT_EQ(info.groups[0].lag, 0U);
  EXPECT_EQ(info.groups[0].consumers, 1U);
  EXPECT_EQ(transport_->describe("").size(), 1U) << "partitions are no streams of their own";
}

// The number stands on the server: who has no option, or a smaller number, does as the others do.
TEST_F(RedisPartitions, AreTheSameForAll) {
  publish(*transport_, 0, 1, keys_);
  const auto plain = open_transport(server_.url());
  publish(*plain, 1, 20, keys_);
  const auto fewer = open(2);
  publish(*fewer, 21, 20, keys_);
  transport_ = plain;
  const auto subscription = subscribe("a");
  const auto all = fetch(*subscription, 41 * keys_.size());
  ASSERT_EQ(all.size(), 41 * keys_.size());
  expect_in_order(all);
  EXPECT_EQ(server_.cli("GET", "{events:user}:partitions"), "4");
  // Nor does it matter that nobody wants to hear of it.
  Environment mute;
  mute.log = nullptr;
  publish(*open_transport(server_.url() + "?partitions=user:2", mute), 41, 1, keys_);
  EXPECT_THROW(open_transport(server_.url() + "?partitions=0"), Error);
  EXPECT_THROW(open_transport(server_.url() + "?partitions=user:x"), Error);
  EXPECT_THROW(open_transport(server_.url() + "?partitions=257"), Error);
}

TEST_F(RedisPartitions, GrowUnderARunningService) {
  transport_ = open_transport(server_.url());
  publish(*transport_, 0, 1, keys_);
  const auto subscription = subscribe("a");
  ASSERT_EQ(fetch(*subscription, keys_.size()).size(), keys_.size());
  const auto larger = open(4);
  publish(*larger, 1, 10, keys_);
  EXPECT_GT(lengths(4)[3], 0);
  std::size_t came = 0;
  // It looks for new partitions every ten seconds.
  for (int tries = 0; tries < 3 && came < 10 * keys_.size(); ++tries) {
    const auto some = fetch(*subscription, 10 * keys_.size() - came);
    expect_in_order(some);
    came += some.size();
    for (const Result& result : settle(*subscription, some)) EXPECT_FALSE(result.stale) << result.message;
  }
  EXPECT_EQ(came, 10 * keys_.size());
  EXPECT_TRUE(subscription->renew().empty());
}

TEST_F(RedisPartitions, AGroupThatBeganBeforeThemMissesNothing) {
  transport_ = open_transport(server_.url());
  GroupChange create;
  create.kind = GroupChange::Kind::create;
  create.at.kind = Start::Kind::end;
  publish(*transport_, 0, 1, keys_);
  transport_->change({stream, "g"}, create);
  transport_ = open(4);
  publish(*transport_, 1, 5, keys_);
  const auto subscription = subscribe("a");
  EXPECT_EQ(fetch(*subscription, 5 * keys_.size()).size(), 5 * keys_.size());
  EXPECT_TRUE(subscription->fetch(Millis(100), {}).deliveries.empty()) << "what was there before it began";
}

// Whatever the clocks of the nodes say: here the first partition's is far ahead of the others'.
TEST_F(RedisPartitions, AGroupMissesNothingOfANewPartitionWhoseClockIsBehind) {
  transport_ = open_transport(server_.url());
  server_.cli("XADD", stream, "99999999999999-7", "event", R"({"id":"evt_0"})");
  GroupChange create;
  create.kind = GroupChange::Kind::create;
  create.at.kind = Start::Kind::position;
  create.at.position = transport_->describe(stream).at(0).end;
  transport_->change({stream, "g"}, create);
  transport_ = open(4);
  publish(*transport_, 1, 5, keys_);
  const auto subscription = subscribe("a");
  EXPECT_EQ(fetch(*subscription, 5 * keys_.size()).size(), 5 * keys_.size());
}

// The first event of a millisecond is `…-0` in each partition, also of the one in which the group was made.
TEST_F(RedisPartitions, AGroupMissesNothingOfTheMillisecondInWhichItBegan) {
  for (const bool by_command : {true, false}) {
    server_.cli("FLUSHALL");
    transport_ = open_transport(server_.url());
    publish(*transport_, 0, 1, keys_);
    std::shared_ptr<Subscription> joined;
    if (by_command) {
      GroupChange create;
      create.kind = GroupChange::Kind::create;
      create.at.kind = Start::Kind::end;
      transport_->change({stream, "g"}, create);
    } else {
      Interest interest;
      interest.service = "g";
      interest.instance = "before";
      interest.streams = {stream};
      interest.types = {"*"};
      interest.start.kind = Start::Kind::end;
      joined = transport_->subscribe(interest);
    }
    const std::string began = server_.cli("HGET", "{events:user}:state:g", "start");
    const std::string millisecond = began.substr(0, began.find('-'));
    const std::string first_of_it = began.ends_with("-0") ? began : std::to_string(std::stoull(millisecond) + 1) + "-0";
    server_.cli("XADD", std::string(stream) + "#1", first_of_it, "event", R"({"id":"evt_1","type":"user.created"})");
    server_.cli("SET", "{events:user}:partitions", 4);
    joined.reset();
    transport_ = open_transport(server_.url());
    const auto subscription = subscribe("a");
    EXPECT_EQ(fetch(*subscription, 1).size(), 1U) << began;
  }
}

// Also when it runs, and began at the end itself.
TEST_F(RedisPartitions, WhoBeganAtTheEndMissesNothingThatCameSince) {
  transport_ = open_transport(server_.url());
  publish(*transport_, 0, 1, keys_);
  Interest interest;
  interest.service = "g";
  interest.instance = "a";
  interest.streams = {stream};
  interest.types = {"*"};
  interest.start.kind = Start::Kind::end;
  const auto subscription = transport_->subscribe(interest);
  const auto larger = open(4);
  server_.cli("SET", "{events:user}:partitions", 4);  // By somebody who makes no groups.
  publish(*larger, 1, 10, keys_);
  std::size_t came = 0;
  for (int tries = 0; tries < 3 && came < 10 * keys_.size(); ++tries) {
    const auto some = fetch(*subscription, 10 * keys_.size() - came);
    came += some.size();
    (void)settle(*subscription, some);
  }
  EXPECT_EQ(came, 10 * keys_.size());
}

TEST_F(RedisPartitions, KnowTheGroupsThatAreDownWhenTheyCome) {
  transport_ = open_transport(server_.url());
  GroupChange change;
  change.kind = GroupChange::Kind::create;
  transport_->change({stream, "g"}, change);
  change.kind = GroupChange::Kind::pause;
  transport_->change({stream, "g"}, change);
  transport_ = open(4);
  publish(*transport_, 0, 5, keys_);
  EXPECT_EQ(transport_->describe(stream).at(0).groups.at(0).lag, 5 * keys_.size());
  Retention retention;
  retention.age = Millis(0);
  (void)transport_->tend(retention, {});
  EXPECT_EQ(transport_->describe(stream).at(0).length, 5 * keys_.size()) << "nobody has read them";
  const auto subscription = subscribe("a");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty()) << "it is paused";
  change.kind = GroupChange::Kind::resume;
  transport_->change({stream, "g"}, change);
  const auto all = fetch(*subscription, 5 * keys_.size());
  EXPECT_EQ(all.size(), 5 * keys_.size());
  (void)settle(*subscription, all);
  const Position cursor = transport_->describe(stream).at(0).groups.at(0).cursor;
  for (const Delivery& each : all) EXPECT_LT(each.position, cursor) << "it is settled, and does not wait";
}

TEST_F(RedisPartitions, AreNotMadeByLooking) {
  const auto plain = open_transport(server_.url());
  publish(*plain, 0, 1, keys_);
  EXPECT_EQ(transport_->describe(stream).at(0).length, keys_.size());
  ReadRange range;
  range.stream = stream;
  EXPECT_EQ(transport_->read(range, {}).records.size(), keys_.size());
  (void)transport_->tend({}, {});
  EXPECT_EQ(server_.cli("EXISTS", "{events:user}:partitions"), "0");
}

TEST_F(RedisPartitions, ARoomForOneSeesAllOfThem) {
  publish(*transport_, 0, 5, keys_);
  const auto subscription = subscribe("a", Millis(30'000), 1);
  for (std::size_t i = 0; i < 5 * keys_.size(); ++i) {
    const Batch one = subscription->fetch(Millis(0), {});
    ASSERT_EQ(one.deliveries.size(), 1U) << i << ": nobody waits at an empty one while another has something";
    (void)settle(*subscription, one.deliveries);
  }
}

TEST_F(RedisPartitions, AreReadAsOneStream) {
  publish(*transport_, 0, 30, keys_);
  std::vector<std::string> seen;
  ReadRange range;
  range.stream = stream;
  range.limit = 7;
  Position last{};
  for (int page = 0; page < 1'000; ++page) {
    const Page found = transport_->read(range, {});
    for (const Record& record : found.records) {
      EXPECT_GE(record.position, last);
      last = record.position;
      seen.emplace_back(record.envelope);
    }
    range.from = found.next;
    if (found.end) break;
  }
  EXPECT_EQ(seen.size(), 30 * keys_.size());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  ReadRange tail;
  tail.stream = stream;
  tail.last = true;
  tail.limit = 5;
  const Page newest = transport_->read(tail, {});
  ASSERT_EQ(newest.records.size(), 5U);
  EXPECT_EQ(newest.records.back().envelope, seen.back());
  ReadRange one;
  one.stream = stream;
  one.id = "evt_29003";
  EXPECT_EQ(transport_->read(one, {}).records.size(), 1U);
}

// Whoever follows them misses nothing that is stored meanwhile in another one, with an id that is earlier by a little.
TEST_F(RedisPartitions, AreFollowedWithoutGaps) {
  publish(*transport_, 0, 1, keys_);
  constexpr int rounds = 400;
  const auto reader = open(4);
  std::jthread publisher([&] {
    for (int i = 1; i <= rounds; ++i) publish(*transport_, i, 1, keys_);
  });
  ReadRange range;
  range.stream = stream;
  range.limit = 50;
  range.wait = Millis(2'000);
  std::set<std::string> seen;
  for (std::size_t before = 1; before != seen.size() && seen.size() < (rounds + 1) * keys_.size();) {
    before = seen.size();
    const Page page = reader->read(range, {});
    for (const Record& record : page.records) EXPECT_TRUE(seen.emplace(record.envelope).second) << record.envelope;
    range.from = page.next;
  }
  EXPECT_EQ(seen.size(), (rounds + 1) * keys_.size());
}

// Whoever reads on from page to page misses nothing either when a category is given partitions, or more of them, also
// where he was there before.
TEST_F(RedisPartitions, WhoReadsOnMissesNothingOfThoseThatCome) {
  const auto reader = open_transport(server_.url());
  ReadRange range;
  range.stream = stream;
  range.limit = 5;
  std::set<std::string> seen;
  const auto read_on = [&] {
    for (bool more = true; more;) {
      const Page page = reader->read(range, {});
      for (const Record& record : page.records) EXPECT_TRUE(seen.emplace(record.envelope).second) << record.envelope;
      range.from = page.next;
      more = !page.records.empty();
    }
  };
  read_on();
  int first = 0;
  for (const int partitions : {1, 2, 4}) {
    const auto publisher = open(partitions);
    for (int i = 0; i < 3; ++i, ++first) {
      publish(*publisher, first, 1, keys_);
      read_on();
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(first) * keys_.size()) << partitions;
  }
}

TEST_F(RedisPartitions, AreFollowedWithoutGapsWhileTheyCome) {
  const auto reader = open_transport(server_.url());
  constexpr int rounds = 50;
  std::jthread publisher([&] {
    int first = 0;
    for (const int partitions : {1, 2, 3, 5, 8}) {
      const auto larger = open(partitions);
      for (int i = 0; i < rounds; ++i) publish(*larger, first++, 1, keys_);
    }
  });
  constexpr std::size_t all = 5 * rounds;
  ReadRange range;
  range.stream = stream;
  range.limit = 50;
  range.wait = Millis(2'000);
  std::set<std::string> seen;
  for (bool more = true; more && seen.size() < all * keys_.size();) {
    const Page page = reader->read(range, {});
    for (const Record& record : page.records) EXPECT_TRUE(seen.emplace(record.envelope).second) << record.envelope;
    range.from = page.next;
    more = !page.records.empty();
  }
  EXPECT_EQ(seen.size(), all * keys_.size());
}

TEST_F(RedisPartitions, HaveOneShelfAndOneGroup) {
  publish(*transport_, 0, 1, keys_);
  const GroupRef group{stream, "g"};
  auto subscription = subscribe("a");
  const auto all = fetch(*subscription, keys_.size());
  ASSERT_EQ(all.size(), keys_.size());
  (void)settle(*subscription, all, Settlement::Kind::dead);
  ShelfQuery query;
  query.limit = 5;
  std::set<std::string> keys;
  for (int page = 0; page < 10; ++page) {
    const auto items = transport_->shelf(group, query);
    if (items.empty()) break;
    for (const ShelfItem& item : items) {
      EXPECT_TRUE(keys.insert(item.key).second);
      EXPECT_EQ(item.stream, stream);
      query.after = std::max(query.after, item.key);
    }
  }
  EXPECT_EQ(keys.size(), keys_.size());
  GroupChange change;
  change.kind = GroupChange::Kind::remove;
  EXPECT_THROW(transport_->change(group, change), Error) << "dead letters stand in the way";
  EXPECT_EQ(transport_->shelf(group, {}).size(), keys_.size()) << "and none is gone";
  ShelfQuery some;
  some.ids = {*keys.rbegin()};
  EXPECT_EQ(transport_->move(group, some, ShelfAction::drop, {}), 1U);
  EXPECT_EQ(transport_->move(group, {}, ShelfAction::hand_out, {}), keys_.size() - 1);
  EXPECT_EQ(fetch(*subscription, keys_.size() - 1).size(), keys_.size() - 1);
  change.kind = GroupChange::Kind::pause;
  transport_->change(group, change);
  publish(*transport_, 1, 1, keys_);
  const Batch paused = subscription->fetch(Millis(100), {});
  EXPECT_TRUE(paused.paused);
  EXPECT_TRUE(paused.deliveries.empty());
  subscription.reset();
  change.kind = GroupChange::Kind::remove;
  change.force = true;
  transport_->change(group, change);
  EXPECT_EQ(server_.cli("KEYS", "{events:user*:state:*"), "");
}

// A replay to one group keeps the partition of a key, and trimming reaches all of them.
TEST_F(RedisPartitions, AreReplayedAndTrimmed) {
  publish(*transport_, 0, 3, keys_);
  const auto subscription = subscribe("a");
  (void)settle(*subscription, fetch(*subscription, 3 * keys_.size()));
  std::vector<std::string> envelopes;
  for (std::size_t k = 0; k < keys_.size(); ++k)
    envelopes.push_back("{\"id\":\"evt_" + std::to_string(9000 + k) + "\"}");
  std::vector<Outgoing> items(keys_.size());
  for (std::size_t k = 0; k < keys_.size(); ++k) {
    items[k].id = keys_[k];
    items[k].type = "user.created";
    items[k].envelope = envelopes[k];
  }
  std::vector<Result> results(items.size());
  transport_->inject({stream, "g"}, Origin::replay, 7, items, results);
  const auto replayed = fetch(*subscription, keys_.size());
  ASSERT_EQ(replayed.size(), keys_.size());
  for (const Delivery& each : replayed) EXPECT_EQ(each.run, 7U);
  (void)settle(*subscription, replayed);
  Retention retention;
  retention.age = Millis(0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (transport_->describe(stream).at(0).length > 0 && std::chrono::steady_clock::now() < deadline) {
    (void)transport_->tend(retention, {});
  }
  EXPECT_EQ(transport_->describe(stream).at(0).length, 0U);
}

struct Moved {
  std::int64_t n = 0;
};
TIDINGS_EVENT(Moved, "user.moved", "1.0", n)

// Through the whole library, with outputs, on the nodes of a cluster.
TEST(RedisPartitionsOfACluster, LieOnSeveralNodes) {
  support::RedisCluster servers(support::Aof::off);
  const std::string url = servers.url() + "?partitions=user:6";
  Bus bus = Bus::open(url, {.source = "test"});
  Service service{bus, "mover"};
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::vector<std::int64_t>> seen;
  std::size_t count = 0;
  service.on<Moved>([&](const DomainEvent<Moved>& event, Context& context) {
    const std::lock_guard lock(mutex);
    seen[event.metadata.string("partitionKey").value_or("")].push_back(event.data.n);
    ++count;
    if (event.data.n < 1'000) context.publish(Moved{event.data.n + 1'000}, {.key = "out"});
    changed.notify_all();
  });
  std::jthread running([&](const std::stop_token& stop) { service.run(stop); });
  for (std::int64_t n = 0; n < 20; ++n) {
    for (int key = 0; key < 10; ++key) bus.publish(Moved{n}, {.key = "key" + std::to_string(key)});
  }
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return count >= 400; })) << count;
  for (const auto& [key, numbers] : seen) {
    EXPECT_TRUE(key == "out" || std::is_sorted(numbers.begin(), numbers.end())) << key;
  }
  lock.unlock();
  int nodes = 0;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    nodes += servers.node(i).cli("ROLE").starts_with("master") &&
                     servers.node(i).cli("--scan", "--pattern", "events:user*") != ""
                 ? 1
                 : 0;
  }
  EXPECT_GT(nodes, 1);
}

}  // namespace
}  // namespace tidings::transport
