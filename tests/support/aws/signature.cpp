#include "signature.hpp"

#include <algorithm>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr Millis most_skew = std::chrono::minutes(15);

/// What goes wrong, spelt for JSON and for the query protocol.
[[noreturn]] void refuse(const std::string& service, const char* json, const std::string& query, std::string message) {
  throw Refusal{403, service == "sqs" ? json : query, std::move(message), {}};
}

/// Outer blanks are gone; runs of inner ones count as one.
std::string folded(std::string_view value) {
  std::string out;
  for (const char each : value) {
    if (each == ' ' && !out.empty() && out.back() == ' ') continue;
    out += each;
  }
  return out;
}

std::string canonical_query(const HttpRequest& request) {
  std::vector<std::pair<std::string, std::string>> members;
  if (!request.query.empty()) {
    for (const std::string& part : split(request.query, '&')) {
      const std::size_t equals = part.find('=');
      const std::string name = part.substr(0, equals);
      const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
      members.emplace_back(percent_encoded(percent_decoded(name, false).value_or(name)),
                           percent_encoded(percent_decoded(value, false).value_or(value)));
    }
  }
  std::sort(members.begin(), members.end());
  std::string out;
  for (const auto& [name, value] : members) out.append(out.empty() ? "" : "&").append(name).append("=").append(value);
  return out;
}

// Of every service but S3 the path is encoded once more.
std::string canonical_path(const HttpRequest& request, const std::string& service) {
  if (service == "s3") return request.path;
  std::string out;
  for (const std::string& part : split(std::string_view(request.path).substr(1), '/'))
    out.append("/").append(percent_encoded(part));
  return out;
}

std::string canonical_request(const HttpRequest& request, const std::vector<std::string>& signed_headers,
                              const std::string& service, const std::string& body_hash) {
  std::string headers, list;
  for (const std::string& name : signed_headers) {
    std::string values;
    bool first = true;
    for (const auto& [key, value] : request.headers) {
      if (key != name) continue;
      if (!std::exchange(first, false)) values += ',';
      values += folded(value);
    }
    headers.append(name).append(":").append(values).append("\n");
    list.append(list.empty() ? "" : ";").append(name);
  }
  return request.method + "\n" + canonical_path(request, service) + "\n" + canonical_query(request) + "\n" + headers +
         "\n" + list + "\n" + body_hash;
}

}  // namespace

/// What the Authorization header says.
struct Keys::Claim {
  std::string key{}, date{}, region{}, signature{}, stamp{};
  std::vector<std::string> signed_headers{};
  [[nodiscard]] bool signs(std::string_view name) const {
    return std::find(signed_headers.begin(), signed_headers.end(), name) != signed_headers.end();
  }
};

void Keys::add(AwsKey key) {
  if (key.arn.empty()) key.arn = "arn:aws:iam::" + world_.options.account + ":user/tester";
  std::string id = key.id;
  keys_.insert_or_assign(std::move(id), std::move(key));
}

AwsKey Keys::issue(const std::string& arn, Millis lifetime) {
  AwsKey key{.id = "ASIA" + random_text(16),
             .secret = random_text(40),
             .token = random_text(120) + "/+==",
             .expires = world_.now() + lifetime,
             .arn = arn};
  add(key);
  return key;
}

Keys::Claim Keys::parse(const HttpRequest& request, const std::string& service) const {
  const auto header = request.header("authorization");
  if (!header) {
    // SQS takes a request without a signature for somebody whom no policy names.
    refuse(service, "AccessDeniedException", "MissingAuthenticationToken",
           service == "sqs" ? "Access to the resource " + world_.options.region + " is denied."
                            : "Request is missing Authentication Token");
  }
  const auto incomplete = [&](const std::string& message) {
    refuse(service, "IncompleteSignatureException", "IncompleteSignature", message);
  };
  constexpr std::string_view algorithm = "AWS4-HMAC-SHA256 ";
  if (!header->starts_with(algorithm)) incomplete("Unsupported AWS 'algorithm'.");
  std::map<std::string, std::string> parts;
  for (std::string part : split(header->substr(algorithm.size()), ',')) {
    part.erase(0, part.find_first_not_of(' '));
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) incomplete("'" + part + "' not a valid key=value pair in Authorization header.");
    parts[part.substr(0, equals)] = part.substr(equals + 1);
  }
  for (const char* name : {"Credential", "SignedHeaders", "Signature"}) {
    if (parts[name].empty()) incomplete(std::string("Authorization header requires '") + name + "' parameter.");
  }
  const std::vector<std::string> scope = split(parts["Credential"], '/');
  if (scope.size() != 5) incomplete("Credential must have exactly 5 slash-delimited elements.");
  Claim claim{scope[0], scope[1], scope[2], parts["Signature"], {}, split(parts["SignedHeaders"], ';')};
  const auto mismatch = [&](const std::string& message) {
    refuse(service, "InvalidSignatureException", "SignatureDoesNotMatch", message);
  };
  if (scope[4] != "aws4_request") mismatch("Credential should be scoped with a valid terminator: 'aws4_request'.");
  if (scope[3] != service) mismatch("Credential should be scoped to correct service: '" + service + "'.");
  if (scope[2] != world_.options.region) mismatch("Credential should be scoped to a valid region.");
  if (!std::is_sorted(claim.signed_headers.begin(), claim.signed_headers.end()))
    mismatch("SignedHeaders must be sorted.");
  if (!claim.signs("host")) mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.");
  if (!claim.signs("x-amz-date") || !request.header("x-amz-date"))
    mismatch("'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.");
  claim.stamp = *request.header("x-amz-date");
  return claim;
}

