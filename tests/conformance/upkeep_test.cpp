// Properties of what surrounds the events: closed handles, groups that vanish, retention, and want of descriptors.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "meddler.hpp"

namespace tidings::conformance {

namespace {

// Tends until nothing more is to be done, as the bus's upkeep does over time.
void tend(Transport& transport, const transport::Retention& retention = {}) {
  for (int slice = 0; slice < 50; ++slice) transport.tend(retention, {});
}

}  // namespace

TEST_P(Conformance, P19_ClosedHandle) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  bus.publish(Tick{1, {}});
  int channel[2];
  ASSERT_EQ(::pipe2(channel, O_CLOEXEC), 0);
  // A forked child shares no threads, locks or leases with its parent: the handle is closed for it.
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "published";
    try {
      bus.publish(Tick{2, {}});
    } catch (const Error& error) {
      said = "error: " + std::string(error.what());
    } catch (...) {
      said = "something else was thrown";
    }
    (void)!::write(channel[1], said.data(), said.size());
    ::_exit(0);
  }
  ::close(channel[1]);
  std::string said;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(channel[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<std::size_t>(got));
  ::close(channel[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(said.starts_with("error: ")) << said;
  EXPECT_NE(said.find("fork"), std::string::npos) << "the message must say what happened: " << said;
  EXPECT_EQ(read_ids(*transport, test_stream).size(), 1U);
  bus.publish(Tick{3, {}});
  EXPECT_EQ(read_ids(*transport, test_stream).size(), 2U) << "the parent must not be disturbed";
}

TEST_P(Conformance, P19_ClosedHandle_OutlivedByItsParts) {
  NEEDS_A_SHELF;
  // The last bus handle may go while a service still runs, and subscriptions may go in any order.
  const auto transport = open_real();
  Seen seen;
  auto bus = std::make_unique<Bus>(Bus::over(transport, bus_options()));
  Service service{*bus, "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.add(event.id); });
  bus.reset();
  Running running{service};
  publish_ticks(*transport, 0, 10);
  EXPECT_TRUE(seen.wait_for(10));
  ASSERT_TRUE(running.stop());
  const auto groups = [&] { return transport->describe(test_stream).at(0).groups.at(0); };
  EXPECT_EQ(groups().consumers, 0U);
  try {
    (void)transport->shelf({test_stream, "nobody"}, {});
    ADD_FAILURE() << "an unknown group has a shelf";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found) << error.what();
  }
}

TEST_P(Conformance, P39_TrimUnderLag) {
  NEEDS_A_MOVABLE_CLOCK;
  NEEDS_READING;
  const auto transport = open();
  const auto slow = transport->subscribe(interest("slow"));
  const auto quick = transport->subscribe(interest("quick"));
  for (int batch = 0; batch < 10; ++batch) publish_ticks(*transport, batch * 100, 100);
  EXPECT_EQ(consume_all(*quick).size(), 1000U);
  transport::Retention retention;
  retention.age = 1h;
  clock().advance(2h);
  publish_ticks(*transport, 1000, 100);
  slow->renew();
  quick->renew();
  tend(*transport, retention);
  EXPECT_EQ(read_ids(*transport, test_stream).size(), 1100U) << "retention went past the slowest group";
  Interest few = interest("slow");
  few.events = 150;
  const auto slow_again = transport->subscribe(few);
  std::set<std::string> had;
  for (const Delivery& delivery : fetch_all(*slow_again, 150)) had.insert(id_of(delivery.envelope));
  ASSERT_EQ(had.size(), 150U);
  retention.pass_groups = {"slow"};
  tend(*transport, retention);
  const std::vector<std::string> left = read_ids(*transport, test_stream);
  EXPECT_LT(left.size(), 1100U) << "allowed by name, nothing was removed";
  EXPECT_GE(left.size(), 100U) << "what is young must stay";
  // A new subscription learns what it will never get.
  const auto later = transport->subscribe(interest("slow"));
  std::vector<transport::Gap> gaps;
  std::set<std::string> got;
  for (int round = 0; round < 200; ++round) {
    const Batch batch = later->fetch(0ms, {});
    gaps.insert(gaps.end(), batch.gaps.begin(), batch.gaps.end());
    for (const Delivery& delivery : batch.deliveries) got.insert(id_of(delivery.envelope));
    settle_done(*later, batch.deliveries);
  }
  ASSERT_FALSE(gaps.empty()) << "events were removed from under a group without a gap record";
  std::uint64_t missing = 0;
  for (const transport::Gap& gap : gaps) {
    EXPECT_LE(gap.first, gap.last);
    missing += gap.last.major - gap.first.major + 1;
  }
  if (GetParam().name == "memory" || GetParam().name == "sqlite") {
    // Offsets count events: all that was not had is in a gap, and nothing else.
    std::size_t absent = 0;
    for (int n = 0; n < 1100; ++n)
      absent += got.contains("evt_" + std::to_string(n)) || had.contains("evt_" + std::to_string(n)) ? 0 : 1;
    EXPECT_GE(missing, absent);
    EXPECT_LE(missing, absent + had.size());
  }
  EXPECT_TRUE(got.contains("evt_1099"));
  EXPECT_EQ(consume_all(*quick).size(), 100U);
}

TEST_P(Conformance, P41_LostGroup) {
  const auto transport = open_real();
  Bus bus = Bus::over(transport, bus_options());
  Seen seen;
  Service service{bus, "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.add(event.id); });
  Running running{service};
  publish_ticks(*transport, 0, 10);
  ASSERT_TRUE(seen.wait_for(10));
  const std::size_t before = log().count(LogLevel::warning);
  transport->change({test_stream, "reader"}, {.kind = transport::GroupChange::Kind::remove, .force = true});
  // A name that was deleted may be free only later.
  clock().advance(61s);
  publish_ticks(*transport, 10, 10);
  if (!transport->capabilities().from_beginning) {
    // Nobody gets what comes before the group is back; from then on all of it comes.
    const auto until = std::chrono::steady_clock::now() + 100s;
    for (int n = 20; seen.distinct() < 20 && std::chrono::steady_clock::now() < until; ++n) {
      publish_ticks(*transport, n, 1);
    }
  }
  EXPECT_TRUE(seen.wait_for(20)) << "a service must outlive the loss of its group";
  ASSERT_TRUE(running.stop());
  EXPECT_EQ(running.error(), "");
  EXPECT_LE(log().count(LogLevel::warning) - before, 20U)
      << "a lost group is a state with backoff, not a storm of errors";
}

TEST_P(Conformance, P63_FdExhaustion) {
  const auto transport = open();
  const auto subscription = transport->subscribe(interest("reader"));
  publish_ticks(*transport, 0, 10);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(lowest, 0);
  ::close(lowest);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(lowest);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::vector<std::string> acknowledged;
  std::vector<std::string> refusals;
  const auto attempt = [&](const char* what, const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      refusals.push_back(std::string(what) + ": " + error.what());
      EXPECT_NE(error.code(), ErrorCode::internal) << refusals.back();
      EXPECT_NE(error.code(), ErrorCode::corrupt) << refusals.back();
    } catch (const std::exception& other) {
      ADD_FAILURE() << what << " threw something that is no tidings::Error: " << other.what();
    }
  };
  for (int n = 10; n < 20; ++n) {
    attempt("publish", [&] {
      if (publish(*transport, {tick(n)}).at(0).code == ErrorCode::ok)
        acknowledged.push_back("evt_" + std::to_string(n));
    });
  }
  attempt("subscribe", [&] { (void)transport->subscribe(interest("another")); });
  attempt("open", [&] { (void)open(); });
  attempt("fetch and settle", [&] { settle_done(*subscription, fetch_all(*subscription)); });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  const std::vector<std::string> stored = read_ids(*transport, test_stream);
  for (const std::string& id : acknowledged) {
    EXPECT_NE(std::find(stored.begin(), stored.end(), id), stored.end()) << id << " was acknowledged and is lost";
  }
  publish_ticks(*transport, 20, 1);
  const auto another = transport->subscribe(interest("another"));
  EXPECT_EQ(consume_all(*another).size(), stored.size() + 1) << "with descriptors again, all must work again";
}

}  // namespace tidings::conformance
