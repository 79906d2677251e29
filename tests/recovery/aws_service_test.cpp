// Whole services on a stand-in whose clock runs: heartbeats, and processes that die of what they handle.
#include <sys/wait.h>

#include <condition_variable>
#include <functional>
#include <mutex>

#include "aws_recovery.hpp"
#include "messages.hpp"

namespace tidings::transport {
namespace {

class AwsService : public ::testing::Test {
 protected:
  static constexpr const char *stream = "events:work", *queue = "t-g-events-work";
  using State = support::AwsMessage::State;

  AwsService() {
    stub_.add_key({.id = aws_key, .secret = aws_secret});
    GroupChange create;
    create.kind = GroupChange::Kind::create;
    transport_->change({stream, "g"}, create);
  }
  [[nodiscard]] std::string url() const { return "aws://" + stub_.region() + "?prefix=t&endpoint=" + stub_.url(); }
  void publish(const std::string& writer, int count) {
    std::vector<recovery::Work> all;
    for (int i = 0; i < count; ++i) all.push_back({.writer = writer, .number = published_++, .filler = {}});
    for (const auto& work : all) (void)bus_.publish(work);
  }
  [[nodiscard]] std::size_t count(State state, const std::string& of = queue) const {
    return stub_.messages(of, state).size();
  }

  support::AwsStub stub_{{}};
  std::shared_ptr<Transport> transport_ = open_transport(url());
  Bus bus_ = Bus::open(url(), {.source = "tests"});
  std::uint64_t published_ = 0;
};

// Heartbeats by the clock of the machine: the handler goes on until it has seen more of them than one lease has.
TEST_F(AwsService, KeepsWhatItWorksOnHidden) {
  publish("slow", 1);
  Service service(bus_, "g", {.lease = Millis(2'000), .max_events = 1});
  int calls = 0;
  service.on<recovery::Work>([&](const DomainEvent<recovery::Work>&) {
    ++calls;
    EXPECT_TRUE(stub_.await_answered("ChangeMessageVisibilityBatch", 5)) << "for more than a lease";
    EXPECT_EQ(count(State::in_flight), 1U);
  });
  service.run(std::stop_token{});
  EXPECT_EQ(calls, 1) << "nobody else, nor we, received it meanwhile";
  EXPECT_EQ(count(State::in_flight) + count(State::visible), 0U);
  EXPECT_EQ(service.stats().handled, 1U);
  EXPECT_EQ(service.stats().stale, 0U);
}

// Another one works on it by now, and what this one does would be done twice.
TEST_F(AwsService, WhoseMessageIsLostIsToldToStop) {
  publish("lost", 1);
  Service service(bus_, "g", {.lease = Millis(2'000), .max_events = 1});
  stub_.fail_entries("ChangeMessageVisibilityBatch", std::vector<std::string>{"0"},
                     {true, "MessageNotInflight", "told to"}, 1);
  int calls = 0;
  service.on<recovery::Work>([&](const DomainEvent<recovery::Work>&, Context& context) {
    if (++calls > 1) return;
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    (void)changed.wait_for(lock, context.stop_token(), std::chrono::seconds(10), [] { return false; });
    EXPECT_TRUE(context.stop_token().stop_requested());
  });
  service.run(std::stop_token{});
  EXPECT_EQ(calls, 2) << "it came again when its lease was over";
}

// It costs itself, and none of those that its process held beside it.
TEST_F(AwsService, WhatKillsItsProcessEndsAsADeadLetterAlone) {
  publish("innocent", 15);
  publish("poison", 1);
  publish("innocent", 15);
  int deaths = 0;
  for (; deaths < 30 && count(State::visible) + count(State::in_flight) > 0; ++deaths) {
    support::Child child = support::start_child({"/proc/self/exe", "--serve", url()}, true);
    const int status = support::await_exit(child.pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
  }
  EXPECT_GT(deaths, 1);
  EXPECT_LE(deaths, 5) << "two attempts and two deaths, and one process that has it end";
  EXPECT_EQ(count(State::visible) + count(State::in_flight), 0U);
  std::vector<std::string> dead;
  for (const auto& each : stub_.messages(std::string(queue) + "-dlq", State::visible)) dead.push_back(each.body);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_NE(dead[0].find("poison"), std::string::npos) << dead[0];
}

}  // namespace
}  // namespace tidings::transport
