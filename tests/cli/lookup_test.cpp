// get, trace, replay.
#include "program.hpp"

namespace tidings::cli_test {

using Lookups = CliTest;

TEST_F(Lookups, GetShowsTheEventAndItsDeliveries) {
  publish("order.placed", "{}", {"--id", "other"});
  publish("user.created", R"({"n":1.50})", {"--id", "a"});
  publish("user.created", "{}", {"--id", "b"});
  expect_ok({"consume", "events:user", "--group", "done", "--until-idle", "10ms"});
  expect_ok({"consume", "events:user", "--group", "dead", "--max", "2", "--exec", "exit 65"});
  expect_ok({"group", "create", "events:user", "--group", "new"});
  const std::string json = expect_ok({"get", "a", "--json"});
  EXPECT_EQ(names(json), "event stream position deliveries");
  EXPECT_EQ(value(value(json, "event"), "data"), R"({"n":1.50})");
  EXPECT_EQ(value(json, "stream"), "events:user");
  EXPECT_EQ(members(json).find("position")->text().front(), '"');
  std::map<std::string, std::string> deliveries;
  for (const std::string& delivery : elements(value(json, "deliveries"))) {
    EXPECT_EQ(names(delivery), "group state attempt crashes");
    deliveries[value(delivery, "group")] =
        value(delivery, "state") + " " + value(delivery, "attempt") + " " + value(delivery, "crashes");
  }
  const std::map<std::string, std::string> expected{
      {"done", "settled null null"}, {"dead", "dead 1 0"}, {"new", "waiting 1 0"}};
  EXPECT_EQ(deliveries, expected);
  EXPECT_NE(expect_ok({"get", "a"}).find("settled"), std::string::npos);
}

TEST_F(Lookups, AnUnknownIdFails) {
  publish("user.created");
  for (const char* command : {"get", "trace"}) {
    const Outcome outcome = tidings({command, "unknown", "--json"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find("unknown"), std::string::npos);
  }
}

TEST_F(Lookups, TraceFollowsARequestAcrossStreams) {
  const Words request{"--correlation-id", "req_1"};
  publish("user.created", "{}", {"--id", "a", "--correlation-id", "req_1", "--source", "users"});
  publish("user.created", "{}", {"--id", "stranger"});
  publish("mail.sent", "{}",
          {"--id", "b", "--correlation-id", "req_1", "--source", "mailer", "--metadata", R"({"causationId":"a"})"});
  expect_ok({"send", "send.email", "--id", "c", "--correlation-id", "req_1", "--metadata", R"({"causationId":"b"})"});
  const std::string json = expect_ok({"trace", "req_1", "--json"});
  EXPECT_EQ(names(json), "correlationId events");
  EXPECT_EQ(value(json, "correlationId"), "req_1");
  std::string seen;
  for (const std::string& step : elements(value(json, "events"))) {
    EXPECT_EQ(names(step), "event stream causationId");
    seen += value(value(step, "event"), "id") + "@" + value(step, "stream") + "<" + value(step, "causationId") + " ";
  }
  EXPECT_EQ(seen, "a@events:user<null b@events:mail<a c@commands:send.email<b ");
  const auto table = lines(expect_ok({"trace", "req_1"}));
  ASSERT_EQ(table.size(), 3U);
  EXPECT_NE(table[0].find("  users: user.created  a"), std::string::npos) << table[0];
  EXPECT_NE(table[1].find("  -> mailer: mail.sent  b"), std::string::npos) << table[1];
  EXPECT_NE(table[2].find("     -> tidings-cli: send.email  c"), std::string::npos) << table[2];
}

TEST_F(Lookups, ReplayHandsThePastToOneGroupOnly) {
  for (const char* id : {"a", "b", "c"}) publish("user.created", "{}", {"--id", id});
  publish("user.removed", "{}", {"--id", "d", "--correlation-id", "req_1"});
  for (const char* group : {"one", "two"}) expect_ok({"consume", "events:user", "--group", group, "--max", "4"});
  const std::string counted = expect_ok({"replay", "events:user", "--group", "one", "--dry-run", "--json"});
  EXPECT_EQ(names(counted), "stream group replayed skipped run dry_run");
  EXPECT_EQ(value(counted, "replayed"), "4");
  EXPECT_EQ(value(counted, "run"), "null");
  const auto count = [&](Words more) {
    Words words{"replay", "events:user", "--group", "one", "--dry-run", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return value(expect_ok(words), "replayed");
  };
  EXPECT_EQ(count({"--type", "user.removed"}), "1");
  EXPECT_EQ(count({"--correlation", "req_1"}), "1");
  EXPECT_EQ(count({"--from", "1h"}), "4");
  EXPECT_EQ(count({"--to", "1h"}), "0");
  EXPECT_EQ(count({"--from", "2100-01-01T00:00:00Z"}), "0");
  const Words consume{"consume", "events:user", "--group", "one", "--until-idle", "10ms"};
  EXPECT_EQ(expect_ok(consume), "") << "a dry run does nothing";
  EXPECT_NE(value(expect_ok({"replay", "events:user", "--group", "one", "--json"}), "run"), "0");
  EXPECT_EQ(expect_ok({"consume", "events:user", "--group", "two", "--until-idle", "10ms"}), "");
  const auto again = lines(expect_ok(consume));
  ASSERT_EQ(again.size(), 4U);
  EXPECT_EQ(value(again[0], "id"), "a");
  EXPECT_EQ(value(again[3], "id"), "d");
}

TEST_F(Lookups, TraceIsInTheOrderOfCausesAlsoAsJson) {
  const std::string time = R"("timestamp":"2024-01-25T10:30:00Z","correlationId":"c","data":{})";
  const std::string batch = R"({"id":"t1","type":"z.one",)" + time + "}\n" + R"({"id":"t2","type":"a.two",)" + time +
                            R"(,"metadata":{"causationId":"t1"}})" + "\n" + R"({"id":"t3","type":"b.three",)" + time +
                            R"(,"metadata":{"causationId":"t2"}})" + "\n";
  expect_ok({"publish", "--jsonl", "-"}, batch);
  std::string order;
  for (const std::string& step : elements(value(expect_ok({"trace", "c", "--json"}), "events"))) {
    order += value(value(step, "event"), "id") + " ";
  }
  EXPECT_EQ(order, "t1 t2 t3 ");
}

TEST_F(Lookups, ATimeMayBeADayOrDoWithoutSecondsAndZone) {
  publish("user.created", "{}", {"--id", "a"});
  for (const char* time : {"2024-01-25", "2024-01-25T10:30", "2024-01-25T10:30Z", "2024-01-25T10:30+02:00",
                           "2024-01-25T10:30:00", "2024-01-25T10:30:00.5Z"}) {
    EXPECT_EQ(lines(expect_ok({"tail", "events:user", "--from", time})).size(), 1U) << time;
  }
  for (const char* time : {"2024-13-25", "2024-01-25T", "2024-01-25T1", "2024-01-25T10:30X"}) {
    EXPECT_EQ(tidings({"tail", "events:user", "--from", time}).code, 1) << time;
  }
}

}  // namespace tidings::cli_test
