#include <atomic>
#include <mutex>

#include <tidings/testing.hpp>

namespace tidings::testing {

struct VirtualClock::State {
  mutable std::mutex mutex;
  Wall wall =
      std::chrono::sys_days{std::chrono::January / 25 / 2024} + std::chrono::hours(10) + std::chrono::minutes(30);
  Steady steady = std::chrono::hours(1);
};

VirtualClock::VirtualClock() : state_(std::make_shared<State>()) {}

Wall VirtualClock::wall() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->wall;
}

Steady VirtualClock::steady() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->steady;
}

void VirtualClock::advance(Millis by) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->wall += by;
  state_->steady += by;
}

void VirtualClock::jump_wall(Millis by) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->wall += by;
}

struct SeededRandom::State {
  explicit State(std::uint64_t seed) noexcept : counter(seed) {}
  std::atomic<std::uint64_t> counter;
};

SeededRandom::SeededRandom(std::uint64_t seed) noexcept : state_(std::make_shared<State>(seed)) {}

// SplitMix64: one addition is all the state there is, so threads need no lock.
std::uint64_t SeededRandom::next() noexcept {
  std::uint64_t bits = state_->counter.fetch_add(0x9E3779B97F4A7C15U) + 0x9E3779B97F4A7C15U;
  bits = (bits ^ (bits >> 30U)) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ (bits >> 27U)) * 0x94D049BB133111EBU;
  return bits ^ (bits >> 31U);
}

}  // namespace tidings::testing
