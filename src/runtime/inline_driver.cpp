#include "runtime/inline_driver.hpp"

#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/execution.hpp"
#include "runtime/service_state.hpp"

namespace tidings::runtime {

/// A service that runs on its caller's thread.
struct InlineRun {
  explicit InlineRun(detail::ServiceState& service) : execution(service) {}
  Execution execution;
  Cancellation cancellation;
  std::unique_ptr<transport::Subscription> subscription;
  std::vector<std::unique_ptr<transport::Subscription>> left_behind;  // Of processes that "died".
  Steady crashed_at{};
  bool deliver_twice = false, crash_next = false;
};

}  // namespace tidings::runtime

namespace tidings::detail {
namespace {

using runtime::InlineRun;
using runtime::Outcome;

InlineRun& run_of(ServiceState& service) {
  if (!service.inline_run) {
    throw Error(ErrorCode::invalid,
                "the service " + service.name + " was not added to a harness; call Harness::add first");
  }
  return *service.inline_run;
}

/// Runs one call of `handler`, twice when asked for; the last outcomes count.
std::size_t call(InlineRun& run, const runtime::Handler& handler, std::span<const transport::Delivery> deliveries,
                 std::vector<Outcome>& outcomes) {
  const std::size_t before = outcomes.size();
  const std::size_t calls = run.deliver_twice ? 2 : 1;
  for (std::size_t i = 0; i < calls; ++i) {
    outcomes.resize(before);
    run.cancellation.begin();
    run.execution.run(handler, deliveries, run.cancellation, outcomes);
  }
  return calls;
}

void settle(ServiceState& service, InlineRun& run, std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return;
  std::vector<transport::Result> results;
  runtime::settle_outcomes(*run.subscription, outcomes, results);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (results[i].stale) {
      ++service.stats.stale;
      continue;
    }
    if (results[i].code != ErrorCode::ok) throw Error(results[i].code, results[i].retryable, results[i].message);
    using Kind = transport::Settlement::Kind;
    const Kind kind = outcomes[i].kind;
    service.stats.handled += kind == Kind::done;
    service.stats.ignored += kind == Kind::ignored;
    service.stats.released += kind == Kind::release;
    service.stats.dead += kind == Kind::dead;
    service.stats.failed += kind == Kind::again || (kind == Kind::dead && outcomes[i].counted);
    if (outcomes[i].extra && outcomes[i].extra->failure) service.report(*outcomes[i].extra->failure);
  }
  outcomes.clear();
}

}  // namespace

void ServiceAccess::attach(Service& service, bool deliver_twice) {
  ServiceState& state = *service.state_;
  if (state.started.exchange(true)) {
    throw Error(ErrorCode::conflict, "the service " + state.name + " runs already; add it to one harness only");
  }
  auto run = std::make_shared<InlineRun>(state);
  run->deliver_twice = deliver_twice;
  run->subscription = state.bus->transport().subscribe(state.interest());
  state.inline_run = std::move(run);
}

std::size_t ServiceAccess::step(Service& service) {
  ServiceState& state = *service.state_;
  InlineRun& run = run_of(state);
  if (!run.subscription) run.subscription = state.bus->transport().subscribe(state.interest());
  const transport::Batch batch = run.subscription->fetch(Millis(0), {});
  // The harness may stand still for longer than a lease.
  run.subscription->renew();
  state.stats.delivered += batch.deliveries.size();
  std::size_t calls = 0;
  std::vector<Outcome> outcomes;
  std::vector<transport::Delivery> gathered;
  for (std::size_t i = 0; i < batch.deliveries.size();) {
    const transport::Delivery& first = batch.deliveries[i];
    const runtime::Route route = runtime::route(state, first, batch.types.get());
    if (route.handler == nullptr) {
      outcomes.push_back(runtime::make_outcome(state, first, nullptr, route.ending, {}, {}));
      ++i;
      continue;
    }
    // Neighbours of one batch handler go into one call.
    gathered.assign(1, first);
    for (++i; route.handler->batch && i < batch.deliveries.size() && gathered.size() < route.handler->batch_size; ++i) {
      if (runtime::route(state, batch.deliveries[i], batch.types.get()).handler != route.handler) break;
      gathered.push_back(batch.deliveries[i]);
    }
    if (std::exchange(run.crash_next, false)) {
      std::vector<Outcome> lost;
      run.cancellation.begin();
      run.execution.run(*route.handler, gathered, run.cancellation, lost);
      if (!run.execution.entered()) {
        // A process dies in a handler; this delivery did not come to one.
        run.crash_next = true;
        std::move(lost.begin(), lost.end(), std::back_inserter(outcomes));
        ++calls;
        continue;
      }
      run.crashed_at = state.environment().clock->steady();
      run.left_behind.push_back(std::move(run.subscription));
      return calls + 1;
    }
    calls += call(run, *route.handler, gathered, outcomes);
  }
  settle(state, run, outcomes);
  return calls;
}

void ServiceAccess::set_deliver_twice(Service& service, bool on) { run_of(*service.state_).deliver_twice = on; }

void ServiceAccess::crash_next(Service& service) { run_of(*service.state_).crash_next = true; }

bool ServiceAccess::crashed(Service& service) {
  const ServiceState& state = *service.state_;
  const InlineRun& run = run_of(*service.state_);
  return !run.left_behind.empty() && state.environment().clock->steady() - run.crashed_at <= state.options.lease;
}

void ServiceAccess::detach(Service& service) { service.state_->inline_run.reset(); }

}  // namespace tidings::detail
