// What a system of Tidings needs on AWS, as documents for whoever sets up accounts: `tidings doctor --print`. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tidings {

/// A service with its streams, under the names that an `aws://` URL gives.
struct AwsPlan {
  std::string prefix = "tidings";
  std::string region{}, account{};     ///< Empty: any, in a policy; the stack's own, in a template.
  std::string service{};               ///< Empty: only what is published.
  std::vector<std::string> streams{};  ///< `events:…` and `commands:…`.
  std::string payloads{};              ///< As in the URL: `s3://BUCKET/PREFIX`, a folder, or nothing.
};

/// `publisher`, `consumer` or `operator`: the least IAM policy with which a program can publish to the streams; can
/// also consume as the service, with topology=none or check; can make and mend all that topology=create does. One JSON
/// object. Throws Error{invalid} for another role, and for streams or a service that cannot have names on AWS.
[[nodiscard]] std::string aws_iam_policy(const AwsPlan& plan, std::string_view role);

/// The topics of the event streams, the queues with their dead letters, policies and subscriptions, as CloudFormation.
/// One JSON object. Types are not filtered: the service's first start with topology=create does that.
[[nodiscard]] std::string aws_cloudformation(const AwsPlan& plan);

}  // namespace tidings
