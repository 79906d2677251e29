// The conformance suite: what every transport must do, whatever engine stands behind it.
//
// A transport is put under test by one `Engine` value: how to make a fresh place for events, how to open handles onto
// it, and what the engine lets a test break. Every property is one or more tests named by its number and name; a
// property that the engine's capabilities rule out says so through NOT_OFFERED and is counted, and the table at the end
// names each.
//
//   INSTANTIATE_TEST_SUITE_P(memory, Conformance, ::testing::Values(memory_engine()));
//   int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tidings/testing.hpp>
#include <tidings/tidings.hpp>
#include <vector>

namespace tidings::conformance {

using namespace std::chrono_literals;
using transport::AckToken;
using transport::Batch;
using transport::Delivery;
using transport::GroupInfo;
using transport::Interest;
using transport::Outgoing;
using transport::Result;
using transport::Settlement;
using transport::ShelfItem;
using transport::ShelfQuery;
using transport::ShelfState;
using transport::Subscription;
using transport::Transport;

/// One fresh engine, which lives as long as this. A test gets one, and may open as many handles onto it as it likes.
class Place {
 public:
  virtual ~Place() = default;
  /// Time passes for it as on `clock`, where a test moves it; for an engine that has a clock of its own.
  virtual void follow(const std::shared_ptr<testing::VirtualClock>& /*clock*/) {}
  /// The URL that opens it.
  [[nodiscard]] virtual std::string url() const = 0;
  /// The file in which an embedded log stands; empty without one.
  [[nodiscard]] virtual std::string file() const { return {}; }
  /// Changes one bit at a place of the engine's storage where `text` stands, while nothing has it open; false when the
  /// text cannot be found.
  virtual bool flip_bit(std::string_view /*text*/) { return false; }
  /// Whether restart() works.
  [[nodiscard]] virtual bool restarts() const { return false; }
  /// Stops the engine's server at once and starts it again with what it had acknowledged; or ends connections without
  /// an answer as if it did, where the server is nobody's to stop. False without one.
  virtual bool restart() { return false; }
  /// A URL that reaches the same engine through a network which `cut` breaks: what is sent vanishes, and comes from
  /// nowhere, until it is mended. Empty without one.
  virtual std::string url_over_network() { return {}; }
  virtual void cut(bool /*broken*/) {}
  /// Kills the server that holds the events, and returns once another one has taken its place; false without one.
  virtual bool fail_over() { return false; }
  /// Moves a stream to another server while it is used: `move_begins` leaves it between both. False without several.
  virtual bool move_begins(std::string_view /*stream*/) { return false; }
  virtual void move_ends() {}
  /// What the engine's own checker says of its storage: "ok", or what is wrong.
  virtual std::string integrity() { return "ok"; }
};

/// A transport under test.
struct Engine {
  std::string name{};
  /// Makes a place nobody used before; null where this machine lacks what it takes.
  std::function<std::unique_ptr<Place>()> fresh{};
  /// The same in a given directory, for tests that bring a file system of their own; empty when there are no files.
  std::function<std::unique_ptr<Place>(const std::string& directory)> in_directory{};
  /// What consumers that are going to die are started with beside a test's own options. An engine that cannot see a
  /// death but by its lease asks for a short one, and for patience with that.
  std::vector<std::string> mortal{};
  bool in_order = true;  ///< A stream has one order. Its partitions have one each.
  /// Its time is the machine's, and cannot be moved: leases and delays take as long as they say.
  bool own_clock = false;
};

/// For tests that move time over leases and delays.
#define NEEDS_A_MOVABLE_CLOCK \
  if (GetParam().own_clock) NOT_OFFERED("the engine's leases and delays follow a clock of its own")

/// For tests that look at what a group holds aside.
#define NEEDS_A_SHELF \
  if (!capabilities().shelf) NOT_OFFERED("the engine's dead letters cannot be listed or moved")

/// For tests that look at history; what was published, read_envelopes() knows on every engine.
#define NEEDS_READING \
  if (!capabilities().read) NOT_OFFERED("the engine keeps no history that could be read")

/// For tests that count deaths.
#define NEEDS_DEATHS_SEEN \
  if (!capabilities().counts_crashes) NOT_OFFERED("the engine does not see deaths")

/// Names an engine in gtest's output.
inline void PrintTo(const Engine& engine, std::ostream* out) { *out << engine.name; }

/// Runs all tests and prints, for each property, whether it passed, failed or is not offered. Fails when a property
/// that the suite promises has no test.
int run(int argc, char** argv);

/// Ends the test as "not offered", with the reason: only for what the engine's capabilities, or this machine, rule out.
#define NOT_OFFERED(reason)                                                                             \
  do {                                                                                                  \
    const std::string why_not = (reason);                                                               \
    std::cout << "not offered: " << ::tidings::conformance::property_name() << ": " << why_not << '\n'; \
    GTEST_SKIP() << why_not;                                                                            \
  } while (false)

/// `P27_Poison` while a test `P27_Poison` or `P27_Poison_Among500` runs.
[[nodiscard]] std::string property_name();

// The events of the suite.

struct Tick {
  std::int64_t n = 0;
  std::string note{};
};
TIDINGS_EVENT(Tick, "test.tick", "1.0", n, note)

struct Tock {
  std::int64_t n = 0;
};
TIDINGS_EVENT(Tock, "test.tock", "1.0", n)

struct Work {
  std::int64_t n = 0;
};
TIDINGS_COMMAND(Work, "do.work", "1.0", n)

/// The stream of Tick and Tock.
inline constexpr std::string_view test_stream = "events:test";

/// An event ready to be stored: owns what its Outgoing points to.
struct Item {
  std::string stream{}, id{}, type{}, envelope{};
  [[nodiscard]] Outgoing out() const { return {stream, id, type, {}, {}, envelope}; }
};

/// A Tick with number `n` and id `evt_<n>` on `stream`, with `note` in its data.
[[nodiscard]] Item tick(std::int64_t n, std::string_view stream = test_stream, std::string_view note = {});

/// The `id` of an envelope.
[[nodiscard]] std::string id_of(std::string_view envelope);

/// Stores the items with one call, at the engine's strongest level.
[[nodiscard]] std::vector<Result> publish(Transport& transport, const std::vector<Item>& items);

/// Stores ticks `first` … `first + count − 1`; every one of them must be stored.
void publish_ticks(Transport& transport, std::int64_t first, std::int64_t count, std::string_view stream = test_stream);

/// Fetches without waiting until nothing comes, or `most` were fetched.
[[nodiscard]] std::vector<Delivery> fetch_all(Subscription& subscription, std::size_t most = SIZE_MAX);

/// Settles each delivery with a copy of `how`.
std::vector<Result> settle(Subscription& subscription, const std::vector<Delivery>& deliveries, Settlement how = {});

/// Settles all as done, and expects each to be accepted.
void settle_done(Subscription& subscription, const std::vector<Delivery>& deliveries);

/// Fetches and settles as done, alone deliveries included, until nothing comes; counts ids.
[[nodiscard]] std::map<std::string, int> consume_all(Subscription& subscription);

/// The group that sees what was published where nobody can read it.
inline constexpr const char* witness = "witness";

/// Makes groups on a stream, where who joins later has nothing of before; nothing elsewhere. Those of the suite, unless
/// others are named.
void make_groups(Transport& transport, std::string_view stream = test_stream, std::vector<const char*> groups = {});

/// The group's row; fails the test when there is none.
[[nodiscard]] GroupInfo group_info(Transport& transport, std::string_view stream, std::string_view group);

/// Whether a counter says so, where the engine has it.
[[nodiscard]] ::testing::AssertionResult counts(std::optional<std::uint64_t> counter, std::uint64_t expected);

/// Everything in a stream, in order. Where there is no history, all that came to the witness, which gives it back.
[[nodiscard]] std::vector<std::string> read_envelopes(Transport& transport, std::string_view stream);
[[nodiscard]] std::vector<std::string> read_ids(Transport& transport, std::string_view stream);

/// What a group holds aside in `states`.
[[nodiscard]] std::vector<ShelfItem> shelf(Transport& transport, std::string_view stream, std::string_view group,
                                           std::vector<ShelfState> states = {});

/// The lines of the log of an Environment.
class LogLines {
 public:
  [[nodiscard]] Log sink();
  [[nodiscard]] std::size_t count(LogLevel at_least) const;

