#include <algorithm>
#include <chrono>

#include "runtime/pool.hpp"

namespace tidings::runtime {
namespace {

/// How long a fetch waits for something to come; only a bound, since a stop wakes it.
constexpr Millis longest_fetch{5'000};

/// A run is a few deliveries that are over soon: a lock, a clock and a queue a run cost less than one of each a
/// delivery. Nobody waits for what a run holds, since runs are for a concurrency of 1; its outcomes wait this long at
/// most.
constexpr std::size_t most_of_run = 16;
constexpr std::chrono::microseconds longest_run{500};

}  // namespace

bool Pool::Worker::announce(std::uint32_t count, bool more) noexcept {
  std::uint32_t seen = progress.load(std::memory_order_relaxed);
  for (;;) {
    if ((seen & taken) != 0) return false;
    const bool goes_on = more && (seen & closed) == 0;
    const std::uint32_t next = count | (seen & closed) | (goes_on ? 0 : rested);
    if (progress.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return goes_on;
    }
  }
}

bool Pool::Worker::take_late(Steady at) noexcept {
  std::uint32_t seen = progress.load(std::memory_order_acquire);
  do {
    // The deadline of the next one is stored before it is announced, so what is read here is not older than `seen`.
    if ((seen & rested) != 0 || deadline.load(std::memory_order_relaxed) > at) return false;
  } while (!progress.compare_exchange_weak(seen, seen | closed | taken, std::memory_order_acq_rel,
                                           std::memory_order_acquire));
  return true;
}

void Pool::work(const std::shared_ptr<Worker>& worker) {
  Lock lock(mutex_);
  while (!ended_) {
    if (!notes_.empty()) {
      tell(lock);
      continue;
    }
    const Steady at = now();
    if (take(*worker, at)) {
      // Who holds all that there is, and is alone in handling, leads again when that is done. Somebody else who led
      // meanwhile would only fetch what has to wait, and on a busy machine runs before the handler does.
      execute(lock, *worker, (concurrency_ > 1 || !lanes_.empty()) && work_for_another(at));
      if (worker->abandoned) {
        late_return(*worker);
        return;
      }
    } else if (may_lead(at)) {
      lead(lock, *worker, at);
      if (worker->abandoned) return;
    } else {
      idle(lock, at);
    }
  }
}

bool Pool::take(Worker& worker, Steady at) {
  if (draining_ || lanes_.empty() || lanes_.running() >= concurrency_) return false;
  if (at - renewed_ >= options_.lease * 2 / 3) {
    // Stopped for so long that others may own these events by now: only a renewal tells.
    keep_wake_.notify_one();
    return false;
  }
  std::size_t most = options_.prefetch_events;
  if (options_.max_events > 0) {
    const std::uint64_t spoken_for = final_ + final_running_;
    if (spoken_for >= options_.max_events) return false;
    most = std::min<std::uint64_t>(most, options_.max_events - spoken_for);
  }
  const std::optional<std::size_t> lane = lanes_.next(at, false);
  if (!lane) return false;
  const Handler& handler = service_->handlers.at(*lane);
  if (concurrency_ == 1 && !handler.batch) {
    // A settler that sleeps would not look for what a run has finished, so the first delivery wakes it.
    lanes_.take_run(*lane, settler_sleeps_ ? 1 : std::min(most, most_of_run), worker.deliveries);
  } else {
    lanes_.take(*lane, most, worker.deliveries);
  }
  worker.lane = *lane;
  worker.call = worker.cancellation.begin();
  worker.began = at;
  worker.deadline.store(at + handler.options.timeout, std::memory_order_relaxed);
  worker.outcomes.clear();
  worker.outcomes.reserve(worker.deliveries.size());
  worker.progress.store(0, std::memory_order_relaxed);
  worker.harvested = 0;
  worker.busy = true;
  final_running_ += worker.deliveries.size();
  ++service_->stats.running;
  return true;
}

void Pool::execute(Lock& lock, Worker& worker, bool wake_another) {
  lock.unlock();
  // Not before: who wakes would have to wait for the lock first.
  if (wake_another) work_wake_.notify_one();
  const Handler& handler = service_->handlers.at(worker.lane);
  if (handler.batch) {
    worker.execution.run(handler, worker.deliveries, worker.cancellation, worker.outcomes);
    worker.announce(static_cast<std::uint32_t>(worker.outcomes.size()), false);
  } else {
    run_in_order(worker, handler);
  }
  lock.lock();
  if (worker.abandoned) return;
  worker.busy = false;
  --service_->stats.running;
  lanes_.finished(worker.lane);
  const std::size_t complete = worker.outcomes.size();
  final_running_ -= worker.deliveries.size() - worker.harvested;
  for (std::size_t i = worker.harvested; i < worker.outcomes.size(); ++i) collect(worker.outcomes[i]);
  if (complete < worker.deliveries.size()) {
    lanes_.put_back(worker.lane, std::span(worker.deliveries).subspan(complete), now());
  }
  worker.deliveries.clear();
  if (options_.until_idle && quiet()) active_ = now();
  wake_settler();
  if (draining_) run_wake_.notify_all();
}

void Pool::run_in_order(Worker& worker, const Handler& handler) {
  for (std::uint32_t count = 1;; ++count) {
    worker.outcomes.push_back(worker.execution.run_one(handler, worker.deliveries[count - 1], worker.cancellation));
    bool more = count < worker.deliveries.size();
    if (more) {
      const Steady at = now();
      more = at - worker.began <= longest_run;
      if (more) worker.deadline.store(at + handler.options.timeout, std::memory_order_relaxed);
    }
    if (!worker.announce(count, more)) return;
  }
}

void Pool::collect(Outcome& outcome) {
  if (outcome.final()) ++final_;
  // Given back to be fetched again at once: not so fast that it becomes a hot loop.
  if (outcome.kind == transport::Settlement::Kind::release) fetch_after_ = now() + std::chrono::milliseconds(100);
  outcomes_.push_back(std::move(outcome));
}

void Pool::harvest(Worker& worker) {
  const std::uint32_t complete = worker.complete();
  for (; worker.harvested < complete; ++worker.harvested) {
    collect(worker.outcomes[worker.harvested]);
    --final_running_;
  }
}

void Pool::harvest_all() {
  for (const auto& worker : workers_) {
    if (worker->busy) harvest(*worker);
  }
}

bool Pool::young_run() const noexcept {
  const Steady at = now();
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
    return worker->busy && worker->deliveries.size() > 1 && at - worker->began < 2 * longest_run;
  });
}

