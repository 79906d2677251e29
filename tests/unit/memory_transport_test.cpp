// The memory engine behind its lock: waiting, leases, names, owners and retention.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>

#include <tidings/testing.hpp>

#include "transport/memory/memory.hpp"

namespace tidings {
namespace {

using namespace std::chrono_literals;
using namespace transport;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Settlement::Kind;

template <class F>
ErrorCode code_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::ok;
}

class MemoryTransport : public ::testing::Test {
 protected:
  std::shared_ptr<Transport> open(const std::string& url = "memory:") {
    Environment environment;
    environment.clock = &clock_;
    environment.log = [this](LogLevel, std::string_view line) { lines_.emplace_back(line); };
    return open_memory(Url::parse(url), environment);
  }
  Result publish(const std::string& id, const std::string& envelope = "{}", const std::string& stream = "events:user",
                 const std::string& key = "") {
    const Outgoing item{.stream = stream, .id = id, .type = "user.created", .key = key, .envelope = envelope};
    Result result;
    engine_->publish({&item, 1}, Level::memory, 1s, {&result, 1});
    return result;
  }
  static Interest interest(const std::string& service, std::vector<std::string> streams = {"events:user"}) {
    return {.service = service, .streams = std::move(streams), .types = {"*"}};
  }
  static Result settle(Subscription& subscription, const Delivery& delivery, Kind kind = Kind::done,
                       std::span<const Outgoing> outputs = {}) {
    const Settlement item{.kind = kind, .token = delivery.token, .outputs = outputs};
    Result result;
    subscription.settle({&item, 1}, {&result, 1});
    return result;
  }
  GroupInfo group(const std::string& name, const std::string& stream = "events:user") {
    for (const StreamInfo& info : engine_->describe(stream)) {
      for (const GroupInfo& found : info.groups) {
        if (found.group == name) return found;
      }
    }
    throw Error(ErrorCode::not_found, name);
  }

  tidings::testing::VirtualClock clock_;
  std::vector<std::string> lines_;
  std::shared_ptr<Transport> engine_ = open();
};

TEST_F(MemoryTransport, PrivateWithoutANameSharedWithOneAndGoneWithTheLastHandle) {
  publish("evt_1");
  EXPECT_TRUE(open()->describe("").empty());
  auto first = open("memory:shared-by-this-test");
  auto second = open("memory:shared-by-this-test");
  const Outgoing item{.stream = "events:user", .id = "evt_1", .type = "user.created", .envelope = "{}"};
  Result result;
  first->publish({&item, 1}, Level::memory, 1s, {&result, 1});
  first.reset();
  EXPECT_EQ(second->read({.stream = "events:user"}).records.size(), 1U);
  second.reset();
  EXPECT_TRUE(open("memory:shared-by-this-test")->describe("").empty());
}

TEST_F(MemoryTransport, UnknownOptionIsRefused) {
  EXPECT_EQ(code_of([&] { open("memory:?durabilty=disk"); }), ErrorCode::invalid);
}

TEST_F(MemoryTransport, StrongerLevelIsRefused) {
  const Outgoing item{.stream = "events:user", .id = "evt_1", .type = "user.created", .envelope = "{}"};
  Result result;
  EXPECT_EQ(code_of([&] { engine_->publish({&item, 1}, Level::disk, 1s, {&result, 1}); }), ErrorCode::not_supported);
}

TEST_F(MemoryTransport, TooLargeIsRefusedAtTheByteAndItsKeyKeepsAPrefix) {
  const std::size_t limit = engine_->capabilities().largest_event;
  EXPECT_EQ(publish("evt_1", std::string(limit, ' ')).code, ErrorCode::ok);
  const Result refused = publish("evt_2", std::string(limit + 1, ' '));
  EXPECT_EQ(refused.code, ErrorCode::too_large);
  EXPECT_FALSE(refused.retryable);
  EXPECT_THAT(refused.message, HasSubstr("1048577 bytes"));

  const std::string large(limit + 1, ' ');
  const std::array<Outgoing, 4> items = {
      {{.stream = "events:user", .id = "a", .type = "t", .key = "k", .envelope = "{}"},
       {.stream = "events:user", .id = "b", .type = "t", .key = "k", .envelope = large},
       {.stream = "events:user", .id = "c", .type = "t", .key = "k", .envelope = "{}"},
       {.stream = "events:user", .id = "d", .type = "t", .key = "j", .envelope = "{}"}}};
  std::array<Result, 4> results;
  engine_->publish(items, Level::memory, 1s, results);
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::too_large);
  EXPECT_EQ(results[2].code, ErrorCode::unavailable);
  EXPECT_TRUE(results[2].retryable);
  EXPECT_EQ(results[3].code, ErrorCode::ok);
  EXPECT_EQ(results[3].position, (Position{3, 0}));
}

