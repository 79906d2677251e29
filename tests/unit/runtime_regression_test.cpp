// Defects of a running service that were found once, on an engine whose calls fail on demand.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include <tidings/tidings.hpp>
#include <tidings/transport.hpp>

namespace runtime_regression {

struct Ordered {
  int number = 0;
};
TIDINGS_EVENT(Ordered, "order.placed", "1.0", number)

}  // namespace runtime_regression

namespace tidings {
namespace {

using namespace std::chrono_literals;
using runtime_regression::Ordered;
using transport::Result;
using transport::Settlement;

/// A flag that a test can wait for.
class Flag {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    wake_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, 60s, [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool set_ = false;
};

/// Waits for what only a look can tell.
bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

/// What the engine is asked to do wrong. Set before the run.
struct Faults {
  std::function<void()> before_subscribe, before_fetch, before_settle;
  std::function<void(std::span<const Settlement>, std::span<Result>)> on_settle;
  std::function<bool(std::span<const transport::Outgoing>, std::span<Result>)> publish;  // True: decided here.
  std::size_t largest_batch = 65'536;
};

class FaultySubscription final : public transport::Subscription {
 public:
  FaultySubscription(std::unique_ptr<transport::Subscription> inner, Faults& faults)
      : inner_(std::move(inner)), faults_(faults) {}
  transport::Batch fetch(Millis wait, std::stop_token stop) override {
    if (faults_.before_fetch) faults_.before_fetch();
    return inner_->fetch(wait, std::move(stop));
  }
  std::vector<transport::AckToken> renew() override { return inner_->renew(); }
  void settle(std::span<const Settlement> items, std::span<Result> results) override {
    if (faults_.before_settle) faults_.before_settle();
    if (!faults_.on_settle) return inner_->settle(items, results);
    // One by one, so that what is refused was not carried out.
    for (std::size_t i = 0; i < items.size(); ++i) {
      faults_.on_settle(items.subspan(i, 1), results.subspan(i, 1));
      if (results[i].code == ErrorCode::ok) inner_->settle(items.subspan(i, 1), results.subspan(i, 1));
    }
  }

 private:
  std::unique_ptr<transport::Subscription> inner_;
  Faults& faults_;
};

class FaultyTransport final : public transport::Transport {
 public:
  FaultyTransport(std::shared_ptr<transport::Transport> inner, Faults& faults)
      : inner_(std::move(inner)), faults_(faults), capabilities_(inner_->capabilities()) {
    capabilities_.largest_batch = faults.largest_batch;
  }
  [[nodiscard]] const transport::Capabilities& capabilities() const noexcept override { return capabilities_; }
  void publish(std::span<const transport::Outgoing> items, Level level, Millis within,
               std::span<Result> results) override {
    if (faults_.publish && faults_.publish(items, results)) return;
    inner_->publish(items, level, within, results);
  }
  void inject(transport::GroupRef group, transport::Origin origin, std::uint64_t run,
              std::span<const transport::Outgoing> items, std::span<Result> results) override {
    inner_->inject(group, origin, run, items, results);
  }
  std::unique_ptr<transport::Subscription> subscribe(const transport::Interest& interest) override {
    if (faults_.before_subscribe) faults_.before_subscribe();
    return std::make_unique<FaultySubscription>(inner_->subscribe(interest), faults_);
  }
  transport::Page read(const transport::ReadRange& range, std::stop_token stop) override {
    return inner_->read(range, std::move(stop));
  }
  std::vector<transport::ShelfItem> shelf(transport::GroupRef group, const transport::ShelfQuery& query) override {
    return inner_->shelf(group, query);
  }
  std::size_t move(transport::GroupRef group, const transport::ShelfQuery& query, transport::ShelfAction action,
                   const transport::Outgoing& replacement) override {
    return inner_->move(group, query, action, replacement);
  }
  void shelve(transport::GroupRef group, std::span<const transport::ShelfItem> items,
              std::span<Result> results) override {
    inner_->shelve(group, items, results);
  }
  void change(transport::GroupRef group, const transport::GroupChange& change) override {
    inner_->change(group, change);
  }
  std::vector<transport::StreamInfo> describe(std::string_view stream) override { return inner_->describe(stream); }
  Millis tend(const transport::Retention& retention, std::stop_token stop) override {
    return inner_->tend(retention, std::move(stop));
  }
  std::vector<transport::Check> diagnose() override { return inner_->diagnose(); }