 private:
  struct State;
  std::shared_ptr<State> state_ = make();
  static std::shared_ptr<State> make();
};

/// Ids that handlers on any thread saw; a test waits for them instead of sleeping.
class Seen {
 public:
  void add(std::string id);
  /// Waits until `count` distinct ids were seen; false after a minute, which only a broken engine needs.
  [[nodiscard]] bool wait_for(std::size_t count) const;
  [[nodiscard]] std::size_t distinct() const;
  [[nodiscard]] std::map<std::string, int> counts() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, int> counts_;
};

/// A flag that one thread raises and others wait for.
class Signal {
 public:
  void raise();
  /// False when it was not raised within a minute.
  [[nodiscard]] bool wait() const;
  [[nodiscard]] bool raised() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool raised_ = false;
};

/// A service that runs on a thread of its own until the end of its scope, or stop().
class Running {
 public:
  explicit Running(Service& service);
  ~Running();
  /// Asks it to stop and waits until it has. False when it did not return within a minute.
  bool stop();
  /// Waits until it ends by itself. False after a minute.
  [[nodiscard]] bool wait();
  /// The message of what run() threw; empty when it returned.
  [[nodiscard]] std::string error() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::jthread thread_;
};

/// The fixture: a fresh place, a virtual clock, and the means to open handles.
class Conformance : public ::testing::TestWithParam<Engine> {
 protected:
  Conformance();
  ~Conformance() override;
  void SetUp() override;
  /// What the engine offers.
  [[nodiscard]] transport::Capabilities capabilities() { return open()->capabilities(); }
  /// A handle whose time is `clock()`.
  [[nodiscard]] std::shared_ptr<Transport> open();
  /// A handle on the machine's own clocks, for services that run on threads.
  [[nodiscard]] std::shared_ptr<Transport> open_real();
  [[nodiscard]] testing::VirtualClock& clock() { return *clock_; }
  [[nodiscard]] std::shared_ptr<testing::VirtualClock> shared_clock() { return clock_; }
  [[nodiscard]] Place& place() { return *place_; }
  /// Whether a stream has one order over all.
  [[nodiscard]] static bool in_order() { return GetParam().in_order; }
  [[nodiscard]] Environment virtual_environment();
  [[nodiscard]] Environment real_environment();
  [[nodiscard]] LogLines& log() { return log_; }
  /// A scratch directory that goes away with the test.
  [[nodiscard]] const std::string& directory();
  /// The command of a consumer process (see child.cpp) that may die.
  [[nodiscard]] std::vector<std::string> consumer(std::vector<std::string> options);
  /// Options for a bus over open_real().
  [[nodiscard]] BusOptions bus_options();
  /// An Interest in the test stream.
  [[nodiscard]] static Interest interest(std::string service,
                                         std::vector<std::string> streams = {std::string(test_stream)});

 private:
  std::shared_ptr<testing::VirtualClock> clock_;
  LogLines log_;
  std::string directory_;
  std::unique_ptr<Place> place_;
  std::shared_ptr<Transport> anchor_;
};

}  // namespace tidings::conformance
