// Where keys come from, one function a place.

#include <algorithm>
#include <set>

#include <tidings/error.hpp>

#include "core/json_text.hpp"
#include "transport/aws/sts.hpp"

namespace tidings::transport::aws {
namespace {

using std::chrono::milliseconds;

std::string shown(std::string_view text) { return core::for_message(text, 200); }

Credentials from_process(const CredentialSearch& search, const std::string& profile, const std::string& command) {
  const std::string what = "the credential_process of the profile " + shown(profile);
  const auto deadline = std::min(search.deadline, WaitClock::now() + std::chrono::minutes(1));
  const ProcessOutput output = search.around.run_process(command, deadline);
  if (!output.ended_well) {
    throw Error(ErrorCode::unauthorized, true,
                "aws: " + what + " failed: " + output.why + "; run it yourself to see why");
  }
  auto members = flat_json(output.text);
  if (!members || (*members)["Version"] != "1") {
    throw Error(ErrorCode::unauthorized, "aws: " + what + " must write JSON with \"Version\": 1; see what it writes");
  }
  return read_credentials(output.text, what);
}

/// Follows a profile to its keys, through the profiles that it is based on.
class ProfileWalk {
 public:
  explicit ProfileWalk(const CredentialSearch& search) : search_(search), profiles_(search.around.profiles()) {}

  [[nodiscard]] bool has(const std::string& profile) const { return profiles_.has(profile); }

  std::optional<Credentials> follow(const std::string& profile) {
    const bool again = !visited_.insert(profile).second;
    const auto role = setting(profile, "role_arn");
    // A profile may be its own source: then its keys are meant.
    if (role && !again) return by_role(profile, *role);
    if (auto keys = fixed(profile)) return keys;
    if (again) {
      throw Error(ErrorCode::invalid,
                  "aws: the profile " + shown(profile) + " leads back to itself by source_profile; end the circle");
    }
    if (setting(profile, "sso_session") || setting(profile, "sso_start_url") || setting(profile, "sso_account_id")) {
      return from_sso(search_, profiles_, profile);
    }
    if (const auto command = setting(profile, "credential_process")) return from_process(search_, profile, *command);
    return std::nullopt;
  }

 private:
  std::optional<std::string> setting(const std::string& profile, std::string_view name) const {
    return profiles_.setting(profile, name);
  }
  std::optional<Credentials> fixed(const std::string& profile) const {
    const auto id = setting(profile, "aws_access_key_id"), secret = setting(profile, "aws_secret_access_key");
    if (!id && !secret) return std::nullopt;
    if (!id || !secret) {
      throw Error(ErrorCode::unauthorized,
                  "aws: the profile " + shown(profile) +
                      " has one of aws_access_key_id and aws_secret_access_key only; give both");
    }
    Credentials out;
    out.keys = {*id, *secret, setting(profile, "aws_session_token").value_or("")};
    out.source = "profile " + shown(profile);
    return out;
  }
  Credentials by_role(const std::string& profile, const std::string& role) {
    RoleWish wish{role, setting(profile, "role_session_name").value_or(""),
                  setting(profile, "external_id").value_or(""), setting(profile, "duration_seconds").value_or("")};
    if (const auto file = setting(profile, "web_identity_token_file")) {
      return assume_role_by_token(search_, *file, wish);
    }
    if (setting(profile, "mfa_serial")) {
      throw Error(ErrorCode::not_supported, "aws: the profile " + shown(profile) +
                                                " asks for a code of a device (mfa_serial), and nobody is asked here; "
                                                "use a session that `aws sts` made, or another profile");
    }
    return assume_role(search_, base(profile), wish);
  }
  Keys base(const std::string& profile) {
    const auto source = setting(profile, "source_profile"), place = setting(profile, "credential_source");
    std::optional<Credentials> found;
    if (source) {
      if (!has(*source)) {
        throw Error(ErrorCode::invalid, "aws: the profile " + shown(profile) + " is based on the profile " +
                                            shown(*source) + ", which is not there; add it");
      }
      found = follow(*source);
    } else if (place == "Environment") {
      found = from_environment(search_);
    } else if (place == "EcsContainer") {
      found = from_container(search_);
    } else if (place == "Ec2InstanceMetadata") {
      found = from_instance(search_);
    } else {
      throw Error(ErrorCode::invalid, "aws: the profile " + shown(profile) +
                                          " has a role_arn and needs source_profile, credential_source (Environment, "
                                          "EcsContainer, Ec2InstanceMetadata) or web_identity_token_file; add one");
    }
    if (!found) {
      throw Error(ErrorCode::unauthorized, "aws: what the profile " + shown(profile) + " is based on (" +
                                               shown(source ? *source : *place) + ") gives no keys; set it up");
    }
    return found->keys;
  }

