#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include <tidings/tidings.hpp>

namespace runtime_service {

struct Ordered {
  int number = 0;
};
TIDINGS_EVENT(Ordered, "order.placed", "1.0", number)
struct Shipped {
  int number = 0;
};
TIDINGS_EVENT(Shipped, "order.shipped", "1.0", number)
struct Invoiced {
  int number = 0;
};
TIDINGS_EVENT(Invoiced, "invoice.sent", "1.0", number)
struct Later {
  int number = 0;
};
TIDINGS_EVENT(Later, "order.placed", "2.0", number)

}  // namespace runtime_service

namespace tidings {
namespace {

using namespace std::chrono_literals;
using runtime_service::Invoiced;
using runtime_service::Later;
using runtime_service::Ordered;
using runtime_service::Shipped;

/// A count that a test can wait for.
class Count {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++value_;
    wake_.notify_all();
  }
  bool reached(int wanted) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, 60s, [&] { return value_ >= wanted; });
  }
  int value() {
    const std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  int value_ = 0;
};

class RuntimeService : public ::testing::Test {
 protected:
  static BusOptions options() {
    BusOptions options;
    options.source = "shop";
    options.environment.log = [](LogLevel, std::string_view) {};
    return options;
  }
  void publish(int count) {
    std::vector<Ordered> events;
    for (int i = 0; i < count; ++i) events.push_back({i});
    for (const PublishResult& result : bus_.publish_batch(events)) ASSERT_EQ(result.code, ErrorCode::ok);
  }
  std::vector<transport::ShelfItem> shelf(transport::ShelfState state, const std::string& stream = "events:order") {
    return bus_.transport().shelf({stream, "s"}, {.states = {state}});
  }
  transport::GroupInfo group(const std::string& stream = "events:order") {
    return bus_.transport().describe(stream).at(0).groups.at(0);
  }
  Bus bus_ = Bus::open("memory:", options());
};

