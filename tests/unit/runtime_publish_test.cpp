#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <optional>
#include <set>
#include <thread>

#include <tidings/tidings.hpp>
#include <tidings/url.hpp>

#include "runtime/publisher.hpp"

namespace runtime_publish {

struct Noted {
  std::string text;
  int number = 0;
};
TIDINGS_EVENT(Noted, "note.taken", "1.0", text, number)
struct Remind {
  std::string whom;
};
TIDINGS_COMMAND(Remind, "remind.person", "1.0", whom)

}  // namespace runtime_publish

namespace tidings {
namespace {

using runtime_publish::Noted;
using runtime_publish::Remind;

BusOptions quiet(std::string source = "notes") {
  BusOptions options;
  options.source = std::move(source);
  options.environment.log = [](LogLevel, std::string_view) {};
  return options;
}

std::vector<Event> all_of(Bus& bus, const std::string& stream) {
  std::vector<Event> events;
  const transport::ReadRange range{.stream = stream, .limit = 100'000};
  for (const transport::Record& record : bus.transport().read(range).records)
    events.push_back(decode<Json>(record.envelope));
  return events;
}

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::ok;
}

TEST(RuntimePublish, OneEventCarriesEverythingThatWasSaidOfIt) {
  Bus bus = Bus::open("memory:", quiet());
  const Published published = bus.publish(
      Noted{"a", 1}, {.correlation_id = "req_1", .causation_id = "evt_0", .key = "k", .traceparent = "00-a-b-01"});
  EXPECT_EQ(published.id.size(), 30U);
  const auto events = all_of(bus, "events:note");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].id, published.id);
  EXPECT_EQ(events[0].type, "note.taken");
  EXPECT_EQ(events[0].source, "notes");
  EXPECT_EQ(events[0].correlationId, "req_1");
  EXPECT_EQ(events[0].metadata.string("causationId"), "evt_0");
  EXPECT_EQ(events[0].metadata.string("partitionKey"), "k");
  EXPECT_EQ(events[0].metadata.string("traceparent"), "00-a-b-01");
  EXPECT_EQ(events[0].data.text(), R"({"text":"a","number":1})");
}

TEST(RuntimePublish, ACommandGoesToItsOwnStreamAndARequestBeginsWithoutCorrelation) {
  Bus bus = Bus::open("memory:", quiet());
  bus.send(Remind{"bob"});
  const auto commands = all_of(bus, "commands:remind.person");
  ASSERT_EQ(commands.size(), 1U);
  EXPECT_TRUE(commands[0].correlationId.starts_with("req_"));
  EXPECT_EQ(commands[0].correlationId.size(), 30U);
}

TEST(RuntimePublish, WrongInputIsRefusedBeforeAnythingIsStored) {
  Bus bus = Bus::open("memory:", quiet());
  PublishOptions ours;
  ours.metadata.set_string("causationId", "x");
  EXPECT_EQ(code_of([&] { bus.publish(Noted{"a", 1}, ours); }), ErrorCode::invalid);
  PublishOptions broken;
  broken.metadata.set("tenant", Json("{"));
  EXPECT_EQ(code_of([&] { bus.publish(Noted{"a", 1}, broken); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { bus.publish(Noted{"\xff", 1}); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { bus.publish(Noted{std::string(2U << 20, 'x'), 1}); }), ErrorCode::too_large);
  EXPECT_EQ(code_of([&] { Bus::open("memory:", quiet("")).publish(Noted{"a", 1}); }), ErrorCode::invalid);
  EXPECT_TRUE(all_of(bus, "events:note").empty());
}

TEST(RuntimePublish, ABatchHasAResultPerItem) {
  Bus bus = Bus::open("memory:", quiet());
  const auto results = bus.publish_batch(std::vector<Noted>{{"a", 1}, {"\xff", 2}, {"c", 3}});
  ASSERT_EQ(results.size(), 3U);
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::invalid);
  EXPECT_EQ(results[2].code, ErrorCode::ok);
  EXPECT_LT(results[0].position, results[2].position);
  const auto events = all_of(bus, "events:note");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].id, results[2].id);
}

TEST(RuntimePublish, ALargeBatchHasIdsOfItsOwnAndLosesNoneBesideOneThatFails) {
  Bus bus = Bus::open("memory:", quiet());
  std::vector<Noted> batch(300, Noted{"a", 1});
  batch[100].text = "\xff";
  std::set<std::string> ids, correlations;
  std::size_t stored = 0;
  for (const char* correlation : {"", "req \"1\""}) {
    const auto results = bus.publish_batch(batch, {.correlation_id = correlation, .key = "k"});
    const auto events = all_of(bus, "events:note");
    ASSERT_EQ(events.size(), stored + 299);
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].code, i == 100 ? ErrorCode::invalid : ErrorCode::ok);
      if (i == 100) continue;
      const Event& event = events[stored++];
      EXPECT_EQ(event.id, results[i].id);
      EXPECT_TRUE(event.id.starts_with("evt_"));
      EXPECT_TRUE(ids.insert(event.id).second);
      correlations.insert(event.correlationId);
      EXPECT_EQ(event.metadata.string("partitionKey"), "k");
    }
  }
  EXPECT_EQ(correlations.size(), 300U);
  EXPECT_TRUE(correlations.contains("req \"1\""));
}

