// consume --exec: what CMD is given, and what its end means.
#include <signal.h>

#include <fstream>

#include "program.hpp"

namespace tidings::cli_test {

class Exec : public CliTest {
 protected:
  /// Runs `command` for each event of events:user until nothing is left to do, with fast retries.
  [[nodiscard]] Outcome consume(const std::string& command, Words more = {}) const {
    Words words{"consume", "events:user", "--group", "g", "--exec", command};
    words.insert(words.end(), more.begin(), more.end());
    return tidings(words);
  }
  [[nodiscard]] std::string dead_letter_value(std::string_view name) const {
    const auto rows = elements(expect_ok({"dlq", "ls", "--group", "g", "--json"}));
    return rows.size() == 1 ? value(rows.front(), name) : std::to_string(rows.size()) + " dead letters";
  }
};

/// Whether a process is gone, or only waits for its parent to notice.
bool is_gone(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  return !file || text.find(") Z ") != std::string::npos;
}

TEST_F(Exec, GivesTheEnvelopeOnStdinAndTheRestInTheEnvironment) {
  const std::string id = publish("user.created", R"({"n":1})", {"--correlation-id", "req_1"});
  const Outcome outcome = consume(
      "cat; echo; echo $TIDINGS_EVENT_ID $TIDINGS_EVENT_TYPE $TIDINGS_ATTEMPT $TIDINGS_GROUP $TIDINGS_CORRELATION_ID; "
      "echo to stderr >&2",
      {"--max", "1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto out = lines(outcome.out);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0] + "\n", expect_ok({"tail", "events:user"}));
  EXPECT_EQ(out[1], id + " user.created 1 g req_1");
  EXPECT_EQ(complaints(outcome.err), "to stderr\n");
}

TEST_F(Exec, CmdNeedNotReadAndLargeEventsDoNotBlock) {
  const std::string path = file("large.json", "\"" + std::string(900'000, 'x') + "\"");
  for (int i = 0; i < 3; ++i) expect_ok({"publish", "user.created", "--data", "@" + path});
  EXPECT_EQ(consume("exit 0", {"--max", "1"}).code, 0);
  EXPECT_EQ(lines(consume("wc -c", {"--max", "1"}).out).size(), 1U);
  // CMD fills its own output before it reads a byte.
  EXPECT_GT(consume("head -c 300000 /dev/zero; cat > /dev/null", {"--max", "1"}).out.size(), 299'999U);
}

TEST_F(Exec, CmdsParentIsTheConsumer) {
  publish("user.created");
  const auto running = start({"consume", "events:user", "--group", "g", "--max", "1", "--exec", "echo $PPID"});
  EXPECT_EQ(running->line(), std::to_string(running->pid()));
  EXPECT_EQ(running->wait().code, 0);
}

TEST_F(Exec, Exit75IsTriedAgainAsACountedAttempt) {
  const std::string id = publish("user.created");
  const Outcome outcome =
      consume("echo $TIDINGS_ATTEMPT; test $TIDINGS_ATTEMPT = 3 || exit 75", {"--max", "1", "--backoff", "1ms"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "1\n2\n3\n");
  const auto failures = lines(complaints(outcome.err));
  ASSERT_EQ(failures.size(), 2U) << outcome.err;
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NE(failures[i].find(id), std::string::npos) << failures[i];
    EXPECT_NE(failures[i].find("attempt " + std::to_string(i + 1)), std::string::npos) << failures[i];
    EXPECT_NE(failures[i].find("75"), std::string::npos) << failures[i];
    EXPECT_NE(failures[i].find("next try in "), std::string::npos) << failures[i];
  }
}

TEST_F(Exec, Exit65RejectsAtOnce) {
  publish("user.created");
  const Outcome outcome = consume("exit 65", {"--max", "1"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(dead_letter_value("reason"), "rejected");
  EXPECT_EQ(dead_letter_value("attempts"), "1");
  EXPECT_NE(outcome.err.find("rejected"), std::string::npos) << outcome.err;
}

TEST_F(Exec, AnythingElseIsAFailedAttemptUntilTheyAreExhausted) {
  publish("user.created");
  const Outcome outcome = consume("exit 3", {"--max", "1", "--max-attempts", "2", "--backoff", "1ms"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(lines(complaints(outcome.err)).size(), 2U) << outcome.err;
  EXPECT_EQ(dead_letter_value("reason"), "attempts_exhausted");
  EXPECT_EQ(dead_letter_value("attempts"), "2");
  EXPECT_NE(dead_letter_value("error").find("3"), std::string::npos);
}

TEST_F(Exec, ASignalIsAFailedAttempt) {
  publish("user.created");
  const Outcome outcome = consume("kill -KILL $$", {"--max", "1", "--max-attempts", "1"});
  EXPECT_NE(outcome.err.find("signal 9"), std::string::npos) << outcome.err;
  EXPECT_EQ(dead_letter_value("reason"), "attempts_exhausted");
}

TEST_F(Exec, PastItsTimeTheWholeGroupIsKilled) {
  publish("user.created");
  const Outcome outcome =
      consume("sleep 1000 & echo $!; echo $$; wait", {"--max", "1", "--max-attempts", "1", "--timeout", "200ms"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(dead_letter_value("reason"), "timed_out");
  const auto pids = lines(outcome.out);
  ASSERT_EQ(pids.size(), 2U);
  for (const std::string& pid : pids) await([&] { return is_gone(std::stoi(pid)); }, "CMD's processes are gone");
}

TEST_F(Exec, TheShellDiesWithTheConsumer) {
  publish("user.created");
  const auto running =
      start({"consume", "events:user", "--group", "g", "--exec", "echo $$; while :; do sleep 1; done"});
  const pid_t shell = std::stoi(running->line());
  running->signal(SIGKILL);
  EXPECT_EQ(running->wait().code, 1000 + SIGKILL);
  await([&] { return is_gone(shell); }, "CMD's shell is gone");
}

TEST_F(Exec, ASlowCmdLeavesTheRestToOtherConsumers) {
  for (int i = 0; i < 20; ++i) publish("user.created");
  const auto slow = start({"consume", "events:user", "--group", "g", "--exec", "echo runs; exec sleep 60"});
  EXPECT_EQ(slow->line(), "runs");
  EXPECT_EQ(consume("exit 0", {"--max", "12"}).code, 0);
}

TEST_F(Exec, ManyRunAtOnceWhenToldTo) {
  for (int i = 0; i < 4; ++i) publish("user.created");
  // Each waits for all four: one at a time would never end.
  const std::string meet = "mkdir m.$TIDINGS_EVENT_ID; until [ $(ls -d m.* | wc -l) = 4 ]; do :; done; echo met";
  EXPECT_EQ(consume(meet, {"--concurrency", "4", "--max", "4"}).out, "met\nmet\nmet\nmet\n");
}

}  // namespace tidings::cli_test
