// The harness as its users see it.
#include <gtest/gtest.h>

#include <set>

#include <tidings/testing.hpp>

namespace harness_test {

struct Joined {
  std::string userId;
  std::string email;
};
TIDINGS_EVENT(Joined, "user.created", "1.0", userId, email)
struct Misjoined {
  int userId = 0;
};
TIDINGS_EVENT(Misjoined, "user.created", "1.0", userId)
struct Welcomed {
  std::string userId;
};
TIDINGS_EVENT(Welcomed, "notification.sent", "1.0", userId)
struct SendMail {
  std::string to;
};
TIDINGS_COMMAND(SendMail, "send.email", "1.0", to)

}  // namespace harness_test

namespace tidings::testing {
namespace {

using namespace std::chrono_literals;
using namespace harness_test;

TEST(VirtualClock, StandsStillUntilItIsMoved) {
  VirtualClock clock;
  EXPECT_EQ(format_time(clock.wall()), "2024-01-25T10:30:00.000Z");
  EXPECT_EQ(clock.steady(), Steady(1h));
  clock.advance(90s);
  EXPECT_EQ(format_time(clock.wall()), "2024-01-25T10:31:30.000Z");
  EXPECT_EQ(clock.steady(), Steady(1h + 90s));
  clock.jump_wall(-24h);
  EXPECT_EQ(format_time(clock.wall()), "2024-01-24T10:31:30.000Z");
  EXPECT_EQ(clock.steady(), Steady(1h + 90s));
}

TEST(SeededRandom, RepeatsForTheSameSeedOnly) {
  SeededRandom first(7);
  SeededRandom same(7);
  SeededRandom other(8);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = first.next();
    EXPECT_EQ(value, same.next());
    seen.insert(value);
    seen.insert(other.next());
  }
  EXPECT_EQ(seen.size(), 2000U);
}

TEST(Harness, HandlersPublishWhatFollows) {
  Harness harness;
  Service notification{harness.bus(), "notification"};
  notification.on<Joined>(
      [](const DomainEvent<Joined>& event, Context& context) { context.publish(Welcomed{event.data.userId}); });
  harness.add(notification);
  const std::string cause = harness.publish(Joined{"usr_1", "a@example.com"});
  EXPECT_EQ(harness.settle(), 1U);
  const auto sent = harness.published<Welcomed>();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].data.userId, "usr_1");
  EXPECT_EQ(sent[0].metadata.string("causationId"), cause);
  EXPECT_EQ(sent[0].correlationId, harness.published<Joined>().at(0).correlationId);
  EXPECT_EQ(harness.settle(), 0U);
}

TEST(Harness, ServicesAnswerEachOtherUntilNothingIsDue) {
  Harness harness;
  Service greeter{harness.bus(), "greeter"};
  greeter.on<Joined>(
      [](const DomainEvent<Joined>& event, Context& context) { context.send(SendMail{event.data.email}); });
  Service mailer{harness.bus(), "mailer"};
  std::vector<std::string> sent;
  mailer.on<SendMail>([&](const DomainEvent<SendMail>& command, Context& context) {
    sent.push_back(command.data.to);
    context.publish(Welcomed{command.data.to});
  });
  harness.add(mailer);
  harness.add(greeter);
  harness.publish(Joined{"usr_1", "a@example.com"});
  harness.publish(Joined{"usr_2", "b@example.com"});
  EXPECT_EQ(harness.settle(), 4U);
  EXPECT_EQ(sent, (std::vector<std::string>{"a@example.com", "b@example.com"}));
  EXPECT_EQ(harness.published<SendMail>().size(), 2U);
  EXPECT_EQ(harness.published<Welcomed>().size(), 2U);
}

TEST(Harness, AdvanceStopsAtEachRetry) {
  Harness harness;
  Service service{harness.bus(), "service"};
  std::vector<Millis> tried;
  const Wall start = harness.clock().wall();
  service.on<Joined>(
      [&](const DomainEvent<Joined>&, Context& context) {
        tried.push_back(harness.clock().wall() - start);
        if (context.attempt() < 4) throw std::runtime_error("not yet");
      },
      {.backoff = {.first = 1s, .longest = 1min, .jitter = false}});
  harness.add(service);
  harness.publish(Joined{"usr_1", ""});
  EXPECT_EQ(harness.settle(), 1U);
  EXPECT_EQ(harness.advance(999ms), 0U);
  EXPECT_EQ(harness.advance(1h - 999ms), 3U);
  EXPECT_EQ(tried, (std::vector<Millis>{0s, 1s, 3s, 7s}));
  EXPECT_EQ(harness.clock().wall(), start + 1h);
}