TEST_F(RuntimeService, HandlesEverythingInOrderWithOneWorker) {
  publish(5'000);
  std::vector<int> seen;
  Service service{bus_, "s", {.max_events = 5'000}};
  service.on<Ordered>([&](const DomainEvent<Ordered>& event) { seen.push_back(event.data.number); });
  service.run(std::stop_token{});
  ASSERT_EQ(seen.size(), 5'000U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(service.stats().handled, 5'000U);
  EXPECT_EQ(group().handled, 5'000U);
  EXPECT_EQ(group().pending, 0U);
}

TEST_F(RuntimeService, ManyWorkersHandleEachEventOnce) {
  publish(3'000);
  std::mutex mutex;
  std::multiset<int> seen;
  Service service{bus_, "s", {.concurrency = 8, .until_idle = 200ms}};
  service.on<Ordered>([&](const DomainEvent<Ordered>& event) {
    const std::lock_guard lock(mutex);
    seen.insert(event.data.number);
  });
  service.run(std::stop_token{});
  EXPECT_EQ(seen.size(), 3'000U);
  EXPECT_EQ(std::set<int>(seen.begin(), seen.end()).size(), 3'000U);
}

TEST_F(RuntimeService, MaxEventsStartsNoMoreThanNeeded) {
  publish(50);
  std::atomic<int> calls{0};
  Service service{bus_, "s", {.concurrency = 4, .max_events = 7}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) { ++calls; });
  service.run(std::stop_token{});
  EXPECT_EQ(calls.load(), 7);
  EXPECT_EQ(group().handled, 7U);
  // The rest goes to the next one, as a first attempt.
  Service next{bus_, "s", {.max_events = 43}};
  next.on<Ordered>([&](const DomainEvent<Ordered>&, Context& context) {
    EXPECT_EQ(context.attempt(), 1U);
    EXPECT_EQ(context.crashes(), 0U);
  });
  next.run(std::stop_token{});
  EXPECT_EQ(group().handled, 50U);
}

TEST_F(RuntimeService, AFailureIsTriedAgainThenBecomesADeadLetter) {
  publish(3);
  std::vector<Failure> failures, dead;
  std::vector<std::uint32_t> attempts;
  Service service{bus_, "s", {.max_events = 3}};
  service.on<Ordered>(
      [&](const DomainEvent<Ordered>& event, Context& context) {
        if (event.data.number != 1) return;
        attempts.push_back(context.attempt());
        throw std::runtime_error("no stock");
      },
      {.max_attempts = 3, .backoff = {.first = 1ms}});
  service.on_failure([&](const Failure& failure) { failures.push_back(failure); });
  service.on_dead_letter([&](const Failure& failure) { dead.push_back(failure); });
  service.run(std::stop_token{});
  EXPECT_EQ(attempts, (std::vector<std::uint32_t>{1, 2, 3}));
  ASSERT_EQ(failures.size(), 3U);
  EXPECT_TRUE(failures[0].next_try.has_value());
  EXPECT_FALSE(failures[2].next_try.has_value());
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, "attempts_exhausted");
  EXPECT_EQ(dead[0].error, "no stock");
  const auto letters = shelf(transport::ShelfState::dead);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].reason, "attempts_exhausted");
  EXPECT_EQ(letters[0].error, "no stock");
  EXPECT_EQ(letters[0].attempts, 3U);
  EXPECT_EQ(letters[0].id, dead[0].id);
  const ServiceStats stats = service.stats();
  EXPECT_EQ(stats.handled, 2U);
  EXPECT_EQ(stats.dead, 1U);
  EXPECT_EQ(stats.failed, 3U);
}

TEST_F(RuntimeService, WhatAHandlerThrowsSaysWhatHappens) {
  publish(4);
  Service service{bus_, "s", {.until_idle = 100ms}};
  service.on<Ordered>([&](const DomainEvent<Ordered>& event) {
    if (event.data.number == 0) throw Reject{"unknown currency"};
    if (event.data.number == 1) throw Again{1h};
    if (event.data.number == 2) throw 42;
  });
  service.run(std::stop_token{});
  const auto dead = shelf(transport::ShelfState::dead);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, "rejected");
  EXPECT_EQ(dead[0].error, "unknown currency");
  const auto retrying = shelf(transport::ShelfState::retrying);
  ASSERT_EQ(retrying.size(), 2U);
  EXPECT_TRUE(std::any_of(retrying.begin(), retrying.end(),
                          [](const auto& item) { return item.error == "unknown exception"; }));
  EXPECT_EQ(service.stats().handled, 1U);
}

TEST_F(RuntimeService, OutputsAreStoredOnSuccessOnlyUnderDerivedIds) {
  const Published cause = bus_.publish(Ordered{1}, {.correlation_id = "req_7", .traceparent = "00-t-s-01"});
  std::vector<std::string> promised;
  Service service{bus_, "s", {.max_events = 1}};
  service.on<Ordered>(
      [&](const DomainEvent<Ordered>& event, Context& context) {
        promised.push_back(context.publish(Invoiced{event.data.number}));
        if (context.attempt() == 1) throw std::runtime_error("after the output");
      },
      {.backoff = {.first = 1ms}});
  service.run(std::stop_token{});
  ASSERT_EQ(promised.size(), 2U);
  EXPECT_EQ(promised[0], promised[1]) << "a repeat derives the same id";
  const auto page = bus_.transport().read({.stream = "events:invoice"});
  ASSERT_EQ(page.records.size(), 1U);
  const auto output = decode<Invoiced>(page.records[0].envelope);
  EXPECT_EQ(output.id, promised[0]);
  EXPECT_EQ(output.correlationId, "req_7");
  EXPECT_EQ(output.source, "shop");
  EXPECT_EQ(output.metadata.string("causationId"), cause.id);
  EXPECT_EQ(output.metadata.string("traceparent"), "00-t-s-01");
}

TEST_F(RuntimeService, WhatCannotBeHandledIsADeadLetterAtOnce) {
  bus_.publish(Later{1});
  const std::string_view wrong[] = {R"({"type":"order.placed","data":{"number":"seven"}})"};
  ASSERT_EQ(bus_.publish_json(wrong)[0].code, ErrorCode::ok);
  bus_.publish(Shipped{1});
  int calls = 0;
  Service service{bus_, "s", {.until_idle = 100ms}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) { ++calls; });
  service.run(std::stop_token{});
  EXPECT_EQ(calls, 0);
  std::set<std::string> reasons;
  for (const auto& item : shelf(transport::ShelfState::dead)) reasons.insert(item.reason);
  EXPECT_EQ(reasons, (std::set<std::string>{"undecodable", "unsupported_version"}));
  EXPECT_EQ(service.stats().ignored, 1U);
  EXPECT_EQ(group().ignored, 1U);
}

TEST_F(RuntimeService, AnotherMajorVersionWinsOverDataThatDoesNotFit) {
  const std::string_view later[] = {R"({"type":"order.placed","version":"2.0","data":{"lines":[]}})"};
  ASSERT_EQ(bus_.publish_json(later)[0].code, ErrorCode::ok);
  Service service{bus_, "s", {.until_idle = 100ms}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) {});
  service.run(std::stop_token{});
  const auto dead = shelf(transport::ShelfState::dead);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, "unsupported_version");
  EXPECT_NE(dead[0].error.find("2.0"), std::string::npos) << dead[0].error;
}

