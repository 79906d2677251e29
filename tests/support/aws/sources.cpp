#include "sources.hpp"

#include "json.hpp"
#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr std::string_view imds_path = "/latest/meta-data/iam/security-credentials";
constexpr Millis renewal = std::chrono::minutes(5);

HttpReply json_reply(int status, const Json& body) {
  return {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = body.text()};
}

HttpReply text_reply(int status, std::string body) {
  return {.status = status, .headers = {{"Content-Type", "text/plain"}}, .body = std::move(body)};
}

HttpReply portal_error(int status, const std::string& type, const std::string& message) {
  return json_reply(status,
                    Json::object({{"message", message}, {"__type", "com.amazonaws.switchboard.portal#" + type}}));
}

HttpReply oidc_error(const std::string& error, const std::string& description) {
  return json_reply(400, Json::object({{"error", error}, {"error_description", description}}));
}

}  // namespace

void Sources::set(AwsSources sources) {
  standing_.clear();
  imds_tokens_.clear();
  sso_tokens_ = {{sources.sso_token, sources.sso_expires}};
  sources_ = std::move(sources);
}

std::string Sources::operation_of(const HttpRequest& request) {
  if (request.path == "/latest/api/token") return "ImdsToken";
  if (request.path.starts_with(imds_path)) return "ImdsCredentials";
  if (request.path == "/creds") return "ContainerCredentials";
  if (request.path == "/federation/credentials") return "GetRoleCredentials";
  if (request.path == "/token") return "CreateToken";
  return {};
}

HttpReply Sources::answer(const std::string& operation, const HttpRequest& request) {
  if (!sources_) return text_reply(404, "no such source");
  if (operation == "ImdsToken") return imds_token(request);
  if (operation == "ImdsCredentials") return imds_credentials(request);
  if (operation == "ContainerCredentials") return container_credentials(request);
  return operation == "GetRoleCredentials" ? role_credentials(request) : create_token(request);
}

const AwsKey& Sources::standing(const std::string& source, const std::string& role) {
  const auto found = standing_.find(source);
  if (found != standing_.end() && found->second.expires - renewal > world_.now()) return found->second;
  return standing_.insert_or_assign(source, keys_.issue(assumed(role), sources_->lifetime)).first->second;
}

