// consume without --exec: what is printed is settled, and nothing else is.
#include <set>

#include <sys/stat.h>

#include "program.hpp"

namespace tidings::cli_test {

class Consume : public CliTest {
 protected:
  /// Publishes `count` events e0, e1 … in one go.
  void publish_many(int count) const {
    std::string text;
    for (int i = 0; i < count; ++i) {
      text += R"({"id":"e)" + std::to_string(i) + R"(","type":"user.created","data":{}})" + "\n";
    }
    expect_ok({"publish", "--jsonl"}, text);
  }
  [[nodiscard]] std::string group_value(std::string_view name) const {
    const auto rows = elements(expect_ok({"groups", "events:user", "--json"}));
    return rows.empty() ? "no group" : value(rows.front(), name);
  }
};

TEST_F(Consume, PrintsEachEnvelopeAsOneLineInOrder) {
  publish_many(1'200);
  const auto events = lines(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms"}));
  ASSERT_EQ(events.size(), 1'200U);
  for (std::size_t i = 0; i < events.size(); ++i) ASSERT_EQ(value(events[i], "id"), "e" + std::to_string(i));
  EXPECT_EQ(group_value("handled"), "1200");
  EXPECT_EQ(group_value("lag"), "0");
  EXPECT_EQ(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "1ms"}), "");
}

TEST_F(Consume, OnlyLineBreaksBetweenTokensChange) {
  const std::string data = "{\n  \"text\": \"a\\nb\",\r\n  \"n\": 1e20,\t\"m\": 0.10\n}";
  expect_ok({"publish", "user.created", "--id", "a", "--data", "-"}, data);
  const std::string out = expect_ok({"consume", "events:user", "--group", "g", "--max", "1"});
  ASSERT_EQ(lines(out).size(), 1U);
  EXPECT_EQ(value(out, "data"), "{   \"text\": \"a\\nb\",    \"n\": 1e20,\t\"m\": 0.10 }");
}

TEST_F(Consume, MaxCountsWhatIsDoneAndGivesBackTheRest) {
  publish_many(10);
  EXPECT_EQ(lines(expect_ok({"consume", "events:user", "--group", "g", "--max", "3"})).size(), 3U);
  EXPECT_EQ(group_value("handled"), "3");
  const auto rest = lines(expect_ok({"consume", "events:user", "--group", "g", "--max", "7"}));
  ASSERT_EQ(rest.size(), 7U);
  EXPECT_EQ(value(rest[0], "id"), "e3");
  EXPECT_EQ(group_value("handled"), "10");
}

TEST_F(Consume, OtherTypesAreIgnoredAndDoNotCount) {
  for (const char* type : {"user.removed", "user.created", "user.removed", "user.created"}) publish(type);
  const auto events =
      lines(expect_ok({"consume", "events:user", "--group", "g", "--type", "user.created", "--max", "2"}));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(value(events[0], "type"), "user.created");
  EXPECT_EQ(group_value("handled"), "2");
  EXPECT_EQ(group_value("ignored"), "2");
}

TEST_F(Consume, SeveralStreamsAreReadByOneGroup) {
  publish("user.created");
  publish("order.placed");
  EXPECT_EQ(lines(expect_ok({"consume", "events:user", "events:order", "--group", "g", "--max", "2"})).size(), 2U);
  EXPECT_EQ(elements(expect_ok({"groups", "--json"})).size(), 2U);
}

TEST_F(Consume, FromEndSkipsThePastAndWarnsWhenTheGroupExists) {
  publish_many(3);
  EXPECT_EQ(expect_ok({"consume", "events:user", "--group", "g", "--from", "end", "--until-idle", "1ms"}), "");
  publish("user.created", "{}", {"--id", "later"});
  const Outcome outcome = tidings({"consume", "events:user", "--group", "g", "--from", "beginning", "--max", "1"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(value(outcome.out, "id"), "later");
  EXPECT_NE(outcome.err.find("exists already"), std::string::npos) << outcome.err;
}

TEST_F(Consume, AReaderThatWantsOneLineLosesNothing) {
  publish_many(200);
  std::vector<std::string> seen;
  for (int round = 0; round < 5; ++round) {
    const auto running = start({"consume", "events:user", "--group", "g"});
    seen.push_back(value(running->line(), "id"));
    running->close_stdout();
    const Outcome outcome = running->wait();
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(complaints(outcome.err), "");
  }
  const auto rest = lines(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms"}));
  for (const std::string& line : rest) seen.push_back(value(line, "id"));
  // A line that its reader took may come again when the reader left before we saw it; none may be missing.
  std::set<std::string> distinct(seen.begin(), seen.end());
  EXPECT_EQ(distinct.size(), 200U);
  EXPECT_LE(seen.size(), 205U);
  EXPECT_EQ(group_value("dead_letters"), "0");
  EXPECT_EQ(group_value("retrying"), "0");
}

TEST_F(Consume, HeadInAShellLosesNothingAndCountsNoAttempt) {
  publish_many(50);
  const std::string pipeline = std::string("'") + TIDINGS_PROGRAM + "' consume events:user --group g | head -1";
  Running shell({"/bin/sh", "-c", pipeline}, setting_);
  const Outcome head = shell.wait();
  EXPECT_EQ(value(head.out, "id"), "e0") << head.err;
  const auto attempts = lines(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms", "--exec",
                                         "echo $TIDINGS_EVENT_ID $TIDINGS_ATTEMPT"}));
  ASSERT_GE(attempts.size(), 49U);
  EXPECT_EQ(attempts.back(), "e49 1");
  for (const std::string& line : attempts) EXPECT_TRUE(line.ends_with(" 1")) << line;
}

TEST_F(Consume, AReaderThatGoesWhileNothingComesEndsIt) {
  const auto running = start({"consume", "events:user", "--group", "g"});
  publish("user.created", "{}", {"--id", "a"});
  EXPECT_EQ(value(running->line(), "id"), "a");
  running->close_stdout();
  EXPECT_EQ(running->wait().code, 0);
}

TEST_F(Consume, WhatCannotBeWrittenIsGivenBackAndIsNoFailureOfTheEvent) {
  for (const char* id : {"a", "b", "c"}) publish("user.created", "{}", {"--id", id});
  const Outcome full = [&] {
    Running running(
        {"/bin/sh", "-c",
         "exec " + std::string(TIDINGS_PROGRAM) + " consume events:user --group g --until-idle 1s >/dev/full"},
        setting_);
    return running.wait();
  }();
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.err.find("stdout cannot be written"), std::string::npos) << full.err;
  const std::string row = elements(expect_ok({"groups", "--json"})).at(0);
  EXPECT_EQ(value(row, "dead_letters") + value(row, "retrying") + value(row, "handled"), "000");
  EXPECT_EQ(lines(expect_ok({"consume", "events:user", "--group", "g", "--max", "3"})).size(), 3U);
}

TEST_F(Consume, WaitsForADirectoryThatIsNotThereYet) {
  const std::string url = "sqlite:" + directory_ + "/later/events.db";
  const auto running = start({"consume", "events:user", "--group", "g", "--max", "1", "-u", url});
  running->await_error("does not exist");
  ASSERT_EQ(::mkdir((directory_ + "/later").c_str(), 0755), 0);
  await([&] { return tidings({"publish", "user.created", "--id", "a", "-u", url}).code == 0; }, "the log opens");
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(value(outcome.out, "id"), "a");
}

}  // namespace tidings::cli_test
