// Properties of handlers that fail, stop, or meet what they do not know.
#include <algorithm>
#include <atomic>

#include "meddler.hpp"

namespace tidings::conformance {

namespace {

HandlerOptions quick(std::uint32_t attempts = 5) {
  return {.max_attempts = attempts, .backoff = {.first = 1ms, .longest = 1ms}};
}

}  // namespace

TEST_P(Conformance, P04_ResendOnError) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  publish_ticks(*transport, 0, 100);
  std::map<std::string, std::vector<std::uint32_t>> attempts;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event, Context& context) {
    attempts[event.id].push_back(context.attempt());
    if ((event.data.n == 3 || event.data.n == 50) && context.attempt() == 1) throw std::runtime_error("not now");
  });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(attempts.size(), 100U) << "a failure held up its neighbours";
  clock().advance(10s);
  harness.settle();
  for (const auto& [id, list] : attempts) {
    const bool failed = id == "evt_3" || id == "evt_50";
    EXPECT_EQ(list, failed ? std::vector<std::uint32_t>({1, 2}) : std::vector<std::uint32_t>({1})) << id;
  }
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 100U));
}

TEST_P(Conformance, P12_HandlerCancelled) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  bus.publish(Tick{1, {}});
  Signal started, cancelled;
  Service service{bus, "reader", {.drain = 10ms}};
  service.on<Tick>([&](const DomainEvent<Tick>&, Context& context) {
    std::mutex unused;
    std::condition_variable_any changed;
    std::unique_lock lock(unused);
    started.raise();
    changed.wait_for(lock, context.stop_token(), 60s, [] { return false; });
    if (context.stop_token().stop_requested()) cancelled.raise();
    throw std::runtime_error("stopped in the middle");
  });
  Running running{service};
  ASSERT_TRUE(started.wait());
  ASSERT_TRUE(running.stop());
  EXPECT_TRUE(cancelled.wait()) << "the handler was not told to stop";
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 0U));
  EXPECT_EQ(group.pending + group.retrying + group.lag.value_or(0), 1U) << "the event must still be there";
}

TEST_P(Conformance, P22_ErrorHandlerThrows) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  publish_ticks(*transport, 0, 2);
  int calls = 0, hooks = 0;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) {
    ++calls;
    if (event.data.n == 0 && calls < 3) throw std::runtime_error("first");
  });
  service.on_failure([&](const Failure& failure) {
    ++hooks;
    EXPECT_EQ(failure.id, "evt_0");
    EXPECT_EQ(failure.error, "first");
    throw std::runtime_error("the hook itself fails");
  });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(hooks, 1);
  // A queue counts what it hides until its time, whatever for.
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_EQ(group.retrying + (transport->capabilities().exact_lag ? 0 : group.pending), 1U) << "the event must stay";
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 1U));
  // Twice, since a failure comes back later than the one before.
  for (int round = 0; round < 2; ++round) {
    clock().advance(30s);
    harness.settle();
  }
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 2U));
}

TEST_P(Conformance, P24_StopDuringHandler) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  publish_ticks(*transport, 0, 10);
  Signal started, go;
  std::atomic<int> calls{0};
  Service service{bus, "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>&) {
    ++calls;
    started.raise();
    EXPECT_TRUE(go.wait());
  });
  {
    Running running{service};
    ASSERT_TRUE(started.wait());
    std::jthread release([&] { go.raise(); });
    ASSERT_TRUE(running.stop());
  }
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, static_cast<std::uint64_t>(calls.load())))
      << "what ran at the stop must be finished";
  const auto next = transport->subscribe(interest("reader"));
  std::vector<Delivery> rest = fetch_all(*next);
  EXPECT_EQ(rest.size(), 10U - static_cast<std::size_t>(calls.load()));
  for (const Delivery& delivery : rest) {
    EXPECT_EQ(delivery.attempt, 1U);
    EXPECT_EQ(delivery.crashes, 0U);
  }
}

