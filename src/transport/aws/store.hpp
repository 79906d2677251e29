// What the parts of an open AWS transport share.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tidings/environment.hpp>
#include <tidings/transport.hpp>

#include "transport/aws/payloads.hpp"
#include "transport/aws/publish.hpp"

namespace tidings::transport::aws {

/// How long calls of tools and upkeep may take.
inline constexpr Millis patience{10'000};
/// SQS: the longest that a message can be hidden, counted from its receive.
inline constexpr Millis longest_hidden{12 * 3'600'000};
/// The longest delay that is left to a queue: what waits in it counts as in flight, of which a queue has a most.
inline constexpr Millis longest_queue_delay{15 * 60'000};

[[nodiscard]] inline WaitClock::time_point deadline_in(Millis wait) {
  return WaitClock::now() + std::min(wait, Millis(86'400'000));
}

/// A number for each message, as long as no more than `most` others came since. For one thread at a time.
class Remembered {
 public:
  /// 0 for what is not known, or not any more.
  [[nodiscard]] std::uint32_t of(const std::string& message) const;
  void set(const std::string& message, std::uint32_t number, std::size_t most = 100'000);
  void forget(const std::string& message);

 private:
  std::unordered_map<std::string, std::uint32_t> recent_{}, before_{};  // Two generations: forgetting is one step.
};

class Store {
 public:
  /// `shelf` and `archive` may be null.
  Store(const Options& options, const Environment& environment, std::shared_ptr<Transport> shelf,
        std::shared_ptr<Transport> archive);

  [[nodiscard]] const Capabilities& capabilities() const noexcept { return capabilities_; }
  [[nodiscard]] const Environment& environment() const noexcept { return environment_; }
  [[nodiscard]] Client& client() noexcept { return client_; }
  [[nodiscard]] Topology& topology() noexcept { return topology_; }
  /// Null without one.
  [[nodiscard]] Transport* shelf() const noexcept { return shelf_.get(); }
  [[nodiscard]] Transport* archive() const noexcept { return archive_.get(); }
  [[nodiscard]] Payloads* payloads() const noexcept { return payloads_.get(); }
  /// Throws Error{not_supported} in a sentence that says what `what` needs.
  [[nodiscard]] Transport& shelf_for(std::string_view what) const;
  [[nodiscard]] Transport& archive_for(std::string_view what) const;
  /// Makes the group on the shelf too, unless it is there.
  void join_shelf(GroupRef group);

  /// How often this process gave a message back, uncounted; and that it did so once more, or need not know any more.
  [[nodiscard]] std::uint32_t given_back(const std::string& message) const;
  void note_given_back(const std::string& message);
  void forget_given_back(const std::string& message);
  /// That a message, received so often, failed in this process and waits for its next attempt; and how often that was,
  /// 0 for one that this process knows nothing of.
  void note_failed(const std::string& message, std::uint32_t receives);
  [[nodiscard]] std::uint32_t failed_at(const std::string& message) const;

  void publish(std::span<const Outgoing> items, Millis within, std::span<Result> results) {
    Publication(client_, topology_, environment_, capabilities_, payloads_.get()).run(items, within, results, {});
  }
  /// Past the topic, to one queue.
  void send(const Publication::Straight& straight, std::span<const Outgoing> items, Millis within,
            std::span<Result> results) {
    Publication(client_, topology_, environment_, capabilities_, payloads_.get()).run(items, within, results, straight);
  }

 private:
  const Environment environment_;
  Client client_;
  Topology topology_;
  const std::shared_ptr<Transport> shelf_, archive_;
  const std::unique_ptr<Payloads> payloads_;
  const Capabilities capabilities_;
  mutable std::mutex mutex_{};
  Remembered given_back_{}, failed_{};
};

// redrive.cpp
/// Hands dead letters that lie in a group's `-dlq` out again, or drops them; returns how many. All of them by a move
/// task of AWS where it has those; else those that match are received, sent and deleted, at least once.
[[nodiscard]] std::size_t move_dead_letters(Store& store, GroupRef group, const ShelfQuery& query, bool drop);

// describe.cpp
[[nodiscard]] std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream);
/// Which of the permissions on a queue, and on its topic where it has one, are missing: a row for each policy.
void check_permissions(Store& store, const std::string& url, const std::string& topic, std::vector<Check>& checks);
/// Whether the store of payloads, where there is one, can be written and read.
void check_payloads(Store& store, std::vector<Check>& checks);
/// What may be wrong with how this account is set up.
[[nodiscard]] std::vector<Check> check_account(Store& store);

}  // namespace tidings::transport::aws