TEST(Harness, DeadLettersSayWhy) {
  Harness harness;
  Service service{harness.bus(), "service"};
  service.on<Joined>([](const DomainEvent<Joined>& event) {
    if (event.data.email.empty()) throw Reject("no address");
    throw std::runtime_error("server is down");
  });
  harness.add(service);
  const std::string rejected = harness.publish(Joined{"usr_1", ""});
  const std::string exhausted = harness.publish(Joined{"usr_2", "b@example.com"});
  harness.settle();
  ASSERT_EQ(harness.dead_letters(service).size(), 1U);
  harness.advance(1h);
  const auto letters = harness.dead_letters(service);
  ASSERT_EQ(letters.size(), 2U);
  EXPECT_EQ(letters[0].id, rejected);
  EXPECT_EQ(letters[0].reason, "rejected");
  EXPECT_EQ(letters[0].error, "no address");
  EXPECT_EQ(letters[1].id, exhausted);
  EXPECT_EQ(letters[1].reason, "attempts_exhausted");
  EXPECT_EQ(letters[1].error, "server is down");
  EXPECT_EQ(letters[1].attempts, 5U);
}

TEST(Harness, CrashLosesTheOutputsAndComesBackAlone) {
  Harness harness;
  Service service{harness.bus(), "service"};
  std::vector<std::uint32_t> crashes;
  service.on<Joined>([&](const DomainEvent<Joined>& event, Context& context) {
    crashes.push_back(context.crashes());
    EXPECT_EQ(context.attempt(), 1U);
    context.publish(Welcomed{event.data.userId});
  });
  harness.add(service);
  harness.publish(Joined{"usr_1", ""});
  harness.publish(Joined{"usr_2", ""});
  harness.crash_next(service);
  EXPECT_EQ(harness.settle(), 3U);
  EXPECT_EQ(crashes, (std::vector<std::uint32_t>{0, 1, 1}));
  EXPECT_EQ(harness.published<Welcomed>().size(), 2U);
  EXPECT_TRUE(harness.dead_letters(service).empty());
}

TEST(Harness, ThreeCrashesMakeADeadLetter) {
  Harness harness;
  Service service{harness.bus(), "service"};
  std::size_t calls = 0;
  // Each of the first two calls arms the crash of the next one.
  service.on<Joined>([&](const DomainEvent<Joined>&) {
    if (++calls < 3) harness.crash_next(service);
  });
  harness.add(service);
  harness.publish(Joined{"usr_1", ""});
  harness.crash_next(service);
  harness.settle();
  EXPECT_EQ(calls, 3U);
  const auto letters = harness.dead_letters(service);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].reason, "crashed");
  EXPECT_EQ(letters[0].crashes, 3U);
  EXPECT_EQ(letters[0].attempts, 0U);
}

TEST(Harness, ACrashWaitsForADeliveryThatReachesTheHandler) {
  Harness harness;
  Service service{harness.bus(), "service"};
  std::size_t calls = 0;
  service.on<Joined>([&](const DomainEvent<Joined>&) { ++calls; });
  harness.add(service);
  harness.publish(Misjoined{5});
  harness.publish(Joined{"usr_1", ""});
  harness.crash_next(service);
  harness.settle();
  EXPECT_EQ(calls, 2U) << "once to crash in, once after";
  const auto letters = harness.dead_letters(service);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].reason, "undecodable");
}

TEST(Harness, DeliverTwiceRunsEveryHandlerTwiceButStoresItsOutputsOnce) {
  Harness harness;
  Service service{harness.bus(), "service"};
  std::size_t calls = 0;
  service.on<Joined>([&](const DomainEvent<Joined>& event, Context& context) {
    ++calls;
    context.publish(Welcomed{event.data.userId});
  });
  harness.add(service);
  harness.deliver_twice();
  harness.publish(Joined{"usr_1", ""});
  harness.settle();
  EXPECT_EQ(calls, 2U);
  std::set<std::string> ids;
  for (const auto& event : harness.published<Welcomed>()) ids.insert(event.id);
  EXPECT_EQ(ids.size(), 1U);
  harness.deliver_twice(false);
  harness.publish(Joined{"usr_2", ""});
  harness.settle();
  EXPECT_EQ(calls, 3U);
}

TEST(Harness, MoreThanAPrefetchOfIgnoredEventsDoesNotStopIt) {
  Harness harness;
  Service service{harness.bus(), "service", {.prefetch_events = 4}};
  std::size_t calls = 0;
  service.on("user.deleted", [&](const Event&, Context&) { ++calls; });
  harness.add(service);
  for (int i = 0; i < 20; ++i) harness.publish(Joined{"usr", ""});
  EXPECT_EQ(harness.settle(), 0U);
  EXPECT_EQ(service.stats().ignored, 20U);
}

TEST(Harness, EndlessConversationIsAnError) {
  Harness harness;
  Service service{harness.bus(), "service"};
  service.on<Joined>([](const DomainEvent<Joined>& event, Context& context) { context.publish(event.data); });
  harness.add(service);
  harness.publish(Joined{"usr_1", ""});
  try {
    harness.settle();
    FAIL() << "it came to rest";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

TEST(Harness, ServiceMayOutliveIt) {
  std::optional<Harness> harness(std::in_place);
  Service service{harness->bus(), "service"};
  service.on<Joined>([](const DomainEvent<Joined>&) {});
  harness->add(service);
  harness->publish(Joined{"usr_1", ""});
  EXPECT_EQ(harness->settle(), 1U);
  harness.reset();
  EXPECT_EQ(service.stats().handled, 1U);
}

}  // namespace
}  // namespace tidings::testing
