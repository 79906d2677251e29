// The words that the tests are written in.
#include "conformance.hpp"
#include "process.hpp"

#include <stdlib.h>

#include <filesystem>

namespace tidings::conformance {

using namespace std::chrono_literals;

namespace {
// Only a broken engine makes a test wait this long; no test measures time by it.
constexpr auto patience = 60s;
}  // namespace

Item tick(std::int64_t n, std::string_view stream, std::string_view note) {
  Item item;
  item.stream = stream;
  item.id = "evt_" + std::to_string(n);
  item.type = "test.tick";
  item.envelope =
      R"({"id":")" + item.id +
      R"(","type":"test.tick","version":"1.0","timestamp":"2024-01-25T10:30:00.000Z","source":"conformance",)" +
      R"("correlationId":"req_)" + std::to_string(n) + R"(","data":{"n":)" + std::to_string(n) + R"(,"note":")" +
      std::string(note) + R"("}})";
  return item;
}

std::string id_of(std::string_view envelope) {
  // Not by the codec: a transport's tests must not depend on it, and the suite writes `id` first and plain.
  constexpr std::string_view mark = R"("id":")";
  const std::size_t at = envelope.find(mark);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = envelope.substr(at + mark.size());
  return std::string(rest.substr(0, rest.find('"')));
}

std::vector<Result> publish(Transport& transport, const std::vector<Item>& items) {
  std::vector<Outgoing> out;
  out.reserve(items.size());
  for (const Item& item : items) out.push_back(item.out());
  std::vector<Result> results(items.size());
  transport.publish(out, transport.capabilities().levels.back(), 60s, results);
  return results;
}

void publish_ticks(Transport& transport, std::int64_t first, std::int64_t count, std::string_view stream) {
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(transport.capabilities().largest_batch, 500));
  for (std::int64_t at = first; at < first + count; at += most) {
    std::vector<Item> items;
    for (std::int64_t n = at; n < std::min(first + count, at + most); ++n) items.push_back(tick(n, stream));
    for (const Result& result : publish(transport, items)) {
      ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
      // Who cannot be read needs no places.
      ASSERT_TRUE(result.position != Position{} || !transport.capabilities().read);
    }
  }
}

void make_groups(Transport& transport, std::string_view stream, std::vector<const char*> groups) {
  if (transport.capabilities().from_beginning) return;
  if (groups.empty()) {
    groups = {"reader", "first", "many", "idle", "another", "fails", "works",
              "a",      "b",     "one",  "two",  "slow",    "quick", witness};
  }
  for (const char* group : groups) {
    transport::GroupChange change;
    change.at.kind = Start::Kind::end;
    transport.change({stream, group}, change);
  }
}

::testing::AssertionResult counts(std::optional<std::uint64_t> counter, std::uint64_t expected) {
  if (!counter || *counter == expected) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << *counter << " were counted, and it should be " << expected;
}

std::vector<Delivery> fetch_all(Subscription& subscription, std::size_t most) {
  std::vector<Delivery> all;
  // An engine may need a second look, for instance to take over what a dead owner held.
  for (int empty = 0; empty < 2 && all.size() < most;) {
    Batch batch = subscription.fetch(0ms, {});
    empty = batch.deliveries.empty() ? empty + 1 : 0;
    for (Delivery& delivery : batch.deliveries) all.push_back(std::move(delivery));
  }
  return all;
}

std::vector<Result> settle(Subscription& subscription, const std::vector<Delivery>& deliveries, Settlement how) {
  std::vector<Settlement> settlements;
  for (const Delivery& delivery : deliveries) {
    how.token = delivery.token;
    settlements.push_back(how);
  }
  std::vector<Result> results(settlements.size());
  if (!settlements.empty()) subscription.settle(settlements, results);
  return results;
}

void settle_done(Subscription& subscription, const std::vector<Delivery>& deliveries) {
  for (const Result& result : settle(subscription, deliveries)) {
    ASSERT_EQ(result.code, ErrorCode::ok) << result.message;
    ASSERT_FALSE(result.stale);
  }
}

std::map<std::string, int> consume_all(Subscription& subscription) {
  std::map<std::string, int> counts;
  for (std::vector<Delivery> some = fetch_all(subscription); !some.empty(); some = fetch_all(subscription)) {
    for (const Delivery& delivery : some) ++counts[id_of(delivery.envelope)];
    settle_done(subscription, some);
    if (::testing::Test::HasFatalFailure()) break;
  }
  return counts;
}

GroupInfo group_info(Transport& transport, std::string_view stream, std::string_view group) {
  for (const auto& info : transport.describe(stream)) {
    for (const GroupInfo& row : info.groups) {
      if (row.group == group) return row;
    }
  }
  ADD_FAILURE() << "no group " << group << " on " << stream;
  return {};
}

std::vector<std::string> read_envelopes(Transport& transport, std::string_view stream) {
  std::vector<std::string> all;
  if (!transport.capabilities().read) {
    Interest everything;
    everything.service = witness;
    everything.streams = {std::string(stream)};
    everything.types = {"*"};
    everything.events = 100'000;
    everything.bytes = 1U << 30;
    const auto subscription = transport.subscribe(everything);
    for (const Delivery& delivery : fetch_all(*subscription)) all.emplace_back(delivery.envelope);
    return all;
  }
  transport::ReadRange range;
  range.stream = stream;
  for (;;) {
    const transport::Page page = transport.read(range);
    for (const auto& record : page.records) all.emplace_back(record.envelope);
    if (page.end) return all;
    range.from = page.next;
  }
}

