// What a cluster's servers say, what a URL says of servers, and what a server's errors mean.
#include <gtest/gtest.h>

#include <tidings/error.hpp>

#include "transport/redis/cluster.hpp"
#include "transport/redis/connection.hpp"
#include "transport/redis/endpoint.hpp"

namespace tidings::transport::redis {
namespace {

const Address here{"10.0.0.1", 7000, {}};

TEST(RedisSlots, AreThoseOfTheSpecification) {
  EXPECT_EQ(slot_of("123456789"), 0x31C3);  // The check value of CRC-16/XMODEM.
  EXPECT_EQ(slot_of(""), 0);
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
  EXPECT_EQ(slot_of("foo{}{bar}"), slot_of(std::string_view("foo{}{bar}")));
  EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar")) << "an empty tag is none";
  EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
  EXPECT_EQ(slot_of("{events:user}:retry:search"), slot_of("events:user"));
}

TEST(RedisRedirections, AreReadOrNone) {
  const Redirection moved = redirection_of("MOVED 3999 127.0.0.1:6381", here);
  EXPECT_EQ(moved.kind, Redirection::Kind::moved);
  EXPECT_EQ(moved.slot, 3999);
  EXPECT_EQ(moved.to, (Address{"127.0.0.1", 6381, {}}));
  EXPECT_EQ(redirection_of("ASK 1 ::1:6381", here).to, (Address{"::1", 6381, {}}));
  EXPECT_EQ(redirection_of("ASK 1 ::1:6381", here).kind, Redirection::Kind::ask);
  EXPECT_EQ(redirection_of("MOVED 1 :6381", here).to, (Address{"10.0.0.1", 6381, {}})) << "no host means the same";
  for (const char* none : {"", "MOVED", "MOVED 1", "MOVED x 1:1", "MOVED 16384 h:1", "MOVED 1 h:99999",
                           "MOVED 1 h:", "ERR MOVED 1 h:1", "MOVED -1 h:1", "ASKING 1 h:1"}) {
    EXPECT_EQ(redirection_of(none, here).kind, Redirection::Kind::none) << none;
  }
}

TEST(RedisSlots, HaveTheOwnersThatTheClusterNames) {
  const std::string bytes =
      "*2\r\n"
      "*4\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$1\r\na\r\n*3\r\n$9\r\n127.0.0.1\r\n:7009\r\n$1\r\nz\r\n"
      "*3\r\n:8192\r\n:16000\r\n*3\r\n$0\r\n\r\n:7002\r\n$1\r\nb\r\n";
  ReplyParser parser;
  ASSERT_EQ(parser.parse(bytes), ReplyParser::Status::complete);
  SlotMap map(Reply(bytes, parser.values()), here);
  EXPECT_EQ(map.servers().size(), 2U) << "replicas own nothing";
  EXPECT_EQ(*map.owner(0), (Address{"127.0.0.1", 7001, {}}));
  EXPECT_EQ(*map.owner(16000), (Address{"10.0.0.1", 7002, {}}));
  EXPECT_EQ(map.owner(16001), nullptr);
  map.move(16001, {"h", 1, {}});
  EXPECT_EQ(*map.owner(16001), (Address{"h", 1, {}}));
}

TEST(RedisSlots, OfNonsenseHaveNoOwners) {
  for (const std::string bytes :
       {"*1\r\n:1\r\n", "*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\nh\r\n:1\r\n", "$2\r\nno\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:0\r\n"}) {
    ReplyParser parser;
    ASSERT_EQ(parser.parse(bytes), ReplyParser::Status::complete);
    const SlotMap map(Reply(bytes, parser.values()), here);
    EXPECT_TRUE(map.servers().empty()) << bytes;
    EXPECT_EQ(map.owner(0), nullptr);
  }
}

Endpoint of(const std::string& url) { return endpoint_of(Url::parse(url)); }

TEST(RedisPartitionNames, AreOfAStreamAndGoBackToIt) {
  EXPECT_EQ(partition_name("events:user", 0), "events:user");
  EXPECT_EQ(partition_name("events:user", 12), "events:user#12");
  EXPECT_EQ(stream_of_partition("events:user#12"), "events:user");
  EXPECT_EQ(stream_of_partition("events:user"), "events:user");
  EXPECT_EQ(partition_of("123456789", 1), 0U);
  EXPECT_EQ(partition_of("123456789", 8), 0x31c3U % 8) << "the check value of CRC-16/XMODEM";
  const PartitionWish wish = read_partitions("3,user:8,order:1");
  EXPECT_EQ(wish.for_stream("events:user"), 8U);
  EXPECT_EQ(wish.for_stream("events:order"), 1U);
  EXPECT_EQ(wish.for_stream("events:other"), 3U);
  EXPECT_EQ(wish.for_stream("commands:send.mail"), 1U) << "a command has one owner";
}

TEST(RedisEndpoints, ComeOutOfUrls) {
  EXPECT_EQ(of("redis://").addresses.at(0), (Address{"127.0.0.1", 6379, {}}));
  const Endpoint one = of("redis://shop:secret@cache:6380/3");
  EXPECT_EQ(one.addresses.at(0), (Address{"cache", 6380, {}}));
  EXPECT_EQ(one.login.user, "shop");
  EXPECT_EQ(one.login.password, "secret");
  EXPECT_EQ(one.database, 3);
  EXPECT_EQ(one.tls, nullptr);
  EXPECT_NE(of("rediss://cache").tls, nullptr);
  EXPECT_EQ(of("redis+unix:///run/redis.sock?database=2").addresses.at(0).path, "/run/redis.sock");
  const Endpoint sentinels = of("redis+sentinel://a:1,b/main?sentinel_user=u&sentinel_password=p&database=4");
  EXPECT_EQ(sentinels.kind, Endpoint::Kind::sentinels);
  EXPECT_EQ(sentinels.addresses.at(1), (Address{"b", 26379, {}}));
  EXPECT_EQ(sentinels.master, "main");
  EXPECT_EQ(sentinels.sentinel_login.user, "u");
  EXPECT_EQ(sentinels.database, 4);
  const Endpoint cluster = of("redis+cluster://a:7000,b:7001?tls=on&replicas=2");
  EXPECT_EQ(cluster.kind, Endpoint::Kind::cluster);
  EXPECT_EQ(cluster.addresses.size(), 2U);
  EXPECT_NE(cluster.tls, nullptr);
  EXPECT_EQ(cluster.replicas, 2U);
}

TEST(RedisEndpoints, ThatCannotBeMeantAreRefused) {
  for (const char* url : {"redis://a,b",
                          "redis://h/x",
                          "redis://h/-1",
                          "redis+sentinel://a",
                          "redis+cluster://a/1",
                          "redis://h?ca=/x",
                          "rediss://h?tls=off",
                          "redis://h?tls=maybe",
                          "redis+unix:///s?tls=on",
                          "redis+unix://",
                          "redis+unix://r.sock",
                          "redis://h/5?database=6",
                          "rediss://h?ca=/none.pem",
                          "rediss://h?ca=/nowhere",
                          "rediss://h?key=/nowhere",
                          "redis://h?replicas=0",
                          "redis://h?password_file=/nowhere",
                          "redis://h?partition=2",
                          "redis://h?partitions=0",
                          "redis://h?partitions=user",
                          "redis://h?partitions=user:0",
                          "redis://h?partitions=257",
                          "redis://h?partitions=a.b:2",
                          "redis://h?replicas=4294967297"}) {
    try {
      (void)of(url);
      ADD_FAILURE() << url << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid) << url;
    }
  }
}

TEST(RedisErrors, OfPermissionsSayWhatToAllow) {
  constexpr const char* in_scripts[] = {
      "ERR The user executing the script can't run this command or subcommand script: 5f1c, on @user_script:63.",
      "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments "
      "script: 5f1c, on @user_script:63.",
      "ERR ACL failure in script: User shop has no permissions to run the 'zadd' command script: 5f1c, on "
      "@user_script:63.",
      "NOPERM this user has no permissions to run the 'zadd' command",
      "NOPERM this user has no permissions to access one of the keys used as arguments"};
  for (const char* text : in_scripts) {
    const Error error = error_of(text);
    EXPECT_EQ(error.code(), ErrorCode::unauthorized) << text;
    EXPECT_FALSE(error.retryable()) << text;
    const std::string what = error.what();
    EXPECT_NE(what.find(text), what.npos) << what;
    EXPECT_NE(what.find("docs/transports/redis.md"), what.npos) << what;
  }
  EXPECT_EQ(error_of("WRONGPASS invalid username-password pair or user is disabled.").code(), ErrorCode::unauthorized);
  EXPECT_EQ(error_of("ERR no such key").code(), ErrorCode::internal);
}

}  // namespace
}  // namespace tidings::transport::redis
