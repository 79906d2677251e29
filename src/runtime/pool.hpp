// The threads of a running service.
//
// `concurrency` + 1 workers share two roles: any number of them up to `concurrency` run handlers, at most one of them
// leads, that is fetches. Who fetched a delivery handles it himself when a place is free, and another worker takes the
// lead: a single event costs no hand-off. One settler sends what was decided, in batches that form while it sends. One
// keeper renews the lease and ends handlers whose time is up.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/execution.hpp"
#include "runtime/lanes.hpp"
#include "runtime/service_state.hpp"

namespace tidings::runtime {

/// One run of one service. Guarded by the service's mutex.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  /// Runs `service` until `stop` fires or its options end it, then drains. Throws Error for what waiting cannot cure.
  static void run(const std::shared_ptr<detail::ServiceState>& service, std::stop_token stop);
  explicit Pool(std::shared_ptr<detail::ServiceState> service);
  /// Asks for a drain and waits for the end of the run; from another thread than the run's.
  void stop_and_wait();

 private:
  using Lock = std::unique_lock<std::mutex>;
  /// A worker, and the call that it is in. With concurrency 1 a call may be a run: a few deliveries, one after the
  /// other, without the lock in between. The worker announces each one that is complete in `progress`; whoever sets
  /// `closed` there makes sure that the run begins no further one, and `taken` that what runs now counts no more. The
  /// worker sets `rested` with its last one: from then on nothing of the call can be late.
  struct Worker {
    static constexpr std::uint32_t closed = 1U << 31, rested = 1U << 30, taken = 1U << 29;
    explicit Worker(detail::ServiceState& service) : execution(service) {}
    [[nodiscard]] std::uint32_t complete() const noexcept {
      return progress.load(std::memory_order_acquire) & (taken - 1);
    }
    /// The first `count` are complete, and there is `more`; returns whether to begin it.
    bool announce(std::uint32_t count, bool more) noexcept;
    /// Takes what runs away from the worker, unless it is not late at `now`.
    bool take_late(Steady now) noexcept;
    Execution execution;
    Cancellation cancellation;
    std::vector<transport::Delivery> deliveries;
    std::vector<Outcome> outcomes;           // Those below `progress` may be moved away under the lock.
    std::atomic<std::uint32_t> progress{0};  // Complete deliveries of the run, and the bits above.
    std::uint32_t harvested = 0;             // Outcomes that were moved away.
    std::size_t lane = 0;
    std::uint64_t call = 0;
    Steady began{};
    std::atomic<Steady> deadline{Steady{}};  // Of the delivery that runs now.
    bool busy = false;
    bool abandoned = false;  // Its handler hangs; another worker stands in for it.
    bool exited = false;
    std::thread thread;
  };

  // pool.cpp: the run as a whole.
  void run_here(std::stop_token stop);
  bool subscribe(std::stop_token stop);
  void announce(const transport::Interest& interest) const;
  void drain(Lock& lock);
  void release_waiting();
  void give_up_running(Lock& lock);
  void start_worker();
  void start_missing();
  bool wait_until(Lock& lock, Steady until, bool (Pool::*done)() const noexcept);
  [[nodiscard]] bool lead_is_over() const noexcept { return !leading_; }
  [[nodiscard]] bool nothing_runs() const noexcept { return lanes_.running() == 0; }

  // pool_work.cpp: workers and the lead.
  void work(const std::shared_ptr<Worker>& worker);
  bool take(Worker& worker, Steady now);
  void execute(Lock& lock, Worker& worker, bool wake_another);
  void run_in_order(Worker& worker, const Handler& handler);
  void collect(Outcome& outcome);
  void harvest(Worker& worker);
  void harvest_all();
  [[nodiscard]] bool young_run() const noexcept;
  [[nodiscard]] bool may_lead(Steady now) const noexcept;
  void lead(Lock& lock, Worker& worker, Steady now);
  void accept(transport::Batch& batch, Steady now);
  void fetch_failed(const Error& error);
  void idle(Lock& lock, Steady now);
  [[nodiscard]] bool work_for_another(Steady now) const noexcept;
  void wake_for_work(Steady now);
  void late_return(Worker& worker);
  [[nodiscard]] Millis fetch_wait(Steady now) const noexcept;
  void check_idle(Steady now, bool said_so);
  void request_drain();
  void end_with(const Error& error);

  // pool_settle.cpp: the settler and the keeper.
  void settle_loop();
  void await_outcomes(Lock& lock);
  void wake_settler();
  [[nodiscard]] std::size_t enough_outcomes() const noexcept;
  void settle(std::vector<Outcome>& outcomes);
  void came_back(Lock& lock, std::size_t count, std::size_t of);
  void not_settled(Outcome& outcome, const transport::Result& result, ServiceStats& stats);
  void keep();
  void expire(Lock& lock, Steady now);
  void renew(Lock& lock);
  void cancel_running(Lock& lock);
  [[nodiscard]] Millis keeper_pause(Steady now, Steady renew_at) const noexcept;
  [[nodiscard]] bool quiet() const noexcept { return lanes_.empty() && lanes_.running() == 0; }
  [[nodiscard]] Steady now() const noexcept { return clock_.steady(); }
  // A log callback may ask the service things, so lines that come up under the lock are written after it.
  void log(LogLevel level, const std::string& line) const;
  void note(LogLevel level, std::string line) { notes_.emplace_back(level, std::move(line)); }
  void tell(Lock& lock);

  const std::shared_ptr<detail::ServiceState> service_;
  const ServiceOptions& options_;
  const Clock& clock_;
  const unsigned concurrency_;
  const std::size_t most_abandoned_;
  std::mutex& mutex_;
  std::unique_ptr<transport::Subscription> subscription_;
  Lanes lanes_;
  std::vector<std::shared_ptr<Worker>> workers_;

  std::condition_variable work_wake_, settle_wake_, keep_wake_, run_wake_;
  unsigned idle_ = 0;       // Workers that wait for something to do.
  unsigned abandoned_ = 0;  // Workers whose handler hangs.
  unsigned missing_ = 0;    // Workers that could not be started yet.
  bool leading_ = false;    // One worker is fetching.
  Worker* leader_ = nullptr;
  bool draining_ = false, ended_ = false, finished_ = false;
  bool settler_stops_ = false, keeper_stops_ = false;
  bool settler_sleeps_ = false, settler_lingers_ = false, settling_ = false;
  bool lease_in_doubt_ = false;        // Not renewed for two thirds of its length.
  std::uint32_t settle_failures_ = 0;  // Calls in a row of which something came back.
  std::vector<Outcome> later_;         // What came back, to be sent again …
  Steady later_at_{};                  // … at this time, while others go on.
  Steady settle_until_{};              // Once the settler stops: how long it may try.
  std::vector<Route> routes_;          // The lead's.
  std::size_t held_ = 0;               // Delivered, and not settled.
  std::uint64_t final_ = 0;            // Decided done or dead; for max_events.
  std::uint64_t final_running_ = 0;    // In handlers now.
  Steady fetch_after_{};               // The lead pauses until then.
  std::uint32_t fetch_failures_ = 0;
  Steady active_{};                // When something was last delivered or running; for until_idle.
  Steady renewed_{};               // When the lease was last known to be ours.
  std::vector<Outcome> outcomes_;  // Decided, and not yet sent.
  std::stop_source fetch_stop_;
  std::vector<std::pair<LogLevel, std::string>> notes_;
  std::optional<Error> fatal_;
};

}  // namespace tidings::runtime
