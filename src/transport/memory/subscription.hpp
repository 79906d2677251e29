// One subscription on the memory engine: the thin shell that locks, waits and reads the clocks.
#pragma once

#include <memory>

#include "transport/memory/store.hpp"

namespace tidings::memory {

/// Both clocks now.
[[nodiscard]] Now now_of(const Environment& environment);

/// What may be stored of a request.
struct Admission {
  std::vector<transport::Outgoing> admitted{};  ///< What may be stored, in order.
  std::vector<std::size_t> indexes{};           ///< Of the admitted ones within the request.
};

/// Says for each item whether it may be stored; fills the results of those that may not. Behind a refused event, later
/// events of its key are held back too, so that what is stored of a key is a prefix.
[[nodiscard]] Admission admit(std::span<const transport::Outgoing> items, std::span<transport::Result> results,
                              std::size_t largest_event);

class MemorySubscription : public transport::Subscription {
 public:
  MemorySubscription(std::shared_ptr<Store> store, const Environment& environment, const transport::Interest& interest,
                     std::size_t largest_event);
  ~MemorySubscription() override;
  MemorySubscription(const MemorySubscription&) = delete;
  MemorySubscription& operator=(const MemorySubscription&) = delete;

  transport::Batch fetch(Millis wait, std::stop_token stop) override;
  void settle(std::span<const transport::Settlement> items, std::span<transport::Result> results) override;
  std::vector<transport::AckToken> renew() override;

 private:
  [[nodiscard]] bool fill(transport::Batch& batch, std::vector<std::string>& recreated);
  [[nodiscard]] std::chrono::steady_clock::time_point wake_at(std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] bool settle_one(const transport::Settlement& item, transport::Result& result, Now now);

  std::shared_ptr<Store> store_;
  Environment environment_;
  std::size_t largest_event_;
  Member* member_;
};

/// The moment `wait` from now in real time, which waits are bounded by whatever the injected clock says.
[[nodiscard]] std::chrono::steady_clock::time_point deadline_after(Millis wait);

}  // namespace tidings::memory
