// archive: a log beside an engine that keeps none, to read and to replay from.
#include "moving.hpp"

namespace tidings::cli_test {

using Archive = MovingTest;

TEST_F(Archive, KeepsWhatAQueueForgets) {
  support::AwsStub aws;
  const std::string url = aws_url(aws);
  const std::string archived = url + "&archive=sqlite:" + directory_ + "/archive.db";
  for (const char* group : {"search", "archive", "other"}) {
    expect_ok({"group", "create", "events:user", "--group", group, "-u", url});
  }
  std::string published;
  for (const char* id : {"a", "b", "c"}) {
    publish("user.created", "{}", {"--id", id, "--correlation-id", "req", "-u", url});
  }
  const std::string consumed = expect_ok({"consume", "events:user", "--group", "search", "--max", "3", "-u", url});
  const std::string kept = expect_ok(
      {"archive", "events:user", "--to", "sqlite:" + directory_ + "/archive.db", "-u", url, "--max", "3", "--json"});
  EXPECT_EQ(value(kept, "moved"), "3");
  const std::string all = expect_ok({"tail", "events:user", "--from", "beginning", "-u", archived});
  std::string ids;
  for (const std::string& line : lines(all)) ids += value(line, "id");
  EXPECT_EQ(ids, "abc");
  EXPECT_EQ(value(value(expect_ok({"get", "b", "--json", "-u", archived}), "event"), "id"), "b");
  EXPECT_EQ(elements(value(expect_ok({"trace", "req", "--json", "-u", archived}), "events")).size(), 3U);
  EXPECT_NE(expect_ok({"replay", "events:user", "--group", "search", "-u", archived}).find("replayed 3"),
            std::string::npos);
  const auto again = lines(expect_ok({"consume", "events:user", "--group", "search", "--max", "3", "-u", url}));
  EXPECT_EQ(again.size(), 3U);
  EXPECT_EQ(aws.sent("t-other-events-user").size(), 3U) << "replayed to one group only";
}

TEST_F(Archive, WithoutOneAQueueIsNotReplayed) {
  support::AwsStub aws;
  const std::string url = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", url});
  const Outcome outcome = tidings({"replay", "events:user", "--group", "search", "-u", url});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("archive=URL"), std::string::npos) << outcome.err;
}

TEST_F(Archive, IsAGroupThatGoesOnWhereItWas) {
  const std::string from = file_url("a.db"), to = file_url("kept.db");
  fill(from, 0, 1'000);
  for (const char* max : {"300", "700"}) expect_ok({"archive", "events:user", "-u", from, "--to", to, "--max", max});
  EXPECT_EQ(envelopes(to), envelopes(from));
  EXPECT_EQ(group_value(from, "archive", "handled"), "1000");
}

}  // namespace tidings::cli_test
