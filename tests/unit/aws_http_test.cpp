// HTTP over shared connections: kept alive, driven by whoever waits, with failures that say what was sent.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "aws_responder.hpp"
#include "transport/aws/http.hpp"

namespace tidings::transport::aws {
namespace {

using namespace std::chrono_literals;

WaitClock::time_point in(std::chrono::milliseconds wait) { return WaitClock::now() + wait; }

Exchange post(const Responder& server, std::string_view body) {
  Exchange exchange;
  exchange.url = server.url() + "/";
  exchange.body = body;
  exchange.headers = {"Content-Type: text/plain"};
  exchange.deadline = in(20s);
  return exchange;
}

Answer echo(const Asked& asked) { return {.body = asked.method + ' ' + asked.target + ' ' + asked.body}; }

TEST(AwsHttp, PostsAndKeepsTheConnection) {
  Responder server(echo);
  Http http;
  for (int i = 0; i < 20; ++i) {
    Exchange exchange = post(server, "a body");
    http.run({&exchange, 1});
    ASSERT_TRUE(exchange.answered()) << exchange.why;
    EXPECT_EQ(exchange.status, 200);
    EXPECT_EQ(exchange.reply, "POST / a body");
    EXPECT_EQ(exchange.sends, 1U);
  }
  EXPECT_EQ(server.connections(), 1);
  const Asked asked = server.asked().front();
  EXPECT_EQ(asked.headers.at("content-type"), "text/plain");
  EXPECT_FALSE(asked.headers.contains("expect"));
  EXPECT_FALSE(asked.headers.contains("accept"));
}

TEST(AwsHttp, ALargeBodyIsSentWithoutAsking) {
  Responder server([](const Asked& asked) { return Answer{.body = std::to_string(asked.body.size())}; });
  Http http;
  const std::string body(3U << 20, 'x');
  Exchange exchange = post(server, body);
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.reply, std::to_string(body.size()));
  EXPECT_FALSE(server.asked().front().headers.contains("expect"));
}

TEST(AwsHttp, MethodsFollowEachOtherOnOneHandle) {
  Responder server(echo);
  Http http;
  for (const std::string_view method : {"POST", "GET", "PUT", "POST", "PUT", "GET"}) {
    Exchange exchange = post(server, method == "POST" ? "b" : "");
    exchange.method = method;
    http.run({&exchange, 1});
    EXPECT_EQ(exchange.reply, std::string(method) + " / " + (method == "POST" ? "b" : ""));
  }
}

TEST(AwsHttp, HeadersThatMatterAreReadOfRefusals) {
  Responder server([](const Asked&) {
    return Answer{.status = 503,
                  .body = "no",
                  .headers = {"Date: Thu, 25 Jan 2024 10:30:00 GMT", "Retry-After: 7", "x-amzn-RequestId: r-1",
                              "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender"}};
  });
  Http http;
  Exchange exchange = post(server, "");
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.status, 503);
  EXPECT_EQ(exchange.reply, "no");
  EXPECT_EQ(http_time(exchange.date), 1706178600);
  EXPECT_EQ(exchange.retry_after, "7");
  EXPECT_EQ(exchange.request_id, "r-1");
  EXPECT_EQ(exchange.query_error, "AWS.SimpleQueueService.NonExistentQueue;Sender");
}

TEST(AwsHttp, ManyAtOnceRunBesideEachOther) {
  std::latch all_there(8);
  Responder server([&](const Asked& asked) {
    all_there.arrive_and_wait();  // Answered only when all have come.
    return echo(asked);
  });
  Http http;
  std::vector<Exchange> exchanges(8, post(server, "x"));
  http.run(exchanges);
  for (const Exchange& each : exchanges) EXPECT_EQ(each.reply, "POST / x") << each.why;
  EXPECT_EQ(server.connections(), 8);
}

TEST(AwsHttp, MoreThanTheConnectionsWaitTheirTurn) {
  Responder server(echo);
  Http http({.connections = 3});
  std::vector<Exchange> exchanges(40, post(server, "x"));
  http.run(exchanges);
  for (const Exchange& each : exchanges) EXPECT_TRUE(each.answered()) << each.why;
  EXPECT_LE(server.connections(), 3);
}

TEST(AwsHttp, ThreadsShareConnectionsAndHandOnTheLead) {
  Responder server(echo);
  Http http;
  std::atomic<int> answered{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          const std::string body = std::to_string(t) + '.' + std::to_string(i);
          Exchange exchange = post(server, body);
          http.run({&exchange, 1});
          if (exchange.reply == "POST / " + body) ++answered;
        }
      });
    }
  }
  EXPECT_EQ(answered, 1600);
  EXPECT_LE(server.connections(), 8);
}

TEST(AwsHttp, OneThatWaitsLongDoesNotHoldUpAnother) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  Responder server([&](const Asked& asked) {
    if (asked.body == "long") released.wait();
    return echo(asked);
  });
  Http http;
  std::jthread leader([&] {
    Exchange exchange = post(server, "long");
    http.run({&exchange, 1});
    EXPECT_EQ(exchange.reply, "POST / long");
  });
  for (int i = 0; i < 50; ++i) {
    Exchange exchange = post(server, "short");
    http.run({&exchange, 1});
    EXPECT_EQ(exchange.reply, "POST / short");
  }
  release.set_value();
}

