#include "transport/redis/cluster.hpp"

#include <algorithm>
#include <charconv>

namespace tidings::transport::redis {
namespace {

template <class Number>
bool take_number(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::uint16_t crc16(std::string_view text) noexcept {
  std::uint16_t crc = 0;
  for (const char c : text) {
    crc = static_cast<std::uint16_t>(crc ^ (static_cast<unsigned char>(c) << 8U));
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<std::uint16_t>((crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U);
    }
  }
  return crc;
}

std::uint16_t slot_of(std::string_view key) noexcept {
  const std::size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const std::size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return crc16(key) % slot_count;
}

Redirection redirection_of(std::string_view error, const Address& from) {
  Redirection redirection;
  const bool moved = error.starts_with("MOVED ");
  if (!moved && !error.starts_with("ASK ")) return redirection;
  error.remove_prefix(moved ? 6 : 4);
  const std::size_t space = error.find(' '), colon = error.rfind(':');
  if (space == std::string_view::npos || colon == std::string_view::npos || colon <= space) return redirection;
  const std::string_view host = error.substr(space + 1, colon - space - 1);
  if (!take_number(error.substr(0, space), redirection.slot) || redirection.slot >= slot_count ||
      !take_number(error.substr(colon + 1), redirection.to.port)) {
    return redirection;
  }
  redirection.to.host = host.empty() || host == "?" ? from.host : host;
  redirection.kind = moved ? Redirection::Kind::moved : Redirection::Kind::ask;
  return redirection;
}

SlotMap::SlotMap(const Reply& slots, const Address& from) : SlotMap() {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Reply range = slots[i];
    const std::int64_t first = range[0].integer(-1), last = range[1].integer(-1);
    const std::string_view host = range[2][0].text();
    const std::int64_t port = range[2][1].integer();
    if (first < 0 || last < first || last >= static_cast<std::int64_t>(slot_count) || port <= 0 || port > 65535)
      continue;
    const std::uint16_t owner =
        index_of({host.empty() || host == "?" ? from.host : std::string(host), static_cast<std::uint16_t>(port), {}});
    std::fill(owners_.begin() + first, owners_.begin() + last + 1, owner);
  }
}

void SlotMap::move(std::uint16_t slot, const Address& to) { owners_[slot] = index_of(to); }

std::uint16_t SlotMap::index_of(const Address& address) {
  const auto found = std::find(servers_.begin(), servers_.end(), address);
  if (found != servers_.end()) return static_cast<std::uint16_t>(found - servers_.begin());
  servers_.push_back(address);
  return static_cast<std::uint16_t>(servers_.size() - 1);
}

}  // namespace tidings::transport::redis
