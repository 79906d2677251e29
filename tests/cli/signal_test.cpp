// SIGTERM drains and exits with 0, SIGINT with 130; a second signal ends everything at once.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "program.hpp"

namespace tidings::cli_test {

class Signals : public CliTest {
 protected:
  /// A consumer whose CMD has started and waits until release() is called.
  std::unique_ptr<Running> start_waiting() {
    gate_ = directory_ + "/gate";
    EXPECT_EQ(::mkfifo(gate_.c_str(), 0600), 0);
    publish("user.created");
    auto running = start({"consume", "events:user", "--group", "g", "--exec", "echo started; read line < " + gate_});
    EXPECT_EQ(running->line(), "started");
    return running;
  }
  void release() const { std::ofstream(gate_) << "go\n"; }
  [[nodiscard]] std::string group_value(std::string_view name) const {
    return value(elements(expect_ok({"groups", "events:user", "--json"})).at(0), name);
  }

 private:
  std::string gate_;
};

TEST_F(Signals, TermFinishesWhatRuns) {
  const auto running = start_waiting();
  running->signal(SIGTERM);
  release();
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(group_value("handled"), "1");
}

TEST_F(Signals, InterruptFinishesWhatRunsAndSaysSo) {
  const auto running = start_waiting();
  running->signal(SIGINT);
  release();
  EXPECT_EQ(running->wait().code, 130);
  EXPECT_EQ(group_value("handled"), "1");
}

TEST_F(Signals, ASecondSignalStopsAtOnce) {
  const auto running = start_waiting();
  running->signal(SIGINT);
  running->signal(SIGINT);
  // Two at once may be merged into one by the kernel; the next one ends it.
  await(
      [&] {
        running->signal(SIGINT);
        return ::access(("/proc/" + std::to_string(running->pid()) + "/fd/0").c_str(), F_OK) != 0;
      },
      "the consumer has ended");
  EXPECT_EQ(running->wait().code, 130);
  EXPECT_EQ(group_value("handled"), "0");
}

TEST_F(Signals, AnIdleConsumerEndsToo) {
  publish("user.created");
  for (const auto& [number, code] : {std::pair{SIGTERM, 0}, std::pair{SIGINT, 130}}) {
    const auto running = start({"consume", "events:user", "--group", "g" + std::to_string(number)});
    running->line();
    running->signal(number);
    EXPECT_EQ(running->wait().code, code);
  }
}

TEST_F(Signals, FollowingAndWatchingEndOnInterrupt) {
  publish("user.created", "{}", {"--id", "a"});
  const auto tail = start({"tail", "events:user", "-f"});
  EXPECT_EQ(value(tail->line(), "id"), "a");
  publish("user.created", "{}", {"--id", "b"});
  EXPECT_EQ(value(tail->line(), "id"), "b");
  tail->signal(SIGINT);
  EXPECT_EQ(tail->wait().code, 130);
  const auto lag = start({"lag", "--watch"});
  EXPECT_TRUE(lag->line().starts_with("STREAM"));
  lag->signal(SIGINT);
  EXPECT_EQ(lag->wait().code, 130);
}

TEST_F(Signals, AnInterruptEndsEveryCommandWith130) {
  const auto running = start({"publish", "--jsonl", "-"});
  running->write("{\"type\":\"user.created\",\"data\":{}}\n");
  EXPECT_TRUE(running->line().starts_with("evt_"));
  running->signal(SIGINT);
  EXPECT_EQ(running->wait().code, 130);
}

}  // namespace tidings::cli_test