  const CredentialSearch& search_;
  const Profiles profiles_;
  std::set<std::string> visited_{};
};

/// The host of a URL, without its port and brackets, in lower case.
std::string host_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#\\"));
  // What stands before an @ is no host.
  if (const std::size_t at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  std::string out(url.starts_with('[') ? url.substr(1, url.find(']') - 1) : url.substr(0, url.find(':')));
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

/// The token that a container shows, if it must.
std::string container_token(const CredentialSearch& search) {
  std::string token;
  if (const auto file = search.around.filled("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
    const auto text = search.around.read_file(*file);
    if (!text) {
      throw Error(ErrorCode::unauthorized, "aws: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names " + shown(*file) +
                                               ", which cannot be read; mount it, or unset it");
    }
    token = *text;
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  } else {
    token = search.around.filled("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
  }
  if (token.find_first_of("\r\n") != std::string::npos) {
    throw Error(ErrorCode::invalid,
                "aws: the container's authorization token holds a line break; write it in one line");
  }
  return token;
}

std::string instance_base(const CredentialSearch& search) {
  if (const auto url = search.around.filled("AWS_EC2_METADATA_SERVICE_ENDPOINT")) {
    std::string out = *url;
    while (out.ends_with('/')) out.pop_back();
    return out;
  }
  const auto mode = search.around.filled("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
  return mode && (*mode == "IPv6" || *mode == "ipv6") ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

/// One look at the instance's metadata, which is a hop away or not there at all.
void ask_instance(const CredentialSearch& search, Exchange& exchange) {
  exchange.direct = true;
  exchange.connect_limit = milliseconds(1'000);
  exchange.deadline = std::min(search.deadline, WaitClock::now() + milliseconds(2'000));
  search.around.fetch(exchange);
}

}  // namespace

std::optional<Credentials> from_environment(const CredentialSearch& search) {
  const auto id = search.around.filled("AWS_ACCESS_KEY_ID"), secret = search.around.filled("AWS_SECRET_ACCESS_KEY");
  if (!id && !secret) return std::nullopt;
  if (!id || !secret) {
    throw Error(ErrorCode::unauthorized, std::string("aws: ") + (id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY") +
                                             " is set and " + (id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID") +
                                             " is not; set both, or neither");
  }
  Credentials out;
  out.keys = {*id, *secret, search.around.filled("AWS_SESSION_TOKEN").value_or("")};
  out.source = "environment";
  return out;
}

std::optional<Credentials> from_profile(const CredentialSearch& search) {
  const ProfileName profile = profile_name(search);
  ProfileWalk walk(search);
  if (profile.asked && !walk.has(profile.name)) {
    throw Error(ErrorCode::unauthorized, "aws: the profile " + shown(profile.name) +
                                             " is neither in ~/.aws/config nor in ~/.aws/credentials; add it, or name "
                                             "another by AWS_PROFILE");
  }
  return walk.follow(profile.name);
}

std::optional<Credentials> from_web_identity(const CredentialSearch& search) {
  const auto file = search.around.filled("AWS_WEB_IDENTITY_TOKEN_FILE");
  if (!file) return std::nullopt;
  const auto role = search.around.filled("AWS_ROLE_ARN");
  if (!role) {
    throw Error(ErrorCode::unauthorized, "aws: AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not; set both");
  }
  return assume_role_by_token(search, *file,
                              {.role = *role, .session = search.around.filled("AWS_ROLE_SESSION_NAME").value_or("")});
}

std::optional<Credentials> from_container(const CredentialSearch& search) {
  const auto relative = search.around.filled("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const auto full = search.around.filled("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) return std::nullopt;
  Exchange exchange;
  exchange.method = "GET";
  exchange.url = relative ? "http://169.254.170.2" + *relative : *full;
  const std::string host = host_of(exchange.url);
  const bool known = host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23" || is_loopback(host);
  const bool plain = exchange.url.starts_with("http://");
  if ((relative && (host != "169.254.170.2" || !relative->starts_with('/'))) ||
      (!relative && !known && !exchange.url.starts_with("https://")) ||
      (!plain && !exchange.url.starts_with("https:"))) {
    throw Error(ErrorCode::invalid,
                "aws: the container's credentials may come over https, or from this machine and the addresses that AWS "
                "gave containers; correct AWS_CONTAINER_CREDENTIALS_" +
                    std::string(relative ? "RELATIVE" : "FULL") + "_URI");
  }
  exchange.direct = plain;
  exchange.headers = {"Accept: application/json"};
  if (const std::string token = container_token(search); !token.empty()) {
    exchange.headers.push_back("Authorization: " + token);
  }
  exchange.connect_limit = milliseconds(2'000);
  exchange.deadline = WaitClock::now() + milliseconds(5'000);
  fetch_patiently(search, exchange, "the container's endpoint");
  if (exchange.status != 200) {
    throw Error(ErrorCode::unauthorized, exchange.status >= 500,
                "aws: the container's endpoint answered " + std::to_string(exchange.status) +
                    " instead of credentials; check the task's or pod's role");
  }
  return read_credentials(exchange.reply, "the container's role");
}

std::optional<Credentials> from_instance(const CredentialSearch& search) {
  const auto disabled = search.around.filled("AWS_EC2_METADATA_DISABLED");
  if (disabled && (*disabled == "true" || *disabled == "True" || *disabled == "TRUE")) return std::nullopt;
  const std::string base = instance_base(search), list = base + "/latest/meta-data/iam/security-credentials/";
  Exchange token;
  token.method = "PUT";
  token.url = base + "/latest/api/token";
  token.headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"};
  ask_instance(search, token);
  // Elsewhere than on an instance nobody answers, or somebody who is no metadata service.
  if (!token.answered() || token.status != 200 || token.reply.empty() ||
      token.reply.find_first_of("\r\n") != std::string::npos) {
    return std::nullopt;
  }
  Exchange exchange;
  exchange.method = "GET";
  exchange.url = list;
  exchange.headers = {"X-aws-ec2-metadata-token: " + token.reply};
  ask_instance(search, exchange);
  if (exchange.answered() && exchange.status == 404) return std::nullopt;  // No role is attached.
  const std::string role = exchange.reply.substr(0, exchange.reply.find_first_of("\r\n"));
  if (exchange.status == 200 && !role.empty()) {
    exchange.url = list;
    append_encoded(exchange.url, role);
    ask_instance(search, exchange);
  }
  if (!exchange.answered() || exchange.status != 200 || role.empty()) {
    throw Error(ErrorCode::unavailable, true,
                "aws: the instance's metadata service answers, and gives no credentials of its role" +
                    (exchange.answered() ? " (" + std::to_string(exchange.status) + ")" : ": " + exchange.why) +
                    "; try again");
  }
  Credentials out = read_credentials(exchange.reply, "the instance's role");
  // AWS asks to go on with expired keys while its own renewal is delayed.
  const Wall soon = search.around.now() + std::chrono::minutes(10);
  if (out.expires && *out.expires <= search.around.now()) out.expires = soon;
  return out;
}

}  // namespace tidings::transport::aws