void Keys::check_age(Wall signed_at, const std::string& text, const std::string& service) const {
  const Wall now = world_.now();
  const std::string clock = compact_time(now);
  if (signed_at < now - most_skew) {
    refuse(service, "InvalidSignatureException", skew_code_,
           "Signature expired: " + text + " is now earlier than " + compact_time(now - most_skew) + " (" + clock +
               " - 15 min.)");
  }
  if (signed_at > now + most_skew) {
    refuse(service, "InvalidSignatureException", skew_code_,
           "Signature not yet current: " + text + " is still later than " + compact_time(now + most_skew) + " (" +
               clock + " + 15 min.)");
  }
}

const AwsKey& Keys::verify(const HttpRequest& request, const std::string& service) const {
  const Claim claim = parse(request, service);
  const auto found = keys_.find(claim.key);
  const auto token = request.header("x-amz-security-token");
  if (found == keys_.end() || token.value_or("") != found->second.token) {
    refuse(service, "UnrecognizedClientException", "InvalidClientTokenId",
           "The security token included in the request is invalid.");
  }
  const AwsKey& key = found->second;
  const auto mismatch = [&](const std::string& message) {
    refuse(service, "InvalidSignatureException", "SignatureDoesNotMatch", message);
  };
  if (!key.token.empty() && !claim.signs("x-amz-security-token"))
    mismatch("'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.");
  if (key.expires <= world_.now()) {
    refuse(service, "ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired");
  }
  const std::optional<Wall> signed_at = from_compact_time(claim.stamp);
  if (!signed_at) {
    refuse(service, "IncompleteSignatureException", "IncompleteSignature",
           "Date must be in ISO-8601 'basic format'. Got '" + claim.stamp + "'.");
  }
  if (claim.stamp.substr(0, 8) != claim.date) {
    mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
             claim.date + "' != '" + claim.stamp.substr(0, 8) + "', from '" + claim.stamp + "'.");
  }
  check_age(*signed_at, claim.stamp, service);

  std::string body_hash = hex(sha256(request.body));
  if (service == "s3") {
    // S3 alone wants to be told, and looks whether it is true.
    const auto told = request.header("x-amz-content-sha256");
    if (!told || !claim.signs("x-amz-content-sha256")) {
      throw Refusal{400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256", {}};
    }
    if (*told != body_hash) {
      throw Refusal{400,
                    "XAmzContentSHA256Mismatch",
                    "The provided 'x-amz-content-sha256' header does not match what was computed.",
                    {}};
    }
  }
  const std::string canonical = canonical_request(request, claim.signed_headers, service, body_hash);
  const std::string scope = claim.date + "/" + claim.region + "/" + service + "/aws4_request";
  std::string chain = "AWS4" + key.secret;
  for (const std::string& part : {claim.date, claim.region, service, std::string("aws4_request")})
    chain = hmac_sha256(chain, part);
  const std::string text = "AWS4-HMAC-SHA256\n" + claim.stamp + "\n" + scope + "\n" + hex(sha256(canonical));
  if (hex(hmac_sha256(chain, text)) != claim.signature) {
    mismatch(
        "The request signature we calculated does not match the signature you provided. The canonical request "
        "should have been:\n" +
        canonical);
  }
  return key;
}

}  // namespace tidings::support::aws
