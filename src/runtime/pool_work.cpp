#include <algorithm>
#include <chrono>

#include "runtime/pool.hpp"

namespace tidings::runtime {
namespace {

/// How long a fetch waits for something to come; only a bound, since a stop wakes it.
constexpr Millis longest_fetch{5'000};

}  // namespace

void Pool::work(const std::shared_ptr<Worker>& worker) {
  Lock lock(mutex_);
  while (!ended_) {
    const Steady at = now();
    if (take(*worker, at)) {
      wake_for_work(at);
      execute(lock, *worker);
      if (worker->abandoned) {
        late_return(*worker);
        return;
      }
    } else if (may_lead(at)) {
      lead(lock, at);
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
  lanes_.take(*lane, most, worker.deliveries);
  worker.lane = *lane;
  worker.call = worker.cancellation.begin();
  worker.deadline = at + service_->handlers.at(*lane).options.timeout;
  worker.busy = true;
  final_running_ += worker.deliveries.size();
  ++service_->stats.running;
  return true;
}

void Pool::execute(Lock& lock, Worker& worker) {
  lock.unlock();
  worker.outcomes.clear();
  worker.execution.run(service_->handlers.at(worker.lane), worker.deliveries, worker.cancellation, worker.outcomes);
  lock.lock();
  if (worker.abandoned) return;
  worker.busy = false;
  --service_->stats.running;
  lanes_.finished(worker.lane);
  final_running_ -= worker.deliveries.size();
  worker.deliveries.clear();
  for (Outcome& outcome : worker.outcomes) {
    if (outcome.final()) ++final_;
    // Given back to be fetched again at once: not so fast that it becomes a hot loop.
    if (outcome.kind == transport::Settlement::Kind::release) fetch_after_ = now() + std::chrono::milliseconds(100);
    outcomes_.push_back(std::move(outcome));
  }
  if (options_.until_idle) active_ = now();
  wake_settler();
  if (draining_) run_wake_.notify_all();
}

void Pool::late_return(Worker& worker) {
  --abandoned_;
  std::erase_if(workers_, [&](const auto& each) { return each.get() == &worker; });
  wake_for_work(now());
}

bool Pool::may_lead(Steady at) const noexcept {
  if (leading_ || draining_ || held_ > options_.prefetch_events / 2 || at < fetch_after_) return false;
  if (abandoned_ >= most_abandoned_) return false;
  return options_.max_events == 0 || final_ + final_running_ + lanes_.size() < options_.max_events;
}

Millis Pool::fetch_wait(Steady at) const noexcept {
  if (!options_.until_idle) return longest_fetch;
  const auto left = std::chrono::ceil<Millis>(active_ + *options_.until_idle - at);
  return std::clamp(left, Millis(1), longest_fetch);
}

void Pool::lead(Lock& lock, Steady at) {
  leading_ = true;
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
    check_idle(after);
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
    log(LogLevel::error, std::string("cannot go on reading: ") + error.what());
    fatal_ = std::make_exception_ptr(error);
    request_drain();
    return;
  }
  const Millis pause = reconnect_delay(++fetch_failures_, service_->environment().random->next());
  fetch_after_ = now() + pause;
  log(LogLevel::warning, "cannot read, trying again in " + format_duration(pause) + ": " + error.what());
}

void Pool::check_idle(Steady at) {
  if (!options_.until_idle || draining_) return;
  if (!quiet() || !outcomes_.empty() || settling_) {
    active_ = at;
  } else if (at - active_ >= *options_.until_idle) {
    request_drain();
  }
}

void Pool::request_drain() {
  draining_ = true;
  run_wake_.notify_all();
}

void Pool::wake_for_work(Steady at) {
  if (idle_ == 0) return;
  if (may_lead(at) || (lanes_.running() < concurrency_ && lanes_.next(at, false))) work_wake_.notify_one();
}

void Pool::idle(Lock& lock, Steady at) {
  // A bound for what nobody announces: a pause of the lead that ends, a batch that has waited long enough.
  Steady until = at + std::chrono::seconds(1);
  if (at < fetch_after_) until = std::min(until, fetch_after_);
  if (const auto ready = lanes_.ready_at(); ready && lanes_.running() < concurrency_) until = std::min(until, *ready);
  ++idle_;
  work_wake_.wait_for(lock, std::max<Steady>(until - at, std::chrono::microseconds(100)));
  --idle_;
}

}  // namespace tidings::runtime
