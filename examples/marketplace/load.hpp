// The people of the marketplace: they call its services over HTTP, as a browser would.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cast.hpp"
#include "http.hpp"
#include "people.hpp"

namespace market {

/// How much is asked for, and how fast.
struct LoadOptions {
  std::uint32_t stories = 700;  ///< Of two users, one project and one booking each.
  unsigned people = 8;          ///< Requests at the same time.
  double rate = 300;            ///< Requests a second; 0: as fast as they are answered.
};

/// A request that was answered: the event that it made, and when it was sent.
struct Answered {
  std::string id, event, correlation_id;
  std::int64_t sent_ms = 0;
};

/// Tells all stories, on threads of its own. A request that is not answered (a service is down, or was killed) is sent
/// again under the same key until it is.
class Load {
 public:
  Load(const Cast& cast, LoadOptions options);
  ~Load();  ///< Stops what is not told yet.
  /// Asks for that, without waiting.
  void stop();

  /// From 0 to 1.
  [[nodiscard]] double progress() const noexcept;
  [[nodiscard]] bool done() const noexcept { return ended_ == options_.people; }
  /// Why it cannot go on, if anything.
  [[nodiscard]] std::optional<std::string> failure();
  /// Everything that was answered. Once done.
  [[nodiscard]] const std::vector<Answered>& answered() const noexcept { return answered_; }
  /// A booking that went well.
  [[nodiscard]] const Answered& example() const noexcept { return example_; }
  /// How often a request had to be sent again.
  [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_; }
  [[nodiscard]] std::chrono::steady_clock::time_point began() const noexcept { return began_; }

 private:
  void tell(const std::stop_token& stop);
  void tell(const std::stop_token& stop, HttpClient* clients, std::uint32_t number);
  Answered ask(const std::stop_token& stop, HttpClient& client, const std::string& service, const std::string& method,
               const std::string& target, const std::string& body, const std::string& key);
  void pace(const std::stop_token& stop);

  const Cast& cast_;
  const LoadOptions options_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::atomic<std::uint32_t> next_{0}, told_{0};
  std::atomic<std::uint64_t> asked_{0}, repeated_{0};
  std::atomic<unsigned> ended_{0};
  std::mutex mutex_{};
  std::condition_variable_any wake_{};
  std::vector<Answered> answered_{};
  Answered example_{};
  std::optional<std::string> failure_{};
  std::vector<std::jthread> people_{};  // Last: its threads use the rest.
};

}  // namespace market
