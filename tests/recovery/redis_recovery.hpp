// A server, and how tests of one subscription publish to it, fetch and settle.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <tidings/bus.hpp>
#include <tidings/transport.hpp>

#include "support/redis_server.hpp"

namespace tidings::transport {

constexpr const char* stream = "events:user";

inline std::string envelope(int number, std::size_t padding = 0) {
  return R"({"id":"evt_)" + std::to_string(number) + R"(","type":"user.created","pad":")" + std::string(padding, 'x') +
         "\"}";
}

class RedisRecovery : public ::testing::Test {
 protected:
  void publish(int count, std::size_t padding = 0) {
    std::vector<std::string> envelopes;
    for (int i = 0; i < count; ++i) envelopes.push_back(envelope(published_++, padding));
    std::vector<Outgoing> items;
    for (const std::string& each : envelopes) {
      Outgoing& item = items.emplace_back();
      item.stream = stream;
      item.id = "evt";
      item.type = "user.created";
      item.envelope = each;
    }
    std::vector<Result> results(items.size());
    transport_->publish(items, Level::process, Millis(20'000), results);
    for (const Result& result : results) ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
  }
  std::unique_ptr<Subscription> subscribe(const std::string& instance, Millis lease = Millis(30'000),
                                          std::size_t events = 1000, std::size_t bytes = std::size_t{8} << 20U,
                                          const std::vector<std::string>& more = {}) {
    Interest interest;
    interest.service = "g";
    interest.instance = instance;
    interest.streams = {stream};
    interest.streams.insert(interest.streams.end(), more.begin(), more.end());
    interest.types = {"*"};
    interest.lease = lease;
    interest.events = events;
    interest.bytes = bytes;
    return transport_->subscribe(interest);
  }
  // Until `count` have come, or ten seconds of none; errors that pass are waited out.
  static std::vector<Delivery> fetch(Subscription& subscription, std::size_t count) {
    std::vector<Delivery> all;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (all.size() < count && std::chrono::steady_clock::now() < deadline) {
      try {
        Batch batch = subscription.fetch(Millis(500), {});
        for (Delivery& each : batch.deliveries) all.push_back(std::move(each));
      } catch (const Error& error) {
        EXPECT_TRUE(error.retryable()) << error.what();
      }
    }
    return all;
  }
  static std::vector<Result> settle(Subscription& subscription, std::span<const Delivery> deliveries,
                                    Settlement::Kind kind = Settlement::Kind::done,
                                    std::span<const Outgoing> outputs = {}) {
    std::vector<Settlement> items;
    for (const Delivery& each : deliveries) {
      Settlement& item = items.emplace_back();
      item.kind = kind;
      item.token = each.token;
      item.outputs = outputs;
    }
    std::vector<Result> results(items.size());
    subscription.settle(items, results);
    return results;
  }
  std::string pending() {
    std::string words = server_.cli("XPENDING", stream, "g");
    return words.substr(0, words.find('\n'));
  }

  // How often since the last CONFIG RESETSTAT.
  int calls(const std::string& command) {
    const std::string stats = server_.cli("INFO", "commandstats"), name = "cmdstat_" + command + ":calls=";
    const std::size_t at = stats.find(name);
    return at == std::string::npos ? 0 : std::stoi(stats.substr(at + name.size()));
  }

  support::RedisServer server_{};
  std::shared_ptr<Transport> transport_ = open_transport(server_.url());
  int published_ = 0;
};

}  // namespace tidings::transport