TEST(RuntimePublish, RawEnvelopesPassUntouchedAndAreCompleted) {
  Bus bus = Bus::open("memory:", quiet());
  const std::string whole =
      R"({ "id":"x1","type":"note.taken","version":"1.0","timestamp":"2024-01-25T10:30:00Z","source":"s","correlationId":"c","data":{"n":1e2,"big":123456789012345678901},"odd":[1 , 2]})";
  const std::string_view texts[] = {whole, R"({"type":"note.taken","data":{}})", R"({"type":"note.taken")",
                                    R"({"type":"note.taken","data":{"a":1,"a":2}})"};
  const auto results = bus.publish_json(texts);
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[0].id, "x1");
  EXPECT_EQ(results[1].code, ErrorCode::ok);
  EXPECT_EQ(results[2].code, ErrorCode::invalid);
  EXPECT_EQ(results[3].code, ErrorCode::invalid);
  const auto page = bus.transport().read({.stream = "events:note"});
  ASSERT_EQ(page.records.size(), 2U);
  EXPECT_EQ(page.records[0].envelope, whole);
  const Event completed = decode<Json>(page.records[1].envelope);
  EXPECT_EQ(completed.id, results[1].id);
  EXPECT_EQ(completed.version, "1.0");
  EXPECT_EQ(completed.source, "notes");
}

TEST(RuntimePublish, AsynchronousEventsKeepTheOrderOfTheirThread) {
  Bus bus = Bus::open("memory:", quiet());
  std::atomic<int> told{0};
  for (int i = 0; i < 20'000; ++i) {
    if (i % 100 == 0) {
      bus.publish_async(Noted{"a", i}, {}, [&](const PublishResult& result) {
        EXPECT_EQ(result.code, ErrorCode::ok);
        EXPECT_EQ(result.id.size(), 30U);
        ++told;
      });
    } else {
      bus.publish_async(Noted{"a", i});
    }
  }
  bus.flush();
  EXPECT_EQ(told.load(), 200);
  const auto events = all_of(bus, "events:note");
  ASSERT_EQ(events.size(), 20'000U);
  for (int i = 0; i < 20'000; ++i)
    ASSERT_EQ(read_json<Noted>(events[static_cast<std::size_t>(i)].data.text()).number, i);
}

TEST(RuntimePublish, AFailureThatNobodySawIsThrownByFlushOnce) {
  const auto publisher = std::make_shared<runtime::Publisher>(
      runtime::PublisherLimits{}, [](std::span<const transport::Outgoing>, std::span<transport::Result> results) {
        for (auto& result : results) result = {.code = ErrorCode::unavailable, .retryable = true, .message = "down"};
      });
  publisher->start();
  publisher->add([](std::string& arena) { return arena += "x", runtime::Encoded{.end = 1}; }, {});
  EXPECT_EQ(code_of([&] { publisher->flush(); }), ErrorCode::unavailable);
  EXPECT_EQ(code_of([&] { publisher->flush(); }), ErrorCode::ok);
  publisher->close();
}

TEST(RuntimePublish, AFullQueueBlocksThenRefusesAtTheDeadline) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  const auto publisher = std::make_shared<runtime::Publisher>(
      runtime::PublisherLimits{.events = 4, .bytes = 1U << 20, .deadline = Millis(50)},
      [released](std::span<const transport::Outgoing>, std::span<transport::Result>) { released.wait(); });
  publisher->start();
  const auto add = [&] {
    publisher->add([](std::string& arena) { return arena += "x", runtime::Encoded{.end = 1}; }, {});
  };
  for (int i = 0; i < 4; ++i) add();
  EXPECT_EQ(code_of(add), ErrorCode::full);
  release.set_value();
  publisher->flush();
  add();
  publisher->close();
  EXPECT_EQ(code_of(add), ErrorCode::closed);
}

TEST(RuntimePublish, AForkedChildIsRefusedAndCanStillEnd) {
  std::optional<Bus> bus = Bus::open("memory:", quiet());
  bus->publish_async(Noted{"a", 1});
  bus->flush();
  const pid_t child = ::fork();
  if (child == 0) {
    // Ending waits for no thread, since the child has none of them; the alarm makes a hang a failure.
    ::alarm(20);
    const ErrorCode code = code_of([&] { bus->publish(Noted{"a", 1}); });
    bus.reset();
    ::_exit(code == ErrorCode::closed ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(RuntimePublish, OpeningSaysWhatIsWrong) {
  ::unsetenv("TIDINGS_URL");
  EXPECT_EQ(code_of([] { (void)Bus::open("", quiet()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([] { (void)Bus::open("nats://host", quiet()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([] { (void)Bus::open("memory:?colour=red", quiet()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([] { (void)Bus::open("memory:?durability=disk", quiet()); }), ErrorCode::not_supported);
  EXPECT_EQ(code_of([] { (void)Bus::open("memory:?durability=granite", quiet()); }), ErrorCode::invalid);
  ::setenv("TIDINGS_URL", "memory:", 1);
  EXPECT_EQ(Bus::open("", quiet()).level(), Level::memory);
  ::unsetenv("TIDINGS_URL");
}

}  // namespace
}  // namespace tidings
