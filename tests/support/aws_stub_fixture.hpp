// What the tests of the stand-in for AWS share.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "aws_client.hpp"
#include "aws_stub.hpp"

namespace tidings::support {

/// A stand-in on a clock that stands, and a client that signs by the same clock.
class AwsStubTest : public ::testing::Test {
 protected:
  using Json = aws::Json;
  static constexpr const char* id = "AKIDEXAMPLE";
  static constexpr const char* secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

  AwsStubTest() { stub.add_key({.id = id, .secret = secret}); }

  [[nodiscard]] Wall now() const { return Wall(Millis(clock.load())); }
  void advance(Millis by) {
    clock += by.count();
    stub.time_moved();
  }
  [[nodiscard]] AwsClient client_with(AwsKey key) {
    return {stub.url(), stub.region(), std::move(key), [this] { return now(); }};
  }
  AwsReply sqs(const std::string& operation, const Json& body) { return client.sqs(operation, body); }

  [[nodiscard]] Json on(const std::string& queue, Json::Object more = {}) const {
    Json out = Json::object({{"QueueUrl", stub.queue_url(queue)}});
    for (auto& [name, value] : more) out.set(name, std::move(value));
    return out;
  }
  void make_queue(const std::string& name, Json::Object attributes = {}) {
    const AwsReply reply =
        sqs("CreateQueue", Json::object({{"QueueName", name}, {"Attributes", Json::object(std::move(attributes))}}));
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  void send(const std::string& queue, const std::string& body) {
    const AwsReply reply = sqs("SendMessage", on(queue, {{"MessageBody", body}}));
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  struct Got {
    std::string id{}, body{}, handle{};
  };
  /// Up to ten messages at once.
  std::vector<Got> receive(const std::string& queue, Json::Object more = {}) {
    more.emplace_back("MaxNumberOfMessages", 10);
    const AwsReply reply = sqs("ReceiveMessage", on(queue, std::move(more)));
    EXPECT_EQ(reply.status, 200) << reply.body;
    std::vector<Got> out;
    const Json json = reply.json();
    if (const Json* list = json.find("Messages")) {
      for (const Json& each : *list->elements())
        out.push_back({text(each, "MessageId"), text(each, "Body"), text(each, "ReceiptHandle")});
    }
    return out;
  }
  static std::vector<std::string> bodies(const std::vector<Got>& got) {
    std::vector<std::string> out;
    for (const Got& each : got) out.push_back(each.body);
    return out;
  }
  static std::string text(const Json& json, const std::string& name) {
    const Json* member = json.find(name);
    return member == nullptr || member->string() == nullptr ? std::string() : *member->string();
  }
  /// What JSON says of an error, behind its namespace, and the header beside it.
  static std::string error(const AwsReply& reply) {
    const std::string type = text(reply.json(), "__type");
    return std::to_string(reply.status) + " " + type.substr(type.find('#') + 1) + " " +
           reply.header("x-amzn-query-error");
  }
  static std::string xml_error(const AwsReply& reply) {
    return std::to_string(reply.status) + " " + reply.element("Code");
  }

  /// Of the machine's clock, to the second, as signatures have it.
  std::atomic<std::int64_t> clock{
      std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()).time_since_epoch().count() * 1000};
  AwsStub stub{{.now = [this] { return now(); }}};
  AwsClient client{client_with({.id = id, .secret = secret})};
};

}  // namespace tidings::support
