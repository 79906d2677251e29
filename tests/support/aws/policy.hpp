// The policy of a queue, as far as deliveries from topics need it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json.hpp"

namespace tidings::support::aws {

class Policy {
 public:
  /// Nothing for what AWS does not take for a policy.
  [[nodiscard]] static std::optional<Policy> parse(const std::string& text);

  /// Whether the service of topics may send to `queue_arn` on behalf of `topic_arn`: some statement allows it and none
  /// denies it.
  [[nodiscard]] bool lets_deliver(const std::string& queue_arn, const std::string& topic_arn,
                                  const std::string& account) const;

 private:
  struct Statement {
    bool allows = false;
    Json principal{}, condition{};
    std::vector<std::string> actions{}, resources{};
  };
  std::vector<Statement> statements_{};
};

}  // namespace tidings::support::aws
