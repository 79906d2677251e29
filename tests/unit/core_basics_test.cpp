// Errors, failpoints, clocks, ids, streams and the checksum.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <set>
#include <thread>

#include <tidings/error.hpp>
#include <tidings/id.hpp>
#include <tidings/stream.hpp>
#include <tidings/time.hpp>

#include "core/crc32c.hpp"
#include "core/failpoint.hpp"

namespace tidings {
namespace {

using namespace std::chrono;

template <class F>
std::string refusal(F call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    EXPECT_FALSE(error.retryable());
    return error.what();
  }
  return "";
}

TEST(Errors, NameEveryCodeOnce) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    names.insert(to_string(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorCode::internal) + 1);
  EXPECT_EQ(to_string(ErrorCode::too_large), "too_large");
}

TEST(Failpoints, AreNamedOnce) {
  const auto names = core::failpoint_names();
  EXPECT_EQ(std::set<std::string_view>(names.begin(), names.end()).size(), names.size());
}

TEST(Failpoints, DoNothingUnlessAskedFor) {
  ASSERT_FALSE(core::failpoint_armed.load());
  TIDINGS_FAILPOINT("core.selftest");
}

// The environment is read at start, so the passage happens in this program started anew.
TEST(Failpoints, KillAtTheNthPassage) {
  const auto run = [](const char* value) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TIDINGS_FAILPOINT", value, 1);
      ::setenv("TIDINGS_TEST_PASSAGES", "3", 1);
      ::execl("/proc/self/exe", "core_test", "--gtest_filter=Failpoints.PassWhenStartedForIt", "--gtest_brief=1",
              nullptr);
      ::_exit(99);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  };
  const int third = run("core.selftest:3");
  EXPECT_TRUE(WIFSIGNALED(third) && WTERMSIG(third) == SIGKILL);
  const int first = run("core.selftest");
  EXPECT_TRUE(WIFSIGNALED(first) && WTERMSIG(first) == SIGKILL);
  const int fourth = run("core.selftest:4");
  EXPECT_TRUE(WIFEXITED(fourth) && WEXITSTATUS(fourth) == 0);
  const int unknown = run("core.no_such_place");
  EXPECT_TRUE(WIFEXITED(unknown) && WEXITSTATUS(unknown) == 70);
}

TEST(Failpoints, PassWhenStartedForIt) {
  const char* passages = std::getenv("TIDINGS_TEST_PASSAGES");
  if (passages == nullptr) return;  // Only KillAtTheNthPassage starts it so.
  for (int i = 0; i < std::atoi(passages); ++i) TIDINGS_FAILPOINT("core.selftest");
}

TEST(SystemClock, CountsOn) {
  const Clock& clock = system_clock();
  const Steady before = clock.steady();
  EXPECT_GE(clock.steady(), before);
  const auto now = time_point_cast<Millis>(system_clock().wall());
  EXPECT_LT(abs(now - floor<Millis>(std::chrono::system_clock::now())), seconds{60});
}

