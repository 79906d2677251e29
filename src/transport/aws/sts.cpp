#include "transport/aws/sts.hpp"

#include <algorithm>

#include <tidings/error.hpp>

#include "core/json_text.hpp"
#include "transport/aws/xml.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::chrono::seconds patience(10);

WaitClock::time_point within(const CredentialSearch& search, std::chrono::milliseconds most) {
  return std::min(search.deadline, WaitClock::now() + most);
}

void add(std::string& form, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  if (!form.empty()) form += '&';
  form.append(name) += '=';
  append_encoded(form, value);
}

std::string session_of(const CredentialSearch& search, const RoleWish& wish) {
  if (!wish.session.empty()) return wish.session;
  return "tidings-" + std::to_string(search.around.now().time_since_epoch().count());
}

std::string role_form(const CredentialSearch& search, std::string_view action, const RoleWish& wish) {
  std::string form;
  add(form, "Action", action);
  add(form, "Version", "2011-06-15");
  add(form, "RoleArn", wish.role);
  add(form, "RoleSessionName", session_of(search, wish));
  add(form, "ExternalId", wish.external_id);
  add(form, "DurationSeconds", wish.seconds);
  return form;
}

/// Where the service is, and what of that is signed.
struct Place {
  std::string region{}, url{}, host{}, path{};
};

Place place_of(const CredentialSearch& search) {
  Place out{.region = search.region.empty() ? find_region(search).value_or("us-east-1") : search.region};
  out.url = search.endpoint;
  if (out.url.empty()) out.url = find_endpoint(search, "STS").value_or(default_endpoint("sts", out.region));
  while (out.url.ends_with('/')) out.url.pop_back();
  out.url += '/';
  const std::size_t scheme = out.url.find("://"), host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t slash = out.url.find('/', host);
  out.host = out.url.substr(host, slash - host);
  out.path = slash == std::string::npos ? "/" : out.url.substr(slash);
  return out;
}

constexpr std::string_view form_type = "application/x-www-form-urlencoded";

void sign(Exchange& exchange, const Place& place, const Keys& keys, Wall now) {
  const HeaderView headers[] = {{"Host", place.host}, {"Content-Type", form_type}};
  const Signed with = Signer().sign({.path = place.path, .headers = headers, .body = exchange.body}, keys,
                                    {place.region, "sts"}, std::chrono::floor<std::chrono::seconds>(now));
  exchange.headers.push_back("X-Amz-Date: " + with.date);
  if (!with.token.empty()) exchange.headers.push_back("X-Amz-Security-Token: " + with.token);
  exchange.headers.push_back("Authorization: " + with.authorization);
}

/// Sends a form to the service. Without `keys` it is not signed.
Exchange send(const CredentialSearch& search, const std::string& form, const Keys* keys) {
  const Place place = place_of(search);
  Wall now = search.around.now();
  for (bool again = false;; again = true) {
    Exchange exchange;
    exchange.url = place.url;
    exchange.body = form;
    exchange.headers.push_back("Content-Type: " + std::string(form_type));
    if (keys != nullptr) sign(exchange, place, *keys, now);
    exchange.deadline = within(search, patience);
    fetch_patiently(search, exchange, "the security token service");
    const std::int64_t said_time = http_time(exchange.date);
    const bool skewed = fault_of(read_xml_refusal(exchange.status, exchange.reply)) == Fault::skewed;
    if (keys == nullptr || again || !skewed || said_time < 0) return exchange;
    now = Wall(std::chrono::seconds(said_time));  // Its clock is the one that counts.
  }
}

/// Sends a form and reads the keys of its answer.
Credentials ask(const CredentialSearch& search, const std::string& form, const Keys* keys, const RoleWish& wish) {
  const Exchange exchange = send(search, form, keys);
  const std::string role = core::for_message(wish.role, 200);
  if (exchange.status != 200) {
    const Refusal refusal = read_xml_refusal(exchange.status, exchange.reply);
    throw Error(ErrorCode::unauthorized, may_pass(fault_of(refusal)),
                "aws: the role " + role + " was not given: " + said(refusal, keys == nullptr ? Keys{} : *keys) +
                    "; let its trust policy name who asks");
  }
  const std::optional<XmlElement> root = parse_xml(exchange.reply);
  const bool by_token = root && root->name == "AssumeRoleWithWebIdentityResponse";
  const XmlElement* const lent =
      root ? root->find(by_token ? "AssumeRoleWithWebIdentityResult/Credentials" : "AssumeRoleResult/Credentials")
           : nullptr;
  Credentials out;
  if (lent != nullptr) {
    out.keys = {std::string(lent->at("AccessKeyId")), std::string(lent->at("SecretAccessKey")),
                std::string(lent->at("SessionToken"))};
    out.expires = read_expiry(lent->at("Expiration"));
  }
  if (out.keys.id.empty() || out.keys.secret.empty() || !out.expires) {
    throw Error(ErrorCode::unauthorized,
                "aws: the security token service's answer for " + role + " holds no keys; check the endpoint of STS");
  }
  out.source = "role " + role;
  return out;
}

}  // namespace

