#include "transport/aws/signature.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

namespace tidings::transport::aws {
namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

constexpr std::array<bool, 256> make_unreserved() {
  std::array<bool, 256> table{};
  for (int c = 0; c < 256; ++c) {
    table[static_cast<std::size_t>(c)] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                         c == '-' || c == '.' || c == '_' || c == '~';
  }
  return table;
}
constexpr std::array<bool, 256> unreserved = make_unreserved();

int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && digit_of(text[i + 1]) >= 0 && digit_of(text[i + 2]) >= 0;
    out += escape ? static_cast<char>(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Without space around it; runs of space inside become one.
void append_folded(std::string& out, std::string_view value) {
  bool gap = false;
  const std::size_t before = out.size();
  for (const char c : value) {
    if (is_space(c)) {
      gap = out.size() > before;
      continue;
    }
    if (gap) out += ' ';
    gap = false;
    out += c;
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

/// The headers as the signature has them, and their names.
struct CanonicalHeaders {
  std::string lines{}, names{};
};

CanonicalHeaders canonical_headers(std::vector<HeaderView> headers) {
  std::vector<std::pair<std::string, std::string_view>> sorted;
  sorted.reserve(headers.size());
  for (const auto& [name, value] : headers) sorted.emplace_back(lower(name), value);
  // Several of one name keep the order in which they are sent.
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  CanonicalHeaders out;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const auto& [name, value] = sorted[i];
    if (i > 0 && sorted[i - 1].first == name) {
      out.lines.back() = ',';
    } else {
      if (!out.names.empty()) out.names += ';';
      out.names += name;
      out.lines += name;
      out.lines += ':';
    }
    append_folded(out.lines, value);
    out.lines += '\n';
  }
  return out;
}

}  // namespace

void append_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  const std::size_t before = out.size();
  out.resize(before + 3 * text.size());
  char* at = out.data() + before;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (unreserved[byte]) {
      *at++ = c;
    } else {
      *at++ = '%';
      *at++ = digits[byte >> 4];
      *at++ = digits[byte & 15];
    }
  }
  out.resize(static_cast<std::size_t>(at - out.data()));
}

std::string sign_time(std::chrono::sys_seconds time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  char text[40];
  const int size = std::snprintf(text, sizeof text, "%04d%02u%02uT%02d%02d%02dZ", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                                 static_cast<int>(clock.seconds().count()));
  return {text, static_cast<std::size_t>(size)};
}

std::string canonical_path(std::string_view path, SignStyle style) {
  if (path.empty()) path = "/";
  std::string plain(path);
  if (style.normalise_path) {
    std::vector<std::string_view> kept;
    for (std::size_t at = 0; at <= path.size();) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      const std::string_view segment = path.substr(at, end - at);
      at = end + 1;
      if (segment == ".." && !kept.empty()) kept.pop_back();
      if (!segment.empty() && segment != "." && segment != "..") kept.push_back(segment);
    }
    plain = "/";
    for (const std::string_view segment : kept) plain.append(segment) += '/';
    if (plain.size() > 1 && path.back() != '/') plain.pop_back();
  }
  if (!style.encode_path) return plain;
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t end = std::min(plain.find('/', at), plain.size());
    append_encoded(out, std::string_view(plain).substr(at, end - at));
    if (end == plain.size()) return out;
    out += '/';
    at = end + 1;
  }
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parts;
  for (std::size_t at = 0; at < query.size();) {
    const std::size_t end = std::min(query.find('&', at), query.size());
    const std::string_view part = query.substr(at, end - at);
    at = end + 1;
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    auto& [name, value] = parts.emplace_back();
    append_encoded(name, decoded(part.substr(0, equals)));
    if (equals < part.size()) append_encoded(value, decoded(part.substr(equals + 1)));
  }
  std::sort(parts.begin(), parts.end());
  std::string out;
  for (const auto& [name, value] : parts) {
    if (!out.empty()) out += '&';
    out.append(name).append("=").append(value);
  }
  return out;
}

Sha256 Signer::key_of(const Keys& keys, SignScope scope, std::string_view day) {
  std::string wanted;
  for (const std::string_view part : {std::string_view(keys.secret), day, scope.region, scope.service}) {
    wanted.append(part) += '\n';
  }
  const std::lock_guard lock(mutex_);
  if (kept_for_ != wanted) {
    kept_ = hmac_sha256("AWS4" + keys.secret, day);
    for (const std::string_view part : {scope.region, scope.service, std::string_view("aws4_request")}) {
      kept_ = hmac_sha256(as_key(kept_), part);
    }
    kept_for_ = std::move(wanted);
  }
  return kept_;
}

Signed Signer::sign(const Signable& request, const Keys& keys, SignScope scope, std::chrono::sys_seconds time) {
  Signed out{.date = sign_time(time), .token = keys.token};
  const std::string body_hash = hex(sha256({request.body}));
  if (style_.name_body_hash) out.body_hash = body_hash;
  std::vector<HeaderView> headers(request.headers.begin(), request.headers.end());
  headers.emplace_back("x-amz-date", out.date);
  if (!out.token.empty()) headers.emplace_back("x-amz-security-token", out.token);
  if (!out.body_hash.empty()) headers.emplace_back("x-amz-content-sha256", out.body_hash);
  const auto [lines, names] = canonical_headers(std::move(headers));
  const Sha256 asked = sha256({request.method, "\n", canonical_path(request.path, style_), "\n",
                               canonical_query(request.query), "\n", lines, "\n", names, "\n", body_hash});

  const std::string_view day = std::string_view(out.date).substr(0, 8);
  std::string within(day);
  within.append("/").append(scope.region).append("/").append(scope.service).append("/aws4_request");
  std::string text(algorithm);
  text.append("\n").append(out.date).append("\n").append(within).append("\n").append(hex(asked));
  const Sha256 signature = hmac_sha256(as_key(key_of(keys, scope, day)), text);

  out.authorization.append(algorithm).append(" Credential=").append(keys.id).append("/").append(within);
  out.authorization.append(", SignedHeaders=").append(names).append(", Signature=").append(hex(signature));
  return out;
}

}  // namespace tidings::transport::aws
