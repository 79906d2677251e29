// streams, groups, lag, pending, tail, group: the names that scripts rely on, and what they count.
#include <tidings/time.hpp>

#include "program.hpp"

namespace tidings::cli_test {

class Lists : public CliTest {
 protected:
  [[nodiscard]] std::string group_value(std::string_view name) const {
    const auto rows = elements(expect_ok({"groups", "events:user", "--json"}));
    return rows.size() == 1 ? value(rows.front(), name) : std::to_string(rows.size()) + " groups";
  }
  [[nodiscard]] std::string ids(const std::string& jsonl) const {
    std::string text;
    for (const std::string& line : lines(jsonl)) text += value(line, "id") + " ";
    return text;
  }
};

TEST_F(Lists, AnEmptyListIsAnEmptyArray) {
  for (const Words& words : {Words{"streams"}, Words{"groups"}, Words{"lag"}}) {
    Words json = words;
    json.emplace_back("--json");
    EXPECT_EQ(expect_ok(json), "[]\n");
    Words jsonl = words;
    jsonl.insert(jsonl.end(), {"-o", "jsonl"});
    EXPECT_EQ(expect_ok(jsonl), "");
    EXPECT_EQ(lines(expect_ok(words)).size(), 1U) << "a table has its headers";
  }
  EXPECT_EQ(expect_ok({"tail", "events:user", "--json"}), "[]\n");
  EXPECT_EQ(expect_ok({"tail", "events:user"}), "");
  EXPECT_EQ(tidings({"tail", "events:user"}).err,
            "tidings: there is no stream events:user yet; `tidings streams` lists what is there\n");
}

TEST_F(Lists, StreamRows) {
  publish("user.created");
  publish("user.created");
  const std::string row = elements(expect_ok({"streams", "-o", "json"})).at(0);
  EXPECT_EQ(names(row), "stream length oldest newest");
  EXPECT_EQ(value(row, "stream"), "events:user");
  EXPECT_EQ(members(row).find("length")->text(), "2");
  EXPECT_TRUE(parse_time(value(row, "oldest")).has_value()) << row;
  EXPECT_TRUE(parse_time(value(row, "newest")).has_value()) << row;
  EXPECT_EQ(lines(expect_ok({"streams", "-o", "jsonl"})).at(0), row);
  EXPECT_NE(expect_ok({"streams"}).find("events:user"), std::string::npos);
}

TEST_F(Lists, GroupRows) {
  for (int i = 0; i < 3; ++i) publish("user.created");
  publish("user.removed");
  const Words consume{"consume", "events:user", "--group", "g", "--type", "user.created", "--max", "1"};
  expect_ok(consume);
  const std::string row = elements(expect_ok({"groups", "--json"})).at(0);
  EXPECT_EQ(
      names(row),
      "stream group lag pending retrying parked dead_letters handled ignored oldest_age_ms consumers types paused");
  EXPECT_EQ(value(row, "stream"), "events:user");
  EXPECT_EQ(value(row, "group"), "g");
  // What was given back either went back to the log or waits to be handed out again.
  EXPECT_EQ(std::stoi(value(row, "lag")) + std::stoi(value(row, "pending")), 3) << row;
  EXPECT_EQ(value(row, "retrying"), "0");
  EXPECT_EQ(value(row, "parked"), "0");
  EXPECT_EQ(value(row, "dead_letters"), "0");
  EXPECT_EQ(value(row, "handled"), "1");
  EXPECT_EQ(value(row, "ignored"), "0");
  EXPECT_GE(std::stoll(value(row, "oldest_age_ms")), 0);
  EXPECT_EQ(value(row, "consumers"), "0");
  EXPECT_EQ(value(row, "types"), "[]");
  EXPECT_EQ(value(row, "paused"), "false");
  EXPECT_EQ(names(elements(expect_ok({"lag", "--json"})).at(0)), names(row));
  expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms"});
  EXPECT_EQ(group_value("oldest_age_ms"), "null");
  EXPECT_EQ(group_value("lag"), "0");
}

TEST_F(Lists, ALiveConsumerShowsItsTypes) {
  publish("user.created");
  const auto running =
      start({"consume", "events:user", "--group", "g", "--type", "user.updated", "--type", "user.created"});
  running->line();
  EXPECT_EQ(group_value("consumers"), "1");
  EXPECT_EQ(group_value("types"), R"(["user.created","user.updated"])");
  running->signal(15);
  EXPECT_EQ(running->wait().code, 0);
}

TEST_F(Lists, AnUnknownStreamOrGroupFails) {
  publish("user.created");
  for (const Words& words :
       {Words{"groups", "events:nothing"}, Words{"pending", "events:user", "--group", "nobody"},
        Words{"dlq", "ls", "--group", "nobody"}, Words{"replay", "events:user", "--group", "nobody"},
        Words{"replay", "events:nothing", "--group", "nobody"},
        Words{"group", "pause", "events:user", "--group", "nobody"}}) {
    const Outcome outcome = tidings(words);
    EXPECT_EQ(outcome.code, 1) << words.front() << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err, "");
  }
}

