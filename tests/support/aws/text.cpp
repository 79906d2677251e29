#include "text.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <stdexcept>

namespace tidings::support::aws {
namespace {

std::string digest(const EVP_MD* kind, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), out.data(), &size, kind, nullptr) != 1)
    throw std::runtime_error("EVP_Digest failed");
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
    throw std::runtime_error("RAND_bytes failed");
  return bytes;
}

std::string formatted(Wall time, const char* format) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> out;
  return {out.data(), std::strftime(out.data(), out.size(), format, &parts)};
}

int digit_of(char each) {
  if (each >= '0' && each <= '9') return each - '0';
  if (each >= 'a' && each <= 'f') return each - 'a' + 10;
  if (each >= 'A' && each <= 'F') return each - 'A' + 10;
  return -1;
}

bool unreserved(char each) {
  return (each >= 'A' && each <= 'Z') || (each >= 'a' && each <= 'z') || (each >= '0' && each <= '9') || each == '-' ||
         each == '.' || each == '_' || each == '~';
}

}  // namespace

std::string sha256(std::string_view bytes) { return digest(EVP_sha256(), bytes); }
std::string md5(std::string_view bytes) { return hex(digest(EVP_md5(), bytes)); }

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(bytes.data()),
       bytes.size(), out.data(), &size);
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char each : bytes) {
    out += digits[static_cast<unsigned char>(each) >> 4U];
    out += digits[static_cast<unsigned char>(each) & 15U];
  }
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  out.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                      reinterpret_cast<const unsigned char*>(bytes.data()),
                                                      static_cast<int>(bytes.size()))));
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  const auto plain = [](char each) {
    return (unreserved(each) && each != '-' && each != '.' && each != '_' && each != '~') || each == '+' || each == '/';
  };
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  if (text.size() % 4 != 0 || !std::all_of(text.begin(), text.end() - static_cast<std::ptrdiff_t>(padding), plain))
    return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  out.resize(out.size() - padding);
  return out;
}

std::string uuid() {
  std::string bytes = random_bytes(16);
  bytes[6] = static_cast<char>((static_cast<unsigned char>(bytes[6]) & 0x0fU) | 0x40U);
  bytes[8] = static_cast<char>((static_cast<unsigned char>(bytes[8]) & 0x3fU) | 0x80U);
  std::string out = hex(bytes);
  for (const std::size_t at : {8U, 13U, 18U, 23U}) out.insert(at, 1, '-');
  return out;
}

std::string random_text(std::size_t length) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string out = random_bytes(length);
  for (char& each : out) each = letters[static_cast<unsigned char>(each) % letters.size()];
  return out;
}

std::string compact_time(Wall time) { return formatted(time, "%Y%m%dT%H%M%SZ"); }

std::optional<Wall> from_compact_time(std::string_view text) {
  constexpr std::string_view form = "00000000T000000Z";
  if (text.size() != form.size()) return std::nullopt;
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] == '0' ? digit_of(text[i]) < 0 || digit_of(text[i]) > 9 : text[i] != form[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t count) {
    return static_cast<int>(*whole_number(text.substr(at, count)));
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(4, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  if (!day.ok()) return std::nullopt;
  return Wall(std::chrono::sys_days(day) + std::chrono::hours(number(9, 2)) + std::chrono::minutes(number(11, 2)) +
              std::chrono::seconds(number(13, 2)));
}

std::string http_date(Wall time) { return formatted(time, "%a, %d %b %Y %H:%M:%S GMT"); }

std::string iso_time(Wall time, bool fraction) {
  std::string out = formatted(time, "%Y-%m-%dT%H:%M:%S");
  if (fraction) {
    std::array<char, 8> digits{};
    const auto part = (time - std::chrono::floor<std::chrono::seconds>(time)).count();
    std::snprintf(digits.data(), digits.size(), ".%03d", static_cast<int>(part));
    out += digits.data();
  }
  return out + "Z";
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& each : out) {
    if (each >= 'A' && each <= 'Z') each = static_cast<char>(each - 'A' + 'a');
  }
  return out;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::int64_t value = 0;
  for (const char each : text) {
    if (each < '0' || each > '9') return std::nullopt;
    value = value * 10 + (each - '0');
  }
  return value;
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(by);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    for (std::size_t skip = 0; skip <= text.size(); ++skip) {
      if (matches(pattern.substr(1), text.substr(skip))) return true;
    }
    return false;
  }
  return !text.empty() && (pattern.front() == '?' || pattern.front() == text.front()) &&
         matches(pattern.substr(1), text.substr(1));
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char each : text) {
    if (unreserved(each)) {
      out += each;
    } else {
      out += {'%', digits[static_cast<unsigned char>(each) >> 4U], digits[static_cast<unsigned char>(each) & 15U]};
    }
  }
  return out;
}

std::optional<std::string> percent_decoded(std::string_view text, bool form) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += form && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (i + 2 >= text.size() || digit_of(text[i + 1]) < 0 || digit_of(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2]));
    i += 2;
  }
  return out;
}

std::optional<Form> form_of(std::string_view text) {
  Form form;
  if (text.empty()) return form;
  for (const std::string& part : split(text, '&')) {
    const std::size_t equals = part.find('=');
    auto name = percent_decoded(std::string_view(part).substr(0, equals), true);
    auto value = percent_decoded(
        equals == std::string::npos ? std::string_view() : std::string_view(part).substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    form.emplace_back(std::move(*name), std::move(*value));
  }
  return form;
}

std::string element(std::string_view name, std::string_view text) {
  std::string escaped;
  for (const char each : text) {
    switch (each) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += each;
    }
  }
  return enclosed(name, escaped);
}

std::string enclosed(std::string_view name, std::string_view xml) {
  std::string out;
  out.append("<").append(name).append(">").append(xml).append("</").append(name).append(">");
  return out;
}

bool acceptable_characters(std::string_view utf8) {
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto each = static_cast<unsigned char>(utf8[i]);
    if (each < 0x20 && each != '\t' && each != '\n' && each != '\r') return false;
    // U+FFFE and U+FFFF.
    if (each == 0xef && i + 2 < utf8.size() && static_cast<unsigned char>(utf8[i + 1]) == 0xbf &&
        static_cast<unsigned char>(utf8[i + 2]) >= 0xbe) {
      return false;
    }
  }
  return true;
}

}  // namespace tidings::support::aws