TEST_F(MemoryTransport, BadStreamIsAnItemsFault) { EXPECT_EQ(publish("evt_1", "{}", "user").code, ErrorCode::invalid); }

TEST_F(MemoryTransport, TwoGroupsGetEverythingAndALateOneToo) {
  auto first = engine_->subscribe(interest("first"));
  publish("evt_1");
  publish("evt_2");
  auto late = engine_->subscribe(interest("late"));
  EXPECT_EQ(first->fetch(0ms, {}).deliveries.size(), 2U);
  EXPECT_EQ(late->fetch(0ms, {}).deliveries.size(), 2U);
  auto latest = interest("latest");
  latest.start.kind = Start::Kind::end;
  EXPECT_TRUE(engine_->subscribe(latest)->fetch(0ms, {}).deliveries.empty());
}

TEST_F(MemoryTransport, LeaseThatRunsOutHandsOverAndFencesTheOldHolder) {
  auto stalled = engine_->subscribe(interest("search"));
  auto other = engine_->subscribe(interest("search"));
  publish("evt_1");
  const auto held = stalled->fetch(0ms, {}).deliveries;
  ASSERT_EQ(held.size(), 1U);
  clock_.advance(20s);
  EXPECT_TRUE(stalled->renew().empty());
  clock_.advance(20s);
  EXPECT_TRUE(other->fetch(0ms, {}).deliveries.empty()) << "renewed in time";
  clock_.advance(10s);
  const auto taken = other->fetch(0ms, {}).deliveries;
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_TRUE(taken[0].alone);
  EXPECT_EQ(taken[0].crashes, 1U);
  EXPECT_EQ(taken[0].attempt, 1U);
  for (const Kind kind : {Kind::again, Kind::dead, Kind::done}) {
    const Result late = settle(*stalled, held[0], kind);
    EXPECT_TRUE(late.stale);
    EXPECT_EQ(late.code, ErrorCode::stale);
  }
  EXPECT_THAT(stalled->renew(), ElementsAre(held[0].token));
  EXPECT_TRUE(stalled->renew().empty());
  EXPECT_EQ(settle(*other, taken[0]).code, ErrorCode::ok);
  EXPECT_EQ(group("search").handled, 1U);
  EXPECT_EQ(group("search").dead_letters, 0U);
}

TEST_F(MemoryTransport, WallClockJumpsTouchNoLease) {
  auto holder = engine_->subscribe(interest("search"));
  auto other = engine_->subscribe(interest("search"));
  publish("evt_1");
  ASSERT_EQ(holder->fetch(0ms, {}).deliveries.size(), 1U);
  for (const Millis jump : {Millis{1h}, Millis{-2h}, Millis{24h * 3650}, Millis{-24h * 7300}}) {
    clock_.jump_wall(jump);
    EXPECT_TRUE(other->fetch(0ms, {}).deliveries.empty());
  }
  EXPECT_TRUE(holder->renew().empty());
}

TEST_F(MemoryTransport, TendTakesOverToo) {
  auto holder = engine_->subscribe(interest("search"));
  publish("evt_1");
  ASSERT_EQ(holder->fetch(0ms, {}).deliveries.size(), 1U);
  clock_.advance(31s);
  engine_->tend({}, {});
  const auto items = engine_->shelf({"events:user", "search"}, {});
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].state, ShelfState::waiting);
  EXPECT_EQ(items[0].crashes, 1U);
}

TEST_F(MemoryTransport, EndOfASubscriptionGivesBackUncounted) {
  publish("evt_1");
  publish("evt_2");
  auto first = engine_->subscribe(interest("search"));
  const auto held = first->fetch(0ms, {}).deliveries;
  ASSERT_EQ(settle(*first, held[0]).code, ErrorCode::ok);
  first.reset();
  const auto rest = engine_->subscribe(interest("search"))->fetch(0ms, {}).deliveries;
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].position, (Position{2, 0}));
  EXPECT_EQ(rest[0].attempt, 1U);
  EXPECT_EQ(rest[0].crashes, 0U);
}

