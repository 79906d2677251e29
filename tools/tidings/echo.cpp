#include "echo.hpp"

#include <functional>
#include <utility>

namespace tidings::cli {

Echo::Mark Echo::mark_of(std::string_view envelope) noexcept {
  // Two independent hashes: an event that is taken for another would be lost.
  std::uint64_t fnv = 0xcbf29ce484222325U;
  for (const char c : envelope) fnv = (fnv ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return {fnv, std::hash<std::string_view>{}(envelope)};
}

void Echo::remember(const Mark& mark, const Place& place) {
  recent_.insert_or_assign(mark, place);
  if (recent_.size() >= most_) before_ = std::exchange(recent_, {});
  if (!in_sample(mark)) return;
  sample_.insert_or_assign(mark, place);
  while (sample_.size() > most_ && sieve_ != ~std::uint64_t{0}) {
    sieve_ = sieve_ << 1U | 1U;
    std::erase_if(sample_, [&](const auto& each) { return !in_sample(each.first); });
  }
}

bool Echo::came_back(const Mark& mark, const Place& place) const {
  for (const Marks* marks : {&recent_, &before_, &sample_}) {
    const auto found = marks->find(mark);
    if (found != marks->end()) return place.position == Position{} || found->second != place;
  }
  return false;
}

}  // namespace tidings::cli
