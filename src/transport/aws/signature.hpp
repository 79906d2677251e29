// AWS Signature Version 4: what makes AWS believe who sends a request. Pure: a request, keys and a time go in, the
// headers to add come out.
#pragma once

#include <chrono>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "transport/aws/digest.hpp"

namespace tidings::transport::aws {

/// Who asks. Never logged, never part of a message.
struct Keys {
  std::string id{}, secret{};
  std::string token{};  ///< Of keys that are lent for a time; else empty.
  bool operator==(const Keys&) const = default;
};

/// A header as it is sent. Borrowed.
using HeaderView = std::pair<std::string_view, std::string_view>;

/// A request as it is sent: `path` and `query` (without its `?`) in the form that stands in the request line; all of
/// `headers`, `Host` among them, are signed. Borrowed.
struct Signable {
  std::string_view method = "POST", path = "/", query{};
  std::span<const HeaderView> headers{};
  std::string_view body{};
};

/// How a service reads requests.
struct SignStyle {
  bool normalise_path = true;   ///< `.`, `..` and empty segments are removed, and what is left is encoded. S3 does not.
  bool encode_path = true;      ///< The path is encoded (once more). S3 takes it as it was sent.
  bool name_body_hash = false;  ///< The body's digest is a signed header too, as S3 demands.
};

/// The scope of a signature.
struct SignScope {
  std::string_view region{}, service{};
};

/// The headers that a signed request bears beside those that were signed. What is empty is not sent.
struct Signed {
  std::string date{};           ///< `X-Amz-Date`
  std::string token{};          ///< `X-Amz-Security-Token`
  std::string body_hash{};      ///< `x-amz-content-sha256`
  std::string authorization{};  ///< `Authorization`
};

/// Signs. What a key, a day, a region and a service make of the secret is kept, since it is half of the work. Any
/// thread.
class Signer {
 public:
  explicit Signer(SignStyle style = {}) noexcept : style_(style) {}
  [[nodiscard]] Signed sign(const Signable& request, const Keys& keys, SignScope scope, std::chrono::sys_seconds time);

 private:
  [[nodiscard]] Sha256 key_of(const Keys& keys, SignScope scope, std::string_view day);

  const SignStyle style_;
  std::mutex mutex_{};
  std::string kept_for_{};
  Sha256 kept_{};
};

/// `YYYYMMDDTHHMMSSZ`.
[[nodiscard]] std::string sign_time(std::chrono::sys_seconds time);
/// The path as the signature has it.
[[nodiscard]] std::string canonical_path(std::string_view path, SignStyle style);
/// The query as the signature has it: each part encoded anew, in order.
[[nodiscard]] std::string canonical_query(std::string_view query);
/// Appends `text`, every byte that is not a letter, a digit or one of `-._~` as `%XX`; never a `+`.
void append_encoded(std::string& out, std::string_view text);

}  // namespace tidings::transport::aws
