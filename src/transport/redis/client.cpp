#include "transport/redis/client.hpp"

#include <algorithm>
#include <utility>

namespace tidings::transport::redis {

WaitClock::time_point deadline_in(std::chrono::milliseconds wait) noexcept {
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365);
  return WaitClock::now() + std::clamp(wait, std::chrono::milliseconds(0), longest);
}

struct Client::Request {
  const Commands* commands = nullptr;
  Commands* growing = nullptr;  // The same, where `fill` adds to them.
  const Fill* fill = nullptr;
  WaitClock::time_point deadline{};
  std::uint64_t only_on = 0;
  Received replies{};
  std::optional<Error> failure{};
  std::condition_variable wake{};
  bool taken = false, done = false;

  [[nodiscard]] bool complete() const noexcept { return replies.count() == commands->count(); }
};

// Whether the request is about a connection that is gone.
bool Client::refuse(Request& request) const {
  if (request.only_on == 0 || request.only_on == number_) return false;
  request.failure.emplace(ErrorCode::timeout, true, "redis: the connection ended before the server confirmed");
  return true;
}

void Client::send(Connection& connection, const Request& request, WaitClock::time_point deadline) {
  connection.send(request.commands->bytes(), deadline);
  bool more = request.fill != nullptr;
  for (std::size_t sent = request.commands->bytes().size(); more; sent = request.commands->bytes().size()) {
    more = (*request.fill)(*request.growing);
    connection.send(request.commands->bytes().substr(sent), deadline);
  }
}

void Client::exchange(std::vector<Request*> requests, bool anew) {
  WaitClock::time_point deadline{};
  for (const Request* request : requests) deadline = std::max(deadline, request->deadline);
  std::optional<Error> failure;
  try {
    if (anew) connection_.reset();
    if (!connection_) {
      ++number_;
      connection_ = connect_(deadline);
    }
    std::erase_if(requests, [&](Request* request) { return refuse(*request); });
    for (Request* request : requests) request->replies.parsed = std::make_shared<Received::Parsed>();
    for (const Request* request : requests) send(*connection_, *request, deadline);
    for (Request* request : requests) {
      request->replies = connection_->receive(deadline, request->commands->count(), failure);
      request->replies.connection = number_;
      if (failure) break;
    }
  } catch (const Error& error) {
    failure.emplace(error);
  } catch (const std::exception& error) {  // Out of memory: who waits is told all the same.
    failure.emplace(ErrorCode::internal, true, std::string("redis: ") + error.what());
  }
  if (!failure) return;
  connection_.reset();  // Replies would come for commands that nobody waits for any more.
  for (Request* request : requests) {
    if (!request->complete()) request->failure.emplace(*failure);
  }
}

void Client::lead(std::unique_lock<std::mutex>& lock) {
  std::vector<Request*> requests;
  std::size_t bytes = 0;
  while (!waiting_.empty() && (requests.empty() || bytes < (1U << 20))) {
    requests.push_back(waiting_.front());
    waiting_.pop_front();
    requests.back()->taken = true;
    bytes += requests.back()->commands->bytes().size();
  }
  const bool anew = std::exchange(anew_, false);
  lock.unlock();
  exchange(requests, anew);
  lock.lock();
  for (Request* request : requests) {
    request->done = true;
    request->wake.notify_one();
  }
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

Received Client::run(Request& request, std::optional<Error>& failure) {
  std::unique_lock lock(mutex_);
  waiting_.push_back(&request);
  while (!request.done) {
    if (!led_ && !request.taken) {
      led_ = true;
      lead(lock);
      led_ = false;
      if (!waiting_.empty()) waiting_.front()->wake.notify_one();
    } else if (request.taken) {
      request.wake.wait(lock);
    } else if (request.wake.wait_until(lock, request.deadline) == std::cv_status::timeout && !request.taken && led_) {
      std::erase(waiting_, &request);
      // It was not sent, so that there is nothing unclear about it.
      failure.emplace(ErrorCode::unavailable, true,
                      "redis: the deadline passed before the connection was free; try again");
      return {};
    }
  }
  failure = std::move(request.failure);
  return std::move(request.replies);
}

void Client::renew() {
  const std::lock_guard lock(mutex_);
  anew_ = true;
}

}  // namespace tidings::transport::redis