TEST_F(MemoryTransport, OutputsAreStoredWithDoneAndOnlyThen) {
  auto subscription = engine_->subscribe(interest("search"));
  publish("evt_1");
  const auto held = subscription->fetch(0ms, {}).deliveries;
  const std::string large(engine_->capabilities().largest_event + 1, ' ');
  const Outgoing bad{.stream = "events:mail", .id = "evt_out", .type = "mail.sent", .envelope = large};
  EXPECT_EQ(settle(*subscription, held[0], Kind::done, {&bad, 1}).code, ErrorCode::too_large);
  EXPECT_TRUE(engine_->describe("events:mail").empty());
  const Outgoing output{.stream = "events:mail", .id = "evt_out", .type = "mail.sent", .envelope = "{}"};
  EXPECT_EQ(settle(*subscription, held[0], Kind::done, {&output, 1}).code, ErrorCode::ok);
  EXPECT_TRUE(settle(*subscription, held[0], Kind::done, {&output, 1}).stale);
  EXPECT_EQ(engine_->read({.stream = "events:mail"}).records.size(), 1U) << "a stale settlement stores nothing";
}

TEST_F(MemoryTransport, SecondOwnerOfACommandIsRefusedAndJoinsNothing) {
  auto owner = engine_->subscribe(interest("mailer", {"commands:send.email"}));
  EXPECT_EQ(code_of([&] {
              engine_->subscribe(interest("spammer", {"events:user", "commands:send.email"}));
            }),
            ErrorCode::conflict);
  EXPECT_TRUE(engine_->describe("events:user").empty());
  auto second_instance = engine_->subscribe(interest("mailer", {"commands:send.email"}));
  EXPECT_EQ(group("commands", "commands:send.email").owner, "mailer");
  EXPECT_EQ(group("commands", "commands:send.email").consumers, 2U);
}

TEST_F(MemoryTransport, TypesAreTheUnionOfWhoLives) {
  auto old_version = interest("search");
  old_version.types = {"user.created"};
  auto new_version = interest("search");
  new_version.types = {"user.updated", "user.created"};
  auto first = engine_->subscribe(old_version);
  EXPECT_THAT(*first->fetch(0ms, {}).types, ElementsAre("user.created"));
  auto second = engine_->subscribe(new_version);
  EXPECT_THAT(*first->fetch(0ms, {}).types, ElementsAre("user.created", "user.updated"));
  EXPECT_EQ(group("search").consumers, 2U);
  clock_.advance(31s);
  EXPECT_THAT(*first->fetch(0ms, {}).types, ElementsAre("user.created")) << "the other's lease ran out";
  EXPECT_EQ(group("search").consumers, 1U);
  EXPECT_TRUE(second->renew().empty());
  EXPECT_THAT(*first->fetch(0ms, {}).types, ElementsAre("user.created", "user.updated"));
  second.reset();
  EXPECT_THAT(*first->fetch(0ms, {}).types, ElementsAre("user.created"));
}

TEST_F(MemoryTransport, ReplayReachesOneGroupOnly) {
  auto first = engine_->subscribe(interest("first"));
  auto second = engine_->subscribe(interest("second"));
  const Outgoing item{.id = "evt_1", .type = "user.created", .envelope = "{}"};
  Result result;
  engine_->inject({"events:user", "first"}, Origin::replay, 3, {&item, 1}, {&result, 1});
  EXPECT_EQ(result.code, ErrorCode::ok);
  const auto got = first->fetch(0ms, {}).deliveries;
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].run, 3U);
  EXPECT_TRUE(second->fetch(0ms, {}).deliveries.empty());
  EXPECT_EQ(engine_->describe("events:user")[0].length, 0U);
  EXPECT_EQ(code_of([&] {
              engine_->inject({"events:user", "third"}, Origin::replay, 3, {&item, 1}, {&result, 1});
            }),
            ErrorCode::not_found);
}

