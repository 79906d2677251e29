// Keys of a profile that signed in by `aws sso login`: the token is in a file of the command line's cache.

#include <chrono>

#include <tidings/error.hpp>
#include <tidings/json.hpp>

#include "core/json_text.hpp"
#include "transport/aws/digest.hpp"
#include "transport/aws/sts.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::chrono::seconds patience(10);
constexpr std::chrono::minutes early(5);

/// What a profile says of its sign-in.
struct SignIn {
  std::string profile{}, start{}, region{}, account{}, role{};
  std::string cache{};  ///< The path of the token's file.
  bool renewable = false;
};

using Members = std::map<std::string, std::string>;

[[noreturn]] void sign_in_again(const SignIn& in, std::string_view why) {
  throw Error(ErrorCode::unauthorized, "aws: the sign-in of the profile " + core::for_message(in.profile) + ' ' +
                                           std::string(why) + "; run `aws sso login --profile " +
                                           core::for_message(in.profile) + "`");
}

SignIn sign_in_of(const CredentialSearch& search, const Profiles& profiles, const std::string& profile) {
  SignIn in{.profile = profile};
  const auto setting = [&](std::string_view name) { return profiles.setting(profile, name).value_or(""); };
  const std::string session = setting("sso_session");
  in.start = setting("sso_start_url");
  in.region = setting("sso_region");
  in.account = setting("sso_account_id");
  in.role = setting("sso_role_name");
  if (!session.empty()) {
    const auto found = profiles.sessions.find(session);
    if (found == profiles.sessions.end()) {
      throw Error(ErrorCode::invalid, "aws: the profile " + core::for_message(profile) + " names the sso-session " +
                                          core::for_message(session) + ", which ~/.aws/config does not have; add it");
    }
    const auto of_session = [&](std::string_view name) {
      const auto value = found->second.find(name);
      return value == found->second.end() ? std::string() : value->second;
    };
    in.start = of_session("sso_start_url");
    in.region = of_session("sso_region");
    in.renewable = true;
  }
  if (in.start.empty() || in.region.empty() || in.account.empty() || in.role.empty()) {
    throw Error(ErrorCode::invalid,
                "aws: the profile " + core::for_message(profile) +
                    " needs sso_start_url, sso_region, sso_account_id and sso_role_name; run `aws configure sso`");
  }
  in.cache = search.around.home_path("~/.aws/sso/cache/" + sha1_hex(session.empty() ? in.start : session) + ".json");
  return in;
}

std::string endpoint(const CredentialSearch& search, const std::string& service, std::string_view host,
                     const SignIn& in) {
  std::string url = find_endpoint(search, service).value_or(default_endpoint(host, in.region));
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::string member(const Members& members, const std::string& name) {
  const auto found = members.find(name);
  return found == members.end() ? std::string() : found->second;
}

void write_cache(const CredentialSearch& search, const SignIn& in, const Members& members) {
  std::string text;
  for (const auto& [name, value] : members) {
    text += text.empty() ? '{' : ',';
    append_json_string(text, name);
    text += ':';
    append_json_string(text, value);
  }
  // Where it cannot be written the token is fetched again the next time.
  static_cast<void>(search.around.write_file(in.cache, text + '}'));
}

/// Gets a new token for the refresh token; false when there is none or it is not taken any more.
bool renew(const CredentialSearch& search, const SignIn& in, Members& token) {
  const std::string refresh = member(token, "refreshToken");
  const auto registered_until = read_expiry(member(token, "registrationExpiresAt"));
  if (!in.renewable || refresh.empty() || member(token, "clientId").empty() || !registered_until) return false;
  if (*registered_until <= search.around.now()) return false;
  std::string body = R"({"grantType":"refresh_token")";
  for (const char* name : {"clientId", "clientSecret", "refreshToken"}) {
    body.append(",\"").append(name).append("\":");
    append_json_string(body, member(token, name));
  }
  body += '}';
  Exchange exchange;
  exchange.url = endpoint(search, "SSO_OIDC", "oidc", in) + "/token";
  exchange.headers = {"Content-Type: application/json"};
  exchange.body = body;
  exchange.deadline = WaitClock::now() + patience;
  fetch_patiently(search, exchange, "the sign-in service");
  auto fresh = exchange.status == 200 ? flat_json(exchange.reply) : std::nullopt;
  if (!fresh || member(*fresh, "accessToken").empty()) return false;
  const Millis life = std::chrono::seconds(std::strtoll(member(*fresh, "expiresIn").c_str(), nullptr, 10));
  token["accessToken"] = member(*fresh, "accessToken");
  token["expiresAt"] = format_time(std::chrono::floor<std::chrono::seconds>(search.around.now() + life));
  if (const std::string next = member(*fresh, "refreshToken"); !next.empty()) token["refreshToken"] = next;
  write_cache(search, in, token);
  return true;
}

std::string bearer(const CredentialSearch& search, const SignIn& in) {
  const auto text = search.around.read_file(in.cache);
  auto token = text ? flat_json(*text) : std::nullopt;
  if (!token || member(*token, "accessToken").empty()) sign_in_again(in, "is not there");
  const auto until = read_expiry(member(*token, "expiresAt"));
  const Wall now = search.around.now();
  // Renewed early, but also used to its end where that fails.
  const bool over = !until || *until <= now;
  if (over || *until - now < early) {
    bool renewed = false;
    try {
      renewed = renew(search, in, *token);
    } catch (const Error&) {
      if (over) throw;
    }
    if (!renewed && over) sign_in_again(in, "has expired");
  }
  return member(*token, "accessToken");
}

}  // namespace

Credentials from_sso(const CredentialSearch& search, const Profiles& profiles, const std::string& profile) {
  const SignIn in = sign_in_of(search, profiles, profile);
  Exchange exchange;
  exchange.method = "GET";
  exchange.url = endpoint(search, "SSO", "portal.sso", in) + "/federation/credentials?role_name=";
  append_encoded(exchange.url, in.role);
  exchange.url += "&account_id=";
  append_encoded(exchange.url, in.account);
  exchange.headers = {"x-amz-sso_bearer_token: " + bearer(search, in)};
  exchange.deadline = WaitClock::now() + patience;
  fetch_patiently(search, exchange, "the sign-in service");
  if (exchange.status == 401) sign_in_again(in, "is not taken any more");
  if (exchange.status != 200) {
    const Refusal refusal = read_json_refusal(exchange.status, exchange.reply, {});
    throw Error(ErrorCode::unauthorized, may_pass(fault_of(refusal)),
                "aws: the sign-in service gave no keys for the profile " + core::for_message(profile) + ": " +
                    said(refusal, {}) + "; check sso_account_id and sso_role_name");
  }
  const Members members = flat_json(exchange.reply).value_or(Members{});
  Credentials out;
  out.keys = {member(members, "roleCredentials.accessKeyId"), member(members, "roleCredentials.secretAccessKey"),
              member(members, "roleCredentials.sessionToken")};
  if (out.keys.id.empty() || out.keys.secret.empty()) sign_in_again(in, "gave no keys");
  out.expires = Wall(Millis(std::strtoll(member(members, "roleCredentials.expiration").c_str(), nullptr, 10)));
  out.source = "profile " + core::for_message(profile) + " by SSO";
  return out;
}

}  // namespace tidings::transport::aws