std::vector<std::string> read_ids(Transport& transport, std::string_view stream) {
  std::vector<std::string> ids;
  for (const std::string& envelope : read_envelopes(transport, stream)) ids.push_back(id_of(envelope));
  return ids;
}

std::vector<ShelfItem> shelf(Transport& transport, std::string_view stream, std::string_view group,
                             std::vector<ShelfState> states) {
  std::vector<ShelfItem> all;
  ShelfQuery query;
  query.states = std::move(states);
  for (;;) {
    const std::vector<ShelfItem> page = transport.shelf({stream, group}, query);
    all.insert(all.end(), page.begin(), page.end());
    if (page.size() < query.limit) return all;
    query.after = page.back().key;
  }
}

struct LogLines::State {
  std::mutex mutex;
  std::vector<std::pair<LogLevel, std::string>> lines;
};

std::shared_ptr<LogLines::State> LogLines::make() { return std::make_shared<State>(); }

Log LogLines::sink() {
  return [state = state_](LogLevel level, std::string_view line) {
    const std::lock_guard lock(state->mutex);
    state->lines.emplace_back(level, line);
  };
}

std::size_t LogLines::count(LogLevel at_least) const {
  const std::lock_guard lock(state_->mutex);
  std::size_t count = 0;
  for (const auto& [level, line] : state_->lines) count += level >= at_least ? 1 : 0;
  return count;
}

void Seen::add(std::string id) {
  const std::lock_guard lock(mutex_);
  ++counts_[std::move(id)];
  changed_.notify_all();
}

bool Seen::wait_for(std::size_t count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] { return counts_.size() >= count; });
}

std::size_t Seen::distinct() const {
  const std::lock_guard lock(mutex_);
  return counts_.size();
}

std::map<std::string, int> Seen::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Signal::raise() {
  const std::lock_guard lock(mutex_);
  raised_ = true;
  changed_.notify_all();
}

bool Signal::wait() const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] { return raised_; });
}

bool Signal::raised() const {
  const std::lock_guard lock(mutex_);
  return raised_;
}

struct Running::State {
  Signal ended;
  mutable std::mutex mutex;
  std::string error;
};

Running::Running(Service& service) : state_(std::make_shared<State>()) {
  thread_ = std::jthread([&service, state = state_](std::stop_token stop) {
    std::string error;
    try {
      service.run(stop);
    } catch (const std::exception& caught) {
      error = caught.what();
    }
    {
      const std::lock_guard lock(state->mutex);
      state->error = error;
    }
    state->ended.raise();
  });
}

Running::~Running() { stop(); }

bool Running::stop() {
  thread_.request_stop();
  return wait();
}

bool Running::wait() {
  const bool ended = state_->ended.wait();
  if (!ended) {
    // A service that cannot be stopped would hang the whole run: this test's verdict must come out.
    std::cerr << "the service did not return from run() within a minute\n";
    std::abort();
  }
  return ended;
}

std::string Running::error() const {
  const std::lock_guard lock(state_->mutex);
  return state_->error;
}

Conformance::Conformance() : clock_(std::make_shared<testing::VirtualClock>()) {}

Conformance::~Conformance() {
  anchor_.reset();
  place_.reset();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

void Conformance::SetUp() {
  place_ = GetParam().fresh();
  if (!place_) NOT_OFFERED("this machine lacks what the engine needs");
  place_->follow(clock_);
  // An engine that lives in the process goes with its last handle; this one keeps it for the test.
  if (place_->file().empty()) anchor_ = open();
  if (anchor_) make_groups(*anchor_);
}

Environment Conformance::virtual_environment() {
  Environment environment;
  environment.clock = clock_.get();
  environment.log = log_.sink();
  return environment;
}

Environment Conformance::real_environment() {
  Environment environment;
  environment.log = log_.sink();
  return environment;
}

std::shared_ptr<Transport> Conformance::open() { return open_transport(place_->url(), virtual_environment()); }

std::shared_ptr<Transport> Conformance::open_real() {
  // Two clocks on one engine would let leases of one handle run out at once on another.
  if (anchor_) {
    anchor_.reset();
    anchor_ = open_transport(place_->url(), real_environment());
  }
  return open_transport(place_->url(), real_environment());
}

const std::string& Conformance::directory() {
  if (directory_.empty()) {
    std::string pattern = std::filesystem::temp_directory_path() / "tidings-conformance-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
    directory_ = pattern;
  }
  return directory_;
}

std::vector<std::string> Conformance::consumer(std::vector<std::string> options) {
  const std::vector<std::string>& mortal = GetParam().mortal;
  options.insert(options.end(), mortal.begin(), mortal.end());
  return child_command("consume", place().url(), options);
}

BusOptions Conformance::bus_options() {
  BusOptions options;
  options.source = "conformance";
  options.environment = real_environment();
  return options;
}

Interest Conformance::interest(std::string service, std::vector<std::string> streams) {
  Interest interest;
  interest.service = std::move(service);
  interest.streams = std::move(streams);
  interest.types = {"*"};
  return interest;
}

}  // namespace tidings::conformance