TEST_F(Lists, PendingShowsWhatIsLeasedAndWhatIsRetried) {
  const std::string failed = publish("user.created", "{}", {"--id", "failed"});
  publish("user.created", "{}", {"--id", "held"});
  const auto running = start({"consume", "events:user", "--group", "g", "--backoff", "1h", "--exec",
                              "test $TIDINGS_EVENT_ID = held || exit 1; echo held; while :; do sleep 1; done"});
  running->await_error("next try");
  EXPECT_EQ(running->line(), "held");
  const auto rows = elements(expect_ok({"pending", "events:user", "--group", "g", "--json"}));
  ASSERT_EQ(rows.size(), 2U);
  for (const std::string& row : rows) {
    EXPECT_EQ(names(row), "id stream group state attempt crashes owner due");
    EXPECT_EQ(value(row, "stream"), "events:user");
    EXPECT_EQ(value(row, "group"), "g");
    EXPECT_EQ(value(row, "crashes"), "0");
    EXPECT_TRUE(parse_time(value(row, "due")).has_value()) << row;
    const bool retrying = value(row, "id") == "failed";
    EXPECT_EQ(value(row, "state"), retrying ? "retrying" : "leased");
    EXPECT_EQ(value(row, "attempt"), retrying ? "2" : "1");
    EXPECT_EQ(value(row, "owner") == "null", retrying) << row;
  }
  running->signal(9);
  running->wait();
}

TEST_F(Lists, TailShowsTheLastTenUnlessTold) {
  std::string text;
  for (int i = 0; i < 15; ++i)
    text += R"({"id":"e)" + std::to_string(i) + R"(","type":"user.created","data":{}})" + "\n";
  expect_ok({"publish", "--jsonl"}, text);
  expect_ok({"publish", "user.removed", "--id", "x", "--correlation-id", "req_1"});
  EXPECT_EQ(ids(expect_ok({"tail", "events:user"})), "e6 e7 e8 e9 e10 e11 e12 e13 e14 x ");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "-n", "2"})), "e14 x ");
  EXPECT_EQ(lines(expect_ok({"tail", "events:user", "--from", "beginning"})).size(), 16U);
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "--from", "beginning", "-n", "2"})), "e0 e1 ");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "--from", "e13"})), "e13 e14 x ");
  EXPECT_EQ(lines(expect_ok({"tail", "events:user", "--from", "1h"})).size(), 16U);
  EXPECT_EQ(expect_ok({"tail", "events:user", "--from", "2100-01-01T00:00:00Z"}), "");
  EXPECT_EQ(expect_ok({"tail", "events:user", "--from", "end"}), "");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "--type", "user.removed"})), "x ");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "--correlation", "req_1", "--from", "beginning"})), "x ");
  EXPECT_EQ(tidings({"tail", "events:user", "--from", "evt_unknown"}).code, 1);
  EXPECT_EQ(elements(expect_ok({"tail", "events:user", "--json"})).size(), 10U);
  EXPECT_NE(expect_ok({"tail", "events:user", "-o", "table"}).find("user.removed  x  tidings-cli  req_1"),
            std::string::npos);
  EXPECT_EQ(elements(expect_ok({"groups", "--json"})).size(), 0U) << "tail joins no group";
}

TEST_F(Lists, TailReadsSeveralStreamsInTheOrderOfTime) {
  for (const char* id : {"a", "b", "c", "d"}) {
    publish(id[0] % 2 == 0 ? "order.placed" : "user.created", "{}", {"--id", id});
  }
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "events:order"})), "a b c d ");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "events:order", "-n", "3"})), "b c d ");
  EXPECT_EQ(ids(expect_ok({"tail", "events:user", "events:order", "--from", "beginning"})), "a b c d ");
}

TEST_F(Lists, TailIntoAClosedPipeEndsQuietly) {
  for (int i = 0; i < 3; ++i) publish("user.created");
  const std::string program = std::string("'") + TIDINGS_PROGRAM + "'";
  Running shell({"/bin/sh", "-c", program + " tail events:user | head -1; " + program + " streams | :"}, setting_);
  const Outcome outcome = shell.wait();
  EXPECT_EQ(lines(outcome.out).size(), 1U);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Lists, GroupsAreCreatedMovedPausedAndDeleted) {
  for (const char* id : {"a", "b", "c"}) publish("user.created", "{}", {"--id", id});
  const std::string row = expect_ok({"group", "create", "events:user", "--group", "g", "--at", "end", "--json"});
  EXPECT_EQ(value(row, "lag"), "0");
  EXPECT_EQ(tidings({"group", "create", "events:user", "--group", "g"}).code, 1);
  expect_ok({"group", "seek", "events:user", "--group", "g", "--at", "b"});
  EXPECT_EQ(group_value("lag"), "2");
  expect_ok({"group", "seek", "events:user", "--group", "g", "--at", "beginning"});
  EXPECT_EQ(group_value("lag"), "3");
  expect_ok({"group", "seek", "events:user", "--group", "g", "--at", "1h"});
  EXPECT_EQ(group_value("lag"), "3");
  expect_ok({"group", "pause", "events:user", "--group", "g"});
  EXPECT_EQ(group_value("paused"), "true");
  EXPECT_EQ(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "100ms"}), "");
  expect_ok({"group", "resume", "events:user", "--group", "g"});
  EXPECT_EQ(group_value("paused"), "false");
  EXPECT_EQ(ids(expect_ok({"consume", "events:user", "--group", "g", "--max", "3"})), "a b c ");
  expect_ok({"group", "delete", "events:user", "--group", "g"});
  EXPECT_EQ(group_value("lag"), "0 groups");
}

TEST_F(Lists, AGroupWithUnsettledWorkIsNotDeletedWithoutForce) {
  publish("user.created");
  expect_ok({"consume", "events:user", "--group", "g", "--max", "1", "--exec", "exit 65"});
  const Outcome outcome = tidings({"group", "delete", "events:user", "--group", "g"});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_EQ(group_value("dead_letters"), "1");
  expect_ok({"group", "delete", "events:user", "--group", "g", "--force"});
  EXPECT_EQ(group_value("lag"), "0 groups");
}

}  // namespace tidings::cli_test
