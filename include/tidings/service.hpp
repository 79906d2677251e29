// A service: handlers for the events and commands that it subscribes to.
//
//   tidings::Service search{bus, "search", {.concurrency = 4}};
//   search.on<UserCreated>([&](const tidings::DomainEvent<UserCreated>& event) { index.add(event.data); })
//         .on<UserUpdated>([&](const tidings::DomainEvent<UserUpdated>& event) { index.update(event.data); },
//                          {.max_attempts = 10, .timeout = 30s});
//   return search.run();   // until SIGTERM or SIGINT, then drains
//
// Several processes that run a service of the same name share its work. A handler that returns is done; one that throws
// failed, and the event is tried again by policy, then becomes a dead letter. A failure delays only its own event.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <tidings/bus.hpp>
#include <tidings/context.hpp>
#include <tidings/detail/handler.hpp>

namespace tidings {

/// How long to wait before the next attempt: a uniformly random part of `first` · 2^(failures − 1), at most `longest`.
struct Backoff {
  Millis first{1'000};
  Millis longest{300'000};
  bool jitter = true;  ///< Full jitter; false waits the whole time.
};

/// The policy of one handler.
struct HandlerOptions {
  std::uint32_t max_attempts = 5;  ///< Failed attempts until the event becomes a dead letter.
  Backoff backoff{};               ///< Between attempts.
  Millis timeout{300'000};         ///< After this the attempt has failed and the handler's stop token fires. Above zero.
  unsigned concurrency = 0;        ///< At most this many of this handler at once; 0: the service's concurrency.
};

/// The policy of one batch handler.
struct BatchOptions {
  std::size_t size = 100;        ///< Most events of one call.
  Millis wait{50};               ///< How long to wait for a full batch after the first event.
  HandlerOptions handler{};
};

/// The policy of a service.
struct ServiceOptions {
  unsigned concurrency = 1;                   ///< Handlers at once. With 1, events run in publish order (but for retries).
  std::size_t prefetch_events = 512;          ///< Events fetched ahead, unsettled at most …
  std::size_t prefetch_bytes = 8U << 20;      ///< … and their bytes.
  Millis lease{30'000};                       ///< How soon others take over when this process hangs; renewed at a third.
  Millis drain{30'000};                       ///< How long a stop waits for running handlers.
  Start start{};                              ///< Where a new group starts: at the beginning of the stream.
  std::uint32_t max_crashes = 3;              ///< Deaths that make an event a dead letter `crashed`.
  bool order_by_key = false;                  ///< Not offered yet: refused with Error{not_supported}.
  std::uint64_t max_events = 0;               ///< Stop after this many were handled or dead-lettered; 0: never.
  std::optional<Millis> until_idle{};         ///< Stop when nothing was delivered or running for this long.
};

/// Counters of a service since it was made. `handled + ignored + dead` deliveries were settled for good.
struct ServiceStats {
  std::uint64_t delivered = 0, handled = 0, ignored = 0, dead = 0, failed = 0, released = 0, stale = 0, running = 0;
};

/// One attempt that failed, for on_failure().
struct Failure {
  std::string id{}, type{}, stream{};
  std::uint32_t attempt = 0, crashes = 0;
  std::string reason{};               ///< Of a dead letter (`rejected`, `timed_out` …); else `failed` or `timed_out`.
  std::string error{};                ///< The exception's text.
  std::optional<Millis> next_try{};   ///< Empty: it is a dead letter now.
};

/// A named group of handlers. Configure it from one thread, then run it once.
class Service {
 public:
  /// Joins `bus` as `name`. Throws Error{invalid} for a name that is not allowed. Nothing is read before run().
  Service(const Bus& bus, std::string name, ServiceOptions options = {});
  ~Service();  ///< Stops and drains what still runs.
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Handles events (or commands) of type `T` with `handler(const DomainEvent<T>&)` or `handler(const
  /// DomainEvent<T>&, Context&)`. Throws Error{conflict} when the type has a handler already, {invalid} for a timeout of
  /// zero or less (durations beyond 100 years count as 100 years, here and in all options). Handlers run on the
  /// service's threads, up to `concurrency` at once.
  template <MessageType T, class F>
  Service& on(F handler, HandlerOptions options = {}) {
    static_assert(std::is_invocable_v<F&, const DomainEvent<T>&> || std::is_invocable_v<F&, const DomainEvent<T>&, Context&>,
                  "a handler takes (const tidings::DomainEvent<T>&) or (const tidings::DomainEvent<T>&, tidings::Context&)");
    return add(message_info<T>(), detail::typed_handler<T>(std::move(handler)), options);
  }

  /// Refuses, in a sentence, a type that was not declared.
  template <class T, class F>
    requires(!MessageType<T>)
  Service& on(F, HandlerOptions = {}) {
    static_assert(MessageType<T>, "tidings: on() takes a type declared with TIDINGS_EVENT or TIDINGS_COMMAND");
    return *this;
  }

  /// Handles one type without a C++ type for it: `event.data` is JSON text. `kind` says whether it is a command.
  Service& on(std::string_view type, std::function<void(const Event&, Context&)> handler, HandlerOptions options = {},
              MessageKind kind = MessageKind::event);

  /// Handles every type of a whole stream that has no handler of its own.
  Service& on_stream(std::string_view stream, std::function<void(const Event&, Context&)> handler, HandlerOptions options = {});

  /// Handles up to `options.size` events of type `T` in one call: `handler(std::span<const DomainEvent<T>>, BatchContext&)`.
  /// Returning settles all that BatchContext was not told otherwise; throwing fails them all.
  template <MessageType T, class F>
  Service& on_batch(F handler, BatchOptions options = {}) {
    static_assert(std::is_invocable_v<F&, std::span<const DomainEvent<T>>, BatchContext&>,
                  "a batch handler takes (std::span<const tidings::DomainEvent<T>>, tidings::BatchContext&)");
    return add_batch(message_info<T>(), detail::typed_batch<T>(std::move(handler)), options);
  }

  /// Wraps every handler call: `around(context, next)` must call `next()` once, or throw. One hook, set before run().
  Service& around(std::function<void(Context&, const std::function<void()>&)> hook);
  /// Called after every failed attempt and every dead letter, once it is settled; must not block for long.
  Service& on_failure(std::function<void(const Failure&)> hook);
  /// Called for dead letters only, once they are stored.
  Service& on_dead_letter(std::function<void(const Failure&)> hook);

  /// Runs until SIGTERM or SIGINT (a second one ends the process at once), `max_events` or `until_idle`; then finishes
  /// what runs, gives the rest back, and returns: 0, or 130 after SIGINT. Waits with backoff, saying so in the log, while
  /// the engine is down. Throws Error for what waiting cannot cure (a second command owner, an unmet capability).
  int run();
  /// The same without signals, until `stop` fires.
  void run(std::stop_token stop);
  /// Several services in one process, until SIGTERM or SIGINT.
  static int run_all(std::initializer_list<Service*> services);

  /// The counters, at any time, from any thread.
  [[nodiscard]] ServiceStats stats() const;
  [[nodiscard]] const std::string& name() const noexcept;

 private:
  friend struct detail::ServiceAccess;
  Service& add(MessageInfo info, detail::HandlerFunction handler, HandlerOptions options);
  Service& add_batch(MessageInfo info, detail::BatchFunction handler, BatchOptions options);

  std::shared_ptr<detail::ServiceState> state_;
};

}  // namespace tidings
