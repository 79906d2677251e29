// Signatures: the vectors that AWS publishes, and what libcurl signs.
#include <curl/curl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "aws_responder.hpp"
#include "aws_signature_vectors.hpp"
#include "transport/aws/signature.hpp"

namespace tidings::transport::aws {
namespace {

constexpr const char* secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const Keys example{"AKIDEXAMPLE", secret, ""};

/// The headers of a vector: a line that begins with space goes on with the one before.
std::vector<std::pair<std::string, std::string>> headers_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.front() == ' ') {
      out.back().second.append("\n").append(line);
    } else {
      const std::size_t colon = line.find(':');
      out.emplace_back(line.substr(0, colon), line.substr(colon + 1));
    }
  }
  return out;
}

std::string authorization(std::string_view scope, std::string_view headers, std::string_view signature) {
  return std::string("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") + std::string(scope) +
         "/aws4_request, SignedHeaders=" + std::string(headers) + ", Signature=" + std::string(signature);
}

TEST(AwsSignature, AgreesWithEveryPublishedVector) {
  using namespace std::chrono;
  const sys_seconds time = sys_days(2015y / 8 / 30) + 12h + 36min;
  ASSERT_EQ(std::size(signature_vectors), 38U);
  for (const SignatureVector& vector : signature_vectors) {
    const auto headers = headers_of(vector.headers);
    const std::vector<HeaderView> views(headers.begin(), headers.end());
    Keys keys = example;
    keys.token = vector.token;
    const std::size_t query = std::min(vector.target.find('?'), vector.target.size());
    Signer signer({.normalise_path = vector.normalise, .name_body_hash = vector.body_hash});
    const Signed with = signer.sign({.method = vector.method,
                                     .path = vector.target.substr(0, query),
                                     .query = vector.target.substr(std::min(query + 1, vector.target.size())),
                                     .headers = views,
                                     .body = vector.body},
                                    keys, {"us-east-1", "service"}, time);
    EXPECT_EQ(with.authorization, authorization("20150830/us-east-1/service", vector.signed_headers, vector.signature))
        << vector.name;
    EXPECT_EQ(with.date, "20150830T123600Z");
    EXPECT_EQ(with.token, vector.token);
  }
}

TEST(AwsSignature, KeepsTheKeyOfADayAndARegionApartFromOthers) {
  using namespace std::chrono;
  Signer kept;
  const sys_seconds day = sys_days(2024y / 1 / 25);
  const auto sign = [&](Signer& by, const Keys& keys, const char* region, sys_seconds time) {
    return by.sign({}, keys, {region, "sqs"}, time).authorization;
  };
  const Keys other{"AKIDEXAMPLE", "another", ""};
  const std::vector<std::tuple<Keys, const char*, sys_seconds>> uses{
      {example, "eu-west-1", day}, {example, "eu-west-1", day + 24h}, {other, "eu-west-1", day + 24h},
      {other, "eu-west-2", day},   {example, "eu-west-1", day},       {example, "eu-west-1", day + 1h}};
  for (const auto& [keys, region, time] : uses) {
    Signer fresh;
    EXPECT_EQ(sign(kept, keys, region, time), sign(fresh, keys, region, time));
  }
}

