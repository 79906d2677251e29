// Properties of publishing, reading and many at once: what goes in comes out, at every group, whoever else is there.
#include <algorithm>
#include <atomic>
#include <barrier>

#include "conformance.hpp"

namespace tidings::conformance {

namespace {

// Joins on destruction, so that a failed assertion does not leave threads behind.
using Threads = std::vector<std::jthread>;

}  // namespace

TEST_P(Conformance, P01_PublishSubscribe) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  std::map<std::string, std::string> sent;
  for (int n = 0; n < 100; ++n) {
    PublishOptions options;
    options.metadata.set_string("tenant", "t" + std::to_string(n));
    sent[bus.publish(Tick{n, "note " + std::to_string(n)}, options).id] = "t" + std::to_string(n);
  }
  std::map<std::string, std::string> got;
  std::set<std::int64_t> payloads;
  Service service{bus, "first", {.max_events = 100}};
  service.on<Tick>([&](const DomainEvent<Tick>& event) {
    got[event.id] = event.metadata.string("tenant").value_or("missing");
    payloads.insert(event.data.n);
    EXPECT_EQ(event.data.note, "note " + std::to_string(event.data.n));
    EXPECT_EQ(event.type, "test.tick");
    EXPECT_EQ(event.source, "conformance");
  });
  Running running{service};
  ASSERT_TRUE(running.wait());
  EXPECT_EQ(running.error(), "");
  EXPECT_EQ(got, sent);
  EXPECT_EQ(payloads.size(), 100U);
  const GroupInfo group = group_info(*transport, test_stream, "first");
  EXPECT_TRUE(counts(group.handled, 100U));
  EXPECT_EQ(group.lag.value_or(99), 0U);
  EXPECT_EQ(group.pending, 0U);
  EXPECT_EQ(group.consumers, 0U) << "the subscription must be closed when run() returns";
}

TEST_P(Conformance, P02_ConcurrentSubscribe) {
  const auto transport = open_real();
  publish_ticks(*transport, 0, 5000);
  Seen seen;
  std::atomic<bool> done{false};
  Threads threads;
  for (int number = 0; number < 50; ++number) {
    threads.emplace_back([&](std::stop_token stop) {
      Interest wants = interest("many");
      wants.events = 20;
      const auto subscription = transport->subscribe(wants);
      while (!done.load() && !stop.stop_requested()) {
        const Batch batch = subscription->fetch(50ms, stop);
        settle_done(*subscription, batch.deliveries);
        for (const Delivery& delivery : batch.deliveries) seen.add(id_of(delivery.envelope));
      }
    });
  }
  EXPECT_TRUE(seen.wait_for(5000)) << "only " << seen.distinct() << " of 5000 arrived";
  done = true;
  threads.clear();
  for (const auto& [id, count] : seen.counts()) ASSERT_EQ(count, 1) << id;
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "many").handled, 5000U));
}

TEST_P(Conformance, P03_ConcurrentTopics) {
  const auto transport = open_real();
  Threads threads;
  std::array<std::map<std::string, int>, 20> got;
  for (std::size_t number = 0; number < got.size(); ++number) {
    threads.emplace_back([&, number] {
      const std::string stream = "events:topic" + std::to_string(number);
      const auto subscription = transport->subscribe(interest("reader", {stream}));
      for (int n = 0; n < 100; ++n) {
        publish_ticks(*transport, static_cast<std::int64_t>(number) * 1000 + n, 1, stream);
      }
      got[number] = consume_all(*subscription);
    });
  }
  threads.clear();
  for (std::size_t number = 0; number < got.size(); ++number) {
    ASSERT_EQ(got[number].size(), 100U) << "stream " << number;
    for (const auto& [id, count] : got[number]) {
      ASSERT_EQ(count, 1) << id;
      ASSERT_EQ(std::stoul(id.substr(4)) / 1000, number) << "an event of another stream came through";
    }
  }
}

