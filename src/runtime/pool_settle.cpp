#include <algorithm>
#include <chrono>
#include <iterator>

#include "runtime/pool.hpp"

namespace tidings::runtime {
namespace {

using Kind = transport::Settlement::Kind;

/// So many outcomes are worth a call of their own; fewer wait a moment for company while handlers run. Each call wakes
/// a thread and is a transaction, so a busy service does better with few large ones.
constexpr std::size_t enough_to_settle = 1024;
constexpr std::chrono::microseconds linger{2000};

void count(const Outcome& outcome, ServiceStats& stats) noexcept {
  switch (outcome.kind) {
    case Kind::done:
      ++stats.handled;
      break;
    case Kind::ignored:
      ++stats.ignored;
      break;
    case Kind::release:
      ++stats.released;
      break;
    case Kind::again:
      ++stats.failed;
      break;
    case Kind::dead:
      ++stats.dead;
      if (outcome.counted) ++stats.failed;
      break;
  }
}

void add(const ServiceStats& counts, ServiceStats& stats) noexcept {
  stats.handled += counts.handled;
  stats.ignored += counts.ignored;
  stats.released += counts.released;
  stats.failed += counts.failed;
  stats.dead += counts.dead;
}

}  // namespace

void Pool::wake_settler() {
  if (outcomes_.empty()) return;
  if (settler_sleeps_) {
    settler_sleeps_ = false;
    settle_wake_.notify_one();
  } else if (settler_lingers_ && (outcomes_.size() >= enough_outcomes() || quiet() || draining_)) {
    settler_lingers_ = false;
    settle_wake_.notify_one();
  }
}

std::size_t Pool::enough_outcomes() const noexcept {
  // A quarter of the prefetch, so that room for the next fetch comes back while there is still something to handle.
  return std::clamp<std::size_t>(options_.prefetch_events / 4, 1, enough_to_settle);
}

void Pool::settle_loop() {
  Lock lock(mutex_);
  std::vector<Outcome> outcomes;
  for (;;) {
    await_outcomes(lock);
    if (outcomes_.empty()) return;
    if (outcomes_.size() < enough_outcomes() && !quiet() && !draining_) {
      settler_lingers_ = true;
      settle_wake_.wait_for(lock, linger, [this] { return !settler_lingers_ || settler_stops_; });
      settler_lingers_ = false;
    }
    harvest_all();
    outcomes.swap(outcomes_);
    settling_ = true;
    lock.unlock();
    settle(outcomes);
    outcomes.clear();
    lock.lock();
    settling_ = false;
    wake_for_work(now());
  }
}

void Pool::await_outcomes(Lock& lock) {
  for (;;) {
    tell(lock);
    // What a run has finished must not wait for its handler that may hang now.
    harvest_all();
    const Steady at = now();
    if (!later_.empty() && at >= later_at_) {
      std::move(later_.begin(), later_.end(), std::back_inserter(outcomes_));
      later_.clear();
    }
    if (!outcomes_.empty() || (settler_stops_ && later_.empty())) return;
    if (young_run()) {
      settle_wake_.wait_for(lock, linger);
      continue;
    }
    settler_sleeps_ = true;
    if (later_.empty()) {
      settle_wake_.wait(lock);
    } else {
      settle_wake_.wait_for(lock, later_at_ - at);
    }
    settler_sleeps_ = false;
  }
}

void Pool::settle(std::vector<Outcome>& outcomes) {
  thread_local std::vector<transport::Result> results;
  for (std::uint32_t failures = 1;; ++failures) {
    std::optional<Error> failure;
    try {
      settle_outcomes(*subscription_, outcomes, results);
      break;
    } catch (const Error& error) {
      failure.emplace(error);
    } catch (const std::exception& error) {
      failure.emplace(ErrorCode::internal, true, error.what());
    }
    Lock lock(mutex_);
    const bool over = settler_stops_ && now() >= settle_until_;
    if (!failure->retryable() || over) {
      note(LogLevel::error,
           std::to_string(outcomes.size()) +
               " deliveries could not be settled, and go out again once this run has ended: " + failure->what());
      held_ -= outcomes.size();
      for (const Outcome& outcome : outcomes) final_ -= outcome.final() ? 1 : 0;
      // Their lease is renewed with the others' as long as the subscription lives, so only its end gives them back.
      if (!settler_stops_) end_with(*failure);
      return;
    }
    const Millis pause = reconnect_delay(failures, service_->environment().random->next());
    note(LogLevel::warning, "cannot settle, trying again in " + format_duration(pause) + ": " + failure->what());
    tell(lock);
    settle_wake_.wait_for(lock, std::min(pause, Millis(settler_stops_ ? 200 : 30'000)));
  }
  // Nearly all went as they should: these are counted before the workers have to wait.
  ServiceStats counts;
  std::size_t ended = 0;
  const auto is_settled = [](const transport::Result& result) { return result.code == ErrorCode::ok && !result.stale; };
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (!is_settled(results[i])) continue;
    count(outcomes[i], counts);
    ++ended;
  }
  {
    Lock lock(mutex_);
    const std::size_t before = later_.size();
    held_ -= ended;
    add(counts, service_->stats);
    for (std::size_t i = 0; ended < outcomes.size() && i < outcomes.size(); ++i) {
      if (!is_settled(results[i])) not_settled(outcomes[i], results[i], service_->stats);
    }
    came_back(lock, later_.size() - before, outcomes.size());
    if (options_.max_events > 0 && service_->stats.handled + service_->stats.dead >= options_.max_events) {
      request_drain();
    }
  }
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (is_settled(results[i]) && outcomes[i].extra && outcomes[i].extra->failure) {
      service_->report(*outcomes[i].extra->failure);
    }
  }
}

void Pool::came_back(Lock& lock, std::size_t count, std::size_t of) {
  settle_failures_ = count > 0 ? settle_failures_ + 1 : later_.empty() ? 0 : settle_failures_;
  if (count == 0) return;
  const Millis pause = reconnect_delay(settle_failures_, service_->environment().random->next());
  later_at_ = now() + std::min(pause, Millis(settler_stops_ ? 100 : 5'000));
  // Where everything is refused, the next ones would be too.
  if (count == of && !settler_stops_) settle_wake_.wait_for(lock, std::min(pause, Millis(100)));
}

void Pool::not_settled(Outcome& outcome, const transport::Result& result, ServiceStats& stats) {
  if (result.stale || result.code == ErrorCode::stale) {
    --held_;
    ++stats.stale;
    if (outcome.final()) --final_;
    // Nobody may hold it after all, and a loss is never silent. What was handled has no need of its settlement.
    if (outcome.extra && outcome.extra->failure) {
      const Failure& failure = *outcome.extra->failure;
      note(LogLevel::warning, failure.type + " " + failure.id + " of " + failure.stream +
                                  " failed, and that was not recorded, since its delivery is no longer held: it was "
                                  "settled before or went to another instance, else replay it; its error: " +
                                  failure.error);
    }
    return;
  }
  if (result.retryable && !(settler_stops_ && now() >= settle_until_)) {
    later_.push_back(std::move(outcome));
    return;
  }
  // Refused for good. What cannot be stored with its outputs is the handler's failure; anything else goes out again.
  if (outcome.final()) --final_;
  const bool outputs_refused =
      !settler_stops_ && outcome.kind == Kind::done && outcome.extra && outcome.extra->delivery;
  note(LogLevel::error, "a settlement was refused: " + result.message);
  if (outputs_refused) {
    const OutcomeExtra& extra = *outcome.extra;
    outcomes_.push_back(make_outcome(*service_, *extra.delivery, extra.handler, Ending::failed, {},
                                     "what the handler published was refused: " + result.message));
    if (outcomes_.back().final()) ++final_;
  } else if (outcome.kind != Kind::release && !settler_stops_) {
    Outcome& back = outcomes_.emplace_back();
    back.token = outcome.token;
    back.kind = Kind::release;
    back.counted = false;
    back.after = Millis(1000);
  } else {
    --held_;
    // It stays leased until the subscription ends.
    if (!settler_stops_) end_with(Error(result.code, result.message));
  }
}

void Pool::keep() {
  Lock lock(mutex_);
  Steady renew_at = renewed_ + options_.lease / 3;
  while (!keeper_stops_) {
    const Steady at = now();
    expire(lock, at);
    if (missing_ > 0) start_missing();
    if (at - renewed_ >= options_.lease * 2 / 3 && !lease_in_doubt_) {
      lease_in_doubt_ = true;
      note(LogLevel::warning, "its lease was not renewed in time; what runs is told to stop");
      cancel_running(lock);
    }
    if (at >= renew_at) {
      renew(lock);
      renew_at = lease_in_doubt_ || renewed_ < at ? now() + options_.lease / 12 : renewed_ + options_.lease / 3;
    }
    tell(lock);
    if (keeper_stops_) return;
    keep_wake_.wait_for(lock, keeper_pause(now(), renew_at));
  }
}

Millis Pool::keeper_pause(Steady at, Steady renew_at) const noexcept {
  Steady wake = missing_ > 0 ? std::min<Steady>(renew_at, at + std::chrono::seconds(1)) : renew_at;
  for (std::size_t lane = 1; lane < service_->handlers.size(); ++lane) {
    // What starts while the keeper sleeps cannot run out of time before this.
    wake = std::min<Steady>(wake, at + service_->handlers.at(lane).options.timeout);
  }
  for (const auto& worker : workers_) {
    if (worker->busy) wake = std::min(wake, worker->deadline.load(std::memory_order_relaxed));
  }
  return std::max(std::chrono::ceil<Millis>(wake - at), Millis(1));
}

void Pool::expire(Lock& lock, Steady at) {
  std::vector<std::shared_ptr<Worker>> late;
  for (const auto& worker : workers_) {
    if (worker->busy && worker->take_late(at)) late.push_back(worker);
  }
  if (late.empty()) return;
  for (const auto& worker : late) {
    const Handler& handler = service_->handlers.at(worker->lane);
    // Of a run only the one that hangs is late: what is complete stays so, the rest has not begun.
    const std::uint32_t complete = worker->complete();
    harvest(*worker);
    const std::span<transport::Delivery> unfinished = std::span(worker->deliveries).subspan(complete);
    const std::size_t hanging = handler.batch ? unfinished.size() : 1;
    for (const transport::Delivery& delivery : unfinished.first(hanging)) {
      outcomes_.push_back(
          make_outcome(*service_, delivery, &handler, Ending::timed_out, {},
                       "the handler ran longer than its timeout of " + format_duration(handler.options.timeout)));
      if (outcomes_.back().final()) ++final_;
    }
    lanes_.put_back(worker->lane, unfinished.subspan(hanging), at);
    worker->busy = false;
    worker->abandoned = true;
    worker->thread.detach();
    ++abandoned_;
    --service_->stats.running;
    final_running_ -= worker->deliveries.size() - worker->harvested;
    lanes_.finished(worker->lane);
    ++missing_;
  }
  start_missing();
  if (options_.until_idle) active_ = at;
  if (abandoned_ >= most_abandoned_) {
    note(LogLevel::error, std::to_string(abandoned_) +
                              " handlers hang beyond their timeout; nothing more is fetched until one of them returns");
  }
  wake_settler();
  wake_for_work(at);
  run_wake_.notify_all();
  lock.unlock();
  for (const auto& worker : late) worker->cancellation.fire(worker->call);
  lock.lock();
}

void Pool::cancel_running(Lock& lock) {
  std::vector<std::pair<std::shared_ptr<Worker>, std::uint64_t>> running;
  for (const auto& worker : workers_) {
    if (!worker->busy) continue;
    worker->progress.fetch_or(Worker::closed, std::memory_order_acq_rel);
    running.emplace_back(worker, worker->call);
  }
  lock.unlock();
  for (const auto& [worker, call] : running) worker->cancellation.fire(call);
  lock.lock();
}

void Pool::renew(Lock& lock) {
  const Steady asked = now();
  lock.unlock();
  std::vector<transport::AckToken> lost;
  std::optional<Error> failure;
  try {
    lost = subscription_->renew();
  } catch (const Error& error) {
    failure.emplace(error);
  } catch (const std::exception& error) {
    failure.emplace(ErrorCode::internal, error.what());
  }
  lock.lock();
  if (failure) {
    note(LogLevel::warning, std::string("its lease could not be renewed, trying again: ") + failure->what());
    return;
  }
  renewed_ = asked;
  lease_in_doubt_ = false;
  if (!lost.empty()) {
    const std::size_t dropped = lanes_.drop(lost);
    held_ -= dropped;
    service_->stats.stale += dropped;
    note(LogLevel::warning, std::to_string(lost.size()) + " deliveries were lost to others, since the lease ran out");
    std::vector<std::pair<std::shared_ptr<Worker>, std::uint64_t>> running;
    for (const auto& worker : workers_) {
      const bool hit =
          worker->busy && std::any_of(worker->deliveries.begin(), worker->deliveries.end(), [&](const auto& d) {
            return std::find(lost.begin(), lost.end(), d.token) != lost.end();
          });
      if (!hit) continue;
      worker->progress.fetch_or(Worker::closed, std::memory_order_acq_rel);
      running.emplace_back(worker, worker->call);
    }
    lock.unlock();
    for (const auto& [worker, call] : running) worker->cancellation.fire(call);
    lock.lock();
  }
  wake_for_work(now());
}

}  // namespace tidings::runtime
