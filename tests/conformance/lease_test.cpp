// Properties of leases: who may settle what, and what a death costs.
#include <atomic>

#include "meddler.hpp"

namespace tidings::conformance {

namespace {

using Kind = Settlement::Kind;

}  // namespace

TEST_P(Conformance, P27_Poison) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_DEATHS_SEEN;
  NEEDS_A_SHELF;
  // The runtime's rule by hand: whoever touches the poison dies with all that it holds; at three crashes it goes aside.
  const auto transport = open();
  publish_ticks(*transport, 0, 500);
  constexpr std::string_view poison = "evt_137";
  std::vector<std::unique_ptr<Subscription>> graves;
  int deaths = 0, together = 0;
  std::set<std::string> handled;
  std::unique_ptr<Subscription> current = transport->subscribe(interest("reader"));
  for (int round = 0; round < 5000; ++round) {
    const std::vector<Delivery> some = fetch_all(*current);
    if (some.empty()) break;
    if (some.size() > 1) ++together;
    bool died = false;
    for (const Delivery& delivery : some) {
      EXPECT_EQ(delivery.attempt, 1U) << "a death counted as an attempt";
      EXPECT_TRUE(!delivery.alone || some.size() == 1);
      const std::string id = id_of(delivery.envelope);
      if (delivery.crashes >= 3) {
        EXPECT_EQ(id, poison) << "an innocent was blamed";
        settle(*current, {delivery}, {.kind = Kind::dead, .counted = false, .reason = "crashed"});
        continue;
      }
      if (id == poison) {
        died = true;
        break;
      }
      if (handled.size() % 2 == 0 || some.size() == 1) settle_done(*current, {delivery});
      // What was handled but not settled before the death runs twice; that is at-least-once.
      handled.insert(id);
    }
    if (!died) {
      for (const Delivery& delivery : some) settle(*current, {delivery});
      continue;
    }
    ++deaths;
    graves.push_back(std::move(current));
    clock().advance(31s);
    current = transport->subscribe(interest("reader"));
  }
  EXPECT_EQ(deaths, 3);
  EXPECT_EQ(handled.size(), 499U);
  const std::vector<ShelfItem> dead = shelf(*transport, test_stream, "reader", {ShelfState::dead});
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].id, poison);
  EXPECT_EQ(dead[0].reason, "crashed");
  EXPECT_EQ(dead[0].crashes, 3U);
  EXPECT_EQ(dead[0].attempts, 0U);
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 499U));
  EXPECT_EQ(group.pending, 0U);
}

TEST_P(Conformance, P27_Poison_InAService) {
  NEEDS_DEATHS_SEEN;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  harness.publish(Tick{-1, "poison"});
  Seen seen;
  int deaths = 0;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) {
    if (event.data.n >= 0) return seen.add(event.id);
    EXPECT_TRUE(harness.dead_letters(service).empty());
    // The call that runs now dies; the next one will be the same event again, alone.
    if (++deaths < 3) harness.crash_next(service);
  });
  harness.add(service);
  harness.crash_next(service);
  harness.settle();
  EXPECT_EQ(deaths, 3) << "an event that killed three processes must not be run again, and not be given up before";
  publish_ticks(*transport, 0, 60);
  harness.settle();
  const std::vector<testing::DeadLetter> dead = harness.dead_letters(service);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, "crashed");
  EXPECT_EQ(dead[0].crashes, 3U);
  EXPECT_EQ(seen.distinct(), 60U);
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 60U));
}

TEST_P(Conformance, P28_LeaseExtended) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  publish_ticks(*transport, 0, 3);
  const auto a = transport->subscribe(interest("reader"));
  const std::vector<Delivery> held = fetch_all(*a);
  ASSERT_EQ(held.size(), 3U);
  const auto b = transport->subscribe(interest("reader"));
  for (int renewal = 0; renewal < 10; ++renewal) {
    clock().advance(20s);
    EXPECT_TRUE(a->renew().empty());
    transport->tend({}, {});
    EXPECT_TRUE(fetch_all(*b).empty()) << "a renewed delivery went to another";
  }
  settle_done(*a, held);
  EXPECT_TRUE(fetch_all(*b).empty());
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 3U));
}

