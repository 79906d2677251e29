// Testing services without an engine, threads, sleeps or real time.
//
//   tidings::testing::Harness harness;
//   tidings::Service notification{harness.bus(), "notification"};
//   notification.on<UserCreated>(...);
//   harness.add(notification);
//   harness.publish(UserCreated{"usr_1", "a@example.com", {}});
//   harness.settle();                                           // runs handlers on this thread until nothing is due
//   EXPECT_EQ(harness.published<WelcomeSent>().size(), 1u);
//   harness.advance(30s);                                       // moves the clock, then settles
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/service.hpp>

namespace tidings::testing {

/// A clock that stands still until it is moved. Safe from any thread.
class VirtualClock : public Clock {
 public:
  /// Starts at 2024-01-25T10:30:00Z, one hour after boot.
  VirtualClock();
  [[nodiscard]] Wall wall() const noexcept override;
  [[nodiscard]] Steady steady() const noexcept override;
  /// Moves both clocks forward.
  void advance(Millis by) noexcept;
  /// Moves the wall clock only, either way: what an operator or NTP does.
  void jump_wall(Millis by) noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The same sequence for the same seed. Safe from any thread.
class SeededRandom : public Random {
 public:
  /// Two of one seed give the same numbers.
  explicit SeededRandom(std::uint64_t seed = 1) noexcept;
  [[nodiscard]] std::uint64_t next() noexcept override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// A dead letter, as tests look at it.
struct DeadLetter {
  std::string id{}, type{}, reason{}, error{};
  std::uint32_t attempts = 0, crashes = 0;
};

/// A bus on a virtual clock and a memory engine, with the services under test. One thread.
class Harness {
 public:
  Harness();
  /// The same over a transport of your own, which must use `clock`.
  Harness(std::shared_ptr<transport::Transport> transport, std::shared_ptr<VirtualClock> clock);
  ~Harness();
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;

  /// The bus, to give to services; its source is "test".
  [[nodiscard]] Bus& bus();
  /// The clock that everything here runs on.
  [[nodiscard]] VirtualClock& clock();
  /// Joins a service that was made on bus(); borrowed. Its handlers run inside settle().
  void add(Service& service);

  /// Given: an event or command, stored at once.
  template <MessageType T>
  std::string publish(const T& data, const PublishOptions& options = {}) {
    if constexpr (CommandType<T>) {
      return bus().send(data, options).id;
    } else {
      return bus().publish(data, options).id;
    }
  }

  /// Runs every delivery that is due, and what follows from it, on this thread, until none is. Returns how many handler
  /// calls that made. Throws Error{internal} past 100,000 calls: services that answer each other for ever.
  std::size_t settle();
  /// Moves the clock by `by`, stopping at each retry that falls due on the way, and settles at each stop.
  std::size_t advance(Millis by);
  /// The next handler call of `service` runs its handler, then the process "dies" before anything is settled: its
  /// lease runs out, and the event comes back alone with one crash more. Outputs of that call are lost.
  void crash_next(Service& service);
  /// Every delivery is handled twice from now on, as at-least-once allows: handlers must be idempotent.
  void deliver_twice(bool on = true);

  /// What was published with type `T` since the start, by anybody, in order.
  template <MessageType T>
  [[nodiscard]] std::vector<DomainEvent<T>> published() {
    std::vector<DomainEvent<T>> events;
    for (const std::string& text : envelopes(message_info<T>())) events.push_back(decode<T>(text));
    return events;
  }
  /// The dead letters of a service, over all its streams.
  [[nodiscard]] std::vector<DeadLetter> dead_letters(const Service& service);

 private:
  [[nodiscard]] std::vector<std::string> envelopes(MessageInfo info);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings::testing
