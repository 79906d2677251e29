// A strict stand-in for AWS on a clock that stands, and how tests of one subscription publish to it, fetch and settle.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <tidings/bus.hpp>
#include <tidings/testing.hpp>
#include <tidings/transport.hpp>

#include "support/aws_client.hpp"
#include "support/aws_stub.hpp"
#include "support/child.hpp"

namespace tidings::transport {

constexpr const char *aws_key = "AKIDRECOVERY", *aws_secret = "a-secret-that-nobody-may-read";

class AwsRecovery : public ::testing::Test {
 protected:
  using Kind = Settlement::Kind;
  using State = support::AwsMessage::State;
  static constexpr const char *stream = "events:user", *queue = "t-g-events-user", *dead_queue = "t-g-events-user-dlq",
                              *topic = "t-events-user", *hide = "ChangeMessageVisibilityBatch";

  AwsRecovery() { stub_.add_key({.id = aws_key, .secret = aws_secret}); }

  [[nodiscard]] std::string url(const std::string& options = "") const {
    return "aws://" + stub_.region() + "?prefix=t&endpoint=" + stub_.url() + options;
  }
  [[nodiscard]] std::shared_ptr<Transport> open(const std::string& options = "") {
    return open_transport(url(options), environment_);
  }
  [[nodiscard]] std::string with_shelf() const { return "&shelf=sqlite:" + folder_.path() + "/shelf.db"; }
  void advance(Millis by) {
    clock_.advance(by);
    stub_.time_moved();
  }
  static std::string envelope(int number, const std::string& type = "user.created", std::size_t padding = 0) {
    return R"({"id":"evt_)" + std::to_string(number) + R"(","type":")" + type + R"(","pad":")" +
           std::string(padding, 'x') + "\"}";
  }
  std::vector<Result> try_publish(Transport& transport, const std::vector<std::string>& envelopes,
                                  const std::string& to = stream, const std::string& key = "",
                                  Millis within = Millis(20'000)) {
    std::vector<Outgoing> items;
    for (const std::string& each : envelopes)
      items.push_back({.stream = to, .id = "evt", .type = "user.created", .key = key, .envelope = each});
    std::vector<Result> results(items.size());
    transport.publish(items, Level::replicated, within, results);
    return results;
  }
  void publish(int count, const std::string& to = stream) {
    std::vector<std::string> envelopes;
    for (int i = 0; i < count; ++i) envelopes.push_back(envelope(published_++));
    for (const Result& each : try_publish(*transport_, envelopes, to))
      ASSERT_EQ(each.code, ErrorCode::ok) << each.message;
  }
  static Interest interest(std::size_t events = 100, const std::vector<std::string>& types = {"*"}) {
    Interest interest;
    interest.service = "g";
    interest.streams = {stream};
    interest.types = types;
    interest.events = events;
    interest.lease = Millis(30'000);
    return interest;
  }
  std::unique_ptr<Subscription> subscribe(std::size_t events = 100, const std::vector<std::string>& types = {"*"}) {
    return transport_->subscribe(interest(events, types));
  }
  // Until `count` have come, or ten seconds of none.
  static std::vector<Delivery> fetch(Subscription& subscription, std::size_t count) {
    std::vector<Delivery> all;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (all.size() < count && std::chrono::steady_clock::now() < deadline) {
      Batch batch = subscription.fetch(Millis(1'000), {});
      for (Delivery& each : batch.deliveries) all.push_back(std::move(each));
    }
    return all;
  }
  static Result settle(Subscription& subscription, const Delivery& delivery, Kind kind = Kind::done,
                       Millis after = Millis(0), std::string_view error = {}) {
    Settlement item;
    item.kind = kind;
    item.token = delivery.token;
    item.after = after;
    item.error = error;
    if (kind == Kind::dead) item.reason = "rejected";
    Result result;
    subscription.settle({&item, 1}, {&result, 1});
    return result;
  }
  [[nodiscard]] std::size_t count(State state, const std::string& of = queue) const {
    return stub_.messages(of, state).size();
  }
  static std::string text_of(const std::map<std::string, support::AwsAttribute>& all, const std::string& name) {
    const auto found = all.find(name);
    return found == all.end() ? "" : found->second.value;
  }
  [[nodiscard]] std::string attribute(const std::string& of, const std::string& name) const {
    const auto all = stub_.queue_attributes(of);
    const auto found = all.find(name);
    return found == all.end() ? "" : found->second;
  }
  [[nodiscard]] std::string subscription_attribute(const std::string& name) const {
    const auto all = stub_.subscriptions(topic);
    if (all.size() != 1) return "there are " + std::to_string(all.size()) + " subscriptions";
    const auto found = all.front().attributes.find(name);
    return found == all.front().attributes.end() ? "" : found->second;
  }
  [[nodiscard]] bool told(const std::string& words) {
    const std::lock_guard lock(mutex_);
    return std::any_of(lines_.begin(), lines_.end(),
                       [&](const std::string& line) { return line.find(words) != std::string::npos; });
  }
  // What anybody may do with the account, beside us.
  support::AwsReply sqs(const std::string& operation, support::aws::Json::Object body, const std::string& of = queue) {
    body.emplace_back("QueueUrl", stub_.queue_url(of));
    return other_.sqs(operation, support::aws::Json::object(std::move(body)));
  }
  void set_queue(const std::string& of, const std::string& name, const std::string& value) {
    using Json = support::aws::Json;
    const auto reply = sqs("SetQueueAttributes", {{"Attributes", Json::object({{name, Json(value)}})}}, of);
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  void set_subscription(const std::string& name, const std::string& value) {
    const auto reply = other_.sns(
        "SetSubscriptionAttributes",
        {{"SubscriptionArn", stub_.subscriptions(topic)[0].arn}, {"AttributeName", name}, {"AttributeValue", value}});
    ASSERT_EQ(reply.status, 200) << reply.body;
  }

  testing::VirtualClock clock_{};
  support::AwsStub stub_{{.now = [this] { return clock_.wall(); }}};
  support::AwsClient other_{
      stub_.url(), stub_.region(), {.id = aws_key, .secret = aws_secret}, [this] { return clock_.wall(); }};
  support::Folder folder_{"aws"};
  std::mutex mutex_{};
  std::vector<std::string> lines_{};
  Environment environment_{.clock = &clock_, .log = [this](LogLevel, std::string_view line) {
                             const std::lock_guard lock(mutex_);
                             lines_.emplace_back(line);
                           }};
  std::shared_ptr<Transport> transport_ = open();
  int published_ = 0;
};

}  // namespace tidings::transport