 private:
  std::shared_ptr<transport::Transport> inner_;
  Faults& faults_;
  transport::Capabilities capabilities_;
};

class RuntimeRegression : public ::testing::Test {
 protected:
  RuntimeRegression() { open(); }
  void open(BusOptions options = {}) {
    options.source = "shop";
    if (!log_) options.environment.log = [](LogLevel, std::string_view) {};
    if (log_) options.environment.log = log_;
    inner_ = open_transport("memory:");
    faulty_ = std::make_shared<FaultyTransport>(inner_, faults_);
    bus_.emplace(Bus::over(faulty_, options));
  }
  void publish(int count, int first = 0) {
    std::vector<Ordered> events;
    for (int i = 0; i < count; ++i) events.push_back({first + i});
    for (const PublishResult& result : bus_->publish_batch(events)) ASSERT_EQ(result.code, ErrorCode::ok);
  }
  /// Empty before the service has joined.
  transport::GroupInfo group() {
    const transport::StreamInfo stream = inner_->describe("events:order").at(0);
    return stream.groups.empty() ? transport::GroupInfo{} : stream.groups[0];
  }
  Faults faults_;
  std::function<void(LogLevel, std::string_view)> log_;
  std::shared_ptr<transport::Transport> inner_, faulty_;
  std::optional<Bus> bus_;
};

/// What a handler of a run saw, in order.
class Seen {
 public:
  void add(int number) {
    const std::lock_guard lock(mutex_);
    numbers_.push_back(number);
  }
  std::vector<int> all() {
    const std::lock_guard lock(mutex_);
    return numbers_;
  }

