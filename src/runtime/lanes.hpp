// What was fetched and not started: one lane a handler, so that a handler at its limit holds up nobody else. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <tidings/delivery.hpp>

#include "runtime/handlers.hpp"

namespace tidings::runtime {

/// The lanes of one service. The oldest delivery whose handler may run goes first.
class Lanes {
 public:
  Lanes(const HandlerTable& handlers, unsigned concurrency);

  void push(std::size_t lane, transport::Delivery&& delivery, Steady now);
  /// The lane whose turn it is, if any may run now. `hurry`: batches do not wait to fill.
  [[nodiscard]] std::optional<std::size_t> next(Steady now, bool hurry) const noexcept;
  /// Moves the oldest of `lane` to `out` (up to its batch size and `most`) and counts one call as running.
  void take(std::size_t lane, std::size_t most, std::vector<transport::Delivery>& out);
  /// Moves up to `most` from `lane`, which is no batch handler's, that arrived directly one after the other (so that
  /// their order over all lanes is kept) and may run beside others, and counts one call as running.
  void take_run(std::size_t lane, std::size_t most, std::vector<transport::Delivery>& out);
  /// Puts back, as the oldest of `lane`, what a run did not come to.
  void put_back(std::size_t lane, std::span<transport::Delivery> deliveries, Steady now);
  /// A call of `lane` has ended.
  void finished(std::size_t lane) noexcept;
  /// When the first batch that waits to fill may run as it is.
  [[nodiscard]] std::optional<Steady> ready_at() const noexcept;
  /// Removes everything, oldest first, into `out`.
  void clear(std::vector<transport::Delivery>& out);
  /// Removes what is lost; returns how many.
  std::size_t drop(std::span<const transport::AckToken> lost);

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] unsigned running() const noexcept { return running_; }

 private:
  void take_front(std::size_t lane, std::size_t count, std::vector<transport::Delivery>& out);

  struct Item {
    transport::Delivery delivery;
    std::uint64_t number = 0;  // In the order of arrival, over all lanes.
    Steady since{};
  };
  struct Lane {
    std::vector<Item> items;  // The first `head` are gone already.
    std::size_t head = 0;
    std::size_t batch = 1;
    Millis wait{};
    unsigned limit = 1, running = 0;
    [[nodiscard]] std::size_t size() const noexcept { return items.size() - head; }
    [[nodiscard]] const Item& item(std::size_t index) const noexcept { return items[head + index]; }
    [[nodiscard]] bool ready(Steady now, bool hurry) const noexcept {
      return batch == 1 || hurry || size() >= batch || items[head].since + wait <= now;
    }
  };

  std::vector<Lane> lanes_;
  std::size_t size_ = 0;
  std::uint64_t arrived_ = std::uint64_t{1} << 32;  // Room below, for what is put back.
  unsigned running_ = 0;
  bool alone_running_ = false;
};

}  // namespace tidings::runtime