TEST_P(Conformance, P24_StopDuringHandler_PastTheDeadline) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  publish_ticks(*transport, 0, 1);
  const auto started = std::make_shared<Signal>(), go = std::make_shared<Signal>(), gone = std::make_shared<Signal>();
  {
    Service service{bus, "reader", {.drain = 1ms}};
    service.on<Tick>([=](const DomainEvent<Tick>&) {
      started->raise();
      // Deaf to its stop token.
      (void)go->wait();
      gone->raise();
    });
    Running running{service};
    ASSERT_TRUE(started->wait());
    ASSERT_TRUE(running.stop()) << "a deaf handler must not hold up the stop for ever";
    Seen seen;
    Service next{bus, "reader"};
    next.on<Tick>([&](const DomainEvent<Tick>& event) { seen.add(event.id); });
    Running run_next{next};
    EXPECT_TRUE(seen.wait_for(1)) << "what ran past the deadline must be delivered again";
    ASSERT_TRUE(run_next.stop());
    go->raise();
    EXPECT_TRUE(gone->wait());
  }
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 1U));
}

TEST_P(Conformance, P31_DeadLetterWriteFails) {
  const auto meddler = std::make_shared<Meddler>(open_real());
  std::atomic<int> refused{0};
  Signal twice, heal;
  meddler->on_settle = [&](std::span<const Settlement> items, std::span<Result> results, const auto& pass) {
    const bool dead =
        std::any_of(items.begin(), items.end(), [](const Settlement& s) { return s.kind == Settlement::Kind::dead; });
    if (!dead || heal.raised()) return pass();
    for (Result& result : results) result = {.code = ErrorCode::unavailable, .retryable = true, .message = "no answer"};
    if (++refused == 2) twice.raise();
  };
  Bus bus = Bus::over(meddler, bus_options());
  publish_ticks(*meddler, 0, 1);
  Signal reported;
  Service service{bus, "reader", {.lease = 1'500ms}};
  service.on<Tick>([](const DomainEvent<Tick>&) { throw Reject{"never"}; });
  service.on_dead_letter([&](const Failure& failure) {
    EXPECT_EQ(failure.reason, "rejected");
    EXPECT_TRUE(heal.raised()) << "a dead letter was reported that is not stored";
    reported.raise();
  });
  Running running{service};
  EXPECT_TRUE(twice.wait()) << "a refused dead letter must be tried again";
  const GroupInfo before = group_info(*meddler, test_stream, "reader");
  EXPECT_EQ(before.pending, 1U) << "without its dead letter the event must not be settled";
  EXPECT_EQ(before.dead_letters, 0U);
  heal.raise();
  EXPECT_TRUE(reported.wait());
  ASSERT_TRUE(running.stop());
  EXPECT_EQ(group_info(*meddler, test_stream, "reader").dead_letters, 1U);
}

TEST_P(Conformance, P32_ThrowInHandler) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  publish_ticks(*transport, 0, 20);
  Seen seen;
  Service service{bus, "reader", {.concurrency = 2}};
  service.on<Tick>(
      [&](const DomainEvent<Tick>& event, Context& context) {
        if (context.attempt() < 3) {
          if (event.data.n % 3 == 0) throw std::runtime_error("an exception");
          if (event.data.n % 3 == 1) throw 42;
          throw Again{1ms, "later"};
        }
        seen.add(event.id);
      },
      quick());
  Running running{service};
  EXPECT_TRUE(seen.wait_for(20)) << "the workers do not outlive what handlers throw";
  ASSERT_TRUE(running.stop());
  EXPECT_EQ(running.error(), "");
  EXPECT_EQ(service.stats().failed, 40U);
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 20U));
}

TEST_P(Conformance, P32_ThrowInHandler_OutputsAreHeldBack) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  publish_ticks(*transport, 0, 1);
  const auto outputs = [&] {
    std::vector<DomainEvent<Tock>> all;
    for (const std::string& text : read_envelopes(*transport, test_stream)) {
      if (id_of(text) != "evt_0") all.push_back(decode<Tock>(text));
    }
    return all;
  };
  std::set<std::string> made;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event, Context& context) {
    made.insert(context.publish(Tock{event.data.n}));
    EXPECT_TRUE(outputs().empty()) << "an output was stored before its handler succeeded";
    if (context.attempt() < 3) throw std::runtime_error("after publishing");
  });
  harness.add(service);
  harness.settle();
  for (int round = 0; round < 2; ++round) {
    clock().advance(30s);
    harness.settle();
  }
  const std::vector<DomainEvent<Tock>> out = outputs();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(made.size(), 1U) << "the same handling of the same event derives the same id";
  EXPECT_EQ(out[0].id, *made.begin());
  EXPECT_EQ(out[0].correlationId, "req_0");
  EXPECT_EQ(out[0].metadata.string("causationId").value_or(""), "evt_0");
}

