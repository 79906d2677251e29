// The grammar: exit code 2 for whatever is wrong with the words, and a hint at what would be right.
#include "program.hpp"

namespace tidings::cli_test {

using Usage = CliTest;

TEST_F(Usage, NothingToDoIsAUsageErrorThatShowsTheCommands) {
  const Outcome outcome = tidings({});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("consume"), std::string::npos) << outcome.err;
}

TEST_F(Usage, AMistypedWordIsNamedWithTheNearestOne) {
  const std::vector<std::pair<Words, std::string>> cases{
      {{"publsih", "user.created"}, "publish"},
      {{"dlq", "retyr", "--group", "g"}, "retry"},
      {{"group", "craete", "events:user"}, "create"},
      {{"publish", "user.created", "--dta", "{}"}, "--data"},
      {{"consume", "events:user", "--grup", "g"}, "--group"},
  };
  for (const auto& [words, nearest] : cases) {
    const Outcome outcome = tidings(words);
    EXPECT_EQ(outcome.code, 2) << words.front();
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find("did you mean '" + nearest + "'"), std::string::npos) << outcome.err;
  }
}

TEST_F(Usage, CommandsOfLaterVersionsAreRefusedByName) {
  for (const std::string command : {"catalog", "trigger", "console", "dev", "context"}) {
    const Outcome outcome = tidings({command});
    EXPECT_EQ(outcome.code, 2) << command;
    EXPECT_NE(outcome.err.find("'" + command + "' is not offered"), std::string::npos) << outcome.err;
  }
}

/// Command lines that are wrong by themselves, whatever the log holds.
const std::vector<Words>& wrong_command_lines() {
  static const std::vector<Words> cases{
      {"publish"},
      {"publish", "user..created"},
      {"publish", "user.created", "--data", "{"},
      {"publish", "user.created", "--data", "@no-such-file"},
      {"publish", "user.created", "--metadata", "[]"},
      {"publish", "user.created", "other.type"},
      {"publish", "user.created", "--data"},
      {"publish", "user.created", "--id", "a", "--id", "b"},
      {"publish", "--jsonl", "no-such-file"},
      {"consume", "events:user"},
      {"consume", "--group", "g"},
      {"consume", "users", "--group", "g"},
      {"consume", "events:user", "--group", "commands"},
      {"consume", "events:user", "--group", "a b"},
      {"consume", "events:user", "--group", "g", "--until-idle", "5"},
      {"consume", "events:user", "--group", "g", "--lease", "soon"},
      {"consume", "events:user", "--group", "g", "--lease", "0s"},
      {"consume", "events:user", "--group", "g", "--lease", "1ms"},
      {"consume", "events:user", "--group", "g", "--timeout", "0s"},
      {"consume", "events:user", "--group", "g", "--timeout", "-1s"},
      {"consume", "events:user", "--group", "g", "--backoff", "1x"},
      {"consume", "events:user", "--group", "g", "--max", "some"},
      {"consume", "events:user", "--group", "g", "--max", "-1"},
      {"consume", "events:user", "--group", "g", "--concurrency", "0"},
      {"consume", "events:user", "--group", "g", "--from", "somewhere"},
      {"consume", "events:user", "--group", "g", "--order-by-key"},
      {"consume", "events:user", "--group", "g", "--type", "order.created"},
      {"consume", "events:user", "events:order", "--group", "g", "--type", "user.created"},
      {"tail"},
      {"tail", "user"},
      {"tail", "events:user", "-n", "-1"},
      {"pending", "events:user"},
      {"dlq"},
      {"dlq", "ls"},
      {"dlq", "retry", "--group", "g"},
      {"dlq", "drop", "--group", "g"},
      {"dlq", "drop", "--group", "g", "--all", "--reason", "rejected"},
      {"dlq", "edit", "--group", "g"},
      {"dlq", "ls", "--group", "g", "--reason", "exhausted"},
      {"publish", "user.created", "--data", "@/tmp"},
      {"publish", "--jsonl", "/tmp"},
      {"bench", "publish", "--events", "0"},
      {"bench", "publish", "--batch", "-1"},
      {"dlq", "edit", "--group", "g", "--data", "{}"},
      {"dlq", "edit", "--group", "g", "--id", "x"},
      {"replay", "events:user"},
      {"replay", "events:user", "--group", "g", "--from", "yesterday"},
      {"replay", "events:user", "--group", "g", "--to", "2024-13-01T00:00:00Z"},
      {"get"},
      {"trace"},
      {"group"},
      {"group", "seek", "events:user", "--group", "g"},
      {"group", "create", "--group", "g"},
      {"bench", "teleport"},
      {"bench", "publish", "--events", "0"},
      {"completion", "tcsh"},
      {"streams", "-o", "yaml"},
      {"streams", "--json", "-o", "table"},
      {"streams", "extra"},
      {"streams", "-u", "carrier-pigeon:coop"},
      {"streams", "-u", "sqlite:a.db?durabilty=disk"},
      {"streams", "-u"},
  };
  return cases;
}

