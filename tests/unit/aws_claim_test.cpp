// The claim check: places, names and pointers, without a store.
#include <gtest/gtest.h>

#include <tidings/error.hpp>

#include "transport/aws/claim.hpp"
#include "transport/aws/client.hpp"
#include "transport/aws/digest.hpp"
#include "transport/aws/options.hpp"

namespace tidings::transport::aws {
namespace {

const std::string digest(64, 'a');
const PayloadPlace bucket = payload_place("s3://events/large/ones"), folder = payload_place("file:///var/lib/payloads");

std::string s3_pointer(const std::string& in, const std::string& key) {
  return R"(["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":")" + in + R"(","s3Key":")" + key +
         R"("}])";
}
std::string file_pointer(const std::string& key) { return R"(["tidings.FilePointer",{"file":")" + key + R"("}])"; }

TEST(AwsClaim, APlaceIsAFolderOrABucket) {
  EXPECT_EQ(folder.kind, PayloadPlace::Kind::file);
  EXPECT_EQ(folder.folder, "/var/lib/payloads");
  EXPECT_EQ(payload_place("file:///a%20b/").folder, "/a b");
  EXPECT_EQ(bucket.kind, PayloadPlace::Kind::s3);
  EXPECT_EQ(bucket.bucket, "events");
  EXPECT_EQ(bucket.prefix, "large/ones");
  EXPECT_EQ(payload_place("s3://a.b-c").prefix, "");
  for (const char* none :
       {"payloads", "ftp://host/a", "file:payloads", "file://host/a", "file:///", "file:///a/../b", "s3://", "s3:///a",
        "s3://B", "s3://ab", "s3://a..b", "s3://bucket:9000/a", "s3://key:secret@bucket/a", "s3://bucket/a/../b",
        "s3://bucket/a//b", "s3://bucket/a*", "s3://bucket/a?region=b"}) {
    try {
      (void)payload_place(none);
      ADD_FAILURE() << none << " is no place";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid) << none;
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
    }
  }
}

TEST(AwsClaim, TheOptionIsDecodedOnceMoreAsOtherNestedUrls) {
  const auto options = [](const std::string& value) {
    return options_of(Url::parse("aws://eu-west-1?prefix=t&payloads=" + value));
  };
  EXPECT_EQ(options("file:///a%2520b").payloads.folder, "/a b");
  EXPECT_EQ(options("s3%3A%2F%2Fevents%2Fx").payloads.prefix, "x");
  EXPECT_EQ(options("s3://events/x").client.bucket, "events");
  EXPECT_THROW((void)options("http://events"), Error);
}

