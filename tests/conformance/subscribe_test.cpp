// Properties of subscriptions that come, go, stop and are full: nothing is lost, nothing counts that did not fail.
#include <barrier>

#include "conformance.hpp"

namespace tidings::conformance {

TEST_P(Conformance, P06_ContinueAfterClose) {
  const auto transport = open();
  publish_ticks(*transport, 0, 5000);
  std::map<std::string, int> settled;
  int rounds = 0;
  for (; settled.size() < 5000 && rounds < 1000; ++rounds) {
    Interest wants = interest("reader");
    wants.events = 100;
    const auto subscription = transport->subscribe(wants);
    std::vector<Delivery> some = fetch_all(*subscription, 100);
    ASSERT_FALSE(some.empty()) << settled.size() << " of 5000 after " << rounds << " rounds, and nothing more comes";
    for (const Delivery& delivery : some) {
      ASSERT_EQ(delivery.attempt, 1U) << "a close counted as a failure";
      ASSERT_EQ(delivery.crashes, 0U) << "a close counted as a death";
      ASSERT_FALSE(delivery.alone);
    }
    // Every second one of the batch is settled, so that what is given back has holes.
    std::vector<Delivery> half;
    for (std::size_t i = 0; i < some.size(); i += 2) half.push_back(some[i]);
    settle_done(*subscription, half);
    for (const Delivery& delivery : half) ++settled[id_of(delivery.envelope)];
  }
  EXPECT_EQ(settled.size(), 5000U);
  for (const auto& [id, count] : settled) ASSERT_EQ(count, 1) << id;
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 5000U));
  EXPECT_EQ(group.pending, 0U);
}

TEST_P(Conformance, P07_ConcurrentClose) {
  const auto transport = open();
  publish_ticks(*transport, 0, 50);
  std::vector<std::unique_ptr<Subscription>> ten;
  std::size_t held = 0;
  for (int number = 0; number < 10; ++number) {
    Interest wants = interest("reader");
    wants.events = 5;
    ten.push_back(transport->subscribe(wants));
    held += fetch_all(*ten.back(), 5).size();
  }
  ASSERT_EQ(held, 50U);
  std::barrier together(10);
  std::vector<std::jthread> threads;
  for (auto& subscription : ten) {
    threads.emplace_back([&] {
      together.arrive_and_wait();
      subscription.reset();
    });
  }
  threads.clear();
  const auto next = transport->subscribe(interest("reader"));
  const std::vector<Delivery> all = fetch_all(*next);
  std::set<std::string> ids;
  for (const Delivery& delivery : all) {
    ids.insert(id_of(delivery.envelope));
    EXPECT_EQ(delivery.attempt, 1U);
    EXPECT_EQ(delivery.crashes, 0U);
  }
  EXPECT_EQ(ids.size(), 50U);
  EXPECT_EQ(all.size(), 50U);
}

TEST_P(Conformance, P08_ContinueAfterErrors) {
  const auto transport = open();
  publish_ticks(*transport, 0, 50);
  for (int round = 0; round < 3; ++round) {
    const auto subscription = transport->subscribe(interest("reader"));
    for (std::size_t failed = 0; failed < 100;) {
      std::vector<Delivery> some = fetch_all(*subscription, 100 - failed);
      if (some.size() > 100 - failed) some.resize(100 - failed);
      ASSERT_FALSE(some.empty()) << "what failed does not come back";
      for (const Result& result : settle(*subscription, some, {.kind = Settlement::Kind::again, .error = "refused"})) {
        ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
      }
      failed += some.size();
    }
  }
  const auto subscription = transport->subscribe(interest("reader"));
  std::set<std::string> ids;
  std::uint32_t failures = 0;
  for (const Delivery& delivery : fetch_all(*subscription)) {
    ids.insert(id_of(delivery.envelope));
    failures += delivery.attempt - 1;
  }
  EXPECT_EQ(ids.size(), 50U);
  if (transport->capabilities().attempts == transport::Capabilities::Attempts::exact) {
    EXPECT_EQ(failures, 300U);
  } else {
    EXPECT_GE(failures, 300U);
  }
}

TEST_P(Conformance, P13_CancelResubscribe) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  publish_ticks(*transport, 0, 1000);
  Seen seen;
  for (std::size_t round = 1; round <= 10; ++round) {
    Service service{bus, "reader", {.concurrency = 4, .prefetch_events = 300}};
    service.on<Tick>([&](const DomainEvent<Tick>& event, Context& context) {
      EXPECT_EQ(context.attempt(), 1U);
      EXPECT_EQ(context.crashes(), 0U);
      seen.add(event.id);
    });
    Running running{service};
    ASSERT_TRUE(seen.wait_for(round * 100)) << seen.distinct();
    ASSERT_TRUE(running.stop());
  }
  EXPECT_EQ(seen.distinct(), 1000U);
  for (const auto& [id, count] : seen.counts()) ASSERT_EQ(count, 1) << id << ": a drained stop delivers nothing twice";
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 1000U));
}

