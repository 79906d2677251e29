#include "transport/redis/client.hpp"

#include <algorithm>
#include <utility>

namespace tidings::transport::redis {
namespace {

constexpr std::chrono::milliseconds least_patience{100};

}  // namespace

WaitClock::time_point deadline_in(std::chrono::milliseconds wait) noexcept {
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365);
  return WaitClock::now() + std::clamp(wait, std::chrono::milliseconds(0), longest);
}

/// Where one thread waits for its request. It outlives the request, so that who ends the wait need not hold a lock that
/// the woken thread wants.
struct Client::Waiter {
  std::mutex mutex{};
  std::condition_variable wake{};
  bool done = false, leads = false;

  static std::shared_ptr<Waiter> of_this_thread() {
    static thread_local const auto waiter = std::make_shared<Waiter>();
    waiter->done = waiter->leads = false;
    return waiter;
  }
  void tell(bool Waiter::*what) {
    const std::lock_guard lock(mutex);
    this->*what = true;
    wake.notify_one();
  }
};

struct Client::Request {
  const Commands* commands = nullptr;
  Commands* growing = nullptr;  // The same, where `fill` adds to them.
  const Fill* fill = nullptr;
  WaitClock::time_point deadline{};
  std::uint64_t only_on = 0;
  Received replies{};
  std::optional<Error> failure{};
  std::shared_ptr<Waiter> waiter{};
  bool taken = false, chosen = false;  // To be sent by somebody; to lead next.

  [[nodiscard]] bool complete() const noexcept { return replies.count() == commands->count(); }
};

// Whether the request is about a connection that is gone.
bool Client::refuse(Request& request) const {
  if (request.only_on == 0 || request.only_on == number_) return false;
  request.failure.emplace(ErrorCode::timeout, true, "redis: the connection ended before the server confirmed");
  return true;
}

// Small requests go out together; a large one goes out while it grows.
void Client::send(Connection& connection, const std::vector<Request*>& requests, WaitClock::time_point deadline) {
  together_.clear();
  for (const Request* request : requests) {
    if (request->fill != nullptr && together_.empty()) {
      connection.send(request->commands->bytes(), deadline);
    } else {
      together_.append(request->commands->bytes());
      if (request->fill == nullptr && together_.size() < most_together) continue;
      connection.send(together_, deadline);
      together_.clear();
    }
    bool more = request->fill != nullptr;
    for (std::size_t sent = request->commands->bytes().size(); more; sent = request->commands->bytes().size()) {
      more = (*request->fill)(*request->growing);
      connection.send(request->commands->bytes().substr(sent), deadline);
    }
  }
  if (!together_.empty()) connection.send(together_, deadline);
}

void Client::exchange(std::vector<Request*> requests, bool anew) {
  WaitClock::time_point deadline{};
  for (const Request* request : requests) deadline = std::max(deadline, request->deadline);
  // One that has no time left costs those who come after it the connection, unless its answer is waited for.
  deadline = std::max(deadline, WaitClock::now() + least_patience);
  std::optional<Error> failure;
  try {
    // Nothing is expected now: what can be read is the end that the server made meanwhile. Sent over such a connection,
    // commands would be lost, and nobody would know whether they were.
    if (anew || (connection_ && connection_->readable(WaitClock::now()))) connection_.reset();
    if (!connection_) {
      ++number_;
      connection_ = connect_(deadline);
    }
    std::erase_if(requests, [&](Request* request) { return refuse(*request); });
    for (Request* request : requests) request->replies.parsed = std::make_shared<Received::Parsed>();
    send(*connection_, requests, deadline);
    for (Request* request : requests) {
      request->replies = connection_->receive(deadline, request->commands->count(), failure);
      request->replies.connection = number_;
      if (failure) break;
    }
  } catch (const Error& error) {
    failure.emplace(error);
  } catch (const std::exception& error) {  // Out of memory: who waits is told all the same.
    failure.emplace(ErrorCode::internal, true, std::string("redis: ") + error.what());
  } catch (...) {
    failure.emplace(ErrorCode::internal, true, "redis: something unknown was thrown");
  }
  if (!failure) return;
  connection_.reset();  // Replies would come for commands that nobody waits for any more.
  for (Request* request : requests) {
    if (!request->complete()) request->failure.emplace(*failure);
  }
}

// Sends for all who have come by now, and hands the lead on.
void Client::lead(std::unique_lock<std::mutex>& lock) {
  std::vector<Request*> requests;
  std::vector<std::shared_ptr<Waiter>> waiters;
  std::size_t bytes = 0;
  while (!waiting_.empty() && (requests.empty() || bytes < (1U << 20))) {
    requests.push_back(waiting_.front());
    waiting_.pop_front();
    requests.back()->taken = true;
    waiters.push_back(requests.back()->waiter);
    bytes += requests.back()->commands->bytes().size();
  }
  const bool anew = std::exchange(anew_, false);
  lock.unlock();
  exchange(requests, anew);
  lock.lock();
  std::shared_ptr<Waiter> next;
  if (!waiting_.empty()) {
    waiting_.front()->chosen = true;
    next = waiting_.front()->waiter;
  }
  led_ = next != nullptr;
  lock.unlock();
  if (next) next->tell(&Waiter::leads);
  for (const std::shared_ptr<Waiter>& waiter : waiters) waiter->tell(&Waiter::done);
}

Received Client::run(const Commands& commands, WaitClock::time_point deadline, std::optional<Error>& failure,
                     std::uint64_t only_on) {
  Request request{.commands = &commands, .deadline = deadline, .only_on = only_on};
  return run(request, failure);
}

Received Client::run(Commands& commands, const Fill& fill, WaitClock::time_point deadline,
                     std::optional<Error>& failure) {
  Request request{.commands = &commands, .growing = &commands, .fill = &fill, .deadline = deadline};
  return run(request, failure);
}

// Gives up a request that was not sent yet; false when it was.
bool Client::withdraw(Request& request) {
  const std::lock_guard lock(mutex_);
  // Who leads next has to lead, if only for himself.
  if (request.taken || request.chosen) return false;
  std::erase(waiting_, &request);
  request.failure.emplace(ErrorCode::unavailable, true,
                          "redis: the deadline passed before the connection was free; try again");
  return true;
}

Received Client::run(Request& request, std::optional<Error>& failure) {
  request.waiter = Waiter::of_this_thread();
  Waiter& waiter = *request.waiter;
  bool leads = false;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&request);
    leads = !std::exchange(led_, true);
  }
  if (!leads) {
    std::unique_lock waiting(waiter.mutex);
    const auto told = [&] { return waiter.done || waiter.leads; };
    if (!waiter.wake.wait_until(waiting, request.deadline, told)) {
      waiting.unlock();
      const bool withdrawn = withdraw(request);
      waiting.lock();
      if (!withdrawn) waiter.wake.wait(waiting, told);
    }
    leads = waiter.leads && !waiter.done;
  }
  if (leads) {
    std::unique_lock lock(mutex_);
    lead(lock);
  }
  failure = std::move(request.failure);
  return std::move(request.replies);
}

void Client::renew() {
  const std::lock_guard lock(mutex_);
  anew_ = true;
}

}  // namespace tidings::transport::redis
