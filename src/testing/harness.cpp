#include <algorithm>
#include <optional>

#include <tidings/testing.hpp>

#include "runtime/inline_driver.hpp"

namespace tidings::testing {
namespace {

using detail::ServiceAccess;
using transport::ShelfItem;
using transport::ShelfQuery;
using transport::ShelfState;

constexpr std::size_t most_calls = 100'000;

// A bus outlives the harness when a service does, and reads its clocks until then: the transport, which the bus owns,
// keeps them alive.
struct Kept {
  std::shared_ptr<transport::Transport> transport;
  std::shared_ptr<VirtualClock> clock;
  std::shared_ptr<SeededRandom> random;
};

}  // namespace

struct Harness::State {
  struct Member {
    Service* service = nullptr;
    bool attached = false;
  };

  std::shared_ptr<VirtualClock> clock;
  std::shared_ptr<SeededRandom> random = std::make_shared<SeededRandom>();
  Environment environment;
  std::optional<Bus> bus;
  std::vector<Member> members;
  bool twice = false;

  explicit State(std::shared_ptr<VirtualClock> on) : clock(std::move(on)) {
    environment.clock = clock.get();
    environment.random = random.get();
  }

  void open(std::shared_ptr<transport::Transport> transport) {
    const auto kept = std::make_shared<Kept>(Kept{std::move(transport), clock, random});
    bus = Bus::over({kept, kept->transport.get()}, {.source = "test", .environment = environment});
  }

  // Joined at the first use rather than when added, so that handlers may still be given in between.
  void attach() {
    for (Member& member : members) {
      if (!member.attached) ServiceAccess::attach(*member.service, twice);
      member.attached = true;
    }
  }

  std::size_t step() {
    std::size_t calls = 0;
    for (Member& member : members) calls += ServiceAccess::step(*member.service);
    return calls;
  }

  // Progress is measured by deliveries: what is ignored or dead at once calls no handler.
  [[nodiscard]] std::uint64_t delivered() const {
    std::uint64_t all = 0;
    for (const Member& member : members) all += member.service->stats().delivered;
    return all;
  }

  [[nodiscard]] bool crashed() const {
    return std::any_of(members.begin(), members.end(),
                       [](const Member& member) { return ServiceAccess::crashed(*member.service); });
  }

  // All items of one state, over all groups that `of` wants.
  template <class Wanted>
  std::vector<ShelfItem> shelf(ShelfState state, Wanted of) {
    std::vector<ShelfItem> all;
    for (const transport::StreamInfo& stream : bus->transport().describe({})) {
      for (const transport::GroupInfo& group : stream.groups) {
        if (!of(group)) continue;
        ShelfQuery query{.states = {state}};
        while (true) {
          const std::vector<ShelfItem> page = bus->transport().shelf({stream.name, group.group}, query);
          all.insert(all.end(), page.begin(), page.end());
          if (page.size() < query.limit) break;
          query.after = page.back().key;
        }
      }
    }
    return all;
  }

  // When the next retry falls due.
  std::optional<Wall> next_retry() {
    std::optional<Wall> next;
    for (const ShelfItem& item : shelf(ShelfState::retrying, [](const transport::GroupInfo&) { return true; })) {
      if (item.due && (!next || *item.due < *next)) next = item.due;
    }
    return next;
  }

  // Moves the clock past every lease that is held, so that a crashed service is seen to be dead.
  void outlive_leases() {
    Wall end = clock->wall();
    for (const ShelfItem& item : shelf(ShelfState::leased, [](const transport::GroupInfo&) { return true; })) {
      if (item.due) end = std::max(end, *item.due);
    }
    clock->advance(end - clock->wall() + Millis{1});
    bus->transport().tend({}, {});
  }
};

Harness::Harness() : state_(std::make_unique<State>(std::make_shared<VirtualClock>())) {
  state_->open(open_transport("memory:", state_->environment));
}

Harness::Harness(std::shared_ptr<transport::Transport> transport, std::shared_ptr<VirtualClock> clock)
    : state_(std::make_unique<State>(std::move(clock))) {
  state_->open(std::move(transport));
}

// Services are borrowed and may be gone already; what still lives gives its work back itself.
Harness::~Harness() = default;

Bus& Harness::bus() { return *state_->bus; }

VirtualClock& Harness::clock() { return *state_->clock; }

void Harness::add(Service& service) { state_->members.push_back({&service}); }

std::size_t Harness::settle() {
  state_->attach();
  std::size_t calls = 0;
  bool outlived = false;
  for (std::size_t rounds = 0; calls <= most_calls && rounds <= most_calls; ++rounds) {
    const std::uint64_t before = state_->delivered();
    calls += state_->step();
    if (state_->delivered() != before) {
      outlived = false;
      continue;
    }
    if (outlived || !state_->crashed()) return calls;
    state_->outlive_leases();
    outlived = true;
  }
  throw Error(ErrorCode::internal,
              "harness: more than 100,000 handler calls without coming to rest; look for services that answer each "
              "other's events for ever");
}

std::size_t Harness::advance(Millis by) {
  const Wall target = state_->clock->wall() + by;
  std::size_t calls = settle();
  while (state_->clock->wall() < target) {
    const Wall now = state_->clock->wall();
    const Wall stop = std::min(target, state_->next_retry().value_or(target));
    state_->clock->advance(std::max(stop - now, Millis{1}));
    calls += settle();
  }
  return calls;
}

void Harness::crash_next(Service& service) {
  state_->attach();
  ServiceAccess::crash_next(service);
}

void Harness::deliver_twice(bool on) {
  state_->twice = on;
  for (const State::Member& member : state_->members) {
    if (member.attached) ServiceAccess::set_deliver_twice(*member.service, on);
  }
}

std::vector<DeadLetter> Harness::dead_letters(const Service& service) {
  std::vector<DeadLetter> letters;
  const auto own = [&](const transport::GroupInfo& group) {
    return is_command_stream(group.stream) ? group.owner == service.name() : group.group == service.name();
  };
  for (ShelfItem& item : state_->shelf(ShelfState::dead, own)) {
    letters.push_back({.id = std::move(item.id),
                       .type = std::move(item.type),
                       .reason = std::move(item.reason),
                       .error = std::move(item.error),
                       .attempts = item.attempts,
                       .crashes = item.crashes});
  }
  return letters;
}

std::vector<std::string> Harness::envelopes(MessageInfo info) {
  const bool command = info.kind == MessageKind::command;
  transport::ReadRange range{.stream = command ? command_stream(info.type) : event_stream(info.type)};
  range.type = info.type;
  std::vector<std::string> texts;
  while (true) {
    const transport::Page page = state_->bus->transport().read(range);
    for (const transport::Record& record : page.records) texts.emplace_back(record.envelope);
    if (page.end) return texts;
    range.from = page.next;
  }
}

}  // namespace tidings::testing