TEST(AwsHttp, WhoeverIsNotThereWasSentNothing) {
  std::string url;
  {
    const Responder gone(echo);
    url = gone.url();
  }
  Http http;
  Exchange exchange;
  exchange.url = url;
  exchange.deadline = in(20s);
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.failure, HttpFailure::not_connected);
  EXPECT_EQ(exchange.sends, 0U);
  EXPECT_FALSE(exchange.why.empty());
}

TEST(AwsHttp, AConnectionThatEndsLeavesThePostUnanswered) {
  Responder server([](const Asked&) { return Answer{.hang_up = true}; });
  Http http;
  Exchange exchange = post(server, "x");
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.failure, HttpFailure::unanswered);
  EXPECT_GE(exchange.sends, 1U);
}

TEST(AwsHttp, ARepetitionOfLibcurlsOwnIsCounted) {
  // The second post of a kept connection is cut off, and libcurl sends it again over a new one.
  Responder server([](const Asked& asked) {
    if (asked.body == "second" && asked.connection == 1) return Answer{.hang_up = true};
    return echo(asked);
  });
  Http http;
  Exchange first = post(server, "first"), second = post(server, "second");
  http.run({&first, 1});
  http.run({&second, 1});
  ASSERT_TRUE(second.answered()) << second.why;
  EXPECT_EQ(second.sends, 2U);
}

TEST(AwsHttp, TheDeadlineEndsAnExchange) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  Responder server([&](const Asked& asked) {
    released.wait();
    return echo(asked);
  });
  Http http;
  Exchange exchange = post(server, "x"), late = post(server, "y");
  exchange.deadline = in(50ms);
  late.deadline = in(-1ms);
  Http::Flight flight(http);
  flight.start(exchange);
  flight.start(late);
  EXPECT_EQ(flight.next(in(10s)), &late);
  EXPECT_EQ(late.failure, HttpFailure::timeout);
  EXPECT_EQ(late.sends, 0U);
  EXPECT_EQ(flight.next(in(10s)), &exchange);
  EXPECT_EQ(exchange.failure, HttpFailure::timeout);
  EXPECT_EQ(exchange.sends, 1U);
  EXPECT_EQ(flight.next(in(10s)), nullptr);
  release.set_value();
}

TEST(AwsHttp, AStopEndsWhatIsUnderWayAtOnce) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::latch there(2);
  Responder server([&](const Asked& asked) {
    there.count_down();
    released.wait();
    return echo(asked);
  });
  Http http;
  std::stop_source stop;
  // Both the one that leads and the one that follows are stopped.
  std::vector<Exchange> exchanges(2, post(server, "x"));
  {
    std::vector<std::jthread> threads;
    for (Exchange& each : exchanges) threads.emplace_back([&] { http.run({&each, 1}, stop.get_token()); });
    there.wait();
    stop.request_stop();
  }
  for (const Exchange& each : exchanges) {
    EXPECT_EQ(each.failure, HttpFailure::stopped);
    EXPECT_EQ(each.sends, 1U);
  }
  Exchange after = post(server, "x");
  http.run({&after, 1}, stop.get_token());
  EXPECT_EQ(after.failure, HttpFailure::stopped);
  EXPECT_EQ(after.sends, 0U);
  release.set_value();
}

TEST(AwsHttp, AFlightGivesUpWhatItLeaves) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  Responder server([&](const Asked& asked) {
    if (asked.body == "long") released.wait();
    return echo(asked);
  });
  Http http;
  Exchange left = post(server, "long"), done = post(server, "short");
  {
    Http::Flight flight(http);
    flight.start(left);
    flight.start(done);
    EXPECT_EQ(flight.next(in(10s)), &done);
    EXPECT_EQ(flight.next(in(1ms)), nullptr);
    EXPECT_EQ(flight.under_way(), 1U);
  }
  EXPECT_EQ(left.failure, HttpFailure::stopped);
  release.set_value();
}

TEST(AwsHttp, ANudgeThatNobodyWaitedForLeavesNothingUnderWay) {
  std::promise<void> release, both;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> arrived = 0;
  Responder server([&](const Asked& asked) {
    if (++arrived == 2) both.set_value();
    released.wait();
    return echo(asked);
  });
  Http http;
  Exchange others = post(server, "others"), left = post(server, "left");
  std::jthread leader([&] { http.run({&others, 1}); });
  {
    Http::Flight flight(http);
    flight.start(left);
    both.get_future().wait();  // The other one leads, since nobody waits here.
    flight.nudge();
  }
  EXPECT_EQ(left.failure, HttpFailure::stopped);
  release.set_value();
}

TEST(AwsHttp, RedirectsAreNotFollowed) {
  Responder server([](const Asked&) { return Answer{.status = 301, .headers = {"Location: /elsewhere"}}; });
  Http http;
  Exchange exchange = post(server, "x");
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.status, 301);
  EXPECT_EQ(server.asked().size(), 1U);
}

TEST(AwsHttp, AReplyWithoutEndIsNotGathered) {
  Responder server([](const Asked&) { return Answer{.body = std::string(100'000, 'x')}; });
  Http http({.largest_reply = 50'000});
  Exchange exchange = post(server, "x");
  http.run({&exchange, 1});
  EXPECT_EQ(exchange.failure, HttpFailure::unanswered);
  EXPECT_LE(exchange.reply.size(), 50'000U);
}

}  // namespace
}  // namespace tidings::transport::aws
