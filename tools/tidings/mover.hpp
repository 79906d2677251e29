// Moves events from one engine to another as a group of the source: what bridge and archive have in common.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tidings/bus.hpp>
#include <vector>

#include "echo.hpp"
#include "interrupt.hpp"
#include "passage.hpp"

namespace tidings::cli {

/// What is moved, and how long.
struct MoveOptions {
  std::vector<std::string> streams{};
  std::string group{};
  Start start{};
  Millis lease{30'000};
  std::uint64_t max = 0;  ///< Stops after so many; 0: never.
  std::optional<Millis> until_idle{};
  bool leads_on = false;  ///< Where it leads others live, and may lead back.
};

/// A subscription whose leases are renewed until it goes.
class Holding {
 public:
  Holding(transport::Transport& source, const transport::Interest& interest);
  ~Holding();
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;

  [[nodiscard]] transport::Subscription& operator*() const noexcept { return *subscription_; }
  [[nodiscard]] transport::Subscription* operator->() const noexcept { return subscription_.get(); }
  /// Whether others may have got what was held here.
  [[nodiscard]] bool lost() const noexcept { return lost_.load(); }

 private:
  void renew(const std::stop_token& stop, Millis every);

  std::unique_ptr<transport::Subscription> subscription_;
  std::atomic<bool> lost_{false};
  std::mutex mutex_{};
  std::condition_variable_any wake_{};
  std::jthread renewing_{};
};

/// The loop: fetch on the source, publish on the target, settle on the source. The group's cursor is the checkpoint.
class Mover {
 public:
  Mover(Bus& source, Bus& target, MoveOptions options, const Interrupt& interrupt);
  ~Mover();

  /// Until a signal, `max` or `until_idle`. Waits with backoff while an engine is down; throws Error for what waiting
  /// cannot cure.
  void run();
  [[nodiscard]] const Passage& passage() const noexcept { return passage_; }

 private:
  struct Parcel;
  using Parcels = std::vector<Parcel>;

  [[nodiscard]] bool done() const;
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] transport::GroupRef group(std::size_t stream) const;
  [[nodiscard]] bool join();
  [[nodiscard]] bool others_work() const;
  void carry_leftovers();
  void skip_known(const Parcels& parcels);
  void step();
  void look_at(const transport::Batch& batch);
  void begin(const Parcels& parcels);
  void skip_echoes(Parcels& parcels);
  bool publish(const Parcels& parcels, bool settles);
  [[nodiscard]] Passage::Answer publish_once(const Parcels& parcels, const std::vector<std::size_t>& next);
  void settle(const Parcels& parcels);
  bool pause(const std::string& why);
  void show_progress();

  transport::Transport& source_;
  transport::Transport& target_;
  const Level level_;
  const MoveOptions options_;
  const Interrupt& interrupt_;
  Passage passage_{};
  Echo echo_{};
  std::uint64_t echoes_ = 0;
  std::unique_ptr<Holding> holding_{};
  Millis pause_{0};
  Steady idle_since_{}, shown_at_{};
  bool idle_ = false;
  bool told_waiting_ = false, told_paused_ = false;
};

}  // namespace tidings::cli
