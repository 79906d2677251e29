// Properties of settling: what a verdict changes, for whom, and how often.
#include <algorithm>
#include <atomic>

#include "conformance.hpp"

namespace tidings::conformance {

namespace {

using Kind = Settlement::Kind;

// The only delivery that comes now; fails the test when it is not exactly one.
Delivery only(Subscription& subscription) {
  std::vector<Delivery> some = fetch_all(subscription);
  EXPECT_EQ(some.size(), 1U);
  return some.empty() ? Delivery{} : some.front();
}

}  // namespace

TEST_P(Conformance, P17_DoubleAck) {
  const auto transport = open();
  publish_ticks(*transport, 0, 3);
  const auto subscription = transport->subscribe(interest("reader"));
  const std::vector<Delivery> all = fetch_all(*subscription);
  ASSERT_EQ(all.size(), 3U);
  const std::vector<Delivery> one{all[1]};
  settle_done(*subscription, one);
  for (const Kind kind : {Kind::done, Kind::again, Kind::dead, Kind::release, Kind::ignored}) {
    const std::vector<Result> second = settle(*subscription, one, {.kind = kind, .reason = "rejected"});
    EXPECT_TRUE(second.at(0).stale) << "kind " << static_cast<int>(kind);
  }
  // The same token twice in one call: the first counts.
  const std::vector<Result> twice = settle(*subscription, {all[0], all[0]});
  EXPECT_EQ(twice.at(0).code, ErrorCode::ok);
  EXPECT_FALSE(twice.at(0).stale);
  EXPECT_TRUE(twice.at(1).stale);
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 2U));
  EXPECT_EQ(group.dead_letters, 0U);
  EXPECT_EQ(group.retrying, 0U);
  EXPECT_EQ(group.pending, 1U);
  EXPECT_TRUE(fetch_all(*subscription).empty());
}

TEST_P(Conformance, P21_DeliveryCount) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_A_SHELF;
  const auto transport = open();
  publish_ticks(*transport, 0, 1);
  const auto subscription = transport->subscribe(interest("reader"));
  for (std::uint32_t attempt = 1; attempt <= 5; ++attempt) {
    const Delivery delivery = only(*subscription);
    ASSERT_EQ(delivery.attempt, attempt);
    EXPECT_EQ(delivery.crashes, 0U);
    EXPECT_EQ(delivery.origin, attempt == 1 ? transport::Origin::live : transport::Origin::retry);
    settle(*subscription, {delivery}, {.kind = Kind::again, .after = 10s, .error = "no " + std::to_string(attempt)});
    EXPECT_TRUE(fetch_all(*subscription).empty()) << "it came back before its time";
    const std::vector<ShelfItem> waiting = shelf(*transport, test_stream, "reader", {ShelfState::retrying});
    if (transport->capabilities().exact_lag) {
      ASSERT_EQ(waiting.size(), 1U);
      EXPECT_EQ(waiting[0].attempts, attempt + 1) << "the running attempt is failures + 1";
      EXPECT_EQ(waiting[0].error, "no " + std::to_string(attempt));
    } else {
      // What a queue hides until its time it counts, and does not list.
      EXPECT_EQ(group_info(*transport, test_stream, "reader").pending + waiting.size(), 1U);
    }
    clock().advance(10s);
  }
  // A release is no attempt, at once or later.
  Delivery delivery = only(*subscription);
  settle(*subscription, {delivery}, {.kind = Kind::release});
  delivery = only(*subscription);
  EXPECT_EQ(delivery.attempt, 6U);
  settle(*subscription, {delivery}, {.kind = Kind::release, .after = 5s});
  EXPECT_TRUE(fetch_all(*subscription).empty());
  clock().advance(5s);
  delivery = only(*subscription);
  EXPECT_EQ(delivery.attempt, 6U);
  EXPECT_EQ(delivery.crashes, 0U);
  settle(*subscription, {delivery}, {.kind = Kind::dead, .reason = "attempts_exhausted", .error = "last"});
  const std::vector<ShelfItem> dead = shelf(*transport, test_stream, "reader", {ShelfState::dead});
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].attempts, 6U);
  EXPECT_EQ(dead[0].crashes, 0U);
  EXPECT_EQ(dead[0].reason, "attempts_exhausted");
  EXPECT_EQ(dead[0].error, "last");
  EXPECT_EQ(dead[0].id, "evt_0");
  EXPECT_EQ(dead[0].envelope, tick(0).envelope);
}

