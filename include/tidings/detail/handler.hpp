// How a typed handler loses its type: the runtime calls a function over bytes, which decodes and calls the user's. Not
// for applications.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tidings/context.hpp>
#include <tidings/event.hpp>

namespace tidings {

/// The deliveries of one batch call, by their index in the span. Borrowed for the call.
class BatchContext {
 public:
  virtual ~BatchContext() = default;
  /// The context of one event: its ids, its attempt, and publish(), held back until that event is done.
  virtual Context& operator[](std::size_t index) = 0;
  /// This event failed; it is tried again by policy, the others are not touched.
  virtual void fail(std::size_t index, std::string why) = 0;
  /// This event failed; it is tried again after `delay`.
  virtual void again(std::size_t index, Millis delay, std::string why) = 0;
  /// This event becomes a dead letter `rejected`.
  virtual void reject(std::size_t index, std::string why) = 0;
};

namespace detail {

class ServiceState;
struct ServiceAccess;

/// A borrowed callable, for the length of one call: two pointers, where a std::function would have to allocate.
class FunctionRef {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(F&& callable)
  noexcept  // NOLINT(google-explicit-constructor): lambdas are passed as they are.
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object) { (*static_cast<std::remove_reference_t<F>*>(object))(); }) {}
  void operator()() const { call_(object_); }

 private:
  void* object_;
  void (*call_)(void*);
};

/// What the runtime must know of an event once it is decoded, to carry it on and to derive ids. Borrowed from the
/// event.
struct Heading {
  std::string_view id{}, type{}, version{}, source{}, correlation_id{};
  Wall timestamp{};
  const Fields* metadata = nullptr;
};

template <class T>
[[nodiscard]] Heading heading_of(const DomainEvent<T>& event) noexcept {
  return {event.id, event.type, event.version, event.source, event.correlationId, event.timestamp, &event.metadata};
}

/// Enters the pipeline for a decoded event: checks the version, then calls `body` inside the around hook. Whatever is
/// thrown before this is a fault of the event (undecodable), whatever comes out of it is the handler's.
void enter_handler(Context& context, const Heading& heading, FunctionRef body);

/// Decodes the padded envelope, which nobody has checked unless it is `validated`, and calls the handler through
/// enter_handler().
using HandlerFunction = std::function<void(std::string_view padded_envelope, bool validated, Context& context)>;

/// The event that this thread has ready to decode into. Who uses it takes it away meanwhile, so that a handler may make
/// another of the same type run.
template <class T>
[[nodiscard]] std::unique_ptr<DomainEvent<T>>& spare_event() noexcept {
  static thread_local std::unique_ptr<DomainEvent<T>> spare;
  return spare;
}

/// Keeps an event whose handler has returned, for the room that its envelope's texts have. Nothing else stays in it.
template <class T>
void keep_event(std::unique_ptr<DomainEvent<T>> event) noexcept {
  if constexpr (std::is_move_assignable_v<T>) {
    constexpr std::size_t most_room = 4096;
    const std::size_t room = event->id.capacity() + event->type.capacity() + event->version.capacity() +
                             event->source.capacity() + event->correlationId.capacity();
    if (room > most_room) return;
    try {
      event->data = T{};
    } catch (...) {
      return;
    }
    event->metadata = {};
    event->extra = {};
    spare_event<T>() = std::move(event);
  }
}

template <class T, class F>
[[nodiscard]] HandlerFunction typed_handler(F handler) {
  return [handler = std::move(handler)](std::string_view padded, bool validated, Context& context) mutable {
    std::unique_ptr<DomainEvent<T>> room = std::move(spare_event<T>());
    if (room == nullptr) room = std::make_unique<DomainEvent<T>>();
    decode_into(*room, padded, !validated);
    const DomainEvent<T>& event = *room;
    enter_handler(context, heading_of(event), [&] {
      if constexpr (std::is_invocable_v<F&, const DomainEvent<T>&, Context&>) {
        handler(event, context);
      } else {
        handler(event);
      }
    });
    keep_event(std::move(room));
  };
}

/// The deliveries of a batch call while they are decoded one by one: the runtime's side.
class BatchCall : public BatchContext {
 public:
  /// How many deliveries there are, and the padded envelope of one.
  [[nodiscard]] virtual std::size_t size() const noexcept = 0;
  [[nodiscard]] virtual std::string_view padded(std::size_t delivery) const noexcept = 0;
  /// Whether somebody has checked it.
  [[nodiscard]] virtual bool validated(std::size_t delivery) const noexcept = 0;
  /// Delivery `delivery` was decoded and is the next element of the span; false when its version is unsupported.
  virtual bool admit(std::size_t delivery, const Heading& heading) = 0;
  /// Delivery `delivery` cannot be decoded.
  virtual void undecodable(std::size_t delivery, std::string why) = 0;
  /// Calls `body` once all are decoded.
  virtual void enter(FunctionRef body) = 0;
};

using BatchFunction = std::function<void(BatchCall& call)>;

template <class T, class F>
[[nodiscard]] BatchFunction typed_batch(F handler) {
  return [handler = std::move(handler)](BatchCall& call) mutable {
    std::vector<DomainEvent<T>> events;
    events.reserve(call.size());
    for (std::size_t i = 0; i < call.size(); ++i) {
      try {
        events.push_back(decode_once<T>(call.padded(i), !call.validated(i)));
      } catch (const Error& error) {
        call.undecodable(i, error.what());
        continue;
      }
      if (!call.admit(i, heading_of(events.back()))) events.pop_back();
    }
    if (!events.empty())
      call.enter([&] { handler(std::span<const DomainEvent<T>>(events), static_cast<BatchContext&>(call)); });
  };
}

}  // namespace detail
}  // namespace tidings
