#include <tidings/url.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include <tidings/error.hpp>

namespace tidings {
namespace {

// No message here repeats the authority or an option's value that may be a secret: a password typed with a stray
// slash ends up where a host or a port is expected.
[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid, "URL: " + why); }

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text, std::string_view part) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      refuse("the " + std::string(part) +
             " holds a % that two hexadecimal digits do not follow; write a plain % as %25");
    }
    if (high == 0 && low == 0) refuse("the " + std::string(part) + " holds %00, which cannot be used; remove it");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

/// The path of a file: as it is, but for the two characters that could not be written otherwise.
std::string decode_file(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view here = text.substr(i, 3);
    if (here == "%3F" || here == "%3f" || here == "%25") {
      out += here == "%25" ? '%' : '?';
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

void append_encoded(std::string& out, std::string_view text, std::string_view reserved) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (char c : text) {
    if (is_control(c) || c == '%' || reserved.find(c) != std::string_view::npos) {
      out += '%';
      out += digits[static_cast<unsigned char>(c) >> 4];
      out += digits[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
}

std::string take_scheme(std::string_view& text) {
  const auto colon = text.find(':');
  std::string scheme;
  for (char c : text.substr(0, colon == std::string_view::npos ? 0 : colon)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool letter = lower >= 'a' && lower <= 'z';
    const bool later = (lower >= '0' && lower <= '9') || lower == '+' || lower == '-' || lower == '.';
    if (!letter && (scheme.empty() || !later)) {
      scheme.clear();
      break;
    }
    scheme += lower;
  }
  if (scheme.empty()) {
    refuse("it names no transport; it begins with a scheme and a colon, for example sqlite:events.db or memory:");
  }
  text.remove_prefix(colon + 1);
  return scheme;
}

std::pair<std::string, std::uint16_t> parse_host(std::string_view text) {
  std::string_view name = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) refuse("a host begins with [ and has no ]; write IPv6 as [::1]:6379");
    name = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') refuse("something other than :port follows the ] of a host; remove it");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    has_port = true;
    name = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (name.empty()) refuse("a host is empty; write scheme://host:port");
  std::uint16_t number = 0;
  if (has_port) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number == 0) {
      refuse("a port is not a number from 1 to 65535 (write a / or @ in a password as %2F or %40)");
    }
  }
  return {percent_decode(name, "host"), number};
}

void parse_authority(Url& url, std::string_view authority) {
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view login = authority.substr(0, at);
    const auto colon = login.find(':');
    url.user = percent_decode(login.substr(0, colon), "user name");
    if (colon != std::string_view::npos) url.password = percent_decode(login.substr(colon + 1), "password");
    authority.remove_prefix(at + 1);
  }
  while (!authority.empty()) {
    const auto comma = authority.find(',');
    url.hosts.push_back(parse_host(authority.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    authority.remove_prefix(comma + 1);
    if (authority.empty()) refuse("a comma ends the list of hosts; remove it or add a host");
  }
}

void parse_options(Url& url, std::string_view query) {
  while (!query.empty()) {
    const auto end = query.find('&');
    const std::string_view item = query.substr(0, end);
    if (!item.empty()) {
      const auto equals = item.find('=');
      std::string name = percent_decode(item.substr(0, equals), "query");
      if (name.empty()) refuse("an option has a value and no name; write ?name=value");
      std::string value = equals == std::string_view::npos ? "" : percent_decode(item.substr(equals + 1), "query");
      url.options.emplace_back(std::move(name), std::move(value));
    }
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
}

bool is_secret(std::string_view name) {
  std::string lower;
  for (char c : name) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::array<std::string_view, 5> words{"password", "passwd", "secret", "token", "credential"};
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

/// A value that is a URL itself (`shelf=redis://…`) may hold a password of its own.
std::string redacted_value(const std::string& value) {
  if (value.find("://") == std::string::npos) return value;
  try {
    return Url::parse(value).redacted();
  } catch (const Error&) {
    return "***";
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Url Url::parse(std::string_view text) {
  Url url;
  // Values that are URLs themselves are looked into, so the length bounds how deep that goes.
  if (text.size() > 16384) refuse("it is longer than 16 KiB; shorten it");
  if (std::any_of(text.begin(), text.end(), [](char c) { return c == '\0'; }))
    refuse("it holds a zero byte; remove it");
  url.scheme = take_scheme(text);
  const auto question = text.find('?');
  const std::string_view query = question == std::string_view::npos ? "" : text.substr(question + 1);
  text = text.substr(0, question);
  if (url.scheme == "sqlite") {
    url.path = decode_file(text);
  } else if (text.starts_with("//")) {
    text.remove_prefix(2);
    const auto slash = text.find('/');
    parse_authority(url, text.substr(0, slash));
    if (slash != std::string_view::npos) {
      url.path = percent_decode(text.substr(url.hosts.empty() ? slash : slash + 1), "path");
    }
  } else {
    url.path = percent_decode(text, "path");
  }
  parse_options(url, query);
  return url;
}

std::optional<std::string> Url::option(std::string_view name) const {
  std::optional<std::string> found;
  for (const auto& [key, value] : options) {
    if (key != name) continue;
    if (found) refuse("option \"" + std::string(name) + "\" stands twice; keep one of them");
    found = value;
  }
  return found;
}

std::optional<Millis> Url::duration(std::string_view name) const {
  const auto text = option(name);
  if (!text) return std::nullopt;
  const auto value = parse_duration(*text);
  if (!value) refuse("option \"" + std::string(name) + "\" is not a duration; write 250ms, 30s, 5m, 2h or 7d");
  return value;
}

std::optional<std::uint64_t> Url::size(std::string_view name) const {
  const auto text = option(name);
  if (!text) return std::nullopt;
  struct Unit {
    std::string_view suffix;
    std::uint64_t bytes;
  };
  constexpr std::array<Unit, 11> units{{{"", 1},
                                        {"B", 1},
                                        {"kB", 1000},
                                        {"KB", 1000},
                                        {"MB", 1000 * 1000},
                                        {"GB", 1000 * 1000 * 1000},
                                        {"TB", 1000ULL * 1000 * 1000 * 1000},
                                        {"KiB", 1ULL << 10},
                                        {"MiB", 1ULL << 20},
                                        {"GiB", 1ULL << 30},
                                        {"TiB", 1ULL << 40}}};
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  const std::string_view suffix(end, static_cast<std::size_t>(text->data() + text->size() - end));
  for (const Unit& unit : units) {
    if (error == std::errc{} && unit.suffix == suffix && number <= UINT64_MAX / unit.bytes) return number * unit.bytes;
  }
  refuse("option \"" + std::string(name) + "\" is not a size; write 1048576, 500MB, 64MiB or 1GiB");
}

void Url::check_options(const std::vector<std::string_view>& known) const {
  for (const auto& option : options) {
    const std::string& name = option.first;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string why = scheme + ": has no option \"";
    for (char c : name.substr(0, 80)) why += is_control(c) ? '?' : c;
    why += '"';
    if (known.empty()) refuse(why + "; it takes none, remove it");
    const auto nearest = std::min_element(known.begin(), known.end(), [&](std::string_view a, std::string_view b) {
      return edit_distance(name, a) < edit_distance(name, b);
    });
    refuse(why + "; did you mean \"" + std::string(*nearest) + "\"?");
  }
}

std::string Url::redacted() const {
  std::string out = scheme + ':';
  const bool authority =
      !hosts.empty() || !user.empty() || !password.empty() || (scheme != "sqlite" && path.starts_with('/'));
  if (authority) {
    out += "//";
    if (!user.empty() || !password.empty()) {
      append_encoded(out, user, ":@/?#,");
      out += password.empty() ? "@" : ":***@";
    }
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      if (i > 0) out += ',';
      const bool six = hosts[i].first.find(':') != std::string::npos;
      if (six) out += '[';
      append_encoded(out, hosts[i].first, "@/?#,[]");
      if (six) out += ']';
      if (hosts[i].second != 0) out += ':' + std::to_string(hosts[i].second);
    }
    if (!hosts.empty() && !path.empty()) out += '/';
  }
  append_encoded(out, path, "?");
  char separator = '?';
  for (const auto& [name, value] : options) {
    if (is_secret(name)) continue;
    out += separator;
    append_encoded(out, name, "&=#");
    out += '=';
    append_encoded(out, redacted_value(value), "&#");
    separator = '&';
  }
  return out;
}

}  // namespace tidings
