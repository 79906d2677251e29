// Where keys come from: STS, the instance metadata service, the container's credentials, the SSO portal and its OIDC
// tokens.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "signature.hpp"
#include "sns.hpp"
#include "world.hpp"

namespace tidings::support::aws {

/// Under the world's lock.
class Sources {
 public:
  Sources(World& world, Keys& keys) : world_(world), keys_(keys) {}

  void set(AwsSources sources);

  /// Which call a request is by its path; empty when none.
  [[nodiscard]] static std::string operation_of(const HttpRequest& request);
  [[nodiscard]] HttpReply answer(const std::string& operation, const HttpRequest& request);

  /// The XML inside a result of STS.
  [[nodiscard]] std::string caller_identity(const Call& call) const;
  [[nodiscard]] std::string assume_role(const Fields& fields);

 private:
  HttpReply imds_token(const HttpRequest& request);
  HttpReply imds_credentials(const HttpRequest& request);
  HttpReply container_credentials(const HttpRequest& request);
  HttpReply role_credentials(const HttpRequest& request);
  HttpReply create_token(const HttpRequest& request);
  /// The key that such a source gives until it is about to expire.
  const AwsKey& standing(const std::string& source, const std::string& role);
  [[nodiscard]] std::string assumed(const std::string& role) const {
    return "arn:aws:sts::" + world_.options.account + ":assumed-role/" + role + "/session";
  }

  World& world_;
  Keys& keys_;
  std::optional<AwsSources> sources_{};
  std::map<std::string, AwsKey> standing_{};
  std::map<std::string, Wall> imds_tokens_{}, sso_tokens_{};
};

}  // namespace tidings::support::aws
