#include "witness.hpp"

#include <iostream>

namespace market {

Witness::Witness(tidings::Bus bus, std::vector<std::string> streams)
    : streams_(std::move(streams)),
      bus_(std::move(bus)),
      subscription_(bus_.transport().subscribe({.service = "demo-witness", .streams = streams_, .types = {"*"}})),
      thread_([this](const std::stop_token& stop) { listen(stop); }) {}

void Witness::listen(const std::stop_token& stop) try {
  while (!stop.stop_requested()) {
    const tidings::transport::Batch batch = subscription_->fetch(tidings::Millis{1000}, stop);
    std::vector<tidings::transport::Settlement> done;
    for (const tidings::transport::Delivery& delivery : batch.deliveries) {
      const auto event = tidings::decode<tidings::Json>(delivery.envelope);
      const std::lock_guard lock(mutex_);
      seen_[streams_.at(delivery.stream)].emplace(event.id, delivery.envelope);
      done.push_back({.token = delivery.token});
    }
    std::vector<tidings::transport::Result> results(done.size());
    if (!done.empty()) subscription_->settle(done, results);
  }
} catch (const std::exception& error) {
  // What it misses from now on is missing in the account.
  std::cerr << "demo: the witness ended: " << error.what() << '\n';
}

std::vector<std::string> Witness::envelopes(const std::string& stream) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all;
  const auto found = seen_.find(stream);
  if (found == seen_.end()) return all;
  for (const auto& [id, envelope] : found->second) all.push_back(envelope);
  return all;
}

std::uint64_t Witness::seen(const std::string& stream) const {
  const std::lock_guard lock(mutex_);
  const auto found = seen_.find(stream);
  return found == seen_.end() ? 0 : found->second.size();
}

}  // namespace market
