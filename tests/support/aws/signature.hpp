// Signature version 4, verified as AWS does it.
#pragma once

#include <map>
#include <string>

#include "world.hpp"

namespace tidings::support::aws {

/// The keys that sign. Under the world's lock.
class Keys {
 public:
  explicit Keys(const World& world) : world_(world) {}

  void add(AwsKey key);
  void remove(const std::string& id) { keys_.erase(id); }
  /// A new temporary key that is known from now on.
  AwsKey issue(const std::string& arn, Millis lifetime);
  void set_skew_code(std::string code) { skew_code_ = std::move(code); }

  /// The key that signed this for `service`; refuses what is not signed well. Codes are those of JSON for SQS.
  [[nodiscard]] const AwsKey& verify(const HttpRequest& request, const std::string& service) const;

 private:
  struct Claim;
  [[nodiscard]] Claim parse(const HttpRequest& request, const std::string& service) const;
  void check_age(Wall signed_at, const std::string& text, const std::string& service) const;

  const World& world_;
  std::map<std::string, AwsKey> keys_{};
  std::string skew_code_ = "SignatureDoesNotMatch";
};

}  // namespace tidings::support::aws