void Pool::late_return(Worker& worker) {
  --abandoned_;
  std::erase_if(workers_, [&](const auto& each) { return each.get() == &worker; });
  wake_for_work(now());
}

bool Pool::may_lead(Steady at) const noexcept {
  // A quarter of the prefetch is room enough for a fetch; with less than one place there is none.
  const std::size_t room = std::max<std::size_t>(options_.prefetch_events / 4, 1);
  if (leading_ || draining_ || held_ + room > options_.prefetch_events || at < fetch_after_) return false;
  if (abandoned_ >= most_abandoned_) return false;
  return options_.max_events == 0 || final_ + final_running_ + lanes_.size() < options_.max_events;
}

Millis Pool::fetch_wait(Steady at) const noexcept {
  Millis wait = longest_fetch;
  if (options_.until_idle) {
    const Steady left = active_ + *options_.until_idle - at;
    // Nothing came for so long. The engine has the last word, since it may only have been slow to answer.
    if (left <= Steady::zero()) return Millis(0);
    wait = std::min(wait, std::chrono::ceil<Millis>(left));
  }
  // A batch that waits to fill goes out in time, also when nothing more comes.
  if (const auto ready = lanes_.ready_at(); ready && *ready > at) {
    wait = std::min(wait, std::chrono::ceil<Millis>(*ready - at));
  }
  return std::max(wait, Millis(1));
}