TEST_P(Conformance, P44_AmbiguousPublish) {
  const auto meddler = std::make_shared<Meddler>(open_real());
  std::atomic<int> calls{0};
  meddler->on_publish = [&](std::span<const Outgoing>, std::span<Result> results, const auto& pass) {
    pass();
    if (++calls > 1) return;
    // Stored, but the answer is lost: nobody can say whether it was.
    for (Result& result : results) result = {.code = ErrorCode::timeout, .retryable = true, .message = "cut"};
  };
  Bus bus = Bus::over(meddler, bus_options());
  const Published published = bus.publish(Tick{1, {}});
  const std::vector<std::string> ids = read_ids(*meddler, test_stream);
  ASSERT_GE(ids.size(), 1U);
  for (const std::string& id : ids) EXPECT_EQ(id, published.id) << "a repeat must go out under the same id";
  if (ids.size() > 1) {
    EXPECT_TRUE(published.ambiguous) << "a duplicate must be announced";
  }
  EXPECT_FALSE(bus.publish(Tick{2, {}}).ambiguous);
}

TEST_P(Conformance, P48_BatchHalf_OfAPublish) {
  const auto meddler = std::make_shared<Meddler>(open_real());
  std::atomic<int> calls{0};
  std::vector<std::size_t> sizes;
  meddler->on_publish = [&](std::span<const Outgoing> items, std::span<Result> results, const auto& pass) {
    sizes.push_back(items.size());
    if (++calls > 1) return pass();
    // The last three of the ten are refused for now and not stored.
    std::vector<Result> stored(items.size() - 3);
    meddler->inner().publish(items.first(items.size() - 3), meddler->capabilities().levels.back(), 10s, stored);
    std::copy(stored.begin(), stored.end(), results.begin());
    for (Result& result : results.last(3))
      result = {.code = ErrorCode::unavailable, .retryable = true, .message = "busy"};
  };
  Bus bus = Bus::over(meddler, bus_options());
  std::vector<Tick> ten;
  for (int n = 0; n < 10; ++n) ten.push_back({n, {}});
  for (const PublishResult& result : bus.publish_batch(ten)) EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  EXPECT_EQ(sizes, (std::vector<std::size_t>{10, 3})) << "only what failed may be sent again";
  std::vector<std::string> ids = read_ids(*meddler, test_stream);
  EXPECT_EQ(ids.size(), 10U);
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 10U);
}

TEST_P(Conformance, P48_BatchHalf_OfALargePublish) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  std::vector<Tick> thousand;
  const auto wrong = [](std::size_t n) { return n % 111 == 0 || n == 1; };
  for (std::size_t n = 0; n < 1000; ++n) {
    // Of all sizes, the last as large as many of the others together.
    thousand.push_back({static_cast<std::int64_t>(n), wrong(n) ? "\xff" : std::string(n < 990 ? n : 50 * n, 'x')});
  }
  const std::vector<PublishResult> results = bus.publish_batch(thousand);
  ASSERT_EQ(results.size(), thousand.size());
  std::vector<std::string> sent;
  Position before{};
  for (std::size_t n = 0; n < results.size(); ++n) {
    ASSERT_EQ(results[n].code, wrong(n) ? ErrorCode::invalid : ErrorCode::ok) << n << ' ' << results[n].message;
    if (wrong(n)) continue;
    EXPECT_TRUE(before < results[n].position || !in_order()) << n;
    before = results[n].position;
    sent.push_back(results[n].id);
  }
  std::vector<std::string> stored = read_ids(*transport, test_stream);
  if (!in_order()) {
    std::sort(stored.begin(), stored.end());
    std::sort(sent.begin(), sent.end());
  }
  EXPECT_EQ(stored, sent) << "a batch keeps its order";
}

TEST_P(Conformance, P61_UnknownType) {
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  publish_ticks(*transport, 0, 3);
  harness.publish(Tock{1});
  const auto versioned = [&](std::string id, std::string version) {
    DomainEvent<Tick> event;
    event.id = std::move(id);
    event.type = "test.tick";
    event.version = std::move(version);
    event.source = "conformance";
    event.correlationId = "req_v";
    event.data = {100, {}};
    const std::string text = encode(event);
    const std::string_view texts[] = {text};
    EXPECT_EQ(harness.bus().publish_json(texts).at(0).code, ErrorCode::ok);
  };
  versioned("evt_major", "2.0");
  versioned("evt_ten", "10.0");
  versioned("evt_minor", "1.7");
  std::set<std::string> seen;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.insert(event.id); });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(seen, (std::set<std::string>{"evt_0", "evt_1", "evt_2", "evt_minor"}));
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 4U));
  if (group.ignored) {
    EXPECT_EQ(*group.ignored, 1U);
  }
  EXPECT_EQ(group.dead_letters, 2U);
  if (!transport->capabilities().shelf) return;
  std::set<std::string> dead;
  for (const testing::DeadLetter& letter : harness.dead_letters(service)) {
    EXPECT_EQ(letter.reason, "unsupported_version");
    dead.insert(letter.id);
  }
  EXPECT_EQ(dead, (std::set<std::string>{"evt_major", "evt_ten"}));
}

