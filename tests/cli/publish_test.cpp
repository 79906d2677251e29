// publish and send: what is stored, what is printed, and what is refused.
#include "program.hpp"

namespace tidings::cli_test {

using Publish = CliTest;

TEST_F(Publish, PrintsTheIdAndStoresTheEnvelope) {
  const std::string id = publish("user.created", R"({"userId":"usr_1","n":100000000000000000000})",
                                 {"--source", "user-service", "--correlation-id", "req_1", "--key", "usr_1",
                                  "--event-version", "1.2", "--metadata", R"({"tenant":"t1"})"});
  EXPECT_TRUE(id.starts_with("evt_")) << id;
  EXPECT_EQ(id.size(), 30U);
  const std::string envelope = lines(expect_ok({"tail", "events:user"})).at(0);
  EXPECT_EQ(names(envelope), "id type version timestamp source correlationId data metadata");
  EXPECT_EQ(value(envelope, "id"), id);
  EXPECT_EQ(value(envelope, "version"), "1.2");
  EXPECT_EQ(value(envelope, "source"), "user-service");
  EXPECT_EQ(value(envelope, "correlationId"), "req_1");
  EXPECT_EQ(value(envelope, "data"), R"({"userId":"usr_1","n":100000000000000000000})");
  EXPECT_EQ(value(value(envelope, "metadata"), "tenant"), "t1");
  EXPECT_EQ(value(value(envelope, "metadata"), "partitionKey"), "usr_1");
}

TEST_F(Publish, TheRestHasDefaults) {
  EXPECT_EQ(publish("user.created", "{}", {"--id", "mine"}), "mine");
  const std::string envelope = lines(expect_ok({"tail", "events:user"})).at(0);
  EXPECT_EQ(names(envelope), "id type version timestamp source correlationId data");
  EXPECT_EQ(value(envelope, "version"), "1.0");
  EXPECT_EQ(value(envelope, "source"), "tidings-cli");
  EXPECT_TRUE(value(envelope, "correlationId").starts_with("req_"));
}

TEST_F(Publish, DataComesFromAFileOrFromStdin) {
  const std::string path = file("data.json", "{\"from\":\"file\"}\n");
  expect_ok({"publish", "user.created", "--data", "@" + path});
  expect_ok({"publish", "user.created", "--data", "-"}, "{\"from\":\"stdin\"}");
  expect_ok({"publish", "user.created", "--data", "[1,2]"});
  const auto events = lines(expect_ok({"tail", "events:user"}));
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(value(value(events[0], "data"), "from"), "file");
  EXPECT_EQ(value(value(events[1], "data"), "from"), "stdin");
  EXPECT_EQ(value(events[2], "data"), "[1,2]");
}

TEST_F(Publish, JsonOutputIsOneObject) {
  EXPECT_EQ(expect_ok({"publish", "user.created", "--id", "a", "--json"}), "{\"id\":\"a\"}\n");
}

TEST_F(Publish, AnEventThatIsTooLargeFails) {
  const std::string path = file("large.json", "\"" + std::string(2U << 20, 'x') + "\"");
  const Outcome outcome = tidings({"publish", "user.created", "--data", "@" + path});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
}

TEST_F(Publish, LinesFillInWhatIsMissingAndKeepTheRest) {
  const std::string whole =
      R"({"id":"e1","type":"user.created","version":"2.1","timestamp":"2024-01-25T10:30:00Z","source":"s","correlationId":"c","data":{"n":1.50},"custom":[1]})";
  const std::string out = expect_ok({"publish", "--jsonl"}, whole + "\n\n" + R"({"type":"user.updated","data":{}})");
  const auto ids = lines(out);
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_EQ(ids[0], "e1");
  EXPECT_TRUE(ids[1].starts_with("evt_"));
  const auto events = lines(expect_ok({"tail", "events:user"}));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0], whole);
  EXPECT_EQ(value(events[1], "id"), ids[1]);
  EXPECT_EQ(value(events[1], "version"), "1.0");
  EXPECT_EQ(value(events[1], "source"), "tidings-cli");
  EXPECT_NE(value(events[1], "timestamp"), "missing");
  EXPECT_TRUE(value(events[1], "correlationId").starts_with("req_"));
}