TEST_P(Conformance, P21_DeliveryCount_OfDeaths) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_DEATHS_SEEN;
  const auto transport = open();
  publish_ticks(*transport, 0, 3);
  std::vector<std::unique_ptr<Subscription>> dead;
  dead.push_back(transport->subscribe(interest("reader")));
  ASSERT_EQ(fetch_all(*dead.back()).size(), 3U);
  std::map<std::string, std::uint32_t> deaths{{"evt_0", 1}, {"evt_1", 1}, {"evt_2", 1}};
  for (int round = 0; round < 5; ++round) {
    clock().advance(31s);
    dead.push_back(transport->subscribe(interest("reader")));
    const std::vector<Delivery> some = fetch_all(*dead.back());
    ASSERT_EQ(some.size(), 1U) << "after a death deliveries come alone";
    EXPECT_TRUE(some[0].alone);
    EXPECT_EQ(some[0].attempt, 1U) << "a death is no attempt";
    EXPECT_EQ(some[0].crashes, deaths[id_of(some[0].envelope)]);
    // Whoever runs it now dies as well: one crash more for this one, and for no other.
    ++deaths[id_of(some[0].envelope)];
  }
  clock().advance(31s);
  const auto last = transport->subscribe(interest("reader"));
  for (int n = 0; n < 3; ++n) {
    const Delivery delivery = only(*last);
    EXPECT_TRUE(delivery.alone);
    EXPECT_EQ(delivery.crashes, deaths[id_of(delivery.envelope)]);
    settle_done(*last, {delivery});
  }
  dead.clear();
  EXPECT_TRUE(fetch_all(*last).empty());
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 3U));
}

TEST_P(Conformance, P26_PartialBatchFailure) {
  const auto transport = open();
  publish_ticks(*transport, 0, 10);
  const auto subscription = transport->subscribe(interest("reader"));
  const std::vector<Delivery> all = fetch_all(*subscription);
  ASSERT_EQ(all.size(), 10U);
  settle_done(*subscription, {all[3]});
  std::vector<Settlement> mixed;
  for (const Delivery& delivery : all) mixed.push_back({.kind = Kind::done, .token = delivery.token});
  mixed[5].kind = Kind::again;
  mixed[5].error = "five";
  mixed[7].kind = Kind::dead;
  mixed[7].reason = "rejected";
  std::vector<Result> results(mixed.size());
  subscription->settle(mixed, results);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].stale, i == 3) << i;
  const Delivery again = only(*subscription);
  EXPECT_EQ(id_of(again.envelope), id_of(all[5].envelope));
  EXPECT_EQ(again.attempt, 2U);
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 8U));
  EXPECT_EQ(group.dead_letters, 1U);
}

TEST_P(Conformance, P35_StaleAck) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  make_groups(*transport, "events:output", {witness});
  publish_ticks(*transport, 0, 2);
  const auto a = transport->subscribe(interest("reader"));
  const std::vector<Delivery> stalled = fetch_all(*a);
  ASSERT_EQ(stalled.size(), 2U);
  clock().advance(31s);
  const auto b = transport->subscribe(interest("reader"));
  const Delivery first = only(*b);
  EXPECT_EQ(first.crashes, capabilities().counts_crashes ? 1U : 0U);
  const Item output = tick(77, "events:output");
  const Outgoing out = output.out();
  // The late failure is refused, and so is the late success with its outputs.
  EXPECT_TRUE(settle(*a, {stalled[0]}, {.kind = Kind::again, .error = "late"}).at(0).stale);
  EXPECT_TRUE(settle(*a, {stalled[0]}, {.kind = Kind::dead, .reason = "rejected"}).at(0).stale);
  EXPECT_TRUE(settle(*a, {stalled[0]}, {.kind = Kind::release}).at(0).stale);
  EXPECT_TRUE(settle(*a, {stalled[0]}, {.kind = Kind::done, .outputs = {&out, 1}}).at(0).stale);
  EXPECT_TRUE(read_envelopes(*transport, "events:output").empty()) << "outputs of a stale settlement were stored";
  const std::vector<AckToken> lost = a->renew();
  EXPECT_TRUE(std::find(lost.begin(), lost.end(), stalled[1].token) != lost.end()) << "renew() must name what was lost";
  const std::vector<Result> ours = settle(*b, {first});
  EXPECT_EQ(ours.at(0).code, ErrorCode::ok);
  EXPECT_FALSE(ours.at(0).stale) << "the new owner's success still counts";
  const Delivery second = only(*b);
  EXPECT_TRUE(second.attempt == 1U || !capabilities().counts_crashes) << "a death counted as an attempt";
  settle_done(*b, {second});
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 2U));
  EXPECT_EQ(group_info(*transport, test_stream, "reader").dead_letters, 0U);
}

