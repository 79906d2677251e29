// dlq: looking at dead letters, handing them out again, correcting and dropping them.
#include <tidings/bus.hpp>

#include "program.hpp"

namespace tidings::cli_test {

class DeadLetters : public CliTest {
 protected:
  /// Makes dead letters of events with these ids: those that begin with `bad` are rejected, the others exhausted.
  void make(const std::vector<std::string>& ids) const {
    for (const std::string& id : ids) publish("user.created", R"({"name":"old"})", {"--id", id});
    expect_ok({"consume", "events:user", "--group", "g", "--max", std::to_string(ids.size()), "--max-attempts", "1",
               "--exec", "case $TIDINGS_EVENT_ID in bad*) exit 65 ;; esac; exit 1"});
  }
  [[nodiscard]] std::vector<std::string> list(Words more = {}) const {
    Words words{"dlq", "ls", "--group", "g", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return elements(expect_ok(words));
  }
  [[nodiscard]] std::string consumed() const {
    std::string text;
    for (const auto& line : lines(expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms", "--exec",
                                             "echo $TIDINGS_EVENT_ID $TIDINGS_ATTEMPT"}))) {
      text += line + ";";
    }
    return text;
  }
};

TEST_F(DeadLetters, RowsHaveTheContractsNames) {
  make({"a", "bad1"});
  const auto rows = list();
  ASSERT_EQ(rows.size(), 2U);
  for (const std::string& row : rows) {
    EXPECT_EQ(names(row), "key id stream group reason error attempts crashes first_failed_at last_failed_at event");
    EXPECT_EQ(value(row, "stream"), "events:user");
    EXPECT_EQ(value(row, "group"), "g");
    EXPECT_EQ(value(row, "attempts"), "1");
    EXPECT_EQ(value(row, "crashes"), "0");
    EXPECT_NE(value(row, "first_failed_at"), "null");
    EXPECT_EQ(value(value(row, "event"), "id"), value(row, "id"));
    EXPECT_EQ(value(row, "reason"), value(row, "id") == "a" ? "attempts_exhausted" : "rejected");
  }
  EXPECT_EQ(list({"--reason", "rejected"}).size(), 1U);
  EXPECT_EQ(list({"--id", "a"}).size(), 1U);
  EXPECT_EQ(list({"--id", "a", "--id", "bad1", "events:user"}).size(), 2U);
  EXPECT_EQ(list({"--id", value(rows[0], "key")}).at(0), rows[0]);
  EXPECT_EQ(expect_ok({"dlq", "show", "--group", "g", "--id", value(rows[0], "id"), "--json"}), rows[0] + "\n");
  EXPECT_EQ(expect_ok({"dlq", "export", "--group", "g"}), rows[0] + "\n" + rows[1] + "\n");
  EXPECT_NE(expect_ok({"dlq", "ls", "--group", "g"}).find("rejected"), std::string::npos);
  EXPECT_NE(expect_ok({"dlq", "show", "--group", "g", "--id", "a"}).find("attempts_exhausted"), std::string::npos);
}