TEST_F(MemoryTransport, GroupsAreCreatedSoughtPausedAndRemoved) {
  using Change = GroupChange::Kind;
  for (const char* id : {"evt_1", "evt_2", "evt_3"}) publish(id);
  const GroupRef ref{"events:user", "search"};
  for (const Change kind : {Change::seek, Change::pause, Change::resume, Change::remove}) {
    EXPECT_EQ(code_of([&] { engine_->change(ref, {.kind = kind}); }), ErrorCode::not_found);
  }
  engine_->change(ref, {.kind = Change::create, .at = {.kind = Start::Kind::position, .position = {2, 0}}});
  EXPECT_EQ(code_of([&] { engine_->change(ref, {.kind = Change::create}); }), ErrorCode::conflict);
  EXPECT_EQ(group("search").lag, 2U);
  engine_->change(ref, {.kind = Change::seek, .at = {.kind = Start::Kind::end}});
  EXPECT_EQ(group("search").lag, 0U);
  engine_->change(ref, {.kind = Change::seek});
  engine_->change(ref, {.kind = Change::pause});
  auto subscription = engine_->subscribe(interest("search"));
  const Batch paused = subscription->fetch(0ms, {});
  EXPECT_TRUE(paused.paused);
  EXPECT_TRUE(paused.deliveries.empty());
  engine_->change(ref, {.kind = Change::resume});
  EXPECT_EQ(subscription->fetch(0ms, {}).deliveries.size(), 3U);
  EXPECT_EQ(code_of([&] { engine_->change(ref, {.kind = Change::remove}); }), ErrorCode::conflict);
}

TEST_F(MemoryTransport, GroupRemovedUnderASubscriptionIsCreatedAgainWhereItStood) {
  auto subscription = engine_->subscribe(interest("search"));
  publish("evt_1");
  const auto held = subscription->fetch(0ms, {}).deliveries;
  engine_->change({"events:user", "search"}, {.kind = GroupChange::Kind::remove, .force = true});
  publish("evt_2");
  const auto next = subscription->fetch(0ms, {}).deliveries;
  ASSERT_EQ(next.size(), 1U);
  EXPECT_EQ(next[0].position, (Position{2, 0}));
  EXPECT_TRUE(settle(*subscription, held[0]).stale);
  EXPECT_THAT(subscription->renew(), ElementsAre(held[0].token));
  EXPECT_EQ(settle(*subscription, next[0]).code, ErrorCode::ok);
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("created again")));
}

TEST_F(MemoryTransport, RetentionStopsAtTheSlowestGroupUnlessItIsNamed) {
  auto subscription = engine_->subscribe(interest("slow"));
  for (const char* id : {"evt_1", "evt_2", "evt_3"}) publish(id);
  clock_.advance(1h);
  engine_->tend({.age = 10min}, {});
  EXPECT_EQ(engine_->describe("events:user")[0].length, 3U);
  EXPECT_TRUE(lines_.empty());

  engine_->tend({.age = 10min, .pass_groups = {"slow"}}, {});
  EXPECT_EQ(engine_->describe("events:user")[0].length, 0U);
  EXPECT_EQ(engine_->describe("events:user")[0].end, (Position{4, 0}));
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("removed 3 events of events:user that group slow never had")));
  const Batch batch = subscription->fetch(0ms, {});
  ASSERT_EQ(batch.gaps.size(), 1U);
  EXPECT_EQ(batch.gaps[0].first, (Position{1, 0}));
  EXPECT_EQ(batch.gaps[0].last, (Position{3, 0}));
  EXPECT_TRUE(subscription->fetch(0ms, {}).gaps.empty());
}

TEST_F(MemoryTransport, RetentionKeepsWhatIsHeld) {
  auto subscription = engine_->subscribe(interest("search"));
  for (const char* id : {"evt_1", "evt_2", "evt_3"}) publish(id);
  const auto held = subscription->fetch(0ms, {}).deliveries;
  settle(*subscription, held[0]);
  settle(*subscription, held[2]);
  engine_->tend({.bytes = 0}, {});
  EXPECT_EQ(engine_->describe("events:user")[0].first, (Position{2, 0}));
  settle(*subscription, held[1]);
  engine_->tend({.bytes = 0}, {});
  EXPECT_EQ(engine_->describe("events:user")[0].length, 0U);
}

// The waits below are ended by what they wait for: the bound is for a broken build only.
class MemoryWaiting : public MemoryTransport {
 protected:
  MemoryWaiting() { engine_ = open_memory(Url::parse("memory:"), {}); }
};

TEST_F(MemoryWaiting, PublishWakesAFetchAndARead) {
  auto subscription = engine_->subscribe(interest("search"));
  std::size_t fetched = 0;
  std::size_t read = 0;
  std::jthread fetcher([&] { fetched = subscription->fetch(1min, {}).deliveries.size(); });
  std::jthread reader([&] { read = engine_->read({.stream = "events:user", .wait = 1min}).records.size(); });
  publish("evt_1");
  fetcher.join();
  reader.join();
  EXPECT_EQ(fetched, 1U);
  EXPECT_EQ(read, 1U);
}

