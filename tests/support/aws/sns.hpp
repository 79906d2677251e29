// SNS: the calls of the query protocol on topics and subscriptions, and delivery to queues.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sqs.hpp"
#include "text.hpp"
#include "world.hpp"

namespace tidings::support::aws {

/// The members of a form.
class Fields {
 public:
  explicit Fields(const Form& form) : all_(form.begin(), form.end()) {}
  [[nodiscard]] std::string text(const std::string& name) const;
  /// Refuses one that is missing or empty.
  [[nodiscard]] std::string required(const std::string& name) const;
  /// What stands below `prefix.1.`, `prefix.2.` and so on, up to the first number that is not there.
  [[nodiscard]] std::vector<Fields> list(const std::string& prefix) const;
  /// The same of plain values.
  [[nodiscard]] std::vector<std::string> values(const std::string& prefix) const;
  /// `prefix.N.key` and `prefix.N.value`, by the names given.
  [[nodiscard]] std::map<std::string, std::string> pairs(const std::string& prefix, const char* key,
                                                         const char* value) const;
  [[nodiscard]] bool has(const std::string& name) const { return all_.contains(name); }

 private:
  Fields() = default;
  std::map<std::string, std::string> all_{};
};

/// Under the world's lock.
class Sns {
 public:
  Sns(World& world, Sqs& sqs);

  /// The XML inside a result; refuses what AWS refuses.
  [[nodiscard]] std::string answer(Call& call, const Fields& fields);
  [[nodiscard]] bool knows(const std::string& operation) const { return operations_.contains(operation); }

  [[nodiscard]] std::vector<std::string> topics() const;
  /// Of the topic's ARN; refuses one that is not there.
  [[nodiscard]] std::vector<AwsSubscription> subscriptions(const std::string& topic_arn) const;

 private:
  struct Topic {
    std::string arn{};
    std::map<std::string, std::string> attributes{}, tags{};
    int deleted_subscriptions = 0;
    [[nodiscard]] bool fifo() const { return arn.ends_with(".fifo"); }
  };
  /// A message on its way through a topic.
  struct Post {
    std::string id{}, message{}, subject{}, group{}, deduplication{};
    MessageAttributes attributes{};
  };
  using Operation = std::string (Sns::*)(Call&, const Fields&);

  std::string create_topic(Call& call, const Fields& fields);
  std::string delete_topic(Call& call, const Fields& fields);
  std::string list_topics(Call& call, const Fields& fields);
  std::string get_topic_attributes(Call& call, const Fields& fields);
  std::string set_topic_attributes(Call& call, const Fields& fields);
  std::string subscribe(Call& call, const Fields& fields);
  std::string unsubscribe(Call& call, const Fields& fields);
  std::string get_subscription_attributes(Call& call, const Fields& fields);
  std::string set_subscription_attributes(Call& call, const Fields& fields);
  std::string list_subscriptions(Call& call, const Fields& fields);
  std::string list_subscriptions_by_topic(Call& call, const Fields& fields);
  std::string tag_resource(Call& call, const Fields& fields);
  std::string untag_resource(Call& call, const Fields& fields);
  std::string list_tags(Call& call, const Fields& fields);
  std::string publish(Call& call, const Fields& fields);
  std::string publish_batch(Call& call, const Fields& fields);

  /// The topic of that ARN, for an action that the caller may do.
  Topic& topic_of(const Call& call, const std::string& arn, const std::string& action);
  AwsSubscription& subscription_of(const Call& call, const Fields& fields, const std::string& action);
  void check_subscription_attribute(const std::string& name, const std::string& value) const;
  std::string written(const std::vector<const AwsSubscription*>& all, const Fields& fields) const;
  [[nodiscard]] Post post_of(const Topic& topic, const Fields& fields) const;
  void deliver(const Topic& topic, const Post& post);
  void deliver(const Topic& topic, const Post& post, const AwsSubscription& subscription);
  bool hand_over(const std::string& queue_arn, const std::string& topic_arn, const Parcel& parcel);
  [[nodiscard]] std::string envelope(const Topic& topic, const Post& post, const AwsSubscription& subscription) const;

  World& world_;
  Sqs& sqs_;
  std::map<std::string, Operation> operations_;
  std::map<std::string, Topic> topics_{};
  std::map<std::string, AwsSubscription> subscriptions_{};
};

}  // namespace tidings::support::aws