TEST_P(Conformance, P20_Cancel) {
  const auto transport = open_real();
  const auto subscription = transport->subscribe(interest("reader"));
  for (int verb = 0; verb < (transport->capabilities().read ? 2 : 1); ++verb) {
    Signal returned;
    std::jthread waiting([&](std::stop_token stop) {
      if (verb == 0) {
        EXPECT_TRUE(subscription->fetch(1h, stop).deliveries.empty());
      } else {
        transport::ReadRange range;
        range.stream = test_stream;
        range.wait = 1h;
        EXPECT_TRUE(transport->read(range, stop).records.empty());
      }
      returned.raise();
    });
    waiting.request_stop();
    if (!returned.wait()) {
      std::cerr << "a cancelled " << (verb == 0 ? "fetch" : "read") << " does not return\n";
      std::abort();
    }
  }
  // One whose token fired before it began returns as well.
  std::stop_source fired;
  fired.request_stop();
  EXPECT_TRUE(subscription->fetch(1h, fired.get_token()).deliveries.empty());
  Bus bus = Bus::over(transport, bus_options());
  Service service{bus, "idle"};
  service.on<Tick>([](const DomainEvent<Tick>&) {});
  Running running{service};
  EXPECT_TRUE(running.stop());
  EXPECT_EQ(running.error(), "");
}

TEST_P(Conformance, P20_Cancel_WakesForNewEvents) {
  const auto transport = open_real();
  const auto subscription = transport->subscribe(interest("reader"));
  Signal got;
  std::jthread waiting([&](std::stop_token stop) {
    if (!subscription->fetch(1h, stop).deliveries.empty()) got.raise();
  });
  publish_ticks(*transport, 1, 1);
  EXPECT_TRUE(got.wait()) << "a waiting fetch is not woken by a publish";
}

TEST_P(Conformance, P23_ConcurrencyChange) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  Seen seen;
  const auto handler = [&](const DomainEvent<Tick>& event) { seen.add(event.id); };
  Service narrow{bus, "reader", {.concurrency = 1, .prefetch_events = 50}};
  narrow.on<Tick>(handler);
  Service wide{bus, "reader", {.concurrency = 8, .prefetch_events = 50}};
  wide.on<Tick>(handler);
  Running run_narrow{narrow};
  publish_ticks(*transport, 0, 500);
  ASSERT_TRUE(seen.wait_for(100));
  {
    Running run_wide{wide};
    publish_ticks(*transport, 500, 500);
    ASSERT_TRUE(seen.wait_for(400));
    ASSERT_TRUE(run_narrow.stop());
    ASSERT_TRUE(seen.wait_for(1000)) << seen.distinct();
  }
  for (const auto& [id, count] : seen.counts()) ASSERT_EQ(count, 1) << id;
}

TEST_P(Conformance, P25_SaturatedUnacked) {
  const auto transport = open();
  publish_ticks(*transport, 0, 100);
  Interest wants = interest("reader");
  wants.events = 10;
  const auto subscription = transport->subscribe(wants);
  std::vector<Delivery> held = fetch_all(*subscription, 10);
  ASSERT_EQ(held.size(), 10U);
  EXPECT_TRUE(fetch_all(*subscription).empty()) << "more was fetched than may be unsettled";
  std::vector<Delivery> three{held.begin(), held.begin() + 3};
  settle_done(*subscription, three);
  EXPECT_EQ(fetch_all(*subscription).size(), 3U);
  EXPECT_EQ(group_info(*transport, test_stream, "reader").lag.value_or(99), 87U);
}

TEST_P(Conformance, P25_SaturatedUnacked_ByBytes) {
  const auto transport = open();
  const std::string note(10'000, 'x');
  std::vector<Item> items;
  for (int n = 0; n < 20; ++n) items.push_back(tick(n, test_stream, note));
  items.push_back(tick(20, test_stream, std::string(200'000, 'y')));
  items.push_back(tick(21));
  for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok);
  Interest wants = interest("reader");
  wants.bytes = 45'000;
  const auto subscription = transport->subscribe(wants);
  std::set<std::string> ids;
  for (int round = 0; round < 100 && ids.size() < 22; ++round) {
    const Batch batch = subscription->fetch(0ms, {});
    std::size_t bytes = 0;
    for (const Delivery& delivery : batch.deliveries) {
      bytes += delivery.envelope.size();
      ids.insert(id_of(delivery.envelope));
    }
    EXPECT_TRUE(bytes <= wants.bytes || batch.deliveries.size() == 1) << bytes << " bytes at once";
    settle_done(*subscription, batch.deliveries);
  }
  EXPECT_EQ(ids.size(), 22U) << "an event above the bound must still come, alone";
}

TEST_P(Conformance, P42_SlowConsumer) {
  const auto transport = open();
  Interest lazy = interest("slow");
  lazy.events = 10;
  const auto slow = transport->subscribe(lazy);
  const auto quick = transport->subscribe(interest("quick"));
  std::size_t from_slow = 0, from_quick = 0;
  for (int round = 0; round < 10; ++round) {
    publish_ticks(*transport, round * 500, 500);
    from_slow += fetch_all(*slow).size();
    from_quick += consume_all(*quick).size();
    ASSERT_EQ(from_quick, static_cast<std::size_t>(round + 1) * 500) << "a slow group held up another";
  }
  EXPECT_EQ(from_slow, 10U) << "a slow consumer must hold no more than it asked for";
  EXPECT_EQ(group_info(*transport, test_stream, "slow").lag.value_or(0), 4990U);
  EXPECT_EQ(group_info(*transport, test_stream, "quick").lag.value_or(99), 0U);
}

}  // namespace tidings::conformance
