#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <tidings/error.hpp>
#include <tidings/url.hpp>

namespace tidings {
namespace {

std::string refusal(const std::string& text) {
  try {
    static_cast<void>(Url::parse(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    return error.what();
  }
  return "";
}

TEST(Urls, OfFilesAreTakenAsTheyAre) {
  EXPECT_EQ(Url::parse("sqlite:app.db").path, "app.db");
  EXPECT_EQ(Url::parse("sqlite:/var/lib/app.db?durability=process").path, "/var/lib/app.db");
  EXPECT_EQ(Url::parse("sqlite:a b@c:%20.db").path, "a b@c:%20.db");
  EXPECT_EQ(Url::parse("sqlite:what%3F%25.db").path, "what?%.db");
  EXPECT_EQ(Url::parse("SQLite:app.db").scheme, "sqlite");
  EXPECT_EQ(Url::parse("memory:").path, "");
  EXPECT_TRUE(Url::parse("memory:").hosts.empty());
}

TEST(Urls, NameHostsUsersAndPaths) {
  const Url url = Url::parse("redis://me:p%40ss@example.com:6380/2?tls=on&name=a%26b");
  EXPECT_EQ(url.scheme, "redis");
  EXPECT_EQ(url.user, "me");
  EXPECT_EQ(url.password, "p@ss");
  ASSERT_EQ(url.hosts.size(), 1U);
  EXPECT_EQ(url.hosts[0], (std::pair<std::string, std::uint16_t>("example.com", 6380)));
  EXPECT_EQ(url.path, "2");
  EXPECT_EQ(url.option("tls"), "on");
  EXPECT_EQ(url.option("name"), "a&b");
  EXPECT_EQ(url.option("other"), std::nullopt);

  const Url many = Url::parse("redis+sentinel://h1:1,h2,[::1]:3/main");
  ASSERT_EQ(many.hosts.size(), 3U);
  EXPECT_EQ(many.hosts[1], (std::pair<std::string, std::uint16_t>("h2", 0)));
  EXPECT_EQ(many.hosts[2], (std::pair<std::string, std::uint16_t>("::1", 3)));
  EXPECT_EQ(many.path, "main");

  const Url socket = Url::parse("redis+unix:///run/redis.sock?db=1");
  EXPECT_TRUE(socket.hosts.empty());
  EXPECT_EQ(socket.path, "/run/redis.sock");
  EXPECT_EQ(Url::parse("aws://eu-central-1?prefix=shop").hosts[0].first, "eu-central-1");
}

TEST(Urls, AreRefusedWithAReason) {
  for (const char* text : {"", "events.db", ":x", "1x:y", "redis://h:0", "redis://h:65536", "redis://h:port",
                           "redis://h,", "redis://,h", "redis://[::1", "redis://[::1]x", "redis://h%zz",
                           "redis://h/?a=%2", "redis://h?=x", "redis://u@:6379", "a b:c"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
  EXPECT_NE(refusal(std::string("sqlite:a\0b", 10)), "");
  EXPECT_NE(refusal("redis://h/%00"), "");
  EXPECT_NE(refusal("sqlite:" + std::string(16384, 'a')), "");
}

TEST(Urls, NeverShowASecret) {
  const std::string secret = "s3cr3t";
  for (const std::string& text :
       {"redis://:" + secret + "@h:99999", "redis://u:" + secret + "@h:x", "redis://u:" + secret,
        "redis://u:" + secret + "/x@h", "redis://u:" + secret + "%zz@h", "re dis://u:" + secret + "@h",
        "redis://u:" + secret + "@h?token=" + secret + "%z"}) {
    const std::string why = refusal(text);
    EXPECT_NE(why, "") << text;
    EXPECT_EQ(why.find(secret), std::string::npos) << why;
  }
  for (const std::string& text :
       {"redis://u:" + secret + "@h:1/2?tls=on", "redis://:" + secret + "@h", "redis://h?password=" + secret,
        "aws://r?Secret_Key=" + secret + "&session_token=" + secret, "redis+unix://u:" + secret + "@/run/x.sock",
        "aws://r?shelf=redis%3A%2F%2Fu%3A" + secret + "%40h", "aws://r?shelf=redis://:" + secret + "@h:nope"}) {
    const std::string shown = Url::parse(text).redacted();
    EXPECT_EQ(shown.find(secret), std::string::npos) << shown;
  }
  EXPECT_EQ(Url::parse("redis://u:" + secret + "@h:1/2?tls=on").redacted(), "redis://u:***@h:1/2?tls=on");
  EXPECT_EQ(Url::parse("sqlite:a%3Fb%25.db?x=1").redacted(), "sqlite:a%3Fb%25.db?x=1");
  EXPECT_EQ(Url::parse("redis+unix:///run/redis.sock").redacted(), "redis+unix:///run/redis.sock");
  EXPECT_EQ(Url::parse("memory:").redacted(), "memory:");
}

TEST(Urls, WithoutSecretsReadBackWhatTheyShow) {
  EXPECT_TRUE(rc::check([] {
    Url url;
    url.scheme = "redis";
    const auto letters = rc::gen::string<std::string>();
    const auto clean = [](std::string text) {
      std::erase(text, '\0');
      return text;
    };
    url.hosts.emplace_back("h" + std::to_string(*rc::gen::inRange(0, 9)), *rc::gen::inRange<std::uint16_t>(0, 65535));
    url.path = clean(*letters);
    url.options.emplace_back("x", clean(*letters));
    RC_PRE(url.options[0].second.find("://") == std::string::npos);
    const Url again = Url::parse(url.redacted());
    RC_ASSERT(again.hosts == url.hosts);
    RC_ASSERT(again.path == url.path);
    RC_ASSERT(again.options == url.options);
  }));
}

TEST(UrlOptions, AreTyped) {
  const Url url = Url::parse("memory:?a=30s&b=64MiB&c=500MB&d=1048576&e=1GiB&f=99999999TiB&g=x&twice=1&twice=2&flag");
  EXPECT_EQ(url.duration("a"), Millis{30'000});
  EXPECT_EQ(url.size("b"), 64U << 20);
  EXPECT_EQ(url.size("c"), 500'000'000U);
  EXPECT_EQ(url.size("d"), 1048576U);
  EXPECT_EQ(url.size("e"), 1U << 30);
  EXPECT_EQ(url.size("none"), std::nullopt);
  EXPECT_EQ(url.duration("none"), std::nullopt);
  EXPECT_EQ(url.option("flag"), "");
  EXPECT_THROW(static_cast<void>(url.size("f")), Error);
  EXPECT_THROW(static_cast<void>(url.size("g")), Error);
  EXPECT_THROW(static_cast<void>(url.duration("g")), Error);
  EXPECT_THROW(static_cast<void>(url.option("twice")), Error);
}

TEST(UrlOptions, NameTheNearestKnownOne) {
  const Url url = Url::parse("sqlite:x?durabilty=disk");
  try {
    url.check_options({"retention_age", "durability"});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "URL: sqlite: has no option \"durabilty\"; did you mean \"durability\"?");
  }
  EXPECT_NO_THROW(url.check_options({"durabilty"}));
  EXPECT_THROW(url.check_options({}), Error);
}

}  // namespace
}  // namespace tidings
