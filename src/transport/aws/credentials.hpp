// Whose keys sign: found where AWS's own tools look for them, renewed before they expire.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include <tidings/error.hpp>
#include <tidings/time.hpp>

#include "transport/aws/signature.hpp"
#include "transport/aws/surroundings.hpp"

namespace tidings::transport::aws {

/// Keys, and until when they are good.
struct Credentials {
  Keys keys{};
  std::optional<Wall> expires{};
  std::string source{};  ///< Where they come from, in words; safe to print.
};

/// Where to look.
struct CredentialSearch {
  const Surroundings& around;
  std::string profile{};  ///< Named by the URL; empty: as the environment says.
  std::string region{};   ///< For the security token service; empty: as the environment or the profile says.
  WaitClock::time_point deadline{};
  std::string endpoint{};  ///< Of the security token service; empty: as the environment or the profile says.
};

/// The name of the profile that counts, and whether somebody asked for it.
struct ProfileName {
  std::string name{};
  bool asked = false;
};
[[nodiscard]] ProfileName profile_name(const CredentialSearch& search);

// One place each. Nothing when it is not in use; Error{unauthorized} or {unavailable} when it is and gives no keys.
[[nodiscard]] std::optional<Credentials> from_environment(const CredentialSearch& search);
[[nodiscard]] std::optional<Credentials> from_profile(const CredentialSearch& search);
[[nodiscard]] std::optional<Credentials> from_web_identity(const CredentialSearch& search);
[[nodiscard]] std::optional<Credentials> from_container(const CredentialSearch& search);
[[nodiscard]] std::optional<Credentials> from_instance(const CredentialSearch& search);

/// All of them in this order; the environment is left out when a profile was asked for. Throws Error{unauthorized} that
/// says where it looked.
[[nodiscard]] Credentials find_credentials(const CredentialSearch& search);

/// The region that the environment or the profile names.
[[nodiscard]] std::optional<std::string> find_region(const CredentialSearch& search);

/// The endpoint that the environment or the profile names for a service (`SQS`, `STS`, `SSO_OIDC` …).
[[nodiscard]] std::optional<std::string> find_endpoint(const CredentialSearch& search, const std::string& service);

/// `https://service.region.amazonaws.com`, with China's and the other partitions' own names.
[[nodiscard]] std::string default_endpoint(std::string_view service, std::string_view region);

/// Keeps credentials and renews them. Any thread; one at a time looks for new ones, and the others go on with the old
/// while these are valid.
class CredentialStore {
 public:
  using Load = std::function<Credentials(WaitClock::time_point deadline)>;
  CredentialStore(Load load, std::function<Wall()> now) : load_(std::move(load)), now_(std::move(now)) {}

  /// Keys that are valid now. Throws what the search throws, and Error{timeout}.
  [[nodiscard]] Keys keys(WaitClock::time_point deadline);
  /// AWS said that these have expired: they are not used again unless they are found again.
  void refuse(const Keys& keys);
  /// Where the keys come from; empty before the first.
  [[nodiscard]] std::string source() const;

  static constexpr Millis early = std::chrono::minutes(5);        ///< So long before they expire keys are renewed.
  static constexpr Millis again_after = std::chrono::minutes(1);  ///< When that failed and the old are still valid.

 private:
  [[nodiscard]] bool valid(Wall now) const;
  [[nodiscard]] bool due(Wall now) const;
  void load(std::unique_lock<std::mutex>& lock, WaitClock::time_point deadline);

  const Load load_;
  const std::function<Wall()> now_;
  mutable std::mutex mutex_{};
  std::condition_variable loaded_{};
  bool loading_ = false, refused_ = false;
  std::uint64_t loads_ = 0;
  std::optional<Credentials> kept_{};
  Wall renew_at_{};
  std::optional<Error> failure_{};  // Of the last load.
};

}  // namespace tidings::transport::aws
