#include <tidings/service.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <vector>

#include "runtime/pool.hpp"
#include "runtime/service_state.hpp"
#include "runtime/signals.hpp"

namespace tidings {
namespace detail {
namespace {

// The longest wait that this policy can ask for.
Millis longest_backoff(const HandlerOptions& policy) {
  const Millis longest = policy.backoff.longest;
  Millis delay = policy.backoff.first;
  for (std::uint32_t failure = 2; failure < policy.max_attempts && delay > Millis(0) && delay < longest; ++failure)
    delay = delay > longest / 2 ? longest : 2 * delay;
  return policy.max_attempts < 2 ? Millis(0) : std::min(delay, longest);
}

}  // namespace

transport::Interest ServiceState::interest() const {
  if (handlers.streams().empty()) {
    throw Error(ErrorCode::invalid, "the service " + name + " has no handler; register one with on() before run()");
  }
  const transport::Capabilities& engine = bus->transport().capabilities();
  if (options.order_by_key) {
    throw Error(ErrorCode::not_supported,
                "order_by_key is not offered yet by this version of Tidings; with concurrency 1 "
                "events run in publish order, but for retries");
  }
  if (options.lease > engine.longest_lease || options.lease <= Millis::zero()) {
    throw Error(ErrorCode::not_supported, "a lease of " + format_duration(options.lease) + " was asked for, the " +
                                              std::string(engine.engine) + " engine offers at most " +
                                              format_duration(engine.longest_lease) +
                                              "; shorten ServiceOptions::lease");
  }
  for (std::size_t lane = 0; lane < handlers.size(); ++lane) {
    const Millis longest = longest_backoff(handlers.at(lane).options);
    if (longest <= engine.longest_delay) continue;
    throw Error(ErrorCode::not_supported, "a backoff of up to " + format_duration(longest) +
                                              " was asked for, and the " + std::string(engine.engine) +
                                              " engine offers at most " + format_duration(engine.longest_delay) +
                                              "; shorten HandlerOptions::backoff, or on AWS add shelf=URL");
  }
  transport::Interest interest;
  interest.service = name;
  interest.streams = handlers.streams();
  interest.types = handlers.types();
  interest.start = options.start;
  interest.events = std::max<std::size_t>(options.prefetch_events, 1);
  // What would only be given back again is not claimed.
  if (options.max_events > 0) interest.events = std::min<std::size_t>(interest.events, options.max_events);
  interest.bytes = std::max<std::size_t>(options.prefetch_bytes, 1);
  interest.lease = options.lease;
  return interest;
}

void ServiceState::report(const Failure& failure) const noexcept {
  const bool dead = !failure.next_try.has_value();
  try {
    if (on_failure) on_failure(failure);
    if (dead && on_dead_letter) on_dead_letter(failure);
    if (on_failure || (dead && on_dead_letter)) return;
    const std::string what = "service " + name + ": " + (failure.id.empty() ? "an event" : "event " + failure.id) +
                             " of " + failure.stream + ", attempt " + std::to_string(failure.attempt) + ": ";
    bus->log(
        dead ? LogLevel::warning : LogLevel::info,
        dead ? what + "dead letter, " + failure.reason + ": " + failure.error
             : what + failure.reason + ", next try in " + format_duration(*failure.next_try) + ": " + failure.error);
  } catch (const std::exception& error) {
    bus->log(LogLevel::error, "service " + name + ": a hook threw, which it must not: " + error.what());
  } catch (...) {
    bus->log(LogLevel::error, "service " + name + ": a hook threw, which it must not");
  }
}

}  // namespace detail

namespace {

/// What is added to a clock has to stay within its range.
Millis bounded(Millis duration) noexcept {
  return std::clamp<Millis>(duration, Millis::zero(), std::chrono::days(36'525));
}

HandlerOptions checked(HandlerOptions options, std::string_view what) {
  if (options.timeout <= Millis::zero()) {
    throw Error(ErrorCode::invalid, "the handler of " + std::string(what) +
                                        " has a timeout of zero or less; every handler needs one, however long");
  }
  options.timeout = bounded(options.timeout);
  options.backoff.first = bounded(options.backoff.first);
  options.backoff.longest = bounded(options.backoff.longest);
  return options;
}

}  // namespace

ServiceOptions detail::ServiceState::bounded(ServiceOptions options) noexcept {
  options.lease = tidings::bounded(options.lease);
  options.drain = tidings::bounded(options.drain);
  if (options.until_idle) options.until_idle = tidings::bounded(*options.until_idle);
  return options;
}

Service::Service(const Bus& bus, std::string name, ServiceOptions options) {
  check_service_name(name);
  state_ = std::make_shared<detail::ServiceState>(bus.state_, std::move(name), options);
}

Service::~Service() {
  if (state_->bus->forked()) return;  // The threads that would be waited for are the parent's.
  state_->ending.request_stop();
  std::shared_ptr<runtime::Pool> pool;
  {
    const std::lock_guard lock(state_->mutex);
    pool = state_->pool.lock();
  }
  if (pool) pool->stop_and_wait();
}

Service& Service::add(MessageInfo info, detail::HandlerFunction handler, HandlerOptions options) {
  runtime::Handler entry;
  entry.stream = info.kind == MessageKind::command ? command_stream(info.type) : event_stream(info.type);
  entry.type = info.type;
  entry.version = info.version;
  entry.function = std::move(handler);
  entry.options = checked(options, info.type);
  state_->handlers.add(std::move(entry));
  return *this;
}

Service& Service::add_batch(MessageInfo info, detail::BatchFunction handler, BatchOptions options) {
  runtime::Handler entry;
  entry.stream = info.kind == MessageKind::command ? command_stream(info.type) : event_stream(info.type);
  entry.type = info.type;
  entry.version = info.version;
  entry.batch = std::move(handler);
  entry.batch_size = std::max<std::size_t>(options.size, 1);
  entry.batch_wait = bounded(options.wait);
  entry.options = checked(options.handler, info.type);
  state_->handlers.add(std::move(entry));
  return *this;
}

Service& Service::on(std::string_view type, std::function<void(const Event&, Context&)> handler, HandlerOptions options,
                     MessageKind kind) {
  return add({.kind = kind, .type = type}, detail::typed_handler<Json>(std::move(handler)), options);
}

Service& Service::on_stream(std::string_view stream, std::function<void(const Event&, Context&)> handler,
                            HandlerOptions options) {
  check_stream(stream);
  runtime::Handler entry;
  entry.stream = stream;
  entry.function = detail::typed_handler<Json>(std::move(handler));
  entry.options = checked(options, stream);
  state_->handlers.add(std::move(entry));
  return *this;
}

Service& Service::around(std::function<void(Context&, const std::function<void()>&)> hook) {
  state_->around = std::move(hook);
  return *this;
}

Service& Service::on_failure(std::function<void(const Failure&)> hook) {
  state_->on_failure = std::move(hook);
  return *this;
}

Service& Service::on_dead_letter(std::function<void(const Failure&)> hook) {
  state_->on_dead_letter = std::move(hook);
  return *this;
}

void Service::run(std::stop_token stop) {
  const std::shared_ptr<detail::ServiceState> state = state_;
  runtime::Pool::run(state, std::move(stop));
}

int Service::run() {
  runtime::SignalWatch signals;
  run(signals.token());
  return signals.exit_code();
}

int Service::run_all(std::initializer_list<Service*> services) {
  runtime::SignalWatch signals;
  std::exception_ptr failure;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    // One service that cannot run takes the process down in order, rather than leaving it half alive.
    const auto fail = [&](std::exception_ptr why) {
      {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::move(why);
      }
      signals.stop();
    };
    for (Service* const service : services) {
      try {
        threads.emplace_back([&, service] {
          try {
            service->run(signals.token());
          } catch (...) {
            fail(std::current_exception());
          }
        });
      } catch (const std::exception& error) {
        fail(std::make_exception_ptr(
            Error(ErrorCode::unavailable, true,
                  "no thread can be started for a service; allow more: " + std::string(error.what()))));
        break;
      }
    }
    for (std::jthread& thread : threads) thread.join();
  }
  if (failure) std::rethrow_exception(failure);
  return signals.exit_code();
}

ServiceStats Service::stats() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

const std::string& Service::name() const noexcept { return state_->name; }

}  // namespace tidings
