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
  WaitClock::time_point deadline{};
  std::vector<Received> replies{};
  std::optional<Error> failure{};
  std::condition_variable wake{};
  bool taken = false, done = false;
};

Client::Client(Endpoint endpoint, WaitClock::time_point deadline) : endpoint_(std::move(endpoint)) { open(deadline); }

std::unique_ptr<Connection> Client::connect(WaitClock::time_point deadline) const {
  return std::make_unique<Connection>(endpoint_, deadline);
}

void Client::open(WaitClock::time_point deadline) {
  auto connection = connect(deadline);
  Commands commands;
  for (std::size_t i = 0; i < script_count; ++i) commands.add({"SCRIPT", "LOAD", script_text(static_cast<Script>(i))});
  connection->send(commands, deadline);
  for (std::size_t i = 0; i < script_count; ++i) {
    const Received received = connection->receive(deadline);
    if (received.reply().error()) throw error_of(received.reply().text());
    const std::lock_guard lock(names_mutex_);
    names_[i] = received.reply().text();
  }
  connection_ = std::move(connection);
}

void Client::exchange(const std::vector<Request*>& requests) {
  WaitClock::time_point deadline{};
  for (const Request* request : requests) deadline = std::max(deadline, request->deadline);
  try {
    if (!connection_) open(deadline);
    for (const Request* request : requests) connection_->send(*request->commands, deadline);
    for (Request* request : requests) {
      request->replies.reserve(request->commands->count());
      while (request->replies.size() < request->commands->count()) {
        request->replies.push_back(connection_->receive(deadline));
      }
    }
  } catch (const Error& error) {
    connection_.reset();  // Replies would come for commands that nobody waits for any more.
    for (Request* request : requests) {
      if (request->replies.size() < request->commands->count()) request->failure.emplace(error);
    }
  } catch (const std::exception& error) {  // Out of memory: who waits is told all the same.
    connection_.reset();
    for (Request* request : requests) {
      if (request->replies.size() < request->commands->count())
        request->failure.emplace(ErrorCode::internal, true, std::string("redis: ") + error.what());
    }
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
  lock.unlock();
  exchange(requests);
  lock.lock();
  for (Request* request : requests) {
    request->done = true;
    request->wake.notify_one();
  }
}

std::vector<Received> Client::run(const Commands& commands, WaitClock::time_point deadline, std::size_t* answered) {
  Request request{.commands = &commands, .deadline = deadline};
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
    } else if (request.wake.wait_until(lock, deadline) == std::cv_status::timeout && !request.taken && led_) {
      std::erase(waiting_, &request);
      throw Error(ErrorCode::timeout, true, "redis: the deadline passed before the connection was free; try again");
    }
  }
  lock.unlock();
  if (answered != nullptr) *answered = request.replies.size();
  if (request.failure && answered == nullptr) throw *request.failure;
  if (request.failure && request.replies.empty()) throw *request.failure;
  return std::move(request.replies);
}

Received Client::call(std::initializer_list<std::string_view> words, WaitClock::time_point deadline) {
  Commands commands;
  commands.add(words);
  std::vector<Received> replies = run(commands, deadline);
  if (replies[0].reply().error()) throw error_of(replies[0].reply().text());
  return std::move(replies[0]);
}

Received Client::eval(Script script, std::string_view stream, const std::vector<std::string>& arguments,
                      WaitClock::time_point deadline) {
  const auto write = [&](std::string_view verb, std::string_view body) {
    Commands commands;
    commands.begin(arguments.size() + 4).word(verb).word(body).word("1").word(stream);
    for (const std::string& argument : arguments) commands.word(argument);
    return commands;
  };
  std::string name;
  {
    const std::lock_guard lock(names_mutex_);
    name = names_[static_cast<std::size_t>(script)];
  }
  std::vector<Received> replies = run(write("EVALSHA", name), deadline);
  // Somebody emptied the server's scripts: nothing was done.
  if (replies[0].reply().error() && replies[0].reply().text().starts_with("NOSCRIPT")) {
    replies = run(write("EVAL", script_text(script)), deadline);
  }
  if (replies[0].reply().error()) throw error_of(replies[0].reply().text());
  return std::move(replies[0]);
}

}  // namespace tidings::transport::redis
