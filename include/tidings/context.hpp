// What a handler is given beside its event, and what it may throw.
//
//   notification.on<UserCreated>([](const tidings::DomainEvent<UserCreated>& event, tidings::Context& context) {
//     if (!mail_server_is_up()) throw tidings::Again{30s};
//     if (event.data.email.empty()) throw tidings::Reject{"no address"};
//     context.publish(WelcomeSent{event.data.userId});
//   });
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include <tidings/bus.hpp>

namespace tidings {

/// Thrown by a handler: a failed attempt, tried again after `delay` instead of the policy's backoff. It counts, and the
/// last attempt makes a dead letter of it.
class Again : public std::runtime_error {
 public:
  /// After `delay`, counted from the settlement; `why` is what failures show.
  explicit Again(Millis delay, const std::string& why = "asked to be tried again") : std::runtime_error(why), delay_(delay) {}
  /// What was asked for.
  [[nodiscard]] Millis delay() const noexcept { return delay_; }

 private:
  Millis delay_;
};

/// Thrown by a handler: it did not handle the event, and that is nobody's fault (its output was closed, it is being
/// stopped). The event is given back uncounted and goes out again, to this or another process of the group.
class Release : public std::runtime_error {
 public:
  /// `why` goes to the log.
  explicit Release(const std::string& why = "given back") : std::runtime_error(why) {}
};

/// Thrown by a handler: this event can never be handled. It becomes a dead letter `rejected` at once.
class Reject : public std::runtime_error {
 public:
  /// `why` becomes the dead letter's error text.
  explicit Reject(const std::string& why) : std::runtime_error(why) {}
};

namespace detail {
class ContextState;
}  // namespace detail

/// One delivery, seen from its handler. Borrowed: valid until the handler returns, on the handler's thread only.
class Context {
 public:
  /// Publishes `data` when this handler succeeds, and not before: it is stored with the settlement, under an id derived
  /// from the event (see Derivation) so that a repeated handling publishes the same ids. Correlation id, trace context and
  /// causation id are carried on. Returns that id. Throws Error{invalid} or {too_large} now rather than later.
  template <EventType T>
  std::string publish(const T& data, const PublishOptions& options = {}) {
    return hold_back(detail::typed_data(data), options);
  }
  /// The same for a command.
  template <CommandType T>
  std::string send(const T& data, const PublishOptions& options = {}) {
    return hold_back(detail::typed_data(data), options);
  }

  /// These two refuse, in a sentence, what was not declared.
  template <class T>
    requires(!EventType<T>)
  std::string publish(const T&, const PublishOptions& = {}) {
    static_assert(EventType<T>, "tidings: publish() takes a type declared with TIDINGS_EVENT; a command goes to send()");
    return {};
  }
  template <class T>
    requires(!CommandType<T>)
  std::string send(const T&, const PublishOptions& = {}) {
    static_assert(CommandType<T>, "tidings: send() takes a type declared with TIDINGS_COMMAND; an event goes to publish()");
    return {};
  }

  /// The event's id, type, source and correlation id.
  [[nodiscard]] std::string_view id() const noexcept;
  [[nodiscard]] std::string_view type() const noexcept;
  [[nodiscard]] std::string_view source() const noexcept;
  [[nodiscard]] std::string_view correlation_id() const noexcept;
  /// Its stream, the group that handles it, and its place.
  [[nodiscard]] std::string_view stream() const noexcept;
  [[nodiscard]] std::string_view group() const noexcept;
  [[nodiscard]] Position position() const noexcept;
  /// 1 the first time, counted failures + 1 afterwards.
  [[nodiscard]] std::uint32_t attempt() const noexcept;
  /// How many processes died while they held this event.
  [[nodiscard]] std::uint32_t crashes() const noexcept;
  /// True when it was handed out again by `replay`.
  [[nodiscard]] bool replayed() const noexcept;
  /// The replay's number; 0 for live and redriven events. With source and id: the key of an inbox.
  [[nodiscard]] std::uint64_t run() const noexcept;
  /// The envelope's exact bytes.
  [[nodiscard]] std::string_view envelope() const noexcept;
  /// Fires when the handler's time is up, its lease was lost, or the service's drain time is over. A handler that waits
  /// for anything should watch it.
  [[nodiscard]] std::stop_token stop_token() const noexcept;

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

 private:
  friend class detail::ContextState;
  explicit Context(detail::ContextState& state) noexcept : state_(&state) {}
  std::string hold_back(const detail::TypedData& data, const PublishOptions& options);

  detail::ContextState* state_;
};

}  // namespace tidings
