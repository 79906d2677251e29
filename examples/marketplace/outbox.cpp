#include "outbox.hpp"

#include <iostream>
#include <vector>

using namespace std::chrono_literals;

namespace market {
namespace {

constexpr auto longest_wait = 15s;

}  // namespace

Outbox::Outbox(Store& store, tidings::Bus& bus) : store_(store), bus_(bus) {
  thread_ = std::jthread([this](const std::stop_token& stop) { relay(stop); });
}

Outbox::~Outbox() = default;

std::string Outbox::key_of(const Request& request, const std::string& id) {
  // Without a key of the caller's each request is one of its own.
  if (request.idempotency_key.empty()) return "once " + fresh_id("") + " " + id;
  return request.method + " " + request.path + " " + request.idempotency_key;
}

std::optional<Made> Outbox::find(const std::string& key, const Request& request, std::int64_t& seq) {
  const auto rows = store_.query("SELECT id, event, correlation, request, seq FROM outbox WHERE key=?", key);
  if (rows.empty()) return std::nullopt;
  if (rows[0][3] != request.body) throw HttpError(422, "this Idempotency-Key was used with another body");
  seq = std::stoll(rows[0][4]);
  return Made{rows[0][0], rows[0][1], rows[0][2]};
}

std::int64_t Outbox::insert(const std::string& key, const Request& request, const std::string& id,
                            const std::string& event, const std::string& correlation, const std::string& envelope) {
  const auto rows = store_.query(
      "INSERT INTO outbox(key, request, id, event, correlation, envelope, at) VALUES(?,?,?,?,?,?,?) RETURNING seq", key,
      request.body, id, event, correlation, envelope, now_ms());
  return std::stoll(rows[0][0]);
}

void Outbox::await(std::int64_t seq) {
  std::unique_lock lock(mutex_);
  made_ = std::max(made_, seq);
  wake_.notify_one();
  if (!decided_wake_.wait_for(lock, longest_wait, [&] { return decided_ >= seq; })) {
    throw HttpError(
        503, "what you asked for is kept, but its event could not be published yet; send the same request again");
  }
  lock.unlock();
  if (store_.query("SELECT state FROM outbox WHERE seq=?", seq)[0][0] == "2")
    throw HttpError(500, "its event was refused");
}

void Outbox::relay(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    bool again = false;
    try {
      again = publish_some();
    } catch (const std::exception& error) {
      std::cerr << "outbox: " << error.what() << "; trying again\n";
      again = true;
    }
    std::unique_lock lock(mutex_);
    if (again) {
      wake_.wait_for(lock, stop, 100ms, [] { return false; });
    } else {
      wake_.wait(lock, stop, [&] { return made_ > decided_; });
    }
  }
}

// Publishes the oldest rows; true when it should come again after a pause.
bool Outbox::publish_some() {
  const auto rows = store_.query("SELECT seq, envelope FROM outbox WHERE state = 0 ORDER BY seq LIMIT 200");
  std::vector<std::string_view> envelopes;
  for (const Store::Row& row : rows) envelopes.emplace_back(row[1]);
  std::vector<tidings::PublishResult> results;
  if (!envelopes.empty()) results = bus_.publish_json(envelopes);
  bool failed = false;
  // Killed before this is committed, the next process publishes the same events again: under the same ids, by which
  // consumers recognise them.
  const std::int64_t decided = store_.transaction([&] {
    for (std::size_t i = 0; i < results.size(); ++i) {
      const bool stored = results[i].code == tidings::ErrorCode::ok;
      if (!stored) std::cerr << "outbox: row " << rows[i][0] << ": " << results[i].message << '\n';
      failed = failed || (!stored && results[i].retryable);
      if (stored || !results[i].retryable) {
        store_.query("UPDATE outbox SET state = ? WHERE seq = ?", std::int64_t{stored ? 1 : 2}, std::stoll(rows[i][0]));
      }
    }
    return std::stoll(
        store_.query("SELECT coalesce((SELECT min(seq) - 1 FROM outbox WHERE state = 0),"
                     " (SELECT max(seq) FROM outbox), 0)")[0][0]);
  });
  const std::lock_guard lock(mutex_);
  decided_ = decided;
  decided_wake_.notify_all();
  return failed;
}

}  // namespace market