TEST_P(Conformance, P48_BatchHalf) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  std::vector<Tick> ten;
  for (int n = 0; n < 10; ++n) ten.push_back({n, {}});
  for (const PublishResult& result : harness.bus().publish_batch(ten)) ASSERT_EQ(result.code, ErrorCode::ok);
  std::map<std::int64_t, int> calls;
  Service service{harness.bus(), "reader"};
  service.on_batch<Tick>(
      [&](std::span<const DomainEvent<Tick>> events, BatchContext& batch) {
        for (std::size_t i = 0; i < events.size(); ++i) {
          const int call = ++calls[events[i].data.n];
          if (events[i].data.n % 4 == 1 && call == 1) batch.fail(i, "not this one");
        }
      },
      {.size = 10, .wait = 0ms, .handler = {.backoff = {.first = 1s, .jitter = false}}});
  harness.add(service);
  harness.settle();
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 7U));
  // A queue counts what it hides until its time, whatever for.
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_EQ(group.retrying + (transport->capabilities().exact_lag ? 0 : group.pending), 3U);
  clock().advance(2s);
  harness.settle();
  for (const auto& [n, count] : calls) EXPECT_EQ(count, n % 4 == 1 ? 2 : 1) << n;
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 10U));
}

TEST_P(Conformance, P56_ReplayDuringLive) {
  const auto transport = open();
  if (!transport->capabilities().inject) NOT_OFFERED("the engine hands nothing to one group only");
  publish_ticks(*transport, 0, 10);
  const auto a = transport->subscribe(interest("a"));
  const auto b = transport->subscribe(interest("b"));
  EXPECT_EQ(consume_all(*a).size(), 10U);
  std::vector<Item> past;
  for (int n = 0; n < 5; ++n) past.push_back(tick(n));
  std::vector<Outgoing> copies;
  for (const Item& item : past) copies.push_back(item.out());
  std::vector<Result> results(copies.size());
  transport->inject({test_stream, "a"}, transport::Origin::replay, 7, copies, results);
  for (const Result& result : results) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  publish_ticks(*transport, 10, 10);
  std::map<std::string, int> live, replayed;
  for (std::vector<Delivery> some = fetch_all(*a); !some.empty(); some = fetch_all(*a)) {
    for (const Delivery& delivery : some) {
      const bool marked = delivery.origin == transport::Origin::replay;
      EXPECT_EQ(delivery.run, marked ? 7U : 0U);
      EXPECT_EQ(delivery.attempt, 1U);
      ++(marked ? replayed : live)[id_of(delivery.envelope)];
    }
    settle_done(*a, some);
  }
  EXPECT_EQ(live.size(), 10U);
  EXPECT_EQ(replayed.size(), 5U);
  EXPECT_TRUE(replayed.contains("evt_0"));
  const std::map<std::string, int> other = consume_all(*b);
  EXPECT_EQ(other.size(), 20U);
  for (const auto& [id, count] : other) EXPECT_EQ(count, 1) << id << ": another group was disturbed";
  EXPECT_EQ(read_envelopes(*transport, test_stream).size(), 20U) << "a replay stores nothing in the stream";
}

namespace {

// A dead letter, a retry with time left, one that waits, and one that a process died of.
std::vector<ShelfItem> items_of_another_engine(Wall now) {
  std::vector<ShelfItem> items(4);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item event = tick(static_cast<std::int64_t>(i));
    items[i].id = event.id;
    items[i].type = event.type;
    items[i].envelope = event.envelope;
  }
  items[0].state = ShelfState::dead;
  items[0].reason = "rejected";
  items[0].error = "unknown currency";
  items[0].attempts = 4;
  items[0].crashes = 2;
  items[0].run = 9;
  items[0].origin = transport::Origin::replay;
  items[0].first_failed = now - 1h;
  items[0].last_failed = now - 1min;
  items[1].state = ShelfState::retrying;
  items[1].attempts = 3;
  items[1].due = now + 2h;
  items[1].origin = transport::Origin::retry;
  items[2].state = ShelfState::waiting;
  items[2].attempts = 2;
  items[3].state = ShelfState::waiting;
  items[3].attempts = 1;
  items[3].crashes = 1;
  return items;
}

}  // namespace

