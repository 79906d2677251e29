// Two bridges that lead in a circle, and a target that refuses everything: what must end by itself.
#include <signal.h>

#include "moving.hpp"

namespace tidings::cli_test {

using Circle = MovingTest;

/// Whether the group has settled all there is.
constexpr const char* rest = "0 0";

TEST_F(Circle, WhatABridgeBroughtAwayIsNotBroughtAgain) {
  const support::RedisServer server;
  const std::string from = file_url("a.db"), to = server.url();
  const auto at_rest = [&](const std::string& url, const std::string& group) {
    return group_value(url, group, "lag") + " " + group_value(url, group, "pending") == rest;
  };
  fill(from, 0, 1'000);
  const auto out = start_bridge(from, to), back = start_bridge(to, from, {"--group", "back"});
  await_length(from, 2'000);
  fill(from, 1'000, 10);
  fill(to, 1'010, 10);
  out->await_error("has come back, and is not published again");
  await_length(from, 2'000 + 10 + 10 + 10);
  // Each event was brought over once, and what was brought back was not brought over again.
  await([&] { return at_rest(from, "bridge") && at_rest(to, "back"); }, "both bridges rest");
  EXPECT_EQ(length(from), 2'030U);
  EXPECT_EQ(length(to), 1'020U + 10U) << "what began on the target came back there once";
  for (const auto& each : {&out, &back}) {
    (*each)->signal(SIGTERM);
    EXPECT_EQ((*each)->wait().code, 0);
  }
  EXPECT_EQ(account_of(envelopes(from), 1'020).lost + account_of(envelopes(to), 1'020).lost, 0);
}

TEST_F(Circle, WhatAnOperatorHandsOutAgainIsPublishedAgain) {
  const std::string from = file_url("a.db"), to = file_url("b.db");
  fill(from, 0, 10);
  const auto running = start_bridge(from, to);
  await_length(to, 10);
  expect_ok({"replay", "events:user", "--group", "bridge", "-u", from});
  await_length(to, 20);
  await([&] { return group_value(from, "bridge", "handled") == "20"; }, "all is settled");
  running->signal(SIGTERM);
  EXPECT_EQ(running->wait().code, 0);
}

TEST_F(Circle, ATargetThatRefusesEverythingStopsIt) {
  support::AwsStub aws;
  const std::string from = file_url("a.db"), to = aws_url(aws);
  expect_ok({"group", "create", "events:user", "--group", "search", "-u", to});
  fill(from, 0, 1'000);
  std::atomic<bool> refuses{true};
  aws.fail_entries(
      "PublishBatch", [&](const std::string&, const std::string&) { return refuses.load(); },
      {.sender_fault = true, .code = "InvalidParameter", .message = "no such thing"}, 1'000'000);
  for (int start = 0; start < 3; ++start) {
    const Outcome outcome = start_bridge(from, to)->wait();
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_NE(outcome.err.find("events were refused one after the other"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(group_value(from, "bridge", "dead_letters") + group_value(from, "bridge", "handled"), "00");
  refuses = false;
  EXPECT_EQ(value(move_all(from, to), "moved"), "1000");
  std::vector<std::string> bodies;
  for (const support::AwsMessage& message : aws.sent("t-search-events-user")) bodies.push_back(message.body);
  const Account account = account_of(bodies, 1'000);
  EXPECT_EQ(account.lost + account.foreign + account.disordered + account.repeated, 0);
}

}  // namespace tidings::cli_test
