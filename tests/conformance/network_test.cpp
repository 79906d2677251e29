// What a network and a group of servers can do to events: partitions, failovers, streams that move.
#include "conformance.hpp"

namespace tidings::conformance {

namespace {

bool offers(const Transport& transport, Level level) {
  const std::vector<Level>& levels = transport.capabilities().levels;
  return std::find(levels.begin(), levels.end(), level) != levels.end();
}

std::vector<Result> publish_at(Transport& transport, Level level, Millis within, std::int64_t first, int count) {
  std::vector<Item> items;
  for (int n = 0; n < count; ++n) items.push_back(tick(first + n));
  std::vector<Outgoing> outgoing;
  for (const Item& item : items) outgoing.push_back(item.out());
  std::vector<Result> results(items.size());
  transport.publish(outgoing, level, within, results);
  return results;
}

// Fetches until one delivery came; errors that pass are waited out.
std::vector<Delivery> fetch_patiently(Subscription& subscription) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < end) {
    try {
      Batch batch = subscription.fetch(500ms, {});
      if (!batch.deliveries.empty()) return std::move(batch.deliveries);
    } catch (const Error& error) {
      EXPECT_TRUE(error.retryable()) << error.what();
    }
  }
  return {};
}

}  // namespace

TEST_P(Conformance, P45_Partition) {
  const std::string far_url = place().url_over_network();
  if (far_url.empty()) NOT_OFFERED("no network lies between the engine and its users here");
  const auto near = open_real();
  const auto far = open_transport(far_url, real_environment());
  publish_ticks(*near, 0, 3);
  Interest short_lease = interest("reader");
  short_lease.lease = 1s;
  const auto cut_off = far->subscribe(short_lease);
  const std::vector<Delivery> held = fetch_patiently(*cut_off);
  ASSERT_EQ(held.size(), 3U);
  place().cut(true);
  // Beyond the cut, nothing is acknowledged that did not arrive.
  for (const Result& result : publish_at(*far, Level::process, 300ms, 100, 1)) {
    EXPECT_NE(result.code, ErrorCode::ok);
    EXPECT_TRUE(result.retryable) << result.message;
  }
  // This side of it, what the other one held is taken over, one by one, with a death to its name.
  const auto reachable = near->subscribe(short_lease);
  for (int i = 0; i < 3; ++i) {
    const std::vector<Delivery> taken = fetch_patiently(*reachable);
    ASSERT_EQ(taken.size(), 1U);
    EXPECT_TRUE(taken[0].alone);
    EXPECT_EQ(taken[0].crashes, 1U);
    settle_done(*reachable, taken);
  }
  place().cut(false);
  // What comes back is told that it was replaced, and changes nothing.
  bool told = false;
  for (int tries = 0; tries < 50 && !told; ++tries) {
    for (const Result& result : settle(*cut_off, held, {.kind = Settlement::Kind::again, .error = "late"})) {
      told = told || result.stale;
      EXPECT_NE(result.code, ErrorCode::ok);
    }
  }
  EXPECT_TRUE(told);
  EXPECT_TRUE(counts(group_info(*near, test_stream, "reader").handled, 3U));
  for (const Result& result : publish_at(*far, Level::process, 10s, 200, 1)) EXPECT_EQ(result.code, ErrorCode::ok);
  const std::vector<Delivery> next = fetch_patiently(*cut_off);
  ASSERT_FALSE(next.empty()) << "it takes part again";
}

TEST_P(Conformance, P46_FailoverBelowWait) {
  const auto enough = open_transport(place().url(), real_environment());
  if (!offers(*enough, Level::replicated)) NOT_OFFERED("the engine has no replicas");
  if (enough->capabilities().engine != "redis") NOT_OFFERED("its replicas are not for its users to count");
  // The largest number of replicas that can be asked for here.
  std::shared_ptr<Transport> strict = open_transport(place().url() + "?replicas=2", real_environment());
  if (!offers(*strict, Level::replicated)) strict = open_transport(place().url() + "?replicas=1", real_environment());
  for (const Result& result : publish_at(*strict, Level::replicated, 10s, 0, 200)) {
    ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  ASSERT_TRUE(place().fail_over());
  // One replica fewer: what too few have is not acknowledged, though it is stored.
  bool refused = false;
  std::string said;
  for (int tries = 0; tries < 5 && !refused; ++tries) {
    for (const Result& result : publish_at(*strict, Level::replicated, 2s, 1'000, 1)) {
      EXPECT_NE(result.code, ErrorCode::ok) << "fewer replicas have it than must";
      refused = result.message.find("replicas") != std::string::npos;
      said += result.message + '\n';
      EXPECT_TRUE(result.retryable);
    }
  }
  EXPECT_TRUE(refused) << said;
  const std::vector<std::string> ids = read_ids(*enough, test_stream);
  const std::set<std::string> kept(ids.begin(), ids.end());
  for (int n = 0; n < 200; ++n) EXPECT_TRUE(kept.contains("evt_" + std::to_string(n))) << n << " was acknowledged";
}

TEST_P(Conformance, P47_ClusterMoved) {
  const auto transport = open_real();
  publish_ticks(*transport, 0, 50);
  const auto subscription = transport->subscribe(interest("reader"));
  std::vector<Delivery> held = fetch_patiently(*subscription);
  if (!place().move_begins(test_stream)) NOT_OFFERED("the engine's streams stay where they are");
  // Between both: the old owner answers for what it has, and sends on what it has not.
  for (const Result& result : publish_at(*transport, transport->capabilities().levels.front(), 10s, 50, 50)) {
    EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
    EXPECT_FALSE(result.ambiguous);
  }
  for (const Result& result : publish(*transport, {tick(7, "events:elsewhere")})) {
    EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  place().move_ends();
  // A stream that is not there yet is made at the new owner, which takes it in only when it is told why (ASKING).
  ASSERT_TRUE(place().move_begins("events:fresh"));
  for (int n = 0; n < 20; ++n) {
    for (const Result& result : publish(*transport, {tick(n, "events:fresh")})) {
      EXPECT_EQ(result.code, ErrorCode::ok) << result.message;
      EXPECT_FALSE(result.ambiguous);
    }
  }
  place().move_ends();
  EXPECT_EQ(read_ids(*transport, "events:fresh").size(), 20U);
  publish_ticks(*transport, 100, 50);
  std::map<std::string, int> handled;
  while (!held.empty()) {
    for (const Delivery& delivery : held) ++handled[id_of(delivery.envelope)];
    settle_done(*subscription, held);
    if (handled.size() == 150) break;
    held = fetch_patiently(*subscription);
  }
  EXPECT_EQ(handled.size(), 150U);
  for (const auto& [id, times] : handled) EXPECT_EQ(times, 1) << id;
  EXPECT_EQ(read_ids(*transport, test_stream).size(), 150U) << "each event is stored once";
  EXPECT_TRUE(counts(group_info(*transport, test_stream, "reader").handled, 150U));
}

}  // namespace tidings::conformance