TEST_P(Conformance, P10_PublisherClose) {
  const auto transport = open_real();
  make_groups(*transport, test_stream, {"late"});
  std::mutex mutex;
  std::set<std::string> unclear;  // Their first answer did not come in time, so that they were sent once more.
  int refused = 0;
  const auto note = [&](const PublishResult& result) {
    if (result.code == ErrorCode::ok && !result.ambiguous) return;
    const std::lock_guard lock(mutex);
    if (result.code != ErrorCode::ok) ++refused;
    unclear.insert(result.id);
  };
  Threads threads;
  for (int publisher = 0; publisher < 20; ++publisher) {
    threads.emplace_back([&, publisher] {
      // Each on a handle and bus of its own, which close as soon as everything was handed over and flushed.
      BusOptions options = bus_options();
      options.deadline = Millis(60'000);  // Twenty at once are much for what stands in for an engine.
      Bus bus = Bus::over(open_transport(place().url(), real_environment()), options);
      for (int n = 0; n < 500; ++n)
        bus.publish_async(Tick{publisher * 1000 + n, {}}, {.id = "evt_" + std::to_string(publisher * 1000 + n)}, note);
      bus.flush();
    });
  }
  threads.clear();
  const std::vector<std::string> ids = read_ids(*transport, test_stream);
  EXPECT_EQ(refused, 0);
  std::map<std::string, int> times;
  for (const std::string& id : ids) ++times[id];
  EXPECT_EQ(times.size(), 10000U);
  for (const auto& [id, count] : times) EXPECT_TRUE(count == 1 || unclear.contains(id)) << id << " stands twice";
  std::array<int, 20> last{};
  last.fill(-1);
  for (const std::string& id : ids) {
    const int n = std::stoi(id.substr(4));
    EXPECT_TRUE(last[static_cast<std::size_t>(n / 1000)] < n % 1000 || !in_order()) << "out of one thread's order";
    last[static_cast<std::size_t>(n / 1000)] = n % 1000;
  }
  const auto subscription = transport->subscribe(interest("late"));
  EXPECT_EQ(consume_all(*subscription).size(), 10000U);
}

TEST_P(Conformance, P11_Isolation) {
  const auto transport = open();
  for (const char* stream : {"events:left", "events:right"}) make_groups(*transport, stream, {"reader"});
  publish_ticks(*transport, 0, 10, "events:left");
  publish_ticks(*transport, 100, 10, "events:right");
  const auto left = transport->subscribe(interest("reader", {"events:left"}));
  const auto right = transport->subscribe(interest("reader", {"events:right"}));
  const std::map<std::string, int> from_left = consume_all(*left);
  EXPECT_EQ(from_left.size(), 10U);
  EXPECT_TRUE(from_left.contains("evt_0"));
  EXPECT_EQ(group_info(*transport, "events:right", "reader").lag.value_or(99), 10U) << "the other stream was touched";
  const std::map<std::string, int> from_right = consume_all(*right);
  EXPECT_EQ(from_right.size(), 10U);
  EXPECT_TRUE(from_right.contains("evt_100"));
}

TEST_P(Conformance, P14_LateGroup) {
  const auto transport = open();
  make_groups(*transport, test_stream, {"early"});
  publish_ticks(*transport, 0, 1000);
  const auto early = transport->subscribe(interest("early"));
  EXPECT_EQ(consume_all(*early).size(), 1000U);
  if (!transport->capabilities().from_beginning) NOT_OFFERED("a new group starts at its subscription");
  const auto late = transport->subscribe(interest("late"));
  const std::vector<Delivery> first = fetch_all(*late);
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(id_of(first.front().envelope), "evt_0");
  settle_done(*late, first);
  EXPECT_EQ(consume_all(*late).size() + first.size(), 1000U);
  Interest from_end = interest("from_end");
  from_end.start.kind = Start::Kind::end;
  const auto end = transport->subscribe(from_end);
  EXPECT_TRUE(fetch_all(*end).empty());
  publish_ticks(*transport, 1000, 1);
  EXPECT_EQ(consume_all(*end).size(), 1U);
}

TEST_P(Conformance, P15_Reconnect) {
  const auto transport = open_real();
  if (!transport->capabilities().several_processes)
    NOT_OFFERED("the engine lives in the process: there is no connection to lose");
  if (!place().file().empty()) NOT_OFFERED("the engine is a file: there is no server to restart");
  if (!place().restarts()) NOT_OFFERED("the engine's server keeps nothing when it is restarted");
  constexpr int publishers = 20, each = 100;
  // Servers that stand in for each other may take long to agree who does.
  BusOptions options = bus_options();
  options.deadline = 60s;
  Bus bus = Bus::over(transport, options);
  Seen seen;
  Service service{bus, "reader", {.concurrency = 4, .lease = 2s}};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.add(std::to_string(event.data.n)); });
  Running running{service};
  std::atomic<int> published = 0;
  {
    std::vector<std::jthread> threads;
    for (int p = 0; p < publishers; ++p) {
      threads.emplace_back([&, p] {
        for (int n = 0; n < each; ++n) {
          bus.publish(Tick{p * each + n, {}});
          ++published;
          published.notify_all();
        }
      });
    }
    for (const int share : {publishers * each / 3, publishers * each * 2 / 3}) {
      for (int now = published; now < share; now = published) published.wait(now);
      ASSERT_TRUE(place().restart());
    }
  }
  EXPECT_TRUE(seen.wait_for(publishers * each)) << seen.distinct() << " of what was acknowledged came";
  EXPECT_TRUE(running.stop()) << running.error();
}