void Pool::lead(Lock& lock, Worker& worker, Steady at) {
  leading_ = true;
  leader_ = &worker;
  const Millis wait = fetch_wait(at);
  lock.unlock();
  transport::Batch batch;
  std::optional<Error> failure;
  try {
    batch = subscription_->fetch(wait, fetch_stop_.get_token());
    routes_.clear();
    for (const transport::Delivery& delivery : batch.deliveries) {
      routes_.push_back(route(*service_, delivery, batch.types.get()));
    }
  } catch (const Error& error) {
    failure.emplace(error);
  } catch (const std::exception& error) {
    failure.emplace(ErrorCode::internal, error.what());
  }
  for (const transport::Gap& gap : batch.gaps) {
    log(LogLevel::warning, "retention removed " + to_string(gap.first) + " to " + to_string(gap.last) + " of " +
                               service_->handlers.streams()[gap.stream] + " before this group had them");
  }
  lock.lock();
  leading_ = false;
  if (worker.abandoned) return;
  if (failure) {
    fetch_failed(*failure);
  } else if (!batch.deliveries.empty()) {
    fetch_failures_ = 0;
    accept(batch, now());
  } else {
    fetch_failures_ = 0;
    const Steady after = now();
    // Empty before its time: paused, or at a bound. Either passes; asking at once again would be a hot loop.
    if (after - at < wait / 2) fetch_after_ = after + std::chrono::milliseconds(batch.paused ? 100 : 5);
    check_idle(after, wait == Millis(0));
  }
  if (draining_) run_wake_.notify_all();
}

void Pool::accept(transport::Batch& batch, Steady at) {
  active_ = at;
  service_->stats.delivered += batch.deliveries.size();
  held_ += batch.deliveries.size();
  for (std::size_t i = 0; i < batch.deliveries.size(); ++i) {
    if (routes_[i].handler != nullptr) {
      lanes_.push(routes_[i].handler->lane, std::move(batch.deliveries[i]), at);
    } else {
      outcomes_.push_back(make_outcome(*service_, batch.deliveries[i], nullptr, routes_[i].ending, {}, {}));
    }
  }
  if (!outcomes_.empty()) wake_settler();
}

void Pool::fetch_failed(const Error& error) {
  // Idle time counts while the engine answers only.
  active_ = now();
  if (draining_) return;
  if (!error.retryable()) {
    note(LogLevel::error, std::string("cannot go on reading: ") + error.what());
    end_with(error);
    return;
  }
  const Millis pause = reconnect_delay(++fetch_failures_, service_->environment().random->next());
  fetch_after_ = now() + pause;
  note(LogLevel::warning, "cannot read, trying again in " + format_duration(pause) + ": " + error.what());
}

void Pool::check_idle(Steady at, bool said_so) {
  if (!options_.until_idle || draining_) return;
  if (!quiet() || !outcomes_.empty() || !later_.empty() || settling_) {
    active_ = at;
  } else if (said_so && at - active_ >= *options_.until_idle) {
    request_drain();
  }
}

void Pool::request_drain() {
  draining_ = true;
  for (const auto& worker : workers_) worker->progress.fetch_or(Worker::closed, std::memory_order_acq_rel);
  run_wake_.notify_all();
}

void Pool::end_with(const Error& error) {
  if (!fatal_) fatal_.emplace(error);
  request_drain();
}

bool Pool::work_for_another(Steady at) const noexcept {
  return idle_ > 0 && (may_lead(at) || (lanes_.running() < concurrency_ && lanes_.next(at, false)));
}

void Pool::wake_for_work(Steady at) {
  if (work_for_another(at)) work_wake_.notify_one();
}

void Pool::idle(Lock& lock, Steady at) {
  // A bound for what nobody announces: a pause of the lead that ends, a batch that has waited long enough.
  Steady until = at + std::chrono::seconds(1);
  if (at < fetch_after_) until = std::min(until, fetch_after_);
  // One that is ready and was not taken waits for something that is announced.
  const auto ready = lanes_.ready_at();
  if (ready && *ready > at && lanes_.running() < concurrency_) until = std::min(until, *ready);
  if (options_.until_idle && abandoned_ >= most_abandoned_ && !leading_) {
    // Nobody fetches, so nobody else would find out.
    check_idle(at, true);
    if (!draining_) until = std::min(until, std::max(active_ + *options_.until_idle, at + Millis(1)));
  }
  ++idle_;
  work_wake_.wait_for(lock, std::max<Steady>(until - at, std::chrono::microseconds(100)));
  --idle_;
}

}  // namespace tidings::runtime