TEST_P(Conformance, P62_RollingUpgrade) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  Seen ticks, tocks;
  const auto on_tick = [&](const DomainEvent<Tick>& event) { ticks.add(event.id); };
  Service now{bus, "reader"};
  now.on<Tick>(on_tick);
  Service next{bus, "reader"};
  next.on<Tick>(on_tick).on<Tock>([&](const DomainEvent<Tock>& event) { tocks.add(event.id); });
  Running run_next{next};
  // The new one is there before the first Tock, as in a deploy that begins with the consumers.
  bus.publish(Tick{-1, {}});
  ASSERT_TRUE(ticks.wait_for(1));
  Running run_now{now};
  for (int n = 0; n < 50; ++n) {
    bus.publish(Tick{n, {}});
    bus.publish(Tock{n});
  }
  EXPECT_TRUE(ticks.wait_for(51)) << ticks.distinct();
  EXPECT_TRUE(tocks.wait_for(50)) << tocks.distinct() << ": an old instance swallowed what only the new one handles";
  ASSERT_TRUE(run_now.stop());
  ASSERT_TRUE(run_next.stop());
  const GroupInfo group = group_info(*transport, test_stream, "reader");
  EXPECT_TRUE(counts(group.handled, 101U));
  EXPECT_EQ(group.ignored.value_or(0), 0U);
}

TEST_P(Conformance, P62_RollingUpgrade_TheOldOneFetchesFirst) {
  NEEDS_A_MOVABLE_CLOCK;
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  int ticks = 0;
  Service now{harness.bus(), "reader"};
  now.on<Tick>([&](const DomainEvent<Tick>&) { ++ticks; });
  // The new instance is a member of the group, and has not come to fetch yet.
  Interest wants = interest("reader");
  wants.types = {"test.tick", "test.tock"};
  const auto next = transport->subscribe(wants);
  harness.add(now);
  for (int n = 0; n < 10; ++n) {
    harness.publish(Tick{n, {}});
    harness.publish(Tock{n});
  }
  harness.settle();
  EXPECT_EQ(ticks, 10);
  EXPECT_EQ(group_info(*transport, test_stream, "reader").ignored.value_or(0), 0U)
      << "an old instance swallowed what only the new one handles";
  clock().advance(5s);
  const std::vector<Delivery> given_back = fetch_all(*next);
  EXPECT_EQ(given_back.size(), 10U);
  for (const Delivery& delivery : given_back) {
    EXPECT_EQ(delivery.type, "test.tock");
    EXPECT_EQ(delivery.attempt, 1U) << "giving back is no attempt";
    EXPECT_EQ(delivery.crashes, 0U);
  }
}

TEST_P(Conformance, P66_MalformedEntry) {
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  // Bytes that never went through Tidings' own checks, as another program may leave them.
  std::vector<Item> items = {tick(0), tick(1), tick(2), tick(3), tick(4)};
  items[1].envelope = "not json at all";
  items[2].envelope = items[2].envelope.substr(0, items[2].envelope.size() / 2);
  items[3].envelope.replace(items[3].envelope.find(R"("n":3)"), 5, R"("n":{})");
  for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  std::set<std::string> seen;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.insert(event.id); });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(seen, (std::set<std::string>{"evt_0", "evt_4"})) << "the subscription must live on";
  EXPECT_EQ(group_info(*transport, test_stream, "reader").dead_letters, 3U);
  if (!transport->capabilities().shelf) return;
  std::set<std::string> bytes;
  for (const ShelfItem& item : shelf(*transport, test_stream, "reader", {ShelfState::dead})) {
    EXPECT_EQ(item.reason, "undecodable");
    EXPECT_FALSE(item.error.empty());
    bytes.insert(item.envelope);
  }
  EXPECT_EQ(bytes, (std::set<std::string>{items[1].envelope, items[2].envelope, items[3].envelope}));
}

}  // namespace tidings::conformance