TEST_P(Conformance, P16_Groups) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  Seen one, two;
  Service first{bus, "one", {.max_events = 50}};
  first.on<Tick>([&](const DomainEvent<Tick>& event) { one.add(event.id); });
  Service second{bus, "two", {.max_events = 50}};
  second.on<Tick>([&](const DomainEvent<Tick>& event) { two.add(event.id); });
  Running run_first{first};
  Running run_second{second};
  for (int n = 0; n < 50; ++n) bus.publish(Tick{n, {}});
  ASSERT_TRUE(run_first.wait());
  ASSERT_TRUE(run_second.wait());
  EXPECT_EQ(one.distinct(), 50U);
  EXPECT_EQ(one.counts(), two.counts());
}

TEST_P(Conformance, P18_Unicode) {
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  const std::string odd =
      R"({"id":"evt_\u00fc","type":"test.tick","version":"1.0","timestamp":"2024-01-25T10:30:00Z","source":"söurce",)"
      R"("correlationId":"req \ud83d\ude00","data":{"n":1.0e0,"note":"\u0000 א😀 é e\u0301\t\/"},)"
      R"("metadata":{"ключ":"значение","\u2028":"\\u0041","z":  1e2},"unknown":[1, 2 ,3]})";
  const std::string_view texts[] = {odd};
  const std::vector<PublishResult> results = harness.bus().publish_json(texts);
  ASSERT_EQ(results.at(0).code, ErrorCode::ok) << results.at(0).message;
  ASSERT_EQ(read_envelopes(*transport, test_stream).size(), 1U);
  EXPECT_EQ(read_envelopes(*transport, test_stream).front(), odd) << "bytes must pass through untouched";
  std::string seen, tenant;
  Service service{harness.bus(), "reader"};
  service.on("test.tick", [&](const Event& event, Context& context) {
    seen = context.envelope();
    tenant = event.metadata.string("ключ").value_or("");
  });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(seen, odd);
  EXPECT_EQ(tenant, "значение");
}

TEST_P(Conformance, P18_Unicode_NotUtf8IsRefused) {
  const auto transport = open();
  testing::Harness harness{transport, shared_clock()};
  try {
    harness.publish(Tick{1, "\xff\xfe"});
    ADD_FAILURE() << "text that is not UTF-8 was published";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid) << error.what();
  }
  const std::string raw =
      "{\"id\":\"evt_1\",\"type\":\"test.tick\",\"version\":\"1.0\",\"timestamp\":\"2024-01-25T10:30:00Z\","
      "\"source\":\"s\",\"correlationId\":\"r\",\"data\":{\"n\":1,\"note\":\"\xc3\x28\"}}";
  const std::string_view texts[] = {raw};
  EXPECT_EQ(harness.bus().publish_json(texts).at(0).code, ErrorCode::invalid);
  EXPECT_TRUE(read_envelopes(*transport, test_stream).empty());
}

TEST_P(Conformance, P43_GiantPayload) {
  const auto transport = open();
  const std::size_t limit = transport->capabilities().largest_event;
  Item exact = tick(1);
  const std::size_t rest = tick(1, test_stream, "").envelope.size();
  exact = tick(1, test_stream, std::string(limit - rest, 'x'));
  ASSERT_EQ(exact.envelope.size(), limit);
  const std::vector<Result> stored = publish(*transport, {exact});
  ASSERT_EQ(stored.at(0).code, ErrorCode::ok) << stored.at(0).message;
  for (const std::size_t size : {limit + 1, std::size_t{100} << 20}) {
    const std::vector<Result> mixed =
        publish(*transport, {tick(2, test_stream, std::string(size - rest, 'x')), tick(3)});
    EXPECT_EQ(mixed.at(0).code, ErrorCode::too_large);
    EXPECT_FALSE(mixed.at(0).retryable);
    EXPECT_FALSE(mixed.at(0).message.empty());
  }
  Bus bus = Bus::over(transport, {.source = "conformance", .environment = virtual_environment()});
  try {
    bus.publish(Tick{1, std::string(std::size_t{100} << 20, 'x')});
    ADD_FAILURE() << "100 MiB were published";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::too_large) << error.what();
  }
  const auto subscription = transport->subscribe(interest("reader"));
  bool found = false;
  for (int look = 0; look < 3 && !found; ++look) {
    const std::vector<Delivery> deliveries = fetch_all(*subscription, 1);
    ASSERT_FALSE(deliveries.empty());
    found = std::any_of(deliveries.begin(), deliveries.end(),
                        [&](const Delivery& each) { return each.envelope == exact.envelope; });
    EXPECT_TRUE(deliveries.front().envelope == exact.envelope || !in_order());
    settle_done(*subscription, deliveries);
  }
  EXPECT_TRUE(found);
}

}  // namespace tidings::conformance
