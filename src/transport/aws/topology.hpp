// The topics, queues and subscriptions that a system of Tidings has on AWS: made, checked and mended.
//
//   events:user      SNS topic PREFIX-events-user
//                      └ subscription (raw, filter on `type`, its own redrive policy)
//   group search     SQS queue PREFIX-search-events-user      (policy: the topic may send; redrive policy)
//                      └ PREFIX-search-events-user-dlq
//   commands:a.b     SQS queue PREFIX-commands-a_b, tagged with its owner
//
// Everything is made in an order in which nothing is lost: a queue, with what lets the topic send to it, before its
// subscription. What others set stays; what differs from what is needed is mended and told. Any thread; calls block.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/inspection.hpp>

#include "transport/aws/options.hpp"
#include "transport/aws/sns.hpp"
#include "transport/aws/sqs.hpp"

namespace tidings::transport::aws {

/// Beyond what any system of ours needs: a queue's own limit must not meet ours, since every receive counts, also of
/// what is given back.
inline constexpr std::uint32_t native_limit = 1'000;

/// A group's queue.
struct Queue {
  std::string name{}, url{}, arn{};
  std::string dead_url{};
  /// The types that the subscription lets through; nothing where everything comes.
  std::optional<std::set<std::string>> filter{};
  bool everything = false;  ///< Some instance handles every type.
  bool made = false;        ///< It was not there before.
  bool dead_made = false;   ///< Nor was the one of its dead letters.
};

/// The first part of ARNs in a region: `aws`, `aws-cn` or `aws-us-gov`.
[[nodiscard]] std::string partition_of(std::string_view region);

class Topology {
 public:
  Topology(Client& client, const Options& options, Log log)
      : client_(client),
        names_(options.prefix),
        mode_(options.topology),
        account_(options.account),
        log_(std::move(log)) {}

  [[nodiscard]] TopologyMode mode() const noexcept { return mode_; }
  [[nodiscard]] const Names& names() const noexcept { return names_; }
  /// Of an event stream; known after the first time.
  [[nodiscard]] std::string topic(std::string_view stream, WaitClock::time_point deadline);
  /// Of a command stream; known after the first time.
  [[nodiscard]] std::string command_queue(std::string_view stream, WaitClock::time_point deadline);
  /// The queue of a service's group, subscribed to its stream. `types` are those that it handles, `*` for all. Throws
  /// Error{conflict} for a command stream that another service owns.
  [[nodiscard]] Queue join(std::string_view stream, std::string_view service, const std::vector<std::string>& types,
                           WaitClock::time_point deadline);
  /// Once more what join() did about the subscription, where it may: others that started beside this program may have
  /// written over it.
  void look_again(std::string_view stream, Queue& queue, std::string_view service,
                  const std::vector<std::string>& types, WaitClock::time_point deadline);
  /// What a queue's subscription lets through now; nothing where that is everything, or of another's making.
  [[nodiscard]] std::optional<std::set<std::string>> filter_of(std::string_view stream, const Queue& queue,
                                                               WaitClock::time_point deadline);
  /// The URL of a group's queue; empty when there is none.
  [[nodiscard]] std::string find_queue(const std::string& name, WaitClock::time_point deadline);
  /// Ends the subscription, then removes the queue and its dead letters.
  void remove(std::string_view stream, std::string_view group, WaitClock::time_point deadline);
  /// Which service owns a command queue; empty where nobody does, or it may not be asked.
  [[nodiscard]] std::string owner_of(const std::string& url, WaitClock::time_point deadline);
  /// Forgets what it knows of a stream, say because AWS says that it is gone.
  void forget(std::string_view stream);
  [[nodiscard]] std::string account(WaitClock::time_point deadline);

  /// What a call answers; a refusal is thrown.
  Reply call(Service service, std::string_view operation, const std::string& body, std::string_view about,
             WaitClock::time_point deadline);
  /// The attributes of a queue; throws Error{not_found}.
  [[nodiscard]] Attributes queue_attributes(const std::string& url, WaitClock::time_point deadline);
  /// The subscription of a queue to a topic; empty without one.
  [[nodiscard]] std::string find_subscription(const std::string& topic_arn, const std::string& queue_arn,
                                              WaitClock::time_point deadline);
  [[nodiscard]] Attributes subscription_attributes(const std::string& arn, WaitClock::time_point deadline);

 private:
  [[nodiscard]] Reply ask(Service service, std::string_view operation, const std::string& body,
                          WaitClock::time_point deadline);
  [[nodiscard]] std::string topic_arn_of(const std::string& name, WaitClock::time_point deadline);
  [[nodiscard]] std::string make_queue(const std::string& name, bool& made, std::string_view owner,
                                       WaitClock::time_point deadline);
  [[nodiscard]] Queue make(const std::string& name, const std::string& dead_name, std::string_view owner,
                           WaitClock::time_point deadline);
  void mend_queue(const Queue& queue, const Attributes& has, const std::string& topic_arn, const std::string& dead_arn,
                  WaitClock::time_point deadline);
  void subscribe(Queue& queue, const std::string& topic_arn, const std::string& dead_arn,
                 const std::vector<std::string>& types, WaitClock::time_point deadline);
  void mend_subscription(Queue& queue, const std::string& arn, const std::string& dead_arn,
                         const std::vector<std::string>& types, WaitClock::time_point deadline);
  [[nodiscard]] Attributes tags_of(const Queue& queue, WaitClock::time_point deadline);
  void tag(const Queue& queue, std::string_view name, std::string_view value, WaitClock::time_point deadline);
  [[nodiscard]] bool takes_everything(const Queue& queue, const std::vector<std::string>& types,
                                      WaitClock::time_point deadline);
  void own(const Queue& queue, std::string_view stream, std::string_view service, WaitClock::time_point deadline);
  void differs(const std::string& what, const std::string& mend);
  void tell(const std::string& line) const { log_(LogLevel::warning, "aws: " + line); }

  Client& client_;
  const Names names_;
  const TopologyMode mode_;
  std::mutex mutex_{};  // Never held across a call.
  std::string account_;
  std::map<std::string, std::string, std::less<>> places_{};  // Stream → topic's ARN, or command queue's URL.
  const Log log_;
};

}  // namespace tidings::transport::aws
