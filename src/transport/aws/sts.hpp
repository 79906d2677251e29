// The security token service, as far as roles go: keys, or a token of another's, are changed for keys that are lent.
#pragma once

#include <string>

#include "transport/aws/credentials.hpp"
#include "transport/aws/retry.hpp"

namespace tidings::transport::aws {

/// Which role, and under what name.
struct RoleWish {
  std::string role{};     ///< Its ARN.
  std::string session{};  ///< Empty: one is made.
  std::string external_id{};
  std::string seconds{};  ///< Empty: as the role has it.
};

/// AssumeRole, signed with `keys`. Throws Error{unauthorized} or {unavailable}.
[[nodiscard]] Credentials assume_role(const CredentialSearch& search, const Keys& keys, const RoleWish& wish);
/// AssumeRoleWithWebIdentity, with the token in `token_file`, which is read anew each time.
[[nodiscard]] Credentials assume_role_by_token(const CredentialSearch& search, const std::string& token_file,
                                               const RoleWish& wish);

/// Keys of a profile that signed in by `aws sso login`.
[[nodiscard]] Credentials from_sso(const CredentialSearch& search, const Profiles& profiles,
                                   const std::string& profile);

// What providers share.

/// Fetches with a few repetitions where the answer is that of a moment. Throws Error{unavailable}, which says `what`
/// could not be reached, or {timeout}.
void fetch_patiently(const CredentialSearch& search, Exchange& exchange, const std::string& what);
/// Keys out of JSON with the names that most places use; `what` is where it comes from. Throws Error{unauthorized}.
[[nodiscard]] Credentials read_credentials(std::string_view json, const std::string& what);
/// A time as credentials write it: with `Z`, an offset, or `UTC`.
[[nodiscard]] std::optional<Wall> read_expiry(std::string_view text);
/// What AWS said, without what a secret could stand in.
[[nodiscard]] std::string said(const Refusal& refusal, const Keys& keys);

}  // namespace tidings::transport::aws