// What another engine held aside stands here as it stood there.
TEST_P(Conformance, P67_Shelved) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  if (!transport->capabilities().shelf) NOT_OFFERED("the engine's dead letters cannot be listed or moved");
  const auto subscription = transport->subscribe(interest("reader"));
  const std::vector<ShelfItem> items = items_of_another_engine(clock().wall());
  std::vector<Result> results(items.size());
  transport->shelve({test_stream, "reader"}, items, results);
  for (const Result& result : results) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  EXPECT_THROW(transport->shelve({test_stream, "nobody"}, items, results), Error);

  const auto dead = shelf(*transport, test_stream, "reader", {ShelfState::dead});
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].id, items[0].id);
  EXPECT_EQ(dead[0].envelope, items[0].envelope);
  EXPECT_EQ(dead[0].reason, "rejected");
  EXPECT_EQ(dead[0].error, "unknown currency");
  EXPECT_EQ(dead[0].attempts, 4U);
  EXPECT_EQ(dead[0].crashes, 2U);
  EXPECT_EQ(dead[0].run, 9U);
  EXPECT_EQ(dead[0].first_failed, items[0].first_failed);
  EXPECT_EQ(dead[0].last_failed, items[0].last_failed);
  const auto retrying = shelf(*transport, test_stream, "reader", {ShelfState::retrying});
  ASSERT_EQ(retrying.size(), 1U);
  EXPECT_EQ(retrying[0].attempts, 3U);
  EXPECT_TRUE(retrying[0].due);

  std::map<std::string, std::pair<std::uint32_t, std::uint32_t>> came;
  for (auto some = fetch_all(*subscription); !some.empty(); some = fetch_all(*subscription)) {
    for (const Delivery& each : some) {
      came[id_of(each.envelope)] = {each.attempt, each.crashes};
      EXPECT_EQ(each.alone, each.crashes > 0);
    }
    settle_done(*subscription, some);
  }
  EXPECT_EQ(came, (std::map<std::string, std::pair<std::uint32_t, std::uint32_t>>{{items[2].id, {2, 0}},
                                                                                  {items[3].id, {1, 1}}}));
  clock().advance(2h);
  const auto due = fetch_all(*subscription);
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(id_of(due[0].envelope), items[1].id);
  EXPECT_EQ(due[0].attempt, 3U);
  settle_done(*subscription, due);
  EXPECT_EQ(transport->move({test_stream, "reader"}, {.states = {ShelfState::dead}}, transport::ShelfAction::hand_out),
            1U);
  const auto redriven = fetch_all(*subscription);
  ASSERT_EQ(redriven.size(), 1U);
  EXPECT_EQ(redriven[0].attempt, 1U);
}

TEST_P(Conformance, P57_RedriveTwice) {
  const auto transport = open();
  if (!transport->capabilities().shelf) NOT_OFFERED("the engine's dead letters cannot be listed or moved");
  publish_ticks(*transport, 0, 20);
  const auto subscription = transport->subscribe(interest("reader"));
  settle(*subscription, fetch_all(*subscription), {.kind = Kind::dead, .reason = "rejected", .error = "why"});
  const auto query = [](std::string id) { return ShelfQuery{.ids = {std::move(id)}, .states = {ShelfState::dead}}; };
  EXPECT_EQ(transport->move({test_stream, "reader"}, query("evt_0"), transport::ShelfAction::hand_out), 1U);
  EXPECT_EQ(transport->move({test_stream, "reader"}, query("evt_0"), transport::ShelfAction::hand_out), 0U);
  const Delivery first = only(*subscription);
  EXPECT_EQ(id_of(first.envelope), "evt_0");
  EXPECT_EQ(first.attempt, 1U) << "a redrive begins anew";
  EXPECT_EQ(first.origin, transport::Origin::redrive);
  EXPECT_EQ(first.run, 0U);
  settle_done(*subscription, {first});
  // From several handles at once each dead letter still goes out once.
  std::atomic<std::size_t> moved{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, handle = open()] {
        moved +=
            handle->move({test_stream, "reader"}, {.states = {ShelfState::dead}}, transport::ShelfAction::hand_out);
      });
    }
  }
  EXPECT_EQ(moved.load(), 19U);
  const std::map<std::string, int> out = consume_all(*subscription);
  EXPECT_EQ(out.size(), 19U);
  for (const auto& [id, count] : out) EXPECT_EQ(count, 1) << id;
  EXPECT_TRUE(shelf(*transport, test_stream, "reader", {ShelfState::dead}).empty());
}

TEST_P(Conformance, P65_RetryPrivate) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_A_SHELF;
  const auto transport = open();
  publish_ticks(*transport, 0, 1);
  const auto fails = transport->subscribe(interest("fails"));
  const auto works = transport->subscribe(interest("works"));
  const Delivery mine = only(*works);
  settle_done(*works, {mine});
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    const Delivery delivery = only(*fails);
    EXPECT_EQ(delivery.attempt, attempt);
    settle(*fails, {delivery}, {.kind = Kind::again, .after = 1s});
    clock().advance(1s);
    EXPECT_TRUE(fetch_all(*works).empty()) << "a retry of one group reached another";
  }
  settle(*fails, {only(*fails)}, {.kind = Kind::dead, .reason = "attempts_exhausted"});
  transport->move({test_stream, "fails"}, {.states = {ShelfState::dead}}, transport::ShelfAction::hand_out);
  EXPECT_EQ(fetch_all(*fails).size(), 1U);
  EXPECT_TRUE(fetch_all(*works).empty()) << "a redrive of one group reached another";
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "works").handled, 1U));
  EXPECT_EQ(read_envelopes(*transport, test_stream).size(), 1U);
}

}  // namespace tidings::conformance
