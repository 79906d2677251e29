// A request that makes something and publishes it must not do one without the other, also when its process is killed in
// between: the event is written beside what was made, in one transaction, and published from there by a thread of its
// own, in the order in which things were made.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "http.hpp"
#include "requests.hpp"
#include "store.hpp"

namespace market {

/// The table that an Outbox keeps in its service's store. `state`: 0 waits, 1 is published, 2 was refused for good.
inline constexpr const char* outbox_schema =
    "CREATE TABLE IF NOT EXISTS outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, request TEXT "
    "NOT NULL,"
    " id TEXT NOT NULL, event TEXT NOT NULL, correlation TEXT NOT NULL, envelope TEXT NOT NULL,"
    " state INTEGER NOT NULL DEFAULT 0, at INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS waiting ON outbox(seq) WHERE state = 0;";

/// Any thread.
class Outbox {
 public:
  /// Begins with what an earlier process left.
  Outbox(Store& store, tidings::Bus& bus);
  ~Outbox();  ///< What is not published yet waits for the next process.

  /// Makes something once for each request: a second one with the same method, path and Idempotency-Key makes nothing
  /// and gets the same answer; with another body it is refused (422). `make()` changes the store and returns the event,
  /// in one transaction with the outbox; `id` is that of what is made. Returns when the event is durable, or throws
  /// HttpError 503 when that takes long: then it is kept, and the same request can be sent again.
  template <class Make>
  Made once(const Request& request, const std::string& id, Make make) {
    std::int64_t seq = 0;
    Made made = store_.transaction([&] {
      const std::string key = key_of(request, id);
      if (const auto known = find(key, request, seq)) return *known;
      const auto event = compose(make(), request.id);
      const std::string envelope = tidings::encode(event);
      if (envelope.size() > bus_.options().largest_event) throw HttpError(413, "the event would be too large");
      seq = insert(key, request, id, event.id, event.correlationId, envelope);
      return Made{id, event.id, event.correlationId};
    });
    await(seq);
    return made;
  }

 private:
  template <class T>
  tidings::DomainEvent<T> compose(T data, const std::string& correlation_id) const {
    constexpr tidings::MessageInfo info = tidings::message_info<T>();
    const tidings::Wall now = tidings::system_clock().wall();
    tidings::DomainEvent<T> event;
    event.id = tidings::new_event_id(now, tidings::system_random());
    event.type = info.type;
    event.version = info.version;
    event.timestamp = now;
    event.source = bus_.options().source;
    event.correlationId = correlation_id.empty() ? "req_" + event.id.substr(4) : correlation_id;
    event.data = std::move(data);
    return event;
  }
  static std::string key_of(const Request& request, const std::string& id);
  std::optional<Made> find(const std::string& key, const Request& request, std::int64_t& seq);
  std::int64_t insert(const std::string& key, const Request& request, const std::string& id, const std::string& event,
                      const std::string& correlation, const std::string& envelope);
  void await(std::int64_t seq);
  void relay(const std::stop_token& stop);
  bool publish_some();

  Store& store_;
  tidings::Bus& bus_;
  std::mutex mutex_{};
  std::condition_variable_any wake_{}, decided_wake_{};
  std::int64_t made_ = 0, decided_ = -1;  // The latest row, and up to which one all are decided.
  std::jthread thread_{};
};

}  // namespace market
