// The stand-in for AWS against a client that signs by itself: signatures, HTTP, faults and the sources of credentials.
#include <sys/socket.h>

#include <thread>

#include "aws/text.hpp"
#include "aws_stub_fixture.hpp"
#include "child.hpp"

namespace tidings::support {
namespace {

using namespace std::chrono_literals;

constexpr const char* json_type = "application/x-amz-json-1.0";

class AwsSignature : public AwsStubTest {
 protected:
  std::string list_queues(AwsClient& with) { return error(with.sqs("ListQueues", Json::object())); }
  std::string list_topics(AwsClient& with) { return xml_error(with.sns("ListTopics", {})); }
};

TEST_F(AwsSignature, OfCurlIsRightForEveryService) {
  EXPECT_EQ(sqs("ListQueues", Json::object()).status, 200);
  EXPECT_EQ(client.sns("ListTopics", {}).status, 200);
  const AwsReply who = client.sts("GetCallerIdentity", {});
  EXPECT_EQ(who.element("Account"), stub.account());
  EXPECT_EQ(who.element("Arn"), "arn:aws:iam::123456789012:user/tester");
  EXPECT_EQ(stub.signatures_verified(), 3);
  EXPECT_EQ(stub.connections(), 1);
  EXPECT_EQ(who.header("date"), aws::http_date(now()));
}

TEST_F(AwsSignature, UnknownKeysAreRefused) {
  AwsClient stranger = client_with({.id = "AKIDSTRANGER", .secret = secret});
  EXPECT_EQ(list_queues(stranger), "403 UnrecognizedClientException InvalidClientTokenId;Sender");
  EXPECT_EQ(list_topics(stranger), "403 InvalidClientTokenId");
  stub.remove_key(id);
  EXPECT_EQ(list_topics(client), "403 InvalidClientTokenId");
}

TEST_F(AwsSignature, WrongSecretsRegionsAndServicesAreRefused) {
  AwsClient wrong = client_with({.id = id, .secret = "another"});
  EXPECT_EQ(list_queues(wrong), "403 InvalidSignatureException SignatureDoesNotMatch;Sender");
  EXPECT_EQ(list_topics(wrong), "403 SignatureDoesNotMatch");
  client.region = "us-east-1";
  EXPECT_EQ(list_topics(client), "403 SignatureDoesNotMatch");
  client.region = stub.region();
  const AwsClient::Headers headers{{"Content-Type", json_type}, {"X-Amz-Target", "AmazonSQS.ListQueues"}};
  EXPECT_EQ(error(client.request("sns", "POST", "/", headers, "{}")),
            "403 InvalidSignatureException SignatureDoesNotMatch;Sender");
  EXPECT_EQ(stub.signatures_verified(), 0);
}

TEST_F(AwsSignature, IsMissed) {
  const AwsClient::Headers json{{"Content-Type", json_type}, {"X-Amz-Target", "AmazonSQS.ListQueues"}};
  EXPECT_EQ(error(client.request("", "POST", "/", json, "{}")), "403 AccessDeniedException AccessDenied;Sender");
  const AwsClient::Headers form{{"Content-Type", "application/x-www-form-urlencoded"}};
  EXPECT_EQ(xml_error(client.request("", "POST", "/", form, "Action=ListTopics&Version=2010-03-31")),
            "403 MissingAuthenticationToken");
}

TEST_F(AwsSignature, MayBeAQuarterOfAnHourOffAndNoMore) {
  const Wall start = now();
  AwsClient late(stub.url(), stub.region(), {.id = id, .secret = secret}, [start] { return start; });
  late.to_the_second = true;
  clock += (15min / 1ms);
  EXPECT_EQ(late.sns("ListTopics", {}).status, 200);
  clock += 1000;
  const AwsReply expired = late.sqs("ListQueues", Json::object());
  EXPECT_EQ(error(expired), "403 InvalidSignatureException SignatureDoesNotMatch;Sender");
  EXPECT_EQ(text(expired.json(), "message"), "Signature expired: " + aws::compact_time(start) +
                                                 " is now earlier than " + aws::compact_time(now() - 15min) + " (" +
                                                 aws::compact_time(now()) + " - 15 min.)");
  EXPECT_EQ(list_topics(late), "403 SignatureDoesNotMatch");
  EXPECT_EQ(expired.header("date"), aws::http_date(now()));
  stub.set_skew_code("RequestTimeTooSkewed");
  EXPECT_EQ(list_topics(late), "403 RequestTimeTooSkewed");
  clock -= (31min / 1ms);
  const AwsReply early = late.sns("ListTopics", {});
  EXPECT_TRUE(early.element("Message").starts_with("Signature not yet current: ")) << early.body;
}

TEST_F(AwsSignature, TokensAreDemandedSignedAndExpire) {
  const AwsKey key{.id = "ASIAEXAMPLE", .secret = "s", .token = "tok/en+1==", .expires = now() + 1h};
  stub.add_key(key);
  AwsClient with = client_with(key), without = client_with({.id = key.id, .secret = key.secret});
  EXPECT_EQ(with.sqs("ListQueues", Json::object()).status, 200);
  EXPECT_EQ(list_topics(without), "403 InvalidClientTokenId");
  advance(1h);
  EXPECT_EQ(list_queues(with), "403 ExpiredTokenException ExpiredToken;Sender");
  EXPECT_EQ(list_topics(with), "403 ExpiredToken");
}

// The headers are put together by hand, and the signature is that of a request that was right.
TEST_F(AwsSignature, MustCoverHostAndDateAndEveryByte) {
  const std::string date = aws::compact_time(now()), day = date.substr(0, 8),
                    body = "Action=ListTopics&Version=2010-03-31";
  const std::string host = "127.0.0.1:" + std::to_string(stub.port());
  const auto signed_as = [&](const std::string& list, const std::string& headers, const std::string& sent) {
    const std::string canonical = "POST\n/\n\n" + headers + "\n" + list + "\n" + aws::hex(aws::sha256(body));
    const std::string scope = day + "/" + stub.region() + "/sns/aws4_request";
    std::string chain = std::string("AWS4") + secret;
    for (const std::string& part : {day, stub.region(), std::string("sns"), std::string("aws4_request")})
      chain = aws::hmac_sha256(chain, part);
    const std::string text = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + aws::hex(aws::sha256(canonical));
    return client.request(
        "", "POST", "/",
        {{"Content-Type", "application/x-www-form-urlencoded"},
         {"X-Amz-Date", date},
         {"Authorization", std::string("AWS4-HMAC-SHA256 Credential=") + id + "/" + scope + ", SignedHeaders=" + list +
                               ", Signature=" + aws::hex(aws::hmac_sha256(chain, text))}},
        sent);
  };
  const std::string both = "host:" + host + "\nx-amz-date:" + date + "\n";
  EXPECT_EQ(signed_as("host;x-amz-date", both, body).status, 200);
  EXPECT_EQ(xml_error(signed_as("host;x-amz-date", both, body + "&NextToken=")), "403 SignatureDoesNotMatch");
  EXPECT_EQ(xml_error(signed_as("x-amz-date", "x-amz-date:" + date + "\n", body)), "403 SignatureDoesNotMatch");
  EXPECT_EQ(xml_error(signed_as("host", "host:" + host + "\n", body)), "403 SignatureDoesNotMatch");
  EXPECT_EQ(xml_error(client.request("", "POST", "/",
                                     {{"Content-Type", "application/x-www-form-urlencoded"},
                                      {"X-Amz-Date", date},
                                      {"Authorization", "AWS4-HMAC-SHA256 Credential=x"}},
                                     body)),
            "403 IncompleteSignature");
}

TEST_F(AwsStubTest, OnlyTheProtocolsAreSpoken) {
  const auto post = [&](const std::string& path, const std::string& type, const std::string& target) {
    return error(client.request("sqs", "POST", path, {{"Content-Type", type}, {"X-Amz-Target", target}}, "{}"));
  };
  EXPECT_EQ(post("/", json_type, "AmazonSQS.ListQueues").substr(0, 3), "200");
  EXPECT_EQ(post("/", "application/x-amz-json-1.1", "AmazonSQS.ListQueues"),
            "400 UnknownOperationException InvalidAction;Sender");
  EXPECT_EQ(post("/", json_type, "AmazonSQS.Nothing"), "400 UnknownOperationException InvalidAction;Sender");
  EXPECT_EQ(post("/", json_type, "AmazonSNS.ListQueues"), "400 UnknownOperationException InvalidAction;Sender");
  EXPECT_EQ(post("/123456789012/orders", json_type, "AmazonSQS.ListQueues").substr(0, 3), "404");
  EXPECT_EQ(error(sqs("ListQueues", Json::object({{"QueueNamePrefix", 5}}))),
            "400 SerializationException MalformedInput;Sender");
  EXPECT_EQ(xml_error(client.sns("Nothing", {})), "400 InvalidAction");
  EXPECT_EQ(client.request("", "GET", "/anything", {}, "").status, 404);
}

TEST_F(AwsStubTest, HttpIsReadInChunksAndAfterContinue) {
  stub.set_sources({});
  const Descriptor socket = connect_to(stub.port());
  const auto say = [&](const std::string& text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  };
  std::string heard;
  const auto hear = [&](const std::string& text) {
    while (heard.find(text) == std::string::npos) {
      if (!await_readable(socket.get(), patience) || !read_some(socket.get(), heard)) return false;
    }
    heard.clear();
    return true;
  };
  say("POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(hear("100 Continue\r\n\r\n"));
  say("3;a=b\r\n{\"g\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n");
  EXPECT_TRUE(hear("must contain the parameter clientId"));
  say("POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]PUT /latest/api/token HTTP/1.1\r\nHost: "
      "x\r\n\r\n");
  EXPECT_TRUE(hear("no JSON object"));
  say("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(hear("Connection: close"));
}

TEST_F(AwsStubTest, ItEndsWhileCallsWait) {
  auto other = std::make_unique<AwsStub>(AwsStubOptions{.now = [this] { return now(); }});
  other->add_key({.id = id, .secret = secret});
  const auto client_of = [&] {
    return AwsClient(other->url(), other->region(), {.id = id, .secret = secret}, [this] { return now(); });
  };
  ASSERT_EQ(client_of().sqs("CreateQueue", Json::object({{"QueueName", "q"}})).status, 200);
  const std::string queue = other->queue_url("q");
  std::vector<int> statuses(2, -1);
  std::thread poll([&, c = std::make_shared<AwsClient>(client_of())] {
    statuses[0] = c->sqs("ReceiveMessage", Json::object({{"QueueUrl", queue}, {"WaitTimeSeconds", 20}})).status;
  });
  other->delay("ListQueues");
  std::thread gate(
      [&, c = std::make_shared<AwsClient>(client_of())] { statuses[1] = c->sqs("ListQueues", Json::object()).status; });
  EXPECT_TRUE(other->await_polls(1));
  EXPECT_TRUE(other->await_held("ListQueues", 1));
  other.reset();
  poll.join();
  gate.join();
  EXPECT_EQ(statuses, (std::vector<int>{0, 0}));
}

// Otherwise a message would be hidden for nobody.
TEST_F(AwsStubTest, WhoHangsUpTakesNothing) {
  make_queue("q");
  const std::string date = aws::compact_time(now()), body = on("q", {{"WaitTimeSeconds", 20}}).text();
  const std::string headers = "host:x\nx-amz-date:" + date + "\n";
  const std::string canonical = "POST\n/\n\n" + headers + "\nhost;x-amz-date\n" + aws::hex(aws::sha256(body));
  const std::string scope = date.substr(0, 8) + "/" + stub.region() + "/sqs/aws4_request";
  std::string chain = std::string("AWS4") + secret;
  for (const std::string& part : aws::split(scope, '/')) chain = aws::hmac_sha256(chain, part);
  const std::string signature = aws::hex(
      aws::hmac_sha256(chain, "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + aws::hex(aws::sha256(canonical))));
  {
    const Descriptor socket = connect_to(stub.port());
    const std::string request = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Date: " + date +
                                "\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n" + "Content-Type: " + json_type +
                                "\r\nContent-Length: " + std::to_string(body.size()) +
                                "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + id + "/" + scope +
                                ",SignedHeaders=host;x-amz-date,Signature=" + signature + "\r\n\r\n" + body;
    ASSERT_EQ(::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    ASSERT_TRUE(stub.await_polls(1));
  }
  send("q", "a");
  EXPECT_EQ(receive("q").size(), 1U);
}

class AwsFaults : public AwsStubTest {
 protected:
  void SetUp() override { make_queue("q"); }
};

TEST_F(AwsFaults, CallsFailAsOftenAsTold) {
  stub.fail_next("SendMessage", 2, {.status = 503, .code = "ServiceUnavailable", .message = "busy", .retry_after = 7});
  const AwsReply failed = sqs("SendMessage", on("q", {{"MessageBody", "a"}}));
  EXPECT_EQ(error(failed), "503 ServiceUnavailable ServiceUnavailable;Receiver");
  EXPECT_EQ(failed.header("retry-after"), "7");
  EXPECT_EQ(sqs("SendMessage", on("q", {{"MessageBody", "b"}})).status, 503);
  send("q", "c");
  EXPECT_EQ(stub.messages("q").size(), 1U);
  stub.fail_next("*", 1, {.status = 400, .code = "Throttling"});
  EXPECT_EQ(xml_error(client.sns("ListTopics", {})), "400 Throttling");
  EXPECT_EQ(stub.requests("SendMessage"), 3);
  EXPECT_TRUE(stub.await_requests("*", 5));
  EXPECT_GT(stub.bytes_in(), 1000);
  EXPECT_GT(stub.bytes_out(), 1000);
  EXPECT_EQ(stub.queues(), (std::vector<std::string>{"q"}));
  EXPECT_TRUE(stub.topics().empty());
  EXPECT_THROW((void)stub.messages("nowhere"), std::out_of_range);
}

TEST_F(AwsFaults, EntriesFailAsTold) {
  const auto batch = [&] {
    Json entries;
    for (const char* each : {"a", "b", "c"})
      entries.add(Json::object({{"Id", each}, {"MessageBody", std::string("body ") + each}}));
    return sqs("SendMessageBatch", on("q", {{"Entries", entries}}));
  };
  stub.fail_entries("SendMessageBatch", {"b"}, {.sender_fault = true, .code = "InvalidMessageContents"}, 1);
  stub.fail_entries(
      "SendMessageBatch", [](const std::string&, const std::string& body) { return body == "body c"; }, {}, 1);
  const AwsReply reply = batch();
  const Json json = reply.json();
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(json.find("Successful")->elements()->size(), 1U);
  const Json::Array& failed = *json.find("Failed")->elements();
  ASSERT_EQ(failed.size(), 2U);
  EXPECT_EQ(text(failed[0], "Code"), "InvalidMessageContents");
  EXPECT_TRUE(*failed[0].find("SenderFault")->boolean());
  EXPECT_FALSE(*failed[1].find("SenderFault")->boolean());
  EXPECT_EQ(batch().json().find("Failed"), nullptr);
  EXPECT_EQ(stub.messages("q").size(), 4U);
}

TEST_F(AwsFaults, ConnectionsCloseBeforeAndAfterTheEffect) {
  // libcurl repeats once, unasked, what died on a connection it had used before.
  AwsClient fresh = client_with({.id = id, .secret = secret});
  stub.drop("SendMessage", 1, AwsDrop::before);
  EXPECT_EQ(fresh.sqs("SendMessage", on("q", {{"MessageBody", "lost"}})).status, 0);
  EXPECT_TRUE(stub.messages("q").empty());
  AwsClient other = client_with({.id = id, .secret = secret});
  stub.drop("SendMessage", 1, AwsDrop::after);
  EXPECT_EQ(other.sqs("SendMessage", on("q", {{"MessageBody", "kept"}})).status, 0);
  ASSERT_EQ(stub.messages("q").size(), 1U);
  EXPECT_EQ(stub.sent("q").front().body, "kept");
}

TEST_F(AwsFaults, AnswersAreHeldUntilReleased) {
  stub.delay("SendMessage");
  std::atomic<int> status{0};
  std::thread sender([&] {
    AwsClient own = client_with({.id = id, .secret = secret});
    status = own.sqs("SendMessage", on("q", {{"MessageBody", "held"}})).status;
  });
  EXPECT_TRUE(stub.await_held("SendMessage", 1));
  EXPECT_EQ(stub.messages("q").size(), 1U);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(sqs("ListQueues", Json::object()).status, 200);
  stub.release("SendMessage");
  sender.join();
  EXPECT_EQ(status, 200);
}

TEST_F(AwsFaults, RightsAreDeniedByActionAndResource) {
  stub.deny("sqs:SendMessage", stub.queue_arn("q"));
  const AwsReply denied =
      sqs("SendMessageBatch", on("q", {{"Entries", Json::array({Json::object({{"Id", "a"}, {"MessageBody", "x"}})})}}));
  EXPECT_EQ(error(denied), "403 AccessDeniedException AccessDenied;Sender");
  EXPECT_EQ(text(denied.json(), "Message"),
            "User: arn:aws:iam::123456789012:user/tester is not authorized to perform: sqs:sendmessage on resource: " +
                stub.queue_arn("q") + " because no identity-based policy allows the sqs:sendmessage action");
  EXPECT_TRUE(receive("q").empty());
  stub.allow("sqs:SendMessage", stub.queue_arn("q"));
  send("q", "x");
  ASSERT_EQ(client.sns("CreateTopic", {{"Name", "t"}}).status, 200);
  stub.deny("sns:*", "arn:aws:sns:*:t");
  const AwsReply topic = client.sns("Publish", {{"TopicArn", stub.topic_arn("t")}, {"Message", "x"}});
  EXPECT_EQ(xml_error(topic), "403 AuthorizationError");
  EXPECT_NE(
      topic.element("Message").find("is not authorized to perform: SNS:Publish on resource: " + stub.topic_arn("t")),
      std::string::npos);
}

TEST_F(AwsFaults, DigestsAreWrongAndMessagesComeTwiceAndOutOfOrder) {
  stub.corrupt_md5(1);
  EXPECT_NE(text(sqs("SendMessage", on("q", {{"MessageBody", "a"}})).json(), "MD5OfMessageBody"), aws::md5("a"));
  EXPECT_EQ(text(sqs("SendMessage", on("q", {{"MessageBody", "b"}})).json(), "MD5OfMessageBody"), aws::md5("b"));
  stub.deliver_twice(1);
  stub.set_out_of_order(true);
  const auto first = receive("q");
  EXPECT_EQ(bodies(first), (std::vector<std::string>{"b", "a"}));
  const auto second = receive("q");
  ASSERT_EQ(bodies(second), (std::vector<std::string>{"b"}));
  EXPECT_EQ(second[0].id, first[0].id);
  EXPECT_NE(second[0].handle, first[0].handle);
  EXPECT_TRUE(receive("q").empty());
}

class AwsCredentials : public AwsStubTest {
 protected:
  void SetUp() override { stub.set_sources({.lifetime = 1h}); }
  void expect_works(const AwsKey& key) {
    AwsClient with = client_with(key);
    EXPECT_EQ(with.sqs("ListQueues", Json::object()).status, 200);
    advance(1h);
    EXPECT_EQ(xml_error(with.sns("ListTopics", {})), "403 ExpiredToken");
  }
  static AwsKey key_of(const Json& json) {
    return {.id = text(json, "AccessKeyId"), .secret = text(json, "SecretAccessKey"), .token = text(json, "Token")};
  }
};

TEST_F(AwsCredentials, OfInstancesNeedAToken) {
  const std::string path = "/latest/meta-data/iam/security-credentials/";
  EXPECT_EQ(client.request("", "GET", path, {}, "").status, 401);
  EXPECT_EQ(client.request("", "PUT", "/latest/api/token", {}, "").status, 400);
  const AwsReply token =
      client.request("", "PUT", "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", "60"}}, "");
  EXPECT_EQ(token.header("x-aws-ec2-metadata-token-ttl-seconds"), "60");
  const AwsClient::Headers with{{"X-aws-ec2-metadata-token", token.body}};
  EXPECT_EQ(client.request("", "GET", path, with, "").body, "tidings-instance");
  EXPECT_EQ(client.request("", "GET", path + "another", with, "").status, 404);
  const Json json = client.request("", "GET", path + "tidings-instance", with, "").json();
  EXPECT_EQ(text(json, "Code"), "Success");
  EXPECT_EQ(text(json, "Expiration"), aws::iso_time(now() + 1h, false));
  EXPECT_EQ(text(client.request("", "GET", path + "tidings-instance", with, "").json(), "AccessKeyId"),
            text(json, "AccessKeyId"));
  clock += 60'000;
  EXPECT_EQ(client.request("", "GET", path, with, "").status, 401);
  expect_works(key_of(json));
}

TEST_F(AwsCredentials, OfContainersNeedTheirToken) {
  stub.fail_next("ContainerCredentials", 1, {.status = 500});
  EXPECT_EQ(client.request("", "GET", "/creds", {{"Authorization", "container-token"}}, "").status, 500);
  EXPECT_EQ(client.request("", "GET", "/creds", {{"Authorization", "another"}}, "").status, 401);
  const AwsReply reply = client.request("", "GET", "/creds", {{"Authorization", "container-token"}}, "");
  ASSERT_EQ(reply.status, 200);
  expect_works(key_of(reply.json()));
}

TEST_F(AwsCredentials, OfWebIdentities) {
  AwsClient::Fields fields{{"RoleArn", "arn:aws:iam::123456789012:role/tidings"}, {"RoleSessionName", "s"}};
  const auto ask = [&](const std::string& token) {
    std::string body =
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=" + aws::percent_encoded(token);
    for (const auto& [name, value] : fields) body += "&" + name + "=" + aws::percent_encoded(value);
    return client.request("", "POST", "/", {{"Content-Type", "application/x-www-form-urlencoded"}}, body);
  };
  EXPECT_EQ(xml_error(ask("wrong")), "400 InvalidIdentityToken");
  const AwsReply reply = ask("web-identity-token");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const AwsKey key{.id = reply.element("AccessKeyId"),
                   .secret = reply.element("SecretAccessKey"),
                   .token = reply.element("SessionToken")};
  EXPECT_EQ(client_with(key).sts("GetCallerIdentity", {}).element("Arn"),
            "arn:aws:sts::123456789012:assumed-role/tidings/s");
  fields[0].second += "x";
  EXPECT_EQ(xml_error(ask("web-identity-token")), "403 AccessDenied");
  expect_works(key);
}

TEST_F(AwsCredentials, OfSingleSignOnAreRefreshed) {
  stub.set_sources({.sso_expires = now() + 1min, .client_expires = now() + 3h, .lifetime = 1h});
  const auto ask = [&](const std::string& token, const std::string& role) {
    return client.request("", "GET", "/federation/credentials?role_name=" + role + "&account_id=123456789012",
                          {{"x-amz-sso_bearer_token", token}}, "");
  };
  EXPECT_EQ(ask("sso-token", "tidings-developer").status, 200);
  EXPECT_EQ(ask("sso-token", "another").status, 403);
  advance(1min);
  EXPECT_EQ(ask("sso-token", "tidings-developer").status, 401);
  const auto refresh = [&](const std::string& token) {
    return client.request("", "POST", "/token", {{"Content-Type", "application/json"}},
                          Json::object({{"clientId", "client"},
                                        {"clientSecret", "client-secret"},
                                        {"grantType", "refresh_token"},
                                        {"refreshToken", token}})
                              .text());
  };
  EXPECT_EQ(text(refresh("wrong").json(), "error"), "invalid_grant");
  const AwsReply fresh = refresh("refresh-token");
  ASSERT_EQ(fresh.status, 200) << fresh.body;
  const AwsReply reply = ask(text(fresh.json(), "accessToken"), "tidings-developer");
  ASSERT_EQ(reply.status, 200);
  const Json json = reply.json();
  const Json& given = *json.find("roleCredentials");
  EXPECT_EQ(*given.find("expiration")->integer(), (now() + 1h).time_since_epoch().count());
  expect_works({.id = text(given, "accessKeyId"),
                .secret = text(given, "secretAccessKey"),
                .token = text(given, "sessionToken")});
  advance(3h);
  EXPECT_EQ(text(refresh("refresh-token").json(), "error"), "invalid_client");
}

}  // namespace
}  // namespace tidings::support
