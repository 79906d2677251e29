// A request that makes something and publishes it must not do one without the other, also when its process is killed in
// between: the event is written beside what was made, in one transaction, and published from there.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "requests.hpp"
#include "store.hpp"

namespace market {

/// The table that an Outbox keeps in its service's store.
inline constexpr const char* outbox_schema =
    "CREATE TABLE IF NOT EXISTS outbox(key TEXT PRIMARY KEY, id TEXT NOT NULL, event TEXT NOT NULL,"
    " correlation TEXT NOT NULL, envelope TEXT NOT NULL, published INTEGER NOT NULL DEFAULT 0, at INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS unpublished ON outbox(at) WHERE published = 0;";

/// Any thread.
class Outbox {
 public:
  /// Publishes first what an earlier process left.
  Outbox(Store& store, tidings::Bus& bus);

  /// Makes something once for each `key` (the request's Idempotency-Key; a fresh one is taken when it is empty):
  /// `make()` changes the store and returns the event, in one transaction with the outbox. Returns when the event is
  /// durable; asked again under the same key, makes nothing and returns the same. `id` is that of what is made.
  template <class Make>
  Made once(std::string key, const std::string& id, Make make) {
    if (key.empty()) key = id;
    std::string envelope;
    Made made = store_.transaction([&] {
      if (const auto known =
              store_.query("SELECT id, event, correlation, envelope, published FROM outbox WHERE key=?", key);
          !known.empty()) {
        if (known[0][4] == "0") envelope = known[0][3];
        return Made{known[0][0], known[0][1], known[0][2]};
      }
      auto event = compose(make());
      envelope = tidings::encode(event);
      store_.query("INSERT INTO outbox(key, id, event, correlation, envelope, at) VALUES(?,?,?,?,?,?)", key, id,
                   event.id, event.correlationId, envelope, now_ms());
      return Made{id, event.id, event.correlationId};
    });
    if (!envelope.empty()) publish(key, envelope);
    return made;
  }

 private:
  template <class T>
  tidings::DomainEvent<T> compose(T data) const {
    constexpr tidings::MessageInfo info = tidings::message_info<T>();
    const tidings::Wall now = tidings::system_clock().wall();
    tidings::DomainEvent<T> event;
    event.id = tidings::new_event_id(now, tidings::system_random());
    event.type = info.type;
    event.version = info.version;
    event.timestamp = now;
    event.source = bus_.options().source;
    event.correlationId = "req_" + event.id.substr(4);
    event.data = std::move(data);
    return event;
  }
  void publish(const std::string& key, std::string_view envelope);

  Store& store_;
  tidings::Bus& bus_;
};

}  // namespace market
