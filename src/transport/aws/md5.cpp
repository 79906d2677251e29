#include "transport/aws/md5.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tidings::transport::aws {
namespace {

void append_sized(std::string& out, std::string_view part) {
  const auto size = static_cast<std::uint32_t>(part.size());
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  out += part;
}

}  // namespace

std::string md5_of_attributes(std::span<const MessageAttribute> attributes) {
  std::vector<const MessageAttribute*> sorted;
  for (const MessageAttribute& each : attributes) sorted.push_back(&each);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  std::string encoded;
  for (const MessageAttribute* each : sorted) {
    append_sized(encoded, each->name);
    append_sized(encoded, each->type);
    encoded += each->binary() ? '\2' : '\1';
    append_sized(encoded, each->value);
  }
  return md5_hex(encoded);
}

}  // namespace tidings::transport::aws