// A request that came through a proxy is refused, as the real service does to keep others out.
HttpReply Sources::imds_token(const HttpRequest& request) {
  if (request.method != "PUT") return text_reply(405, "");
  if (request.header("x-forwarded-for")) return text_reply(403, "");
  const auto seconds = whole_number(request.header("x-aws-ec2-metadata-token-ttl-seconds").value_or(""));
  if (!seconds || *seconds < 1 || *seconds > 21'600) return text_reply(400, "");
  const std::string token = random_text(56);
  imds_tokens_[token] = world_.now() + std::chrono::seconds(*seconds);
  HttpReply reply = text_reply(200, token);
  reply.headers.emplace_back("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", std::to_string(*seconds));
  return reply;
}

HttpReply Sources::imds_credentials(const HttpRequest& request) {
  if (request.method != "GET") return text_reply(405, "");
  const auto token = imds_tokens_.find(std::string(request.header("x-aws-ec2-metadata-token").value_or("")));
  if (token == imds_tokens_.end() || token->second <= world_.now()) return text_reply(401, "");
  const std::string role = request.path.substr(imds_path.size());
  if (role.empty() || role == "/") return text_reply(200, sources_->imds_role);
  if (role != "/" + sources_->imds_role) return text_reply(404, "");
  const AwsKey& key = standing("imds", sources_->imds_role);
  return json_reply(200, Json::object({{"Code", "Success"},
                                       {"LastUpdated", iso_time(world_.now(), false)},
                                       {"Type", "AWS-HMAC"},
                                       {"AccessKeyId", key.id},
                                       {"SecretAccessKey", key.secret},
                                       {"Token", key.token},
                                       {"Expiration", iso_time(key.expires, false)}}));
}

HttpReply Sources::container_credentials(const HttpRequest& request) {
  if (request.method != "GET") return text_reply(405, "");
  const std::string& wanted = sources_->container_token;
  if (!wanted.empty() && request.header("authorization") != wanted)
    return json_reply(401, Json::object({{"code", "AccessDenied"}, {"message", "the token is not the right one"}}));
  const AwsKey& key = standing("container", "tidings-container");
  return json_reply(200,
                    Json::object({{"RoleArn", "arn:aws:iam::" + world_.options.account + ":role/tidings-container"},
                                  {"AccessKeyId", key.id},
                                  {"SecretAccessKey", key.secret},
                                  {"Token", key.token},
                                  {"Expiration", iso_time(key.expires, false)}}));
}

HttpReply Sources::role_credentials(const HttpRequest& request) {
  if (request.method != "GET") return text_reply(405, "");
  const auto token = sso_tokens_.find(std::string(request.header("x-amz-sso_bearer_token").value_or("")));
  if (token == sso_tokens_.end() || token->second <= world_.now())
    return portal_error(401, "UnauthorizedException", "Session token not found or invalid");
  const std::optional<Form> query = form_of(request.query);
  const Fields fields(query.value_or(Form{}));
  if (!fields.has("role_name") || !fields.has("account_id"))
    return portal_error(400, "InvalidRequestException", "role_name and account_id are required");
  if (fields.text("role_name") != sources_->sso_role || fields.text("account_id") != sources_->sso_account)
    return portal_error(403, "ForbiddenException", "No access");
  const AwsKey key = keys_.issue(assumed(sources_->sso_role), sources_->lifetime);
  return json_reply(
      200, Json::object({{"roleCredentials", Json::object({{"accessKeyId", key.id},
                                                           {"secretAccessKey", key.secret},
                                                           {"sessionToken", key.token},
                                                           {"expiration", key.expires.time_since_epoch().count()}})}}));
}

HttpReply Sources::create_token(const HttpRequest& request) {
  if (request.method != "POST") return text_reply(405, "");
  const auto body = Json::parse(request.body);
  if (!body || body->members() == nullptr) return oidc_error("invalid_request", "the body is no JSON object");
  const Arguments arguments(*body);
  try {
    if (arguments.required("clientId") != sources_->client_id ||
        arguments.required("clientSecret") != sources_->client_secret) {
      return oidc_error("invalid_client", "Invalid client");
    }
    if (sources_->client_expires <= world_.now()) return oidc_error("invalid_client", "Client is expired");
    if (arguments.required("grantType") != "refresh_token")
      return oidc_error("unsupported_grant_type", "only refresh_token is served here");
    if (arguments.required("refreshToken") != sources_->refresh_token)
      return oidc_error("invalid_grant", "Invalid refresh token provided");
  } catch (const Refusal& refusal) {
    return oidc_error("invalid_request", refusal.message);
  }
  const std::string token = random_text(64);
  sso_tokens_[token] = world_.now() + sources_->lifetime;
  return json_reply(200, Json::object({{"accessToken", token},
                                       {"tokenType", "Bearer"},
                                       {"expiresIn", std::int64_t{sources_->lifetime.count() / 1000}},
                                       {"refreshToken", sources_->refresh_token}}));
}

std::string Sources::caller_identity(const Call& call) const {
  return element("Arn", call.principal) + element("UserId", "AIDATIDINGSTESTER") +
         element("Account", world_.options.account);
}

std::string Sources::assume_role(const Fields& fields) {
  const auto refuse = [](int status, const char* code, const std::string& message) {
    throw Refusal{status, code, message, {}};
  };
  for (const char* name : {"RoleArn", "RoleSessionName", "WebIdentityToken"}) {
    if (fields.text(name).empty())
      refuse(400, "ValidationError",
             std::string("Value null at '") + name + "' failed to satisfy constraint: Member must not be null");
  }
  Millis lifetime = sources_ ? sources_->lifetime : Millis::zero();
  if (fields.has("DurationSeconds")) {
    const auto seconds = whole_number(fields.text("DurationSeconds"));
    if (!seconds || *seconds < 900 || *seconds > 43'200)
      refuse(400, "ValidationError", "DurationSeconds must be between 900 and 43200");
    lifetime = std::min<Millis>(lifetime, std::chrono::seconds(*seconds));
  }
  if (!sources_ || fields.text("RoleArn") != sources_->role_arn)
    refuse(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
  if (fields.text("WebIdentityToken") != sources_->web_identity_token)
    refuse(400, "InvalidIdentityToken", "The token is not the right one");
  const std::string role = fields.text("RoleArn").substr(fields.text("RoleArn").rfind('/') + 1);
  const std::string session =
      "arn:aws:sts::" + world_.options.account + ":assumed-role/" + role + "/" + fields.text("RoleSessionName");
  const AwsKey key = keys_.issue(session, lifetime);
  return enclosed("Credentials", element("AccessKeyId", key.id) + element("SecretAccessKey", key.secret) +
                                     element("SessionToken", key.token) +
                                     element("Expiration", iso_time(key.expires, false))) +
         enclosed("AssumedRoleUser",
                  element("Arn", session) + element("AssumedRoleId", "AROATIDINGS:" + fields.text("RoleSessionName"))) +
         element("Provider", "arn:aws:iam::" + world_.options.account + ":oidc-provider/tidings") +
         element("Audience", "sts.amazonaws.com") + element("SubjectFromWebIdentityToken", "tester");
}

}  // namespace tidings::support::aws