TEST(AwsSignature, S3sPathsAreSignedAsTheyWereSent) {
  EXPECT_EQ(canonical_path("/a//b/../c%20d", {.normalise_path = false, .encode_path = false}), "/a//b/../c%20d");
  EXPECT_EQ(canonical_path("/a//b/../c%20d", {}), "/a/c%2520d");
  EXPECT_EQ(canonical_path("", {}), "/");
  EXPECT_EQ(canonical_path("/../..", {}), "/");
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
TEST(AwsSignature, AgreesWithThePublishedExamplesOfS3) {
  using namespace std::chrono;
  struct Example {
    const char *method, *path, *query;
    std::vector<HeaderView> headers;
    const char *body, *names, *signature;
  };
  const HeaderView host{"Host", "examplebucket.s3.amazonaws.com"};
  const Example examples[] = {
      {"GET",
       "/test.txt",
       "",
       {host, {"Range", "bytes=0-9"}},
       "",
       "host;range;x-amz-content-sha256;x-amz-date",
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {"PUT",
       "/test%24file.text",
       "",
       {host, {"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
       "Welcome to Amazon S3.",
       "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {"GET",
       "/",
       "lifecycle",
       {host},
       "",
       "host;x-amz-content-sha256;x-amz-date",
       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"}};
  const Keys keys{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
  for (const Example& each : examples) {
    Signer signer({.normalise_path = false, .encode_path = false, .name_body_hash = true});
    const Signed with = signer.sign(
        {.method = each.method, .path = each.path, .query = each.query, .headers = each.headers, .body = each.body},
        keys, {"us-east-1", "s3"}, sys_days(2013y / 5 / 24));
    EXPECT_EQ(with.authorization, std::string("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                                              "aws4_request, SignedHeaders=") +
                                      each.names + ", Signature=" + each.signature);
    EXPECT_EQ(with.body_hash, hex(sha256({each.body})));
  }
}

TEST(AwsSignature, QueriesAreEncodedOnceAndSorted) {
  EXPECT_EQ(canonical_query("b=2&a=%7e&a=1&c"), "a=1&a=~&b=2&c=");
  EXPECT_EQ(canonical_query("a=x y+z"), "a=x%20y%2Bz");
  EXPECT_EQ(canonical_query("a=100%"), "a=100%25");
}

/// Has libcurl sign a post and returns what came.
Asked signed_by_curl(const char* service, const std::vector<std::string>& headers, const std::string& body) {
  Responder server([](const Asked&) { return Answer{}; });
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  curl_slist* list = nullptr;
  for (const std::string& line : headers) list = curl_slist_append(list, line.c_str());
  const std::string provider = std::string("aws:amz:eu-west-1:") + service;
  curl_easy_setopt(curl.get(), CURLOPT_URL, (server.url() + "/").c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_AWS_SIGV4, provider.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_USERPWD, (std::string("AKIDEXAMPLE:") + secret).c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  EXPECT_EQ(curl_easy_perform(curl.get()), CURLE_OK);
  curl_slist_free_all(list);
  return server.asked().at(0);
}

/// Signs the same at the time that libcurl took.
std::string signed_by_us(const Asked& asked, const char* service, const std::vector<std::string>& names) {
  std::vector<HeaderView> headers;
  for (const std::string& name : names) headers.emplace_back(name, asked.headers.at(name));
  const std::string& date = asked.headers.at("x-amz-date");
  const auto part = [&](std::size_t at, std::size_t size) { return std::stoi(date.substr(at, size)); };
  const auto day = std::chrono::year(part(0, 4)) / part(4, 2) / part(6, 2);
  const std::chrono::sys_seconds time = std::chrono::sys_days(day) + std::chrono::hours(part(9, 2)) +
                                        std::chrono::minutes(part(11, 2)) + std::chrono::seconds(part(13, 2));
  Signer signer;
  return signer.sign({.headers = headers, .body = asked.body}, example, {"eu-west-1", service}, time).authorization;
}

TEST(AwsSignature, AgreesWithLibcurlOnAPostToSqs) {
  const Asked asked = signed_by_curl(
      "sqs", {"Content-Type: application/x-amz-json-1.0", "X-Amz-Target: AmazonSQS.SendMessageBatch"},
      R"({"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/1/a","Entries":[{"Id":"0","MessageBody":"ü"}]})");
  EXPECT_EQ(asked.headers.at("authorization"), signed_by_us(asked, "sqs", {"content-type", "host", "x-amz-target"}));
}

TEST(AwsSignature, AgreesWithLibcurlOnAPostToSns) {
  const Asked asked = signed_by_curl("sns", {"Content-Type: application/x-www-form-urlencoded; charset=utf-8"},
                                     "Action=Publish&Version=2010-03-31&Message=a%20b");
  EXPECT_EQ(asked.headers.at("authorization"), signed_by_us(asked, "sns", {"content-type", "host"}));
}

}  // namespace
}  // namespace tidings::transport::aws
