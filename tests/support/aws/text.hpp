// What the wire of AWS is made of: digests, encodings, dates, forms and XML.
#pragma once

#include <tidings/time.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::support::aws {

[[nodiscard]] std::string sha256(std::string_view bytes);
[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view bytes);
[[nodiscard]] std::string md5(std::string_view bytes);
/// Lower-case digits.
[[nodiscard]] std::string hex(std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);
/// Nothing for what is not whole base64 with its padding.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

/// A UUID of version 4.
[[nodiscard]] std::string uuid();
/// Letters and digits nobody can guess.
[[nodiscard]] std::string random_text(std::size_t length);

/// `20240125T103000Z`.
[[nodiscard]] std::string compact_time(Wall time);
/// What compact_time() writes; nothing for all else.
[[nodiscard]] std::optional<Wall> from_compact_time(std::string_view text);
/// `Thu, 25 Jan 2024 10:30:00 GMT`.
[[nodiscard]] std::string http_date(Wall time);
/// `2024-01-25T10:30:00Z`, or with `.000` before the Z.
[[nodiscard]] std::string iso_time(Wall time, bool fraction);

[[nodiscard]] std::string lower(std::string_view text);
/// A whole number without a sign or leading blanks; nothing for all else.
[[nodiscard]] std::optional<std::int64_t> whole_number(std::string_view text);
[[nodiscard]] std::vector<std::string> split(std::string_view text, char by);
/// `*` stands for any characters and `?` for one.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view text);

/// Everything but A-Z a-z 0-9 - . _ ~ as %XX.
[[nodiscard]] std::string percent_encoded(std::string_view text);
/// `+` is a blank in forms, and itself elsewhere; nothing when a % is followed by no two digits.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, bool form);
/// The members of a form or of a query, in their order.
using Form = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] std::optional<Form> form_of(std::string_view text);

/// `<name>text</name>`, escaped.
[[nodiscard]] std::string element(std::string_view name, std::string_view text);
/// `<name>…</name>` around what is XML already.
[[nodiscard]] std::string enclosed(std::string_view name, std::string_view xml);

/// Whether a body has only characters that XML 1.0 can hold, as SQS demands.
[[nodiscard]] bool acceptable_characters(std::string_view utf8);

}  // namespace tidings::support::aws
