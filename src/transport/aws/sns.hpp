// The language of SNS (and of STS, as far as who asks): requests are forms, replies XML. Pure; client.hpp sends and
// receives them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/aws/batch.hpp"
#include "transport/aws/md5.hpp"
#include "transport/aws/sqs.hpp"

namespace tidings::transport::aws::sns {

// Each writes the body of the operation of that name into `out`, whose memory is used again.

void write_create_topic(std::string& out, std::string_view name, const Attributes& attributes, const Attributes& tags);
void write_get_topic_attributes(std::string& out, std::string_view topic_arn);
void write_set_topic_attributes(std::string& out, std::string_view topic_arn, std::string_view name,
                                std::string_view value);
void write_delete_topic(std::string& out, std::string_view topic_arn);
/// `token` is empty for the first page.
void write_list_topics(std::string& out, std::string_view token);
/// The reply holds the subscription's ARN, also of one that waits for its confirmation.
void write_subscribe(std::string& out, std::string_view topic_arn, std::string_view protocol, std::string_view endpoint,
                     const Attributes& attributes);
void write_unsubscribe(std::string& out, std::string_view subscription_arn);
void write_list_subscriptions_by_topic(std::string& out, std::string_view topic_arn, std::string_view token);
void write_get_subscription_attributes(std::string& out, std::string_view subscription_arn);
void write_set_subscription_attributes(std::string& out, std::string_view subscription_arn, std::string_view name,
                                       std::string_view value);

/// A message to publish. Borrowed. With raw delivery SNS discards one of more than ten attributes.
struct Outbound {
  std::string_view body{};
  std::span<const MessageAttribute> attributes{};  ///< Not binary.
  std::string_view group{}, deduplication{};       ///< Of a FIFO topic.
};

/// Of at most largest_batch messages.
void write_publish_batch(std::string& out, std::string_view topic_arn, std::span<const Outbound> messages);

// Replies. Each throws Error{unavailable} when the text is none.

[[nodiscard]] std::string read_topic_arn(std::string_view body);         ///< Of CreateTopic.
[[nodiscard]] std::string read_subscription_arn(std::string_view body);  ///< Of Subscribe.
[[nodiscard]] Attributes read_attributes(std::string_view body);         ///< Of a topic or a subscription.

struct TopicPage {
  std::vector<std::string> arns{};
  std::string next{};  ///< Empty on the last page.
};
[[nodiscard]] TopicPage read_topics(std::string_view body);

struct SubscriptionPage {
  struct Subscription {
    std::string arn{};  ///< `PendingConfirmation` until it is confirmed.
    std::string protocol{}, endpoint{}, topic_arn{}, owner{};
    bool operator==(const Subscription&) const = default;
  };
  std::vector<Subscription> subscriptions{};
  std::string next{};  ///< Empty on the last page.
};
[[nodiscard]] SubscriptionPage read_subscriptions(std::string_view body);

/// Outcomes in the order of the messages.
void read_publish_batch(std::string_view body, std::span<EntryResult> results);

/// STS: who asks. Needs no permission.
void write_get_caller_identity(std::string& out);
struct Identity {
  std::string account{}, arn{}, user{};
};
[[nodiscard]] Identity read_caller_identity(std::string_view body);

}  // namespace tidings::transport::aws::sns