TEST_F(DeadLetters, AnUnknownIdFails) {
  make({"a"});
  for (const std::string verb : {"ls", "show", "retry", "drop"}) {
    const Outcome outcome = tidings({"dlq", verb, "--group", "g", "--id", "a", "--id", "unknown"});
    EXPECT_EQ(outcome.code, 1) << verb;
    EXPECT_NE(outcome.err.find("unknown"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(tidings({"dlq", "edit", "--group", "g", "--id", "unknown", "--data", "{}"}).code, 1);
  EXPECT_EQ(list().size(), 1U);
}

TEST_F(DeadLetters, OneIsHandedOutAgainWithFreshAttempts) {
  make({"a", "b"});
  EXPECT_EQ(expect_ok({"dlq", "retry", "--group", "g", "--id", "b", "--json"}),
            "{\"matched\":1,\"changed\":1,\"dry_run\":false}\n");
  EXPECT_EQ(list().size(), 1U);
  EXPECT_EQ(consumed(), "b 1;");
}

TEST_F(DeadLetters, ManyNeedAYesWithoutATerminal) {
  make({"a", "bad1", "bad2"});
  for (const Words& words :
       {Words{"dlq", "retry", "--group", "g", "--all"}, Words{"dlq", "drop", "--group", "g", "--all"}}) {
    const Outcome outcome = tidings(words);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("--yes"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(expect_ok({"dlq", "drop", "--group", "g", "--reason", "rejected", "--dry-run", "--json"}),
            "{\"matched\":2,\"changed\":0,\"dry_run\":true}\n");
  EXPECT_EQ(list().size(), 3U);
  expect_ok({"dlq", "drop", "--group", "g", "--reason", "rejected", "--yes"});
  EXPECT_EQ(list().size(), 1U);
  expect_ok({"dlq", "retry", "--group", "g", "--all", "--yes"});
  EXPECT_EQ(list().size(), 0U);
  EXPECT_EQ(consumed(), "a 1;");
}

TEST_F(DeadLetters, ACorrectedCopyTakesTheOriginalsPlace) {
  make({"a", "b"});
  std::string id = expect_ok({"dlq", "edit", "--group", "g", "--id", "a", "--data", R"({"name":"new"})"});
  id.pop_back();
  EXPECT_TRUE(id.starts_with("evt_"));
  EXPECT_EQ(list().size(), 1U);
  const std::string out = expect_ok({"consume", "events:user", "--group", "g", "--until-idle", "10ms"});
  EXPECT_EQ(value(out, "id"), id);
  EXPECT_EQ(value(value(out, "metadata"), "causationId"), "a");
  EXPECT_EQ(value(value(out, "data"), "name"), "new");
  EXPECT_EQ(tidings({"dlq", "edit", "--group", "g", "--id", "b", "--data", "{"}).code, 2);
  EXPECT_EQ(list().size(), 1U);
}

TEST_F(DeadLetters, BytesThatAreNoEventAreShownAsTheyAre) {
  const std::string bytes = "no {json} \x01\xff";
  {
    const auto transport = open_transport(url_);
    const transport::Outgoing item{.stream = "events:user", .id = "x", .type = "user.created", .envelope = bytes};
    transport::Result result;
    transport->publish({&item, 1}, Level::process, Millis(10'000), {&result, 1});
    ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  const Outcome outcome = tidings({"consume", "events:user", "--group", "g", "--max", "1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto rows = list();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(value(rows[0], "reason"), "undecodable");
  EXPECT_EQ(value(rows[0], "id"), "null");
  EXPECT_EQ(value(rows[0], "event"), "null");
  EXPECT_EQ(value(rows[0], "bytes"), "bm8ge2pzb259IAH/");
  EXPECT_EQ(tidings({"dlq", "edit", "--group", "g", "--id", value(rows[0], "key"), "--data", "{}"}).code, 1);
  expect_ok({"dlq", "drop", "--group", "g", "--id", value(rows[0], "key")});
  EXPECT_EQ(list().size(), 0U);
}

TEST_F(DeadLetters, DataThatNoHandlerCouldDecodeAreThereByteForByteToo) {
  expect_ok({"publish", "user.created", "--id", "a", "--data", R"({"email":42})"});
  {
    const auto transport = open_transport(url_);
    const auto subscription = transport->subscribe({.service = "g", .streams = {"events:user"}, .types = {"*"}});
    const transport::Batch batch = subscription->fetch(Millis(5'000), {});
    ASSERT_EQ(batch.deliveries.size(), 1U);
    const transport::Settlement dead{.kind = transport::Settlement::Kind::dead,
                                     .token = batch.deliveries[0].token,
                                     .reason = "undecodable",
                                     .error = "/data/email: expected string, got number"};
    transport::Result result;
    subscription->settle({&dead, 1}, {&result, 1});
    ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  const auto rows = list();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(value(rows[0], "id"), "a");
  EXPECT_NE(value(rows[0], "event"), "null");
  EXPECT_TRUE(value(rows[0], "bytes").starts_with("eyJ")) << rows[0];
}

TEST_F(DeadLetters, AGroupOfCommandsIsChangedByItsOwnerOnly) {
  expect_ok({"send", "send.email", "--id", "c"});
  expect_ok({"consume", "commands:send.email", "--group", "mailer", "--max", "1", "--exec", "exit 65"});
  EXPECT_EQ(tidings({"group", "delete", "commands:send.email", "--group", "somebody", "--force"}).code, 1);
  EXPECT_EQ(tidings({"group", "pause", "commands:send.email", "--group", "somebody"}).code, 1);
  expect_ok({"group", "pause", "commands:send.email", "--group", "mailer"});
  expect_ok({"group", "resume", "commands:send.email", "--group", "commands"});
}

TEST_F(DeadLetters, AServicesCommandsAreFoundByItsName) {
  expect_ok({"send", "send.email", "--id", "c"});
  expect_ok({"consume", "commands:send.email", "--group", "mailer", "--max", "1", "--exec", "exit 65"});
  const auto rows = elements(expect_ok({"dlq", "ls", "--group", "mailer", "--json"}));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(value(rows[0], "group"), "commands");
}

TEST_F(DeadLetters, LookingTakesTheOptionsOfChanging) {
  for (const char* id : {"a", "b"}) expect_ok({"publish", "user.created", "--id", id});
  expect_ok({"consume", "events:user", "--group", "g", "--max", "2", "--exec", "exit 65"});
  for (const char* verb : {"ls", "export"}) {
    EXPECT_EQ(expect_ok({"dlq", verb, "--group", "g", "--all", "--yes", "--dry-run"}),
              expect_ok({"dlq", verb, "--group", "g"}));
  }
  EXPECT_EQ(elements(expect_ok({"dlq", "show", "--group", "g", "--reason", "rejected", "--json"})).size(), 2U);
  EXPECT_EQ(list().size(), 2U);
}

}  // namespace tidings::cli_test