Credentials assume_role(const CredentialSearch& search, const Keys& keys, const RoleWish& wish) {
  return ask(search, role_form(search, "AssumeRole", wish), &keys, wish);
}

Credentials assume_role_by_token(const CredentialSearch& search, const std::string& token_file, const RoleWish& wish) {
  std::string token = search.around.read_file(search.around.home_path(token_file)).value_or("");
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' ')) token.pop_back();
  if (token.empty()) {
    throw Error(ErrorCode::unauthorized, "aws: the web identity token file " + core::for_message(token_file, 200) +
                                             " is empty or cannot be read; mount it, or unset it");
  }
  std::string form = role_form(search, "AssumeRoleWithWebIdentity", wish);
  add(form, "WebIdentityToken", token);
  return ask(search, form, nullptr, wish);
}

void fetch_patiently(const CredentialSearch& search, Exchange& exchange, const std::string& what) {
  constexpr int attempts = 3;
  const std::chrono::nanoseconds each = exchange.deadline - WaitClock::now();
  for (int attempt = 1;; ++attempt) {
    exchange.deadline = std::min(search.deadline, WaitClock::now() + each);
    search.around.fetch(exchange);
    const bool passing = !exchange.answered() || exchange.status >= 500 || exchange.status == 429;
    if (!passing || attempt == attempts || WaitClock::now() >= search.deadline) break;
  }
  if (exchange.answered()) return;
  const bool late = exchange.failure == HttpFailure::timeout && WaitClock::now() >= search.deadline;
  throw Error(late ? ErrorCode::timeout : ErrorCode::unavailable, true,
              "aws: " + what + " could not be reached for credentials: " + exchange.why +
                  "; check the network, and its endpoint");
}

std::optional<Wall> read_expiry(std::string_view text) {
  if (!text.ends_with("UTC")) return parse_time(text);
  text.remove_suffix(3);
  return parse_time(std::string(text) + 'Z');
}

Credentials read_credentials(std::string_view json, const std::string& what) {
  auto members = flat_json(json);
  Credentials out;
  if (members) {
    std::string& token = (*members)["SessionToken"];
    out.keys = {(*members)["AccessKeyId"], (*members)["SecretAccessKey"], token.empty() ? (*members)["Token"] : token};
  }
  if (out.keys.id.empty() || out.keys.secret.empty()) {
    std::string why = members ? (*members)["message"] : std::string();
    if (members && why.empty()) why = (*members)["Code"];
    throw Error(ErrorCode::unauthorized, "aws: " + what + " gave no keys" +
                                             (why.empty() ? "" : " (" + core::for_message(why, 120) + ")") +
                                             "; see what it answers");
  }
  if (const std::string& expires = (*members)["Expiration"]; !expires.empty()) {
    out.expires = read_expiry(expires);
    if (!out.expires) {
      throw Error(ErrorCode::unauthorized, "aws: " + what + " gave an expiration that is no time; it must be ISO 8601");
    }
  }
  out.source = what;
  return out;
}

std::string said(const Refusal& refusal, const Keys& keys) {
  std::string out = "AWS answered " + std::to_string(refusal.status);
  if (!refusal.code.empty()) out += ' ' + core::for_message(refusal.code, 80);
  // A signature that does not match is answered with all that was signed, the token among it.
  std::string message = refusal.message.substr(0, refusal.message.find('\n'));
  message.resize(std::min(message.size(), message.find("The Canonical String")));
  for (const std::string& secret : {keys.token, keys.secret}) {
    if (secret.empty()) continue;
    for (std::size_t at = 0; (at = message.find(secret, at)) != std::string::npos;)
      message.replace(at, secret.size(), "…");
  }
  while (!message.empty() && (message.back() == ' ' || message.back() == '.')) message.pop_back();
  if (!message.empty()) out += " (" + core::for_message(message, 300) + ')';
  if (!refusal.request_id.empty()) out += ", request " + core::for_message(refusal.request_id, 60);
  return out;
}

}  // namespace tidings::transport::aws
