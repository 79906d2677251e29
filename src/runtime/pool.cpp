#include "runtime/pool.hpp"

#include <algorithm>
#include <chrono>

namespace tidings::runtime {
namespace {

/// False when `stop` fires first.
bool sleep_unless(const std::stop_token& stop, Millis pause) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, pause, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

Pool::Pool(std::shared_ptr<detail::ServiceState> service)
    : service_(std::move(service)),
      options_(service_->options),
      clock_(*service_->environment().clock),
      concurrency_(std::max(service_->options.concurrency, 1U)),
      most_abandoned_(std::max(4U, concurrency_)),
      mutex_(service_->mutex),
      lanes_(service_->handlers, concurrency_) {}

void Pool::log(LogLevel level, const std::string& line) const {
  service_->bus->log(level, "service " + service_->name + ": " + line);
}

void Pool::tell(Lock& lock) {
  if (notes_.empty()) return;
  std::vector<std::pair<LogLevel, std::string>> notes;
  notes.swap(notes_);
  lock.unlock();
  for (const auto& [level, line] : notes) log(level, line);
  lock.lock();
}

void Pool::run(const std::shared_ptr<detail::ServiceState>& service, std::stop_token stop) {
  service->bus->check_process();
  if (service->started.exchange(true)) {
    throw Error(ErrorCode::conflict,
                "the service " + service->name + " was run before; make another Service to run it again");
  }
  std::stop_source ending;
  const auto end = [&ending] { ending.request_stop(); };
  const std::stop_callback by_caller(stop, end);
  const std::stop_callback by_owner(service->ending.get_token(), end);
  for (std::uint32_t failures = 1;; ++failures) {
    const auto pool = std::make_shared<Pool>(service);
    {
      const Lock lock(service->mutex);
      service->pool = pool;
      pool->final_ = service->stats.handled + service->stats.dead;
    }
    pool->run_here(ending.get_token());
    if (!pool->fatal_) return;
    // Somebody removed the group: joining again makes it anew.
    if (pool->fatal_->code() != ErrorCode::not_found) throw *pool->fatal_;
    const Millis pause = reconnect_delay(failures, service->environment().random->next());
    pool->log(LogLevel::warning, "joins its streams again in " + format_duration(pause));
    if (!sleep_unless(ending.get_token(), pause)) return;
  }
}

void Pool::stop_and_wait() {
  Lock lock(mutex_);
  request_drain();
  run_wake_.wait(lock, [this] { return finished_; });
}

void Pool::announce(const transport::Interest& interest) const {
  std::string streams;
  for (const std::string& stream : interest.streams) streams += (streams.empty() ? "" : ", ") + stream;
  log(LogLevel::info, "reads " + streams);
  // Where a group has nothing of before it was made, an archive's history is not the group's.
  if (interest.start.kind != Start::Kind::beginning || !service_->bus->transport().capabilities().from_beginning)
    return;
  for (const std::string& stream : interest.streams) {
    try {
      const std::string_view group = group_of(stream, interest.service);
      for (const transport::StreamInfo& info : service_->bus->transport().describe(stream)) {
        const bool known = std::any_of(info.groups.begin(), info.groups.end(),
                                       [&](const transport::GroupInfo& each) { return each.group == group; });
        if (known || info.length == 0) continue;
        log(LogLevel::warning, "is new on " + stream + " and starts at its beginning: " + std::to_string(info.length) +
                                   " events of its history come first; ServiceOptions::start says otherwise");
      }
    } catch (const Error&) {
      // Only a courtesy; what is really wrong shows when the streams are joined.
    }
  }
}

bool Pool::subscribe(std::stop_token stop) {
  const transport::Interest interest = service_->interest();
  for (std::uint32_t failures = 1; !stop.stop_requested(); ++failures) {
    try {
      announce(interest);
      auto subscription = service_->bus->transport().subscribe(interest);
      const Lock lock(mutex_);
      subscription_ = std::move(subscription);
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      const Millis pause = reconnect_delay(failures, service_->environment().random->next());
      log(LogLevel::warning,
          "cannot join its streams yet, trying again in " + format_duration(pause) + ": " + error.what());
      sleep_unless(stop, pause);
    }
  }
  return false;
}

void Pool::start_worker() {
  auto worker = std::make_shared<Worker>(*service_);
  workers_.push_back(worker);
  // The thread owns the pool and its worker: a handler that never returns may outlive the run.
  try {
    worker->thread = std::thread([self = shared_from_this(), worker] { self->work(worker); });
  } catch (...) {
    workers_.pop_back();
    throw;
  }
}

void Pool::start_missing() {
  for (; missing_ > 0; --missing_) {
    try {
      start_worker();
    } catch (const std::exception& error) {
      note(LogLevel::error,
           "no thread can be started in place of one whose handler hangs, trying again: " + std::string(error.what()));
      return;
    }
  }
}

void Pool::run_here(std::stop_token stop) {
  struct Finish {
    Pool& pool;
    ~Finish() {
      const Lock lock(pool.mutex_);
      pool.finished_ = true;
      pool.run_wake_.notify_all();
    }
  } const finish{*this};
  if (!subscribe(stop)) return;
  std::thread settler, keeper;
  {
    // Before the first handler runs, so that a stop which one asks for holds from there on.
    const std::stop_callback on_stop(stop, [this] {
      const Lock held(mutex_);
      request_drain();
    });
    Lock lock(mutex_);
    renewed_ = active_ = now();
    try {
      for (unsigned i = 0; i <= concurrency_; ++i) start_worker();
      settler = std::thread([this] { settle_loop(); });
      keeper = std::thread([this] { keep(); });
    } catch (const std::exception& error) {
      end_with(Error(ErrorCode::unavailable, true,
                     "the service " + service_->name + " cannot start its threads; allow more of them or lower its " +
                         "concurrency: " + error.what()));
    }
    run_wake_.wait(lock, [this] { return draining_; });
  }
  fetch_stop_.request_stop();
  Lock lock(mutex_);
  drain(lock);
  tell(lock);
  settler_stops_ = true;
  later_at_ = {};
  settle_wake_.notify_all();
  lock.unlock();
  if (settler.joinable()) settler.join();
  lock.lock();
  keeper_stops_ = ended_ = true;
  keep_wake_.notify_all();
  work_wake_.notify_all();
  const std::vector<std::shared_ptr<Worker>> workers = workers_;
  const bool fetching = leading_;
  lock.unlock();
  if (keeper.joinable()) keeper.join();
  for (const auto& worker : workers) {
    if (worker->thread.joinable()) worker->thread.join();
  }
  lock.lock();
  tell(lock);
  lock.unlock();
  // A fetch that does not return still uses it; then it ends with the pool, which that thread owns.
  if (!fetching) subscription_.reset();
}

bool Pool::wait_until(Lock& lock, Steady until, bool (Pool::*done)() const noexcept) {
  while (!(this->*done)()) {
    const Steady left = until - now();
    if (left <= Steady::zero()) return false;
    // In slices, so that a clock which a test moves is looked at again.
    run_wake_.wait_for(lock, std::min<Steady>(left, std::chrono::milliseconds(100)));
  }
  return true;
}

void Pool::drain(Lock& lock) {
  const Steady until = now() + options_.drain;
  work_wake_.notify_all();
  if (!wait_until(lock, std::max(until, now() + std::chrono::seconds(2)), &Pool::lead_is_over)) {
    note(LogLevel::error, "its engine does not return from a fetch at the end of the drain time, and is left behind");
    leader_->abandoned = true;
    leader_->thread.detach();
  }
  release_waiting();
  if (!wait_until(lock, until, &Pool::nothing_runs)) give_up_running(lock);
  release_waiting();
  // Time to tell the engine, even where the handlers took all of it.
  settle_until_ = std::max(until, now() + std::chrono::seconds(2));
}

void Pool::release_waiting() {
  std::vector<transport::Delivery> waiting;
  lanes_.clear(waiting);
  for (const transport::Delivery& delivery : waiting) {
    outcomes_.push_back(make_outcome(*service_, delivery, nullptr, Ending::released, {}, {}));
  }
  if (!waiting.empty()) wake_settler();
}

void Pool::give_up_running(Lock& lock) {
  cancel_running(lock);
  wait_until(lock, now() + std::min<Steady>(std::chrono::seconds(1), options_.drain + Millis(100)),
             &Pool::nothing_runs);
  for (const auto& worker : workers_) {
    if (!worker->busy) continue;
    note(LogLevel::error, "a handler of " + service_->handlers.at(worker->lane).type +
                              " still runs at the end of the drain time and is left behind; its event is given back");
    harvest(*worker);
    worker->busy = false;
    worker->abandoned = true;
    worker->thread.detach();
    ++abandoned_;
    --service_->stats.running;
    lanes_.finished(worker->lane);
  }
}

}  // namespace tidings::runtime
