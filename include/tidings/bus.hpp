// The bus: publishing events and sending commands.
//
//   auto bus = tidings::Bus::open("sqlite:events.db", {.source = "user-service"});
//   bus.publish(UserCreated{.userId = "usr_1", .email = "a@example.com"});
//   bus.send(SendEmail{.to = "a@example.com"});
//   for (const auto& event : many) bus.publish_async(event);   // for rate; blocks when the queue is full
//   bus.flush();                                               // all of them are durable now
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidings/environment.hpp>
#include <tidings/event.hpp>
#include <tidings/transport.hpp>

namespace tidings {

/// How a bus is opened. Every member has a working default.
struct BusOptions {
  std::string source{};                 ///< `source` of what is published here, the service's name. Needed to publish.
  std::optional<Level> durability{};    ///< Of an acknowledged publish; without one the URL's, else the engine's strongest.
  Millis deadline{10'000};              ///< Of every publish: how long it may take until it throws Error{timeout}.
  Millis connect{10'000};               ///< How long open() waits for an engine that is down; zero: one try.
  std::size_t largest_event = 1U << 20; ///< Bytes of one envelope; the engine's own limit holds as well.
  std::size_t async_events = 16384;     ///< Back-pressure of publish_async(): events …
  std::size_t async_bytes = 16U << 20;  ///< … and bytes that may wait.
  transport::Retention retention{};     ///< What upkeep may remove; the URL's retention_age and retention_bytes count too.
  Environment environment{};            ///< Clocks, randomness, log.
};

/// What may be said of one event beyond its data. Empty members are filled in.
struct PublishOptions {
  std::string id{};              ///< Otherwise a fresh `evt_` + ULID.
  std::string correlation_id{};  ///< Otherwise `req_` + ULID: a new request begins here.
  std::string causation_id{};    ///< The event that led to this one.
  std::string key{};             ///< metadata.partitionKey: what order by key goes by.
  std::string traceparent{};     ///< W3C trace context, carried on.
  std::string tracestate{};
  Fields metadata{};             ///< Members of your own; may not name ours.
};

/// A stored event.
struct Published {
  std::string id{};              ///< The event's id.
  Position position{};           ///< Its place in the stream.
  bool ambiguous = false;        ///< It may stand in the stream twice under this id: the first answer was lost.
};

/// One item of a batch publish: stored, or why not.
struct PublishResult : Published {
  ErrorCode code = ErrorCode::ok;
  bool retryable = false;
  std::string message{};
};

namespace detail {
class BusState;
/// A described value whose type is forgotten but for how it is written.
struct TypedData {
  const void* object = nullptr;
  void (*write)(std::string& out, const void* object) = nullptr;
  MessageInfo info{};
};
template <MessageType T>
[[nodiscard]] TypedData typed_data(const T& value) noexcept {
  return {&value, [](std::string& out, const void* object) { write_json(out, *static_cast<const T*>(object)); },
          message_info<T>()};
}
/// Values of one such type, side by side in memory.
struct TypedBatch {
  TypedData first{};
  std::size_t count = 0, stride = 0;
  [[nodiscard]] TypedData operator[](std::size_t index) const noexcept {
    return {static_cast<const std::byte*>(first.object) + index * stride, first.write, first.info};
  }
};
}  // namespace detail

/// A connection to one engine. A handle: copies share the connection, which closes with the last copy (services hold
/// one each). Every member may be called from any thread. Using it in a forked child throws.
class Bus {
 public:
  /// Opens `url`, else `$TIDINGS_URL`; Error{invalid} without either. Waits `options.connect` for an engine that is
  /// down, then throws Error{unavailable}. Logs at info the engine and the level at which publishes are durable; throws
  /// Error{not_supported} when an explicitly demanded level cannot be met. Starts one thread for upkeep and publish_async().
  [[nodiscard]] static Bus open(std::string_view url = {}, BusOptions options = {});

  /// The same on a transport that the caller made: for a transport of one's own, and for tests.
  [[nodiscard]] static Bus over(std::shared_ptr<transport::Transport> transport, BusOptions options = {});

  /// Publishes one event; returns when it is durable at the bus's level. Throws Error: `too_large`, `invalid`, `timeout`
  /// (it may or may not have been stored; publishing again under the same id is safe for idempotent handlers), `full`,
  /// `unavailable`.
  template <EventType T>
  Published publish(const T& data, const PublishOptions& options = {}) {
    return publish_one(detail::typed_data(data), options);
  }

  /// Sends one command to its one owner; otherwise as publish().
  template <CommandType T>
  Published send(const T& data, const PublishOptions& options = {}) {
    return publish_one(detail::typed_data(data), options);
  }

  /// These two refuse, in a sentence, what was not declared.
  template <class T>
    requires(!EventType<T>)
  Published publish(const T&, const PublishOptions& = {}) {
    static_assert(EventType<T>, "tidings: publish() takes a type declared with TIDINGS_EVENT; a command goes to send()");
    return {};
  }
  template <class T>
    requires(!CommandType<T>)
  Published send(const T&, const PublishOptions& = {}) {
    static_assert(CommandType<T>, "tidings: send() takes a type declared with TIDINGS_COMMAND; an event goes to publish()");
    return {};
  }

  /// Publishes many, in order, in as few transactions as the engine allows; one result an item. `options.id` must be empty.
  template <MessageType T>
  std::vector<PublishResult> publish_batch(std::span<const T> events, const PublishOptions& options = {}) {
    if (events.empty()) return publish_many({}, options);
    return publish_many({detail::typed_data(events.front()), events.size(), sizeof(T)}, options);
  }
  template <MessageType T>
  std::vector<PublishResult> publish_batch(const std::vector<T>& events, const PublishOptions& options = {}) {
    return publish_batch(std::span<const T>(events), options);
  }

  /// Hands one event to the publishing thread and returns. Blocks while the queue is full; throws Error{full} at the
  /// deadline, with nothing queued. `on_result` is called once, from another thread, and must not block or throw; without
  /// it a failure is kept for flush(). Events of one stream are stored in the order of the calls of one thread.
  template <MessageType T>
  void publish_async(const T& data, const PublishOptions& options = {},
                     std::function<void(const PublishResult&)> on_result = {}) {
    publish_later(detail::typed_data(data), options, std::move(on_result));
  }

  /// Waits until everything handed to publish_async() before is decided. Throws the first failure that no callback saw.
  void flush();

  /// Publishes whole envelopes, raw JSON of any origin: validated in full, then stored as they are, but for missing id,
  /// timestamp, version ("1.0"), source and correlationId, which are filled in. The kind says which stream each goes to.
  std::vector<PublishResult> publish_json(std::span<const std::string_view> envelopes, MessageKind kind = MessageKind::event);

  /// The engine, for tools. Lives as long as the bus.
  [[nodiscard]] transport::Transport& transport() const noexcept;
  /// The level at which publishes are acknowledged.
  [[nodiscard]] Level level() const noexcept;
  /// The options it was opened with.
  [[nodiscard]] const BusOptions& options() const noexcept;

 private:
  friend class Service;
  friend class detail::BusState;
  explicit Bus(std::shared_ptr<detail::BusState> state) : state_(std::move(state)) {}
  Published publish_one(const detail::TypedData& data, const PublishOptions& options);
  std::vector<PublishResult> publish_many(const detail::TypedBatch& batch, const PublishOptions& options);
  void publish_later(const detail::TypedData& data, const PublishOptions& options,
                     std::function<void(const PublishResult&)> on_result);

  std::shared_ptr<detail::BusState> state_;
};

/// Opens the transport that `url` names, without a bus. Throws Error{invalid} for an unknown scheme or option.
[[nodiscard]] std::shared_ptr<transport::Transport> open_transport(std::string_view url, const Environment& environment = {});

/// The schemes that this build knows, for `tidings version`.
[[nodiscard]] std::vector<std::string_view> transport_schemes();

/// The libraries that this build stands on, each with its version, for `tidings version`.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> library_versions();

}  // namespace tidings