TEST_F(RuntimeService, ATimedOutHandlerIsAFailedAttemptAndDoesNotHoldUpTheRest) {
  publish(2);
  std::promise<void> hang;
  const std::shared_future<void> hung = hang.get_future().share();
  Count returned, told;
  std::stop_source stop;
  Service service{bus_, "s", {.drain = 30s}};
  service.on<Ordered>(
      [&](const DomainEvent<Ordered>& event, Context& context) {
        if (event.data.number == 1) return returned.add();
        const std::stop_callback on_stop(context.stop_token(), [&] { told.add(); });
        hung.wait();
      },
      {.max_attempts = 1, .timeout = 50ms});
  Count dead;
  service.on_dead_letter([&](const Failure& failure) {
    EXPECT_EQ(failure.reason, "timed_out");
    dead.add();
  });
  std::jthread runner([&] { service.run(stop.get_token()); });
  EXPECT_TRUE(told.reached(1));
  EXPECT_TRUE(dead.reached(1));
  EXPECT_TRUE(returned.reached(1)) << "another worker stands in";
  hang.set_value();
  stop.request_stop();
  runner.join();
  EXPECT_EQ(service.stats().handled, 1U);
  EXPECT_EQ(service.stats().dead, 1U);
}

TEST_F(RuntimeService, AStopFinishesWhatRunsAndGivesBackTheRestUncounted) {
  publish(10);
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  Count started;
  std::stop_source stop;
  Service service{bus_, "s"};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) {
    started.add();
    gone.wait();
  });
  std::jthread runner([&] { service.run(stop.get_token()); });
  ASSERT_TRUE(started.reached(1));
  stop.request_stop();
  go.set_value();
  runner.join();
  EXPECT_EQ(started.value(), 1);
  EXPECT_EQ(service.stats().handled, 1U);
  EXPECT_EQ(group().handled, 1U);
  std::vector<int> rest;
  Service next{bus_, "s", {.max_events = 9}};
  next.on<Ordered>([&](const DomainEvent<Ordered>& event, Context& context) {
    EXPECT_EQ(context.attempt(), 1U);
    rest.push_back(event.data.number);
  });
  next.run(std::stop_token{});
  EXPECT_EQ(rest, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(RuntimeService, AHandlerThatOutlivesTheDrainIsToldToStop) {
  publish(1);
  Count started;
  std::stop_source stop;
  Service service{bus_, "s", {.drain = 20ms}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&, Context& context) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    started.add();
    wake.wait(lock, context.stop_token(), [] { return false; });
    throw std::runtime_error("interrupted");
  });
  std::jthread runner([&] { service.run(stop.get_token()); });
  ASSERT_TRUE(started.reached(1));
  stop.request_stop();
  runner.join();
  EXPECT_EQ(service.stats().failed, 0U) << "it was interrupted, it did not fail";
  EXPECT_EQ(service.stats().released, 1U);
  EXPECT_EQ(group().retrying, 0U);
}

TEST_F(RuntimeService, ABatchHandlerSettlesEachEventForItself) {
  publish(10);
  std::vector<std::size_t> sizes;
  std::map<int, int> calls;
  Service service{bus_, "s", {.max_events = 10}};
  service.on_batch<Ordered>(
      [&](std::span<const DomainEvent<Ordered>> events, BatchContext& batch) {
        sizes.push_back(events.size());
        for (std::size_t i = 0; i < events.size(); ++i) {
          const int number = events[i].data.number;
          ++calls[number];
          batch[i].publish(Invoiced{number});
          if (number == 3 && batch[i].attempt() == 1) batch.fail(i, "not yet");
          if (number == 4 && batch[i].attempt() == 1) batch.again(i, 1ms, "soon");
          if (number == 5) batch.reject(i, "never");
        }
      },
      {.size = 10, .wait = 20ms, .handler = {.backoff = {.first = 1ms}}});
  service.run(std::stop_token{});
  EXPECT_EQ(sizes.at(0), 10U);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(calls[i], i == 3 || i == 4 ? 2 : 1) << i;
  EXPECT_EQ(service.stats().dead, 1U);
  EXPECT_EQ(service.stats().handled, 9U);
  EXPECT_EQ(bus_.transport().read({.stream = "events:invoice"}).records.size(), 9U);
}

