// What the copies of a bus share: the connection, the deadline and retries of every publish, and upkeep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include <tidings/bus.hpp>

#include "core/growing_publish.hpp"
#include "runtime/publisher.hpp"

namespace tidings::detail {

/// One open connection. Members may be called from any thread.
class BusState {
 public:
  BusState(std::shared_ptr<transport::Transport> transport, BusOptions options);
  ~BusState();
  BusState(const BusState&) = delete;
  BusState& operator=(const BusState&) = delete;

  [[nodiscard]] transport::Transport& transport() const noexcept { return *transport_; }
  [[nodiscard]] const BusOptions& options() const noexcept { return options_; }
  [[nodiscard]] Level level() const noexcept { return level_; }
  /// The limit of one envelope: the options' or the engine's, whichever is lower.
  [[nodiscard]] std::size_t largest_event() const noexcept { return largest_event_; }

  /// True in a process that was forked off after the bus was opened.
  [[nodiscard]] bool forked() const noexcept;
  /// Throws Error{closed} there.
  void check_process() const;
  /// Throws Error{invalid} when the bus has no source.
  void check_source() const;
  /// Stores all of `items` within the deadline, those that fail in passing again under the same id.
  void publish(std::span<const transport::Outgoing> items, std::span<transport::Result> results) {
    publish_at(level_, items, results);
  }
  /// The same for events that `more` makes, where the engine can while it stores those before them.
  void publish_growing(const core::MoreEvents& more, std::vector<transport::Outgoing>& items,
                       std::vector<transport::Result>& results);
  /// The publishing thread, started at the first call.
  [[nodiscard]] runtime::Publisher& publisher();
  /// One line to the bus's log, control characters escaped.
  void log(LogLevel level, std::string_view line) const;

 private:
  /// The thread that tends the transport, and what it sleeps on.
  struct Upkeep {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::jthread thread;
  };

  void tend(Upkeep& upkeep, std::stop_token stop);
  void publish_at(Level level, std::span<const transport::Outgoing> items, std::span<transport::Result> results);
  void publish_again(Level level, std::span<const transport::Outgoing> items, std::span<transport::Result> results,
                     Steady start);
  void publish_once(Level level, std::span<const transport::Outgoing> items, Millis within,
                    std::span<transport::Result> results);

  BusOptions options_;
  std::shared_ptr<transport::Transport> transport_;
  core::GrowingPublish* growing_;  // The same, where it can.
  Level level_;
  std::size_t largest_event_;
  std::uint64_t generation_;  // Of the process that opened it.
  std::once_flag publisher_once_;
  std::shared_ptr<runtime::Publisher> publisher_;
  std::unique_ptr<Upkeep> upkeep_;  // Last: its thread ends before what it uses.
};

/// The weakest level that the engine offers and that meets `wanted`, or the engine's strongest without one. Throws
/// Error{not_supported} when the engine has none.
[[nodiscard]] Level choose_level(const transport::Capabilities& capabilities, std::optional<Level> wanted);

}  // namespace tidings::detail
