// What a service leaves behind when it moves, and targets and streams that are not there, or not ready, yet.
#include <signal.h>
#include <sys/stat.h>

#include <set>

#include "moving.hpp"

namespace tidings::cli_test {

class Cutover : public MovingTest {
 protected:
  /// The guide's way: what waits for a retry is finished on the old engine, and nothing else is handled there.
  void drain_retries(const std::string& from, const std::string& to);

  support::RedisServer redis_{};
};

void Cutover::drain_retries(const std::string& from, const std::string& to) {
  fill(from, 0, 3);
  const Outcome failing = tidings({"consume", "events:user", "--group", "search", "--exec", "exit 75", "--backoff",
                                   "100ms", "--until-idle", "50ms", "--max-attempts", "1000", "-u", from});
  EXPECT_EQ(failing.code, 0) << failing.err;
  expect_ok({"group", "create", "events:user", "--group", "bridge", "--at", "end", "-u", from});
  fill(from, 3, 100);
  EXPECT_EQ(value(move_all(from, to), "moved"), "100");
  // The producers have gone; what the bridge has moved is not to be handled here as well.
  expect_ok({"group", "seek", "events:user", "--group", "search", "--at", "end", "-u", from});
  const auto ids = [](const std::string& text) {
    std::set<std::string> all;
    for (const std::string& line : lines(text)) all.insert(value(line, "id"));
    return all;
  };
  const std::string handled = expect_ok({"consume", "events:user", "--group", "search", "--max", "3", "-u", from});
  EXPECT_EQ(ids(handled), (std::set<std::string>{"e0", "e1", "e2"}));
  EXPECT_EQ(group_value(from, "search", "retrying") + group_value(from, "search", "pending"), "00");
  EXPECT_EQ(account_of(envelopes(to), 103).lost, 3) << "those that were finished on the old engine";
}

TEST_F(Cutover, RetriesAreFinishedOnTheOldEngine) { drain_retries(redis_.url(), file_url("b.db")); }

TEST_F(Cutover, RetriesAreFinishedOnAnEmbeddedLog) { drain_retries(file_url("a.db"), redis_.url()); }

TEST_F(Cutover, ACommandThatWaitsForItsRetryGoesAlongWhenItIsDue) {
  const std::string from = redis_.url(), to = file_url("b.db");
  expect_ok({"send", "send.email", "--id", "c1", "-u", from});
  (void)tidings({"consume", "commands:send.email", "--group", "mailer", "--exec", "exit 75", "--backoff", "1s",
                 "--until-idle", "50ms", "-u", from});
  const auto running =
      start({"bridge", "--from", from, "--to", to, "commands:send.email", "--group", "mailer", "--max", "1", "--json"});
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(value(outcome.out, "moved"), "1");
  EXPECT_EQ(value(expect_ok({"tail", "commands:send.email", "-u", to}), "id"), "c1");
}

TEST_F(Cutover, AStreamMayComeLater) {
  const std::string to = file_url("b.db");
  for (const std::string& from : {redis_.url(), file_url("a.db")}) {
    const auto running = start_bridge(from, to, {"events:order", "--max", "3"});
    await(
        [&] {
          const Outcome groups = tidings({"groups", "events:order", "--json", "-u", from});
          return groups.code == 0 && value(elements(groups.out).front(), "consumers") == "1";
        },
        "the bridge is there");
    publish("order.placed", "{}", {"-u", from});
    fill(from, 0, 2);
    EXPECT_EQ(value(running->wait().out, "moved"), "3");
  }
}

TEST_F(Cutover, ATargetThatCannotBeWrittenEndsIt) {
  setting_.as_nobody = true;  // Root may write everything.
  ::chmod(directory_.c_str(), 0777);
  const std::string from = redis_.url(), place = directory_ + "/read_only";
  ::mkdir(place.c_str(), 0555);
  fill(from, 0, 10);
  const Outcome outcome = start_bridge(from, "sqlite:" + place + "/b.db")->wait();
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  EXPECT_NE(outcome.err.find("writable"), std::string::npos) << outcome.err;
  EXPECT_EQ(group_value(from, "bridge", "handled") + group_value(from, "bridge", "dead_letters"), "00");
}

TEST_F(Cutover, ATargetWithoutRoomIsWaitedFor) {
  const std::string from = file_url("a.db"), to = redis_.url();
  fill(from, 0, 1'000);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  redis_.cli("CONFIG", "SET", "maxmemory", "1");
  const auto running = start_bridge(from, to);
  running->await_error("trying again in");
  redis_.cli("CONFIG", "SET", "maxmemory", "0");
  await_length(to, 1'000);
  running->signal(SIGINT);
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_EQ(value(outcome.out, "dead"), "0");
  const Account account = account_of(envelopes(to), 1'000);
  EXPECT_EQ(account.lost + account.foreign + account.disordered + account.repeated, 0);
}

}  // namespace tidings::cli_test