TEST_F(RuntimeService, AHandlersOwnLimitHolds) {
  publish(200);
  std::atomic<int> at_once{0}, most{0};
  Service service{bus_, "s", {.concurrency = 6, .max_events = 200}};
  service.on<Ordered>(
      [&](const DomainEvent<Ordered>&) {
        const int now = ++at_once;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::yield();
        --at_once;
      },
      {.concurrency = 2});
  service.run(std::stop_token{});
  EXPECT_LE(most.load(), 2);
  EXPECT_EQ(service.stats().handled, 200U);
}

TEST_F(RuntimeService, WhatOnlyAnotherInstanceHandlesIsGivenBackToIt) {
  bus_.publish(Shipped{1});
  Count shipped;
  std::stop_source stop;
  Service old_one{bus_, "s"}, new_one{bus_, "s"};
  old_one.on<Ordered>([](const DomainEvent<Ordered>&) {});
  new_one.on<Ordered>([](const DomainEvent<Ordered>&) {});
  new_one.on<Shipped>([&](const DomainEvent<Shipped>&) { shipped.add(); });
  std::jthread second([&] { new_one.run(stop.get_token()); });
  ASSERT_TRUE(shipped.reached(1));
  std::jthread first([&] { old_one.run(stop.get_token()); });
  for (int i = 0; i < 20; ++i) bus_.publish(Shipped{i});
  EXPECT_TRUE(shipped.reached(21));
  stop.request_stop();
  first.join();
  second.join();
  EXPECT_EQ(old_one.stats().ignored, 0U);
  EXPECT_EQ(new_one.stats().handled, 21U);
}

TEST_F(RuntimeService, TheAroundHookWrapsEveryCall) {
  publish(3);
  std::vector<std::string> trail;
  Service service{bus_, "s", {.max_events = 3}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) { trail.push_back("handler"); });
  service.around([&](Context& context, const std::function<void()>& next) {
    trail.push_back(std::string(context.type()));
    next();
  });
  service.run(std::stop_token{});
  EXPECT_EQ(trail, (std::vector<std::string>{"order.placed", "handler", "order.placed", "handler", "order.placed",
                                             "handler"}));
}

TEST_F(RuntimeService, WhatCannotRunSaysSo) {
  const auto code_of = [](Service& service) {
    try {
      service.run(std::stop_token{});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::ok;
  };
  Service empty{bus_, "s"};
  EXPECT_EQ(code_of(empty), ErrorCode::invalid);
  Service ordered{bus_, "s", {.order_by_key = true}};
  ordered.on<Ordered>([](const DomainEvent<Ordered>&) {});
  EXPECT_EQ(code_of(ordered), ErrorCode::not_supported);
  EXPECT_THROW(Service(bus_, "commands"), Error);
  Service twice{bus_, "s"};
  twice.on<Ordered>([](const DomainEvent<Ordered>&) {});
  EXPECT_THROW(twice.on<Ordered>([](const DomainEvent<Ordered>&) {}), Error);
}

TEST_F(RuntimeService, ASignalDrainsAndSigintSays130) {
  publish(1);
  for (const auto& [signal, code] : {std::pair(SIGTERM, 0), std::pair(SIGINT, 130)}) {
    Count handled;
    Service service{bus_, signal == SIGTERM ? "s" : "t"};
    service.on<Ordered>([&](const DomainEvent<Ordered>&) { handled.add(); });
    std::future<int> result = std::async(std::launch::async, [&] { return service.run(); });
    ASSERT_TRUE(handled.reached(1));
    ::kill(::getpid(), signal);
    EXPECT_EQ(result.get(), code);
    EXPECT_EQ(service.stats().handled, 1U);
  }
}

}  // namespace
}  // namespace tidings