 private:
  std::mutex mutex_;
  std::vector<int> numbers_;
};

std::vector<int> from_to(int first, int last) {
  std::vector<int> numbers;
  for (int i = first; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

TEST_F(RuntimeRegression, OnlyTheHandlerThatHangsInARunIsLate) {
  for (int round = 0; round < 5; ++round) {
    open();
    publish(60);
    Flag hanging, release;
    Seen seen;
    std::vector<std::string> dead;
    std::mutex mutex;
    Service service{*bus_, "s"};
    service.on<Ordered>(
        [&](const DomainEvent<Ordered>& event) {
          seen.add(event.data.number);
          if (event.data.number != 17 + round) return;
          hanging.set();
          release.wait();
        },
        {.max_attempts = 1, .timeout = 300ms});
    service.on_dead_letter([&](const Failure& failure) {
      const std::lock_guard lock(mutex);
      dead.push_back(failure.reason);
    });
    std::jthread runner([&](std::stop_token stop) { service.run(stop); });
    ASSERT_TRUE(hanging.wait());
    // What came before it does not wait for its time to run out.
    EXPECT_TRUE(eventually([&] { return group().handled == static_cast<std::uint64_t>(17 + round); }));
    EXPECT_EQ(service.stats().dead, 0U) << "settled before the timeout";
    EXPECT_TRUE(eventually([&] { return group().handled == 59 && service.stats().dead == 1; }));
    release.set();
    runner.request_stop();
    runner.join();
    EXPECT_EQ(seen.all(), from_to(0, 59)) << "each once, in order";
    EXPECT_EQ(dead, (std::vector<std::string>{"timed_out"}));
    EXPECT_EQ(group().handled, 59U);
    EXPECT_EQ(group().dead_letters, 1U);
  }
}

TEST_F(RuntimeRegression, ADrainInTheMiddleOfARunGivesTheRestBackInOrder) {
  for (int at = 20; at < 25; ++at) {
    open();
    publish(100);
    Seen seen;
    std::stop_source stop;
    Service service{*bus_, "s"};
    service.on<Ordered>([&](const DomainEvent<Ordered>& event) {
      seen.add(event.data.number);
      if (event.data.number == at) stop.request_stop();
    });
    service.run(stop.get_token());
    const std::vector<int> first = seen.all();
    ASSERT_EQ(static_cast<int>(first.size()), at + 1) << "no further one begins once a stop was asked for";
    EXPECT_EQ(service.stats().handled, first.size());
    EXPECT_EQ(group().handled, first.size());
    Service next{*bus_, "s", {.max_events = 100 - first.size()}};
    next.on<Ordered>([&](const DomainEvent<Ordered>& event, Context& context) {
      EXPECT_EQ(context.attempt(), 1U);
      EXPECT_EQ(context.crashes(), 0U);
      seen.add(event.data.number);
    });
    next.run(std::stop_token{});
    EXPECT_EQ(seen.all(), from_to(0, 99));
  }
}

TEST_F(RuntimeRegression, MaxEventsHoldsInTheMiddleOfARun) {
  publish(200);
  int first = 0;
  for (const std::uint64_t most : {1U, 7U, 18U, 37U}) {
    Seen seen;
    Service service{*bus_, "s", {.max_events = most}};
    service.on<Ordered>([&](const DomainEvent<Ordered>& event) { seen.add(event.data.number); });
    service.run(std::stop_token{});
    EXPECT_EQ(seen.all(), from_to(first, first + static_cast<int>(most) - 1));
    first += static_cast<int>(most);
    EXPECT_EQ(group().handled, static_cast<std::uint64_t>(first));
  }
}

TEST_F(RuntimeRegression, ASettlementThatFailsForGoodEndsTheServiceAndGivesItsEventsBack) {
  std::atomic<int> fails{1};
  faults_.before_settle = [&] {
    if (fails-- > 0) throw Error(ErrorCode::internal, "a constraint failed");
  };
  publish(3);
  std::atomic<int> calls{0};
  const auto count = [&](const DomainEvent<Ordered>&) { ++calls; };
  {
    Service service{*bus_, "s"};
    service.on<Ordered>(count);
    EXPECT_THROW(service.run(std::stop_token{}), Error);
  }
  const std::uint64_t handled = group().handled.value_or(0);
  EXPECT_LT(handled, 3U);
  Service next{*bus_, "s", {.max_events = 3 - handled}};
  next.on<Ordered>(count);
  next.run(std::stop_token{});
  EXPECT_EQ(group().handled, 3U);
  EXPECT_GT(calls.load(), 3);
}

TEST_F(RuntimeRegression, ASettlementThatFindsNoMemoryIsTriedAgain) {
  std::atomic<int> fails{2};
  faults_.before_settle = [&] {
    if (fails-- > 0) throw std::bad_alloc();
  };
  publish(3);
  std::atomic<int> calls{0};
  Service service{*bus_, "s", {.max_events = 3}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) { ++calls; });
  service.run(std::stop_token{});
  EXPECT_EQ(calls.load(), 3);
  EXPECT_EQ(group().handled, 3U);
}

TEST_F(RuntimeRegression, OneSettlementThatIsRefusedForAWhileHoldsUpNobodyElse) {
  std::atomic<bool> refuse{true};
  std::optional<transport::AckToken> refused;
  faults_.on_settle = [&](std::span<const Settlement> items, std::span<Result> results) {
    if (!refused) refused = items[0].token;
    if (!(items[0].token == *refused) || !refuse) return;
    results[0] = {.code = ErrorCode::unavailable, .retryable = true, .message = "busy"};
  };
  publish(50);
  Service service{*bus_, "s", {.prefetch_events = 4}};
  service.on<Ordered>([](const DomainEvent<Ordered>&) {});
  std::jthread runner([&](std::stop_token stop) { service.run(stop); });
  EXPECT_TRUE(eventually([&] { return group().handled == 49; }));
  refuse = false;
  EXPECT_TRUE(eventually([&] { return group().handled == 50; }));
}

// Whoever else has it may be nobody: an event that failed and was not put anywhere is told of.
TEST_F(RuntimeRegression, AFailureThatIsStaleIsTold) {
  std::atomic<int> told{0};
  log_ = [&](LogLevel level, std::string_view line) {
    if (line.find("order.placed") != line.npos && line.find("was not recorded") != line.npos) {
      told += level == LogLevel::warning ? 1 : 100;
    }
  };
  open();
  publish(3);
  faults_.on_settle = [](std::span<const Settlement>, std::span<Result> results) {
    for (Result& result : results) result = {.code = ErrorCode::stale, .stale = true};
  };
  std::stop_source stop;
  Service service{*bus_, "s"};
  service.on<Ordered>([&](const DomainEvent<Ordered>& event) {
    if (event.data.number == 2) stop.request_stop();
    if (event.data.number > 0) throw std::runtime_error("no");
  });
  service.run(stop.get_token());
  EXPECT_EQ(service.stats().stale, 3U);
  EXPECT_EQ(told, 2) << "the failures, and not what was handled";
}

TEST_F(RuntimeRegression, OutputsThatAreRefusedAreReportedAsTheHandlersFailure) {
  faults_.on_settle = [&](std::span<const Settlement> items, std::span<Result> results) {
    if (!items[0].outputs.empty()) results[0] = {.code = ErrorCode::too_large, .message = "too large an output"};
  };
  publish(1);
  std::vector<Failure> failures;
  Service service{*bus_, "s", {.max_events = 1}};
  service.on<Ordered>([](const DomainEvent<Ordered>& event, Context& context) { context.publish(Ordered{event.data}); },
                      {.max_attempts = 2, .backoff = {.first = 1ms, .jitter = false}});
  service.on_failure([&](const Failure& failure) { failures.push_back(failure); });
  service.run(std::stop_token{});
  ASSERT_EQ(failures.size(), 2U);
  EXPECT_NE(failures[0].error.find("too large an output"), std::string::npos);
  EXPECT_EQ(failures[0].type, "order.placed");
  EXPECT_FALSE(failures[0].id.empty());
  EXPECT_TRUE(failures[0].next_try.has_value());
  EXPECT_EQ(failures[1].attempt, 2U);
  EXPECT_FALSE(failures[1].next_try.has_value());
}

TEST_F(RuntimeRegression, DurationsWithoutEndAreNoDurationsOfZero) {
  BusOptions options;
  options.deadline = Millis::max();
  open(options);
  publish(2);
  std::atomic<int> calls{0};
  Service service{*bus_, "s", {.drain = Millis::max(), .max_events = 2, .until_idle = Millis::max()}};
  service.on<Ordered>([&](const DomainEvent<Ordered>&) { ++calls; },
                      {.backoff = {.first = Millis::max(), .longest = Millis::max()}, .timeout = Millis::max()});
  service.run(std::stop_token{});
  EXPECT_EQ(calls.load(), 2);
  EXPECT_EQ(service.stats().handled, 2U);
  Service batch{*bus_, "b", {.max_events = 2}};
  batch.on_batch<Ordered>([](std::span<const DomainEvent<Ordered>>, BatchContext&) {},
                          {.size = 2, .wait = Millis::max(), .handler = {.timeout = Millis::max()}});
  batch.run(std::stop_token{});
  EXPECT_EQ(batch.stats().handled, 2U);
  for (int i = 0; i < 10; ++i) bus_->publish_async(Ordered{i});
  bus_->flush();
}

TEST_F(RuntimeRegression, ATimeoutOfZeroIsRefused) {
  Service service{*bus_, "s"};
  for (const Millis timeout : {Millis(0), Millis(-1), Millis::min()}) {
    try {
      service.on<Ordered>([](const DomainEvent<Ordered>&) {}, {.timeout = timeout});
      FAIL() << "a timeout of " << timeout.count();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid);
    }
  }
}

TEST_F(RuntimeRegression, AServiceEndsWhileItsEngineIsDown) {
  Flag tried;
  faults_.before_subscribe = [&] {
    tried.set();
    throw Error(ErrorCode::unavailable, true, "the engine is down");
  };
  std::optional<Service> service{std::in_place, *bus_, "s"};
  service->on<Ordered>([](const DomainEvent<Ordered>&) {});
  auto done = std::async(std::launch::async, [&] { service->run(std::stop_token{}); });
  ASSERT_TRUE(tried.wait());
  service.reset();
  ASSERT_EQ(done.wait_for(60s), std::future_status::ready);
  EXPECT_NO_THROW(done.get());
}

TEST_F(RuntimeRegression, AGroupThatWasRemovedIsJoinedAnew) {
  std::atomic<int> fails{1}, joins{0};
  faults_.before_subscribe = [&] { ++joins; };
  faults_.before_fetch = [&] {
    if (fails-- > 0) throw Error(ErrorCode::not_found, "no such group");
  };
  publish(5);
  Service service{*bus_, "s", {.max_events = 5}};
  service.on<Ordered>([](const DomainEvent<Ordered>&) {});
  service.run(std::stop_token{});
  EXPECT_EQ(joins.load(), 2);
  EXPECT_EQ(group().handled, 5U);
}

TEST_F(RuntimeRegression, TheLogMayAskTheServiceAndStopIt) {
  Service* asked = nullptr;
  std::stop_source stop;
  std::atomic<int> lines{0};
  log_ = [&](LogLevel level, std::string_view line) {
    if (asked == nullptr || level == LogLevel::info) return;
    lines += line.find("cannot read") != std::string_view::npos;
    (void)asked->stats();
    stop.request_stop();
  };
  faults_.before_fetch = [] { throw Error(ErrorCode::unavailable, true, "down"); };
  open();
  Service service{*bus_, "s"};
  service.on<Ordered>([](const DomainEvent<Ordered>&) {});
  asked = &service;
  service.run(stop.get_token());
  EXPECT_GE(lines.load(), 1);
  asked = nullptr;
}

TEST_F(RuntimeRegression, UntilIdleEndsThoughEveryHandlerHangs) {
  publish(4);
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  std::atomic<int> left{0};
  {
    Service service{*bus_, "s", {.concurrency = 4, .until_idle = 50ms}};
    service.on<Ordered>(
        [&left, gone](const DomainEvent<Ordered>&) {
          gone.wait();
          ++left;
        },
        {.max_attempts = 1, .timeout = 20ms});
    service.run(std::stop_token{});
    EXPECT_EQ(service.stats().dead, 4U);
  }
  go.set_value();
  EXPECT_TRUE(eventually([&] { return left == 4; }));
}

TEST_F(RuntimeRegression, AFetchThatNeverReturnsDoesNotHoldUpTheEnd) {
  Flag fetching, release;
  faults_.before_fetch = [&] {
    fetching.set();
    release.wait();
  };
  {
    Service service{*bus_, "s", {.drain = 1ms}};
    service.on<Ordered>([](const DomainEvent<Ordered>&) {});
    std::jthread runner([&](std::stop_token stop) { service.run(stop); });
    ASSERT_TRUE(fetching.wait());
  }
  const std::weak_ptr<transport::Transport> used = faulty_;
  faulty_.reset();
  bus_.reset();
  EXPECT_FALSE(used.expired()) << "by the thread that was left behind";
  release.set();
  EXPECT_TRUE(eventually([&] { return used.expired(); }));
}

TEST_F(RuntimeRegression, AServiceThatGetsNoThreadsSaysSo) {
  publish(1);
  Service service{*bus_, "s", {.max_events = 1}};
  service.on<Ordered>([](const DomainEvent<Ordered>&) {});
  // No machine has room for such a stack, so no thread starts from here on.
  pthread_attr_t before, huge;
  ASSERT_EQ(::pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(::pthread_attr_init(&huge), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&huge, std::size_t{1} << 50), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&huge), 0);
  std::optional<Error> failure;
  try {
    service.run(std::stop_token{});
  } catch (const Error& error) {
    failure = error;
  }
  ASSERT_EQ(::pthread_setattr_default_np(&before), 0);
  ::pthread_attr_destroy(&huge);
  ::pthread_attr_destroy(&before);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->code(), ErrorCode::unavailable);
  EXPECT_TRUE(failure->retryable());
}

TEST_F(RuntimeRegression, ABatchInSeveralCallsKeepsItsOrderWhenOneOfThemFails) {
  faults_.largest_batch = 2;
  std::atomic<int> fails{1};
  faults_.publish = [&](std::span<const transport::Outgoing>, std::span<Result> results) {
    if (fails-- <= 0) return false;
    for (Result& result : results) result = {.code = ErrorCode::unavailable, .retryable = true, .message = "busy"};
    return true;
  };
  open();
  publish(7);
  Seen seen;
  Service service{*bus_, "s", {.max_events = 7}};
  service.on<Ordered>([&](const DomainEvent<Ordered>& event) { seen.add(event.data.number); });
  service.run(std::stop_token{});
  EXPECT_EQ(seen.all(), from_to(0, 6));
}

TEST_F(RuntimeRegression, ASignalToAForkedChildIsTheChildsAlone) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "in the child of a process with threads, ThreadSanitizer keeps signals to itself";
#endif
  publish(1);
  Service service{*bus_, "s", {.max_events = 1}};
  int status = 0;
  service.on<Ordered>([&](const DomainEvent<Ordered>&) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) ::pause();
    }
    ::kill(child, SIGTERM);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
  });
  EXPECT_EQ(service.run(), 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  EXPECT_EQ(service.stats().handled, 1U) << "the parent was not stopped before";
}

}  // namespace
}  // namespace tidings
