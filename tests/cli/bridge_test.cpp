// bridge: from one engine to another, through deaths on either side and of its own.
#include <signal.h>

#include "moving.hpp"

namespace tidings::cli_test {

using Bridge = MovingTest;

constexpr int window = 512;  // What one bridge holds at most.

TEST_F(Bridge, MovesEventsUnchangedAndGoesOnWhereItWas) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 3'000);
  const std::string first = move_all(from, to);
  EXPECT_EQ(names(first), "moved repeated dead seconds");
  EXPECT_EQ(value(first, "moved") + " " + value(first, "repeated") + " " + value(first, "dead"), "3000 0 0");
  fill(from, 3'000, 500);
  EXPECT_EQ(value(move_all(from, to), "moved"), "500");
  EXPECT_EQ(value(move_all(from, to), "moved"), "0");
  EXPECT_EQ(envelopes(to), envelopes(from));
  EXPECT_EQ(group_value(from, "bridge", "handled"), "3500");
}

TEST_F(Bridge, SeveralStreamsAndCommandsOfTheirOwner) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  for (const char* type : {"user.created", "order.placed"}) publish(type, "{}", {"-u", from});
  expect_ok({"send", "send.email", "-u", from});
  const std::string text = expect_ok({"bridge", "--from", from, "--to", to, "events:user", "events:order",
                                      "commands:send.email", "--group", "mailer", "--max", "3"});
  EXPECT_TRUE(text.starts_with("moved 3 events in ")) << text;
  for (const char* stream : {"events:user", "events:order", "commands:send.email"}) {
    EXPECT_EQ(expect_ok({"tail", stream, "-u", to}), expect_ok({"tail", stream, "-u", from}));
  }
}