TEST(AwsClaim, WhateverAnIdHoldsItsNameIsSafe) {
  EXPECT_EQ(payload_key(folder, "events:user", "evt_1", digest), "events-user/evt_1." + digest);
  EXPECT_EQ(payload_key(bucket, "commands:send.email", "evt_1", digest),
            "large/ones/commands-send.email/evt_1." + digest);
  for (const std::string& id : {std::string("../../etc/passwd"), std::string("a/b\\c:*?\"<>|\n\x7f\xff"), std::string(),
                                std::string(5'000, 'x'), std::string("\0a", 2), std::string("."), std::string("ü 😀")}) {
    const std::string key = payload_key(folder, "events:user", id, digest);
    EXPECT_TRUE(key.starts_with("events-user/")) << key;
    EXPECT_EQ(key.find('/', 12), std::string::npos) << key;
    EXPECT_LE(key.size(), 12U + 64 + 1 + 64);
    const Pointer back = read_pointer(folder, write_pointer(folder, key, 7));
    EXPECT_EQ(back.refused, "");
    EXPECT_EQ(back.key, key);
    EXPECT_EQ(back.sha256, digest);
    EXPECT_EQ(back.bytes, 7U);
  }
}

TEST(AwsClaim, APointerToS3IsThatOfAmazonsClients) {
  const std::string key = payload_key(bucket, "events:user", "evt_1", digest);
  EXPECT_EQ(write_pointer(bucket, key, 300'000), s3_pointer("events", key));
  EXPECT_EQ(pointer_attribute(bucket, 300'000),
            (MessageAttribute{.name = "ExtendedPayloadSize", .value = "300000", .type = "Number"}));
  const Pointer ours = read_pointer(bucket, s3_pointer("events", key));
  EXPECT_EQ(ours.refused, "");
  EXPECT_EQ(ours.key, key);
  EXPECT_EQ(ours.sha256, digest);
  EXPECT_EQ(pointer_attribute(folder, 1).name, "") << "nobody else can follow it";
}

TEST(AwsClaim, OthersPointersAreReadUnverifiedInOurBucketAlone) {
  const std::string uuid = "c71eb2ae-37e0-4265-8909-32f4153faddf";
  for (const std::string& body :
       {s3_pointer("events", uuid),
        R"( [ "com.amazon.sqs.javamessaging.MessageS3Pointer" , {"s3BucketName" : "events", "s3Key": ")" + uuid +
            "\"} ]"}) {
    ASSERT_TRUE(is_pointer(body));
    const Pointer read = read_pointer(bucket, body);
    EXPECT_EQ(read.refused, "");
    EXPECT_EQ(read.key, uuid);
    EXPECT_EQ(read.sha256, "") << "there is nothing to verify it by";
  }
  EXPECT_NE(read_pointer(bucket, s3_pointer("other", uuid)).refused, "");
  EXPECT_NE(read_pointer(folder, s3_pointer("events", uuid)).refused, "");
  EXPECT_NE(read_pointer(bucket, file_pointer("events-user/a." + digest)).refused, "");
}

TEST(AwsClaim, NoPointerLeadsOutOfItsPlace) {
  for (const std::string& key :
       {std::string("../../etc/passwd"), std::string("/etc/passwd"), std::string("events-user/../../x." + digest),
        "events-user/." + digest, "events-user/a/b." + digest, "user/a." + digest, "../events-user/a." + digest,
        "events-user/a." + digest + "/x", "events-user\\u0000/a." + digest, "events-/../a." + digest,
        "events-user/a." + std::string(63, 'a'), "events-user/a." + std::string(64, 'A'), std::string()}) {
    const Pointer read = read_pointer(folder, file_pointer(key));
    EXPECT_NE(read.refused, "") << key;
    EXPECT_EQ(read.key, "") << key;
  }
  for (const std::string& key : {std::string("../other/x"), std::string("a/./b"), std::string("a/.."), std::string(),
                                 std::string(1'025, 'a'), std::string("a\\nb")}) {
    EXPECT_NE(read_pointer(bucket, s3_pointer("events", key)).refused, "") << key;
  }
}

TEST(AwsClaim, AnEventIsNeverTakenForAPointer) {
  for (const char* none : {"", "{}", "[]", "[\"a\"]", R"({"id":"evt_1"})", R"(["software.amazon)", R"([{"s3Key":"a"}])",
                           R"(["software.amazon.payloadoffloading.PayloadS3PointerX",{}])"}) {
    EXPECT_FALSE(is_pointer(none)) << none;
  }
  for (const char* broken :
       {R"(["tidings.FilePointer"])", R"(["tidings.FilePointer",7])", R"(["tidings.FilePointer",{"file":7}])",
        R"(["tidings.FilePointer",{"file")", R"(["tidings.FilePointer",{"file":"\ud800"}])"}) {
    ASSERT_TRUE(is_pointer(broken)) << broken;
    EXPECT_NE(read_pointer(folder, broken).refused, "") << broken;
  }
}

TEST(AwsClaim, ABucketIsAHostOnAmazonsOwnAddressAlone) {
  const auto endpoint_of = [](const std::string& name, const std::string& endpoint) {
    Client client({.region = "eu-west-1", .endpoint = endpoint, .bucket = name});
    return client.endpoint(Service::s3);
  };
  EXPECT_EQ(endpoint_of("events", ""), "https://events.s3.eu-west-1.amazonaws.com/");
  EXPECT_EQ(endpoint_of("a.b", ""), "https://s3.eu-west-1.amazonaws.com/a.b");
  EXPECT_EQ(endpoint_of("events", "http://127.0.0.1:4566/"), "http://127.0.0.1:4566/events");
}

// A region becomes part of the name of the host that is asked; and a shelf in memory forgets what it must keep.
TEST(AwsOptions, RefuseWhatWouldLeadAstray) {
  for (const char* url : {"aws://eu-west-1%2Fx?prefix=t", "aws://bad_region!?prefix=t", "aws://eu-west-1:80?prefix=t",
                          "aws://eu-west-1?prefix=t&shelf=memory:", "aws://eu-west-1?prefix=t&account=12"}) {
    EXPECT_THROW((void)options_of(Url::parse(url)), Error) << url;
  }
}

TEST(AwsOptions, AnEndpointWithASecretIsNotRepeated) {
  for (const char* endpoint : {"http://user:geheim@127.0.0.1:9", "http://127.0.0.1:9?AWSAccessKeyId=geheim"}) {
    try {
      const Client client({.region = "eu-west-1", .endpoint = endpoint});
      ADD_FAILURE() << "it was taken: " << endpoint;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("geheim"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace tidings::transport::aws