TEST_F(MemoryWaiting, StopEndsAFetchAndARead) {
  auto subscription = engine_->subscribe(interest("search"));
  std::jthread fetcher([&](std::stop_token stop) { subscription->fetch(Millis::max(), stop); });
  std::jthread reader(
      [&](std::stop_token stop) { engine_->read({.stream = "events:user", .wait = Millis::max()}, stop); });
  fetcher.request_stop();
  reader.request_stop();
}

TEST_F(MemoryWaiting, RetryWakesAFetchWhenItFallsDue) {
  auto subscription = engine_->subscribe(interest("search"));
  publish("evt_1");
  const auto held = subscription->fetch(0ms, {}).deliveries;
  const Settlement again{.kind = Kind::again, .token = held[0].token, .after = 20ms};
  Result result;
  subscription->settle({&again, 1}, {&result, 1});
  const auto retried = subscription->fetch(1min, {}).deliveries;
  ASSERT_EQ(retried.size(), 1U);
  EXPECT_EQ(retried[0].attempt, 2U);
}

TEST_F(MemoryWaiting, SettlementMakesRoomForAWaitingFetch) {
  auto narrow = interest("search");
  narrow.events = 1;
  auto subscription = engine_->subscribe(narrow);
  publish("evt_1");
  publish("evt_2");
  const auto held = subscription->fetch(0ms, {}).deliveries;
  ASSERT_EQ(held.size(), 1U);
  EXPECT_TRUE(subscription->fetch(0ms, {}).deliveries.empty());
  std::size_t fetched = 0;
  std::jthread fetcher([&] { fetched = subscription->fetch(1min, {}).deliveries.size(); });
  settle(*subscription, held[0]);
  fetcher.join();
  EXPECT_EQ(fetched, 1U);
}

TEST_F(MemoryTransport, MovedVirtualClockIsSeenByAWaitingFetch) {
  auto subscription = engine_->subscribe(interest("search"));
  publish("evt_1");
  const auto held = subscription->fetch(0ms, {}).deliveries;
  const Settlement again{.kind = Kind::again, .token = held[0].token, .after = 1h};
  Result result;
  subscription->settle({&again, 1}, {&result, 1});
  std::size_t fetched = 0;
  std::jthread fetcher([&] { fetched = subscription->fetch(1min, {}).deliveries.size(); });
  clock_.advance(1h);
  fetcher.join();
  EXPECT_EQ(fetched, 1U);
}

TEST_F(MemoryWaiting, ManyPublishersAndSubscribersLoseAndDoubleNothing) {
  constexpr std::size_t publishers = 4;
  constexpr std::size_t each = 500;
  std::mutex mutex;
  std::multiset<std::uint64_t> handled;
  std::stop_source stop;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        // Every few batches the subscription ends with work in its hands, and another one joins.
        while (!stop.stop_requested()) {
          auto subscription = engine_->subscribe(interest("search"));
          for (int batch = 0; batch < 5; ++batch) {
            // Only empty hands wait: nobody settles what this thread holds.
            const auto got = subscription->fetch(batch == 0 ? 1min : 0min, stop.get_token()).deliveries;
            for (std::size_t at = 0; at < got.size() && at < 7; ++at) {
              const Result result = settle(*subscription, got[at], at == 3 ? Kind::again : Kind::done);
              const std::lock_guard lock(mutex);
              EXPECT_EQ(result.code, ErrorCode::ok);
              if (at != 3) handled.insert(got[at].position.major);
            }
            const std::lock_guard lock(mutex);
            if (handled.size() >= publishers * each) stop.request_stop();
          }
        }
      });
    }
    for (std::size_t i = 0; i < publishers; ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = 0; at < each; ++at) EXPECT_EQ(publish("evt").code, ErrorCode::ok);
      });
    }
  }
  EXPECT_EQ(handled.size(), publishers * each);
  EXPECT_EQ(std::set<std::uint64_t>(handled.begin(), handled.end()).size(), publishers * each);
  EXPECT_EQ(group("search").handled, publishers * each);
  EXPECT_FALSE(engine_->subscribe(interest("search"))->fetch(0ms, {}).deliveries.size());
}

}  // namespace
}  // namespace tidings
