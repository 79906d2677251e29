#include "outbox.hpp"

namespace market {

Outbox::Outbox(Store& store, tidings::Bus& bus) : store_(store), bus_(bus) {
  for (const Store::Row& row : store_.query("SELECT key, envelope FROM outbox WHERE published = 0 ORDER BY at")) {
    publish(row[0], row[1]);
  }
}

void Outbox::publish(const std::string& key, std::string_view envelope) {
  for (const tidings::PublishResult& result : bus_.publish_json({&envelope, 1})) {
    if (result.code != tidings::ErrorCode::ok) throw tidings::Error(result.code, result.retryable, result.message);
  }
  // Killed before this line, the next process publishes the same event again: the same id, which consumers recognise.
  store_.query("UPDATE outbox SET published = 1 WHERE key = ?", key);
}

}  // namespace market
