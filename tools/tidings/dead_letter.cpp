#include "dead_letter.hpp"

#include <array>
#include <cstdint>
#include <tidings/error.hpp>
#include <tidings/event.hpp>

#include "output.hpp"

namespace tidings::cli {

std::string base64(std::string_view bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? digits[(group >> (18 - 6 * k)) & 63U] : '=';
  }
  return text;
}

bool is_decodable(const transport::ShelfItem& item) {
  if (item.id.empty()) return false;
  try {
    validate_json(item.envelope, {.bytes = item.envelope.size()});
    (void)decode<Json>(item.envelope);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string dead_letter_json(const transport::ShelfItem& item) {
  const bool decodable = is_decodable(item);
  JsonObject object;
  object.text("key", item.key)
      .text_or_null("id", decodable ? item.id : std::string())
      .text("stream", item.stream)
      .text("group", item.group)
      .text("reason", item.reason)
      .text("error", item.error)
      .number("attempts", item.attempts)
      .number("crashes", item.crashes)
      .time("first_failed_at", item.first_failed)
      .time("last_failed_at", item.last_failed)
      .raw("event", decodable ? one_line(item.envelope) : std::string("null"));
  // What no handler could decode is there byte for byte, also where the envelope around it can be read.
  if (!decodable || item.reason == "undecodable") object.text("bytes", base64(item.envelope));
  return object.str();
}

}  // namespace tidings::cli