TEST_P(Conformance, P28_LeaseExtended_ByTheService) {
  const auto meddler = std::make_shared<Meddler>(open_real());
  std::atomic<int> renewals{0};
  Signal outlived;
  meddler->on_renew = [&](const auto& pass) {
    if (++renewals == 5) outlived.raise();
    return pass();
  };
  Bus bus = Bus::over(meddler, bus_options());
  publish_ticks(*meddler, 0, 1);
  Seen seen;
  std::atomic<int> calls{0};
  const auto handler = [&](const DomainEvent<Tick>& event, Context& context) {
    ++calls;
    // Five renewals at a third of the lease: longer than the lease itself.
    EXPECT_TRUE(outlived.wait());
    EXPECT_FALSE(context.stop_token().stop_requested());
    seen.add(event.id);
  };
  // Long enough for a machine that has much else to do: who cannot renew for two thirds of it is told to stop.
  Service first{bus, "reader", {.lease = 1'500ms}};
  first.on<Tick>(handler);
  Service second{bus, "reader", {.lease = 1'500ms}};
  second.on<Tick>(handler);
  Running run_first{first};
  Running run_second{second};
  ASSERT_TRUE(seen.wait_for(1));
  ASSERT_TRUE(run_first.stop());
  ASSERT_TRUE(run_second.stop());
  EXPECT_EQ(calls.load(), 1);
  EXPECT_TRUE(counts(group_info(*meddler, test_stream, "reader").handled, 1U));
}

TEST_P(Conformance, P34_CrashDeadLetterBeforeAck) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_A_SHELF;
  const auto transport = open();
  publish_ticks(*transport, 0, 3);
  auto a = transport->subscribe(interest("reader"));
  const std::vector<Delivery> held = fetch_all(*a);
  ASSERT_EQ(held.size(), 3U);
  const Settlement dead{.kind = Kind::dead, .reason = "rejected", .error = "bad"};
  EXPECT_FALSE(settle(*a, {held[0]}, dead).at(0).stale);
  // It dies after the dead letter, and says it again when it is long gone.
  clock().advance(31s);
  const auto b = transport->subscribe(interest("reader"));
  std::map<std::string, int> again;
  for (std::vector<Delivery> some = fetch_all(*b); !some.empty(); some = fetch_all(*b)) {
    for (const Delivery& delivery : some) ++again[id_of(delivery.envelope)];
    settle(*b, some, dead);
  }
  EXPECT_EQ(again.size(), 2U);
  EXPECT_FALSE(again.contains("evt_0")) << "a dead letter came back as a delivery";
  for (const Delivery& delivery : held) EXPECT_TRUE(settle(*a, {delivery}, dead).at(0).stale);
  a.reset();
  std::map<std::string, int> letters;
  for (const ShelfItem& item : shelf(*transport, test_stream, "reader", {ShelfState::dead})) ++letters[item.id];
  EXPECT_EQ(letters.size(), 3U);
  for (const auto& [id, count] : letters) EXPECT_EQ(count, 1) << id;
  EXPECT_EQ(group_info(*transport, test_stream, "reader").dead_letters, 3U);
}

TEST_P(Conformance, P37_RenewalDead) {
  const auto meddler = std::make_shared<Meddler>(open_real());
  // Whoever renews learns that everything it holds went to others.
  std::mutex mutex;
  std::vector<AckToken> held;
  meddler->on_fetched = [&](const Batch& batch) {
    const std::lock_guard lock(mutex);
    for (const Delivery& delivery : batch.deliveries) held.push_back(delivery.token);
  };
  meddler->on_renew = [&](const auto&) {
    const std::lock_guard lock(mutex);
    return held;
  };
  meddler->on_settle = [](std::span<const Settlement>, std::span<Result> results, const auto&) {
    for (Result& result : results) result = {.code = ErrorCode::stale, .stale = true, .message = "lost"};
  };
  Bus bus = Bus::over(meddler, bus_options());
  publish_ticks(*meddler, 0, 1);
  Signal cancelled;
  Service service{bus, "reader", {.lease = 300ms}};
  service.on<Tick>([&](const DomainEvent<Tick>&, Context& context) {
    std::mutex unused;
    std::condition_variable_any changed;
    std::unique_lock lock(unused);
    changed.wait_for(lock, context.stop_token(), 60s, [] { return false; });
    if (context.stop_token().stop_requested()) cancelled.raise();
  });
  Running running{service};
  EXPECT_TRUE(cancelled.wait()) << "a handler whose lease is gone must be told";
  ASSERT_TRUE(running.stop());
  EXPECT_EQ(service.stats().handled, 0U) << "work on a lost lease counts for nobody";
}

TEST_P(Conformance, P38_RedeliveryStorm) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_DEATHS_SEEN;
  const auto transport = open();
  publish_ticks(*transport, 0, 10'000);
  Interest greedy = interest("reader");
  greedy.events = 10'000;
  greedy.bytes = 64U << 20;
  const auto a = transport->subscribe(greedy);
  ASSERT_EQ(fetch_all(*a).size(), 10'000U);
  clock().advance(31s);
  const auto b = transport->subscribe(interest("reader"));
  std::set<std::string> ids;
  for (int round = 0; round < 20'000 && ids.size() < 10'000; ++round) {
    const Batch batch = b->fetch(0ms, {});
    ASSERT_LE(batch.deliveries.size(), 1U) << "what a death left must trickle, not flood";
    for (const Delivery& delivery : batch.deliveries) {
      ASSERT_TRUE(delivery.alone);
      ASSERT_EQ(delivery.crashes, 1U);
      ids.insert(id_of(delivery.envelope));
    }
    settle_done(*b, batch.deliveries);
    if (round % 500 == 0) b->renew();
  }
  EXPECT_EQ(ids.size(), 10'000U);
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 10'000U));
}

TEST_P(Conformance, P40_ClockJump) {
  NEEDS_A_MOVABLE_CLOCK;
  for (const Millis jump : {Millis(1h), Millis(-1h), Millis(24h * 3653), Millis(-24h * 3653)}) {
    const auto transport = open();
    const std::string stream = "events:jump" + std::to_string(jump.count() + 400'000'000'000);
    make_groups(*transport, stream);
    publish_ticks(*transport, 0, 2, stream);
    Interest one = interest("reader", {stream});
    one.events = 1;
    const auto a = transport->subscribe(one);
    const std::vector<Delivery> held = fetch_all(*a);
    ASSERT_EQ(held.size(), 1U);
    const auto b = transport->subscribe(one);
    const std::vector<Delivery> other = fetch_all(*b);
    ASSERT_EQ(other.size(), 1U);
    settle(*b, other, {.kind = Kind::again, .after = 10s});
    clock().jump_wall(jump);
    transport->tend({}, {});
    EXPECT_TRUE(fetch_all(*b).empty()) << "a jump of the wall clock by " << jump.count()
                                       << " ms ended a lease, or a backoff early";
    clock().advance(11s);
    EXPECT_TRUE(a->renew().empty()) << "a jump of the wall clock ended a lease";
    EXPECT_EQ(fetch_all(*b).size(), 1U) << "a jump of the wall clock by " << jump.count() << " ms held a retry back";
    settle_done(*a, held);
    // Ids go on being unique and well formed, and what is published now is delivered.
    std::set<std::string> made;
    for (int n = 0; n < 100; ++n) made.insert(new_event_id(clock().wall(), system_random()));
    EXPECT_EQ(made.size(), 100U);
  }
}

TEST_P(Conformance, P64_ReclaimFairness) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  publish_ticks(*transport, 0, 400);
  Interest many = interest("reader");
  many.events = 300;
  const auto busy = transport->subscribe(many);
  ASSERT_EQ(fetch_all(*busy, 300).size(), 300U);
  many.events = 100;
  const auto orphaned = transport->subscribe(many);
  std::map<std::string, int> orphans;
  for (const Delivery& each : fetch_all(*orphaned, 100)) ++orphans[id_of(each.envelope)];
  ASSERT_EQ(orphans.size(), 100U);
  Interest small = interest("reader");
  small.events = 10;
  const auto claimer = transport->subscribe(small);
  clock().advance(20s);
  EXPECT_TRUE(busy->renew().empty());
  claimer->renew();
  clock().advance(15s);
  EXPECT_TRUE(busy->renew().empty());
  const std::map<std::string, int> claimed = consume_all(*claimer);
  EXPECT_EQ(claimed, orphans) << "all of a dead one's deliveries, each once, and none of a busy one's";
}

}  // namespace tidings::conformance