TEST(Time, IsWrittenWithMilliseconds) {
  EXPECT_EQ(format_time(Wall{Millis{1706178600000}}), "2024-01-25T10:30:00.000Z");
  EXPECT_EQ(format_time(Wall{}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_time(Wall{Millis{-1}}), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(format_time(Wall{Millis{-62135596800000}}), "0001-01-01T00:00:00.000Z");
  EXPECT_EQ(format_time(Wall{Millis{253402300799999}}), "9999-12-31T23:59:59.999Z");
}

TEST(Time, ReadsEveryFormOfTheWire) {
  const Wall expected{Millis{1706178600000}};
  EXPECT_EQ(parse_time("2024-01-25T10:30:00Z"), expected);
  EXPECT_EQ(parse_time("2024-01-25T10:30:00.000Z"), expected);
  EXPECT_EQ(parse_time("2024-01-25t10:30:00z"), expected);
  EXPECT_EQ(parse_time("2024-01-25T12:30:00+02:00"), expected);
  EXPECT_EQ(parse_time("2024-01-25T05:00:00-05:30"), expected);
  EXPECT_EQ(parse_time("2024-01-25T12:30:00+0200"), expected);
  EXPECT_EQ(parse_time("2024-01-25T10:30:00.1Z"), expected + Millis{100});
  EXPECT_EQ(parse_time("2024-01-25T10:30:00.12Z"), expected + Millis{120});
  EXPECT_EQ(parse_time("2024-01-25T10:30:00.1234Z"), expected + Millis{123});
  EXPECT_EQ(parse_time("2024-01-25T10:30:00.123999999Z"), expected + Millis{123});
  EXPECT_EQ(parse_time("2024-02-29T00:00:00Z"), Wall{sys_days{year{2024} / 2 / 29}});
  EXPECT_EQ(parse_time("2000-02-29T00:00:00Z"), Wall{sys_days{year{2000} / 2 / 29}});
  EXPECT_EQ(parse_time("0001-01-01T00:00:00Z"), Wall{Millis{-62135596800000}});
  EXPECT_EQ(parse_time("9999-12-31T23:59:59.999Z"), Wall{Millis{253402300799999}});
  EXPECT_EQ(parse_time("2016-12-31T23:59:60Z"), parse_time("2016-12-31T23:59:59.999Z"));
}

TEST(Time, RefusesEverythingElse) {
  for (const char* text : {"",
                           "2024",
                           "2024-01-25",
                           "2024-01-25T10:30Z",
                           "2024-01-25T10:30:00",
                           "2024-01-25 10:30:00Z",
                           "2024-1-25T10:30:00Z",
                           "2024-13-01T00:00:00Z",
                           "2024-00-01T00:00:00Z",
                           "2023-02-29T00:00:00Z",
                           "1900-02-29T00:00:00Z",
                           "2024-04-31T00:00:00Z",
                           "2024-01-00T00:00:00Z",
                           "2024-01-25T24:00:00Z",
                           "2024-01-25T10:60:00Z",
                           "2024-01-25T10:30:61Z",
                           "2024-01-25T10:30:00.Z",
                           "2024-01-25T10:30:00,5Z",
                           "2024-01-25T10:30:00Zx",
                           " 2024-01-25T10:30:00Z",
                           "2024-01-25T10:30:00+24:00",
                           "2024-01-25T10:30:00+02",
                           "2024-01-25T10:30:00+02:60",
                           "2024-01-25T10:30:00+02:00:00",
                           "+024-01-25T10:30:00Z",
                           "12024-01-25T10:30:00Z"}) {
    EXPECT_FALSE(parse_time(text).has_value()) << text;
  }
}

TEST(Time, ReadsBackWhatItWrites) {
  EXPECT_TRUE(rc::check([] {
    const Wall time{Millis{*rc::gen::inRange<std::int64_t>(-62135596800000, 253402300799999)}};
    RC_ASSERT(parse_time(format_time(time)) == time);
  }));
}

TEST(Duration, ReadsAndWritesItsUnits) {
  EXPECT_EQ(parse_duration("250ms"), Millis{250});
  EXPECT_EQ(parse_duration("30s"), Millis{30'000});
  EXPECT_EQ(parse_duration("5m"), Millis{300'000});
  EXPECT_EQ(parse_duration("2h"), Millis{7'200'000});
  EXPECT_EQ(parse_duration("7d"), Millis{604'800'000});
  EXPECT_EQ(parse_duration("36525d"), Millis{36'525LL * 86'400'000});
  for (const char* text :
       {"", "5", "s", "-5s", "5 s", "1.5s", "5S", "36526d", "99999999999999999999ms", "5mm", "+5s"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
  EXPECT_EQ(format_duration(Millis{90'000}), "90s");
  EXPECT_EQ(format_duration(Millis{120'000}), "2m");
  EXPECT_EQ(format_duration(Millis{0}), "0s");
  EXPECT_EQ(format_duration(Millis{1'001}), "1001ms");
  EXPECT_TRUE(rc::check([] {
    const Millis duration{*rc::gen::inRange<std::int64_t>(0, 3'155'760'000'000)};
    RC_ASSERT(parse_duration(format_duration(duration)) == duration);
  }));
}

TEST(Ids, AreUlids) {
  const Wall time{Millis{1706178600000}};
  EXPECT_EQ(ulid(time, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), "01HN02PQ20041061050R3GG28A");
  EXPECT_EQ(ulid(Wall{Millis{(1LL << 48) - 1}}, {255, 255, 255, 255, 255, 255, 255, 255, 255, 255}),
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  EXPECT_EQ(ulid(Wall{Millis{-5}}, {}), "00000000000000000000000000");
  const std::string id = new_event_id(time, system_random());
  EXPECT_EQ(id.substr(0, 14), "evt_01HN02PQ20");
  EXPECT_EQ(id.size(), 30U);
}

TEST(Ids, SortByTimeAndDoNotRepeat) {
  std::set<std::string> ids;
  for (int i = 0; i < 10'000; ++i) ids.insert(new_event_id(Wall{Millis{i}}, system_random()));
  EXPECT_EQ(ids.size(), 10'000U);
  EXPECT_TRUE(rc::check([] {
    const auto one = *rc::gen::inRange<std::int64_t>(0, 1LL << 47);
    const auto other = *rc::gen::inRange<std::int64_t>(0, 1LL << 47);
    RC_PRE(one < other);
    RC_ASSERT(new_event_id(Wall{Millis{one}}, system_random()) < new_event_id(Wall{Millis{other}}, system_random()));
  }));
}

// The expected ids were computed with Python's hashlib from the definition in id.hpp.
TEST(Ids, AreDerivedAsDefined) {
  Derivation from{.cause_source = "user-service",
                  .cause_id = "evt_abc123",
                  .cause_time = Wall{Millis{1706178600000}},
                  .group = "notification"};
  EXPECT_EQ(derived_event_id(from), "evt_01HN02PQ20PT36HMPAGJ2YND9C");
  from.ordinal = 1;
  EXPECT_EQ(derived_event_id(from), "evt_01HN02PQ20659B0PX3ZERYQ1BK");
  EXPECT_EQ(derived_event_id({.cause_id = "x", .group = "g", .run = ~std::uint64_t{0}, .ordinal = 300}),
            "evt_0000000000VD75ZX2Y00PQC7RY");
}

TEST(Ids, KeepThePartsOfADerivationApart) {
  EXPECT_NE(derived_event_id({.cause_source = "ab", .cause_id = "c"}),
            derived_event_id({.cause_source = "a", .cause_id = "bc"}));
  EXPECT_NE(derived_event_id({.run = 1}), derived_event_id({.ordinal = 1}));
}

TEST(Randomness, DiffersBetweenThreadsAndAfterAFork) {
  std::uint64_t elsewhere = 0;
  std::thread([&] { elsewhere = system_random().next(); }).join();
  EXPECT_NE(system_random().next(), elsewhere);

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::uint64_t drawn = system_random().next();
    ::_exit(::write(ends[1], &drawn, sizeof drawn) == sizeof drawn ? 0 : 1);
  }
  const std::uint64_t here = system_random().next();
  std::uint64_t there = 0;
  ASSERT_EQ(::read(ends[0], &there, sizeof there), static_cast<ssize_t>(sizeof there));
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_NE(here, there);
}

TEST(Streams, FollowTheType) {
  EXPECT_EQ(event_stream("user.created"), "events:user");
  EXPECT_EQ(event_stream("user.profile.changed"), "events:user");
  EXPECT_EQ(event_stream("ping"), "events:ping");
  EXPECT_EQ(command_stream("send.email"), "commands:send.email");
  EXPECT_TRUE(is_command_stream("commands:send.email"));
  EXPECT_FALSE(is_command_stream("events:user"));
  EXPECT_EQ(group_of("events:user", "search"), "search");
  EXPECT_EQ(group_of("commands:send.email", "mail"), "commands");
}

TEST(Streams, RefuseNamesThatCouldMeet) {
  for (const char* type : {"", ".", "user.", ".created", "user..created", "user created", "user/created",
                           "usér.created", "user-dlq.created", "send.email-dlq", "user:created"}) {
    EXPECT_NE(refusal([&] { check_type(type); }), "") << type;
    EXPECT_NE(refusal([&] { static_cast<void>(event_stream(type)); }), "") << type;
    EXPECT_NE(refusal([&] { static_cast<void>(command_stream(type)); }), "") << type;
  }
  EXPECT_NE(refusal([] { check_type(std::string(201, 'a')); }), "");
  EXPECT_NO_THROW(check_type(std::string(200, 'a')));
  for (const char* name : {"", "commands", "search-dlq", "a b", "a.b", "a:b", "ä"}) {
    EXPECT_NE(refusal([&] { check_service_name(name); }), "") << name;
  }
  EXPECT_NO_THROW(check_service_name("search_2-eu"));
  for (const char* stream :
       {"", "user", "events:", "events:a.b", "events:a-dlq", "commands:", "commands:a..b", "Events:a"}) {
    EXPECT_NE(refusal([&] { check_stream(stream); }), "") << stream;
  }
  EXPECT_NO_THROW(check_stream("events:user"));
  EXPECT_NO_THROW(check_stream("commands:send.email"));
}

TEST(Streams, MessagesHoldNoControlCharacters) {
  const std::string why = refusal([] { check_service_name("a\x1b[31m\nb"); });
  EXPECT_TRUE(std::none_of(why.begin(), why.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; })) << why;
}

TEST(Streams, PositionsAreWrittenShort) {
  EXPECT_EQ(to_string(Position{42, 0}), "42");
  EXPECT_EQ(to_string(Position{42, 7}), "42-7");
  EXPECT_LT((Position{1, 9}), (Position{2, 0}));
  EXPECT_EQ(to_string(Level::replicated), "replicated");
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// RFC 3720, appendix B.4.
TEST(Checksum, KnowsTheVectorsOfTheRfc) {
  EXPECT_EQ(core::crc32c(bytes_of(std::string(32, '\0'))), 0x8A9136AAU);
  EXPECT_EQ(core::crc32c(bytes_of(std::string(32, '\xFF'))), 0x62A8AB43U);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  EXPECT_EQ(core::crc32c(bytes_of(rising)), 0x46DD794EU);
  EXPECT_EQ(core::crc32c(bytes_of("123456789")), 0xE3069283U);
  EXPECT_EQ(core::crc32c({}), 0U);
}

TEST(Checksum, IsTheSameByInstructionByTableAndInPieces) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += static_cast<char>(i * 131 + i / 256);
  for (std::size_t size : {0UL, 1UL, 7UL, 8UL, 127UL, 384UL, 385UL, 1023UL, 3072UL, 3073UL, 9999UL, 20'000UL}) {
    for (std::size_t offset : {0UL, 1UL, 3UL}) {
      if (offset + size > text.size()) continue;
      const auto part = bytes_of(text).subspan(offset, size);
      const std::uint32_t whole = core::crc32c(part);
      EXPECT_EQ(whole, core::crc32c_portable(part)) << size;
      EXPECT_EQ(whole, core::crc32c(part.subspan(size / 3), core::crc32c(part.first(size / 3)))) << size;
    }
  }
}

}  // namespace
}  // namespace tidings