TEST_F(Publish, ABadLineIsNamedAndTheOthersGoThrough) {
  const std::string text =
      "{\"id\":\"a\",\"type\":\"user.created\",\"data\":{}}\n"
      "not json\n"
      "{\"id\":\"b\",\"type\":\"user.created\",\"data\":{}}\n"
      "{\"id\":\"c\",\"type\":\"user.created\",\"data\":{\"x\":1,\"x\":2}}\n"
      "{\"id\":\"d\",\"data\":{}}\n"
      "{\"id\":\"e\",\"type\":\"user.created\",\"data\":{}}\n";
  for (const Words& words : {Words{"publish", "--jsonl", "-"}, Words{"publish", "--jsonl", file("lines", text)},
                             Words{"publish", file("lines", text), "--jsonl"}}) {
    const Outcome outcome = tidings(words, words.back() == "-" ? text : "");
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.out, "a\nb\ne\n");
    const auto complaints = lines(outcome.err);
    ASSERT_EQ(complaints.size(), 3U) << outcome.err;
    EXPECT_NE(complaints[0].find("line 2:"), std::string::npos) << complaints[0];
    EXPECT_NE(complaints[1].find("line 4:"), std::string::npos) << complaints[1];
    EXPECT_NE(complaints[2].find("line 5:"), std::string::npos) << complaints[2];
  }
}

TEST_F(Publish, ManyLinesKeepTheirOrder) {
  std::string text;
  std::string ids;
  for (int i = 0; i < 2'500; ++i) {
    text += R"({"id":"e)" + std::to_string(i) + R"(","type":"user.created","data":{}})" + "\n";
    ids += "e" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(expect_ok({"publish", "--jsonl"}, text), ids);
  EXPECT_EQ(elements(expect_ok({"publish", "--jsonl", "--json"}, text)).size(), 2'500U);
  EXPECT_EQ(value(elements(expect_ok({"streams", "--json"})).at(0), "length"), "5000");
}

TEST_F(Publish, LinesThatHaveComeAreNotHeldBackForMore) {
  const auto running = start({"publish", "--jsonl"});
  running->write("{\"id\":\"a\",\"type\":\"user.created\",\"data\":{}}\n");
  EXPECT_EQ(running->line(), "a");
  running->write("{\"id\":\"b\",\"type\":\"user.created\",\"data\":{}}\n");
  EXPECT_EQ(running->line(), "b");
  running->end_input();
  EXPECT_EQ(running->wait().code, 0);
}

TEST_F(Publish, SendStoresACommandForItsOneOwner) {
  expect_ok({"send", "send.email", "--id", "c1", "--data", R"({"to":"a@example.com"})"});
  expect_ok({"send", "--jsonl"}, R"({"id":"c2","type":"send.email","data":{}})");
  const auto streams = elements(expect_ok({"streams", "--json"}));
  ASSERT_EQ(streams.size(), 1U);
  EXPECT_EQ(value(streams[0], "stream"), "commands:send.email");
  EXPECT_EQ(lines(expect_ok({"consume", "commands:send.email", "--group", "mailer", "--until-idle", "1ms"})).size(),
            2U);
  EXPECT_EQ(value(elements(expect_ok({"groups", "--json"})).at(0), "group"), "commands");
  const Outcome second = tidings({"consume", "commands:send.email", "--group", "other", "--until-idle", "1ms"});
  EXPECT_EQ(second.code, 1) << second.err;
  EXPECT_NE(second.err.find("mailer"), std::string::npos) << second.err;
}

}  // namespace tidings::cli_test