TEST_F(Usage, BadValuesExitWith2) {
  for (const Words& words : wrong_command_lines()) {
    std::string command;
    for (const std::string& word : words) command += " " + word;
    const Outcome outcome = tidings(words);
    EXPECT_EQ(outcome.code, 2) << "tidings" << command << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "") << command;
    EXPECT_TRUE(outcome.err.starts_with("tidings: ")) << command << "\n" << outcome.err;
  }
}

TEST_F(Usage, AMistakeIsExplainedInOneReadableLine) {
  EXPECT_EQ(tidings({"consume", "events:user", "--group", "g", "--max", "-1"}).err,
            "tidings: --max: '-1' is no count; write a whole number such as 10; see `tidings consume --help`\n");
  EXPECT_EQ(tidings({"bench", "publish", "--events", "0"}).err,
            "tidings: --events: '0' is too few; write 1 or more; see `tidings bench --help`\n");
  EXPECT_EQ(tidings({"publish", "user.created", "--data", "@/tmp"}).err,
            "tidings: --data: the file /tmp cannot be read\n");
  EXPECT_EQ(tidings({"dlq", "ls"}).err, "tidings: --group is required; see `tidings dlq ls --help`\n");
}

TEST_F(Usage, EveryCommandExplainsItselfWithAnExample) {
  const std::string help = expect_ok({"--help"});
  for (const std::string command : {"publish", "send", "consume", "tail", "streams", "groups", "lag", "pending", "dlq",
                                    "replay", "get", "trace", "group", "bench", "doctor", "completion", "version"}) {
    EXPECT_NE(help.find("\n  " + command + " "), std::string::npos) << command;
    EXPECT_NE(expect_ok({command, "--help"}).find("Example: "), std::string::npos) << command;
  }
}

TEST_F(Usage, FlagsStandBeforeAndAfterPositionals) {
  setting_.variables.erase("TIDINGS_URL");
  EXPECT_EQ(tidings({"-u", url_, "publish", "user.created", "--id", "evt_1"}).code, 0);
  EXPECT_EQ(tidings({"publish", "--id", "evt_2", "user.created", "-u", url_}).code, 0);
  EXPECT_EQ(tidings({"publish", "--url=" + url_, "--id=evt_3", "user.created"}).code, 0);
  EXPECT_EQ(lines(expect_ok({"--url", url_, "tail", "--from", "beginning", "events:user", "-n", "2"})).size(), 2U);
  EXPECT_EQ(lines(expect_ok({"tail", "events:user", "--url", url_, "-n", "2"})).size(), 2U);
  EXPECT_EQ(elements(expect_ok({"-o", "json", "tail", "events:user", "-u", url_})).size(), 3U);
  EXPECT_EQ(elements(expect_ok({"--json", "-u", url_, "groups"})).size(), 0U);
}

TEST_F(Usage, ARepeatableOptionTakesOneValueEachTime) {
  publish("user.created");
  publish("user.updated");
  publish("user.removed");
  // A greedy --type would swallow the stream.
  const Words words{"consume", "--group",      "g",           "--type",       "user.created",
                    "--type",  "user.updated", "events:user", "--until-idle", "1ms"};
  EXPECT_EQ(lines(expect_ok(words)).size(), 2U);
}

TEST_F(Usage, TheUrlComesFromTheFlagElseTheVariableElseAFileThatIsNamed) {
  const std::string other = "sqlite:" + directory_ + "/other.db";
  expect_ok({"publish", "user.created", "-u", other});
  EXPECT_EQ(elements(expect_ok({"streams", "--json"})).size(), 0U);
  EXPECT_EQ(elements(expect_ok({"streams", "--json", "-u", other})).size(), 1U);
  setting_.variables.erase("TIDINGS_URL");
  const Outcome outcome = tidings({"publish", "user.created"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.err.find("sqlite:tidings.db"), std::string::npos) << outcome.err;
  EXPECT_EQ(elements(expect_ok({"streams", "--json", "-u", "sqlite:" + directory_ + "/tidings.db"})).size(), 1U);
}

TEST_F(Usage, APasswordIsNeverPrinted) {
  for (const char* command : {"doctor", "streams"}) {
    const Outcome outcome = tidings({command, "-u", "redis://user:hunter2@127.0.0.1:1/0"});
    EXPECT_NE(outcome.code, 0);
    EXPECT_EQ((outcome.out + outcome.err).find("hunter2"), std::string::npos) << outcome.out << outcome.err;
  }
}

}  // namespace tidings::cli_test