TEST_F(Bridge, ToRedisAndBack) {
  const support::RedisServer server;
  const std::string from = file_url("a.db"), back = file_url("c.db");
  fill(from, 0, 2'000);
  EXPECT_EQ(value(move_all(from, server.url()), "moved"), "2000");
  EXPECT_EQ(value(move_all(server.url(), back), "moved"), "2000");
  EXPECT_EQ(envelopes(back), envelopes(from));
}

TEST_F(Bridge, ToAwsOnceSomebodyHasSubscribed) {
  support::AwsStub aws;
  const std::string from = file_url("a.db"), to = aws_url(aws);
  fill(from, 0, 1'000);
  const Outcome early = start_bridge(from, to)->wait();
  EXPECT_EQ(early.code, 1);
  EXPECT_NE(early.err.find("nobody has subscribed to events:user"), std::string::npos) << early.err;
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  EXPECT_EQ(value(move_all(from, to), "moved"), "1000");
  std::vector<std::string> bodies;
  for (const support::AwsMessage& message : aws.sent("t-search-events-user")) bodies.push_back(message.body);
  const Account account = account_of(bodies, 1'000);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.repeated + account.foreign + account.disordered, 0);
  // And away from there, as the group whose queue it is.
  EXPECT_EQ(value(move_all(to, file_url("b.db"), {"--group", "search"}), "moved"), "1000");
  EXPECT_EQ(account_of(envelopes(file_url("b.db")), 1'000).lost, 0);
}

TEST_F(Bridge, ADeathBetweenPublishAndSettlementRepeatsAtMostAFetch) {
  support::AwsStub aws;
  const std::string from = file_url("a.db"), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  fill(from, 0, 5'000);
  int deaths = 0;
  // At the first settlement (leaving the group that was made passes there, too), among those of what the one before
  // held, and behind them.
  for (const char* passage : {"2", "2", "300", "217", "2", "3"}) {
    setting_.variables["TIDINGS_FAILPOINT"] = std::string("sqlite.before_settle_commit:") + passage;
    if (start_bridge(from, to, {"--until-idle", "200ms"})->wait().code == 1000 + SIGKILL) ++deaths;
  }
  setting_.variables.erase("TIDINGS_FAILPOINT");
  EXPECT_EQ(deaths, 6);
  (void)move_all(from, to);
  std::vector<std::string> bodies;
  for (const support::AwsMessage& message : aws.sent("t-search-events-user")) bodies.push_back(message.body);
  const Account account = account_of(bodies, 5'000);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.foreign, 0);
  EXPECT_EQ(account.disordered, 0);
  EXPECT_GT(account.repeated, 0);
  EXPECT_LE(account.repeated, deaths * window);
  EXPECT_EQ(group_value(from, "bridge", "dead_letters"), "0");
}

TEST_F(Bridge, ALogThatCanBeReadIsNotToldTwice) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 3'000);
  for (const char* passage : {"2", "3", "515"}) {
    setting_.variables["TIDINGS_FAILPOINT"] = std::string("sqlite.before_settle_commit:") + passage;
    EXPECT_EQ(start_bridge(from, to, {"--until-idle", "200ms"})->wait().code, 1000 + SIGKILL);
  }
  setting_.variables.erase("TIDINGS_FAILPOINT");
  (void)move_all(from, to);
  EXPECT_EQ(envelopes(to), envelopes(from));
}

TEST_F(Bridge, SeveralKillsAnywhereLoseNothing) {
  support::RedisServer server;
  const std::string from = server.url(), to = file_url("b.db");
  const int count = 12'000;
  fill(from, 0, count);
  for (std::size_t kill = 1; kill <= 4; ++kill) {
    const auto running = start_bridge(from, to, {"--lease", "500ms"});
    await_length(to, kill * 2'000);
    running->signal(SIGKILL);
    EXPECT_EQ(running->wait().code, 1000 + SIGKILL);
  }
  (void)move_all(from, to, {"--lease", "500ms"});
  const Account account = account_of(envelopes(to), count);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.foreign, 0);
  EXPECT_EQ(account.disordered + account.astray, 0);
  EXPECT_LE(account.repeated, 4 * window);
}

// Joining, and the first answer of an engine, may take longer than nothing has to come for.
TEST_F(Bridge, IsIdleOnlyWhenItsSourceSaysSo) {
  support::RedisServer redis;
  support::AwsStub aws;
  const std::string queue = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", queue});
  int number = 0;
  for (const std::string& from : {file_url("a.db"), redis.url(), queue}) {
    fill(from, 0, 100);
    const Outcome outcome = start_bridge(from, file_url("b" + std::to_string(number++) + ".db"),
                                         {"--group", "search", "--until-idle", "1ms"})
                                ->wait();
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(value(outcome.out, "moved"), "100") << from;
  }
}

TEST_F(Bridge, ATargetThatIsDownIsWaitedFor) {
  support::RedisServer server({.aof = support::Aof::always});
  const std::string from = file_url("a.db"), to = server.url();
  server.kill();
  fill(from, 0, 2'000);
  const auto running = start_bridge(from, to);
  running->await_error("trying again in");
  server.restart();
  await_length(to, 2'000);
  server.kill();
  fill(from, 2'000, 2'000);
  running->await_error("tidings: the target: ");
  server.restart();
  await_length(to, 4'000);
  running->signal(SIGTERM);
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const Account account = account_of(envelopes(to), 4'000);
  EXPECT_EQ(account.lost + account.foreign + account.disordered + account.astray, 0);
  EXPECT_EQ(group_value(from, "bridge", "lag"), "0");
}

TEST_F(Bridge, ASourceThatIsDownIsWaitedFor) {
  support::RedisServer server({.aof = support::Aof::always});
  const std::string from = server.url(), to = file_url("b.db");
  fill(from, 0, 2'000);
  const auto running = start_bridge(from, to, {"--lease", "500ms"});
  await_length(to, 2'000);
  server.kill();
  running->await_error("tidings: the source: ");
  server.restart();
  fill(from, 2'000, 1'000);
  await_length(to, 3'000);
  running->signal(SIGTERM);
  EXPECT_EQ(running->wait().code, 0);
  const Account account = account_of(envelopes(to), 3'000);
  EXPECT_EQ(account.lost + account.foreign + account.disordered + account.astray + account.repeated, 0);
}

TEST_F(Bridge, SignalsEndIt) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 10);
  for (const auto& ending : {std::pair{SIGTERM, 0}, std::pair{SIGINT, 130}}) {
    const std::string group = "g" + std::to_string(ending.first);
    const auto running = start_bridge(from, to, {"--group", group});
    await([&] { return group_value(from, group, "handled") == "10"; }, "all is moved");
    running->signal(ending.first);
    const Outcome outcome = running->wait();
    EXPECT_EQ(outcome.code, ending.second);
    EXPECT_EQ(value(outcome.out, "moved"), "10");
  }
  const auto waiting = start_bridge(from, "sqlite:" + directory_ + "/nowhere/b.db");
  waiting->await_error("does not exist");
  waiting->signal(SIGINT);
  EXPECT_EQ(waiting->wait().code, 130);
}

TEST_F(Bridge, WhatIsNoEventIsToldAndPutAside) {
  support::RedisServer server;
  const std::string from = server.url(), to = file_url("b.db");
  fill(from, 0, 3);
  server.cli("XADD", "events:user", "*", "event", "not JSON");
  server.cli("XADD", "events:user", "*", "event", "{\"id\":7}");
  fill(from, 3, 3);
  const auto running = start_bridge(from, to, {"--max", "8"});
  const Outcome outcome = running->wait();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(value(outcome.out, "moved") + " " + value(outcome.out, "dead"), "6 2");
  EXPECT_NE(outcome.err.find("undecodable, it is a dead letter of bridge now"), std::string::npos) << outcome.err;
  const auto dead = elements(expect_ok({"dlq", "ls", "--group", "bridge", "--json", "-u", from}));
  ASSERT_EQ(dead.size(), 2U);
  EXPECT_EQ(value(dead[0], "reason"), "undecodable");
  EXPECT_EQ(account_of(envelopes(to), 6).lost, 0);
}

TEST_F(Bridge, WhatTheTargetCannotTakeIsPutAsideAndItsKeyGoesOn) {
  support::AwsStub aws;
  const std::string from = file_url("a.db"), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  const std::string large = file("large.json", "{\"text\":\"" + std::string(300'000, 'x') + "\"}");
  publish("user.created", "{}", {"--id", "a", "--key", "k", "-u", from});
  publish("user.created", "@" + large, {"--id", "b", "--key", "k", "-u", from});
  publish("user.created", "{}", {"--id", "c", "--key", "k", "-u", from});
  const std::string summary = move_all(from, to);
  EXPECT_EQ(value(summary, "moved") + " " + value(summary, "dead"), "2 1");
  const auto sent = aws.sent("t-search-events-user");
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(value(sent[1].body, "id"), "c");
  const auto dead = elements(expect_ok({"dlq", "ls", "--group", "bridge", "--json", "-u", from}));
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(value(dead[0], "id") + " " + value(dead[0], "reason"), "b rejected");
}

TEST_F(Bridge, DeadLettersGoAlongOnce) {
  support::RedisServer server;
  const std::string from = file_url("a.db"), to = server.url();
  fill(from, 0, 3);
  server.cli("XGROUP", "CREATE", "events:user", "search", "$", "MKSTREAM");
  (void)tidings({"consume", "events:user", "--group", "search", "--max", "3", "--exec", "exit 65", "-u", from});
  const Words look{"dlq", "ls", "--group", "search", "--json", "-u"};
  const auto letters = [&](const std::string& url) {
    Words words = look;
    words.push_back(url);
    std::string text;
    for (const std::string& each : elements(expect_ok(words))) {
      text += value(each, "id") + " " + value(each, "reason") + " " + value(each, "attempts") + " " +
              value(each, "first_failed_at") + "\n";
    }
    return text;
  };
  const std::string before = letters(from);
  ASSERT_EQ(lines(before).size(), 3U);
  // Dies when they are on the target and not yet dropped.
  setting_.variables["TIDINGS_FAILPOINT"] = "sqlite.before_move_commit";
  EXPECT_EQ(start_bridge(from, to, {"--dead-letters", "search"})->wait().code, 1000 + SIGKILL);
  setting_.variables.erase("TIDINGS_FAILPOINT");
  EXPECT_EQ(letters(from), before);
  EXPECT_EQ(letters(to), before);
  const Outcome outcome = start_bridge(from, to, {"--dead-letters", "search", "--max", "3"})->wait();
  EXPECT_NE(outcome.err.find("3 dead letters of search of events:user went along"), std::string::npos) << outcome.err;
  EXPECT_EQ(letters(from), "");
  EXPECT_EQ(letters(to), before);
}

TEST_F(Bridge, AnItemThatFailsLetsNoneOfItsKeyPassAlsoBehindAStop) {
  support::AwsStub aws;
  const support::RedisServer server;
  const std::string from = server.url(), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  fill(from, 0, 3'000);
  std::atomic<bool> fails{true};
  aws.fail_entries(
      "PublishBatch",
      [&](const std::string&, const std::string& body) { return fails && body.find("k3") != std::string::npos; }, {},
      1'000'000);
  const auto running = start_bridge(from, to);
  running->await_error("trying again in");
  running->signal(SIGTERM);
  EXPECT_EQ(running->wait().code, 0);
  EXPECT_GT(aws.sent("t-search-events-user").size(), 100U) << "the others of the first fetch are there";
  fails = false;
  (void)move_all(from, to);
  std::vector<std::string> bodies;
  for (const support::AwsMessage& message : aws.sent("t-search-events-user")) bodies.push_back(message.body);
  const Account account = account_of(bodies, 3'000);
  EXPECT_EQ(account.lost + account.foreign + account.disordered + account.repeated, 0);
}

TEST_F(Bridge, ATargetThatRefusesUsEndsItAndSettlesNothing) {
  support::AwsStub aws;
  const std::string from = file_url("a.db"), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  fill(from, 0, 10);
  aws.deny("sns:Publish");
  const Outcome outcome = start_bridge(from, to)->wait();
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  EXPECT_EQ(group_value(from, "bridge", "handled") + group_value(from, "bridge", "dead_letters"), "00");
  aws.allow("sns:Publish");
  EXPECT_EQ(value(move_all(from, to), "moved"), "10");
  EXPECT_EQ(aws.sent("t-search-events-user").size(), 10U);
}

TEST_F(Bridge, ASecondOneWaitsAndTakesOver) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 10);
  const auto first = start_bridge(from, to);
  await_length(to, 10);
  const auto second = start_bridge(from, to);
  second->await_error("another process works as the group bridge");
  first->signal(SIGKILL);
  EXPECT_EQ(first->wait().code, 1000 + SIGKILL);
  fill(from, 10, 10);
  await_length(to, 20);
  second->signal(SIGTERM);
  const Outcome outcome = second->wait();
  EXPECT_EQ(value(outcome.out, "moved"), "10") << outcome.err;
}

TEST_F(Bridge, StartsWhereItIsTold) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 10);
  EXPECT_EQ(value(move_all(from, to, {"--start", "end"}), "moved"), "0");
  fill(from, 10, 5);
  const Outcome again = start_bridge(from, to, {"--start", "beginning", "--max", "2"})->wait();
  EXPECT_EQ(value(again.out, "moved"), "2");
  EXPECT_NE(again.err.find("exists already, --start is passed over"), std::string::npos) << again.err;
  EXPECT_EQ(value(move_all(from, to), "moved"), "3");
  EXPECT_EQ(value(move_all(from, to, {"--group", "all", "--start", "2h"}), "moved"), "15");
}

TEST_F(Bridge, ACircleIsToldOf) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 1);
  (void)move_all(from, to);
  const Outcome back = start_bridge(to, from, {"--max", "1"})->wait();
  EXPECT_NE(back.err.find("will circle for ever"), std::string::npos) << back.err;
}

TEST_F(Bridge, WrongCommandLines) {
  const std::string a = file_url("a.db"), b = file_url("b.db");
  for (const Words& words : std::vector<Words>{
           {"bridge", "--from", a, "--to", b},
           {"bridge", "--from", a, "events:user"},
           {"bridge", "--from", a, "--to", "sqlite:" + directory_ + "/./a.db", "events:user"},
           {"bridge", "--from", "redis://localhost", "--to", "redis://127.0.0.1:6379/0", "events:user"},
           {"bridge", "--from", a, "--to", "memory:", "events:user"},
           {"bridge", "--from", a, "--to", "nowhere:", "events:user"},
           {"bridge", "--from", a, "--to", b, "user"},
           {"bridge", "--from", a, "--to", b, "events:user", "--group", "a b"},
           {"bridge", "--from", a, "--to", b, "events:user", "--start", "soon"},
           {"bridge", "--from", a, "--to", b, "events:user", "--lease", "1ms"},
           {"bridge", "--from", a, "--to", b, "events:user", "--until-idle", "5"},
           {"bridge", "--from", a, "--to", b, "events:user", "-u", a},
           {"bridge", "--from", a, "--to", b, "events:user", "--dead-letters", "a b"},
           {"archive", "events:user", "-u", a},
           {"archive", "events:user", "-u", a, "--to", a},
       }) {
    const Outcome outcome = tidings(words);
    EXPECT_EQ(outcome.code, 2) << words.back() << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace tidings::cli_test
