#include "transport/sqlite/ledger.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tidings::transport::sqlite {

void Bits::set(std::uint32_t index) noexcept {
  if (test(index)) return;
  words_[index / 64] |= std::uint64_t{1} << (index % 64);
  ++count_;
}

std::uint32_t Bits::first_clear() const noexcept {
  for (std::size_t word = 0; word < words_.size(); ++word) {
    if (words_[word] == UINT64_MAX) continue;
    return std::min(size_,
                    static_cast<std::uint32_t>(word * 64) + static_cast<std::uint32_t>(std::countr_one(words_[word])));
  }
  return size_;
}

Bits Bits::from_bytes(std::span<const std::byte> bytes, std::uint32_t size) {
  Bits bits(size);
  if (!bits.words_.empty() && !bytes.empty()) {
    std::memcpy(bits.words_.data(), bytes.data(), std::min(bytes.size(), bits.words_.size() * 8));
  }
  if (size % 64 != 0) bits.words_.back() &= (std::uint64_t{1} << (size % 64)) - 1;
  for (const std::uint64_t word : bits.words_) bits.count_ += static_cast<std::uint32_t>(std::popcount(word));
  return bits;
}

Record Holding::record(std::uint32_t index) const {
  for (const auto& block : blocks) {
    if (first + index < block->end()) return block->record(first + index);
  }
  return {};
}

std::size_t Holding::length(std::uint32_t index) const noexcept {
  if (!range) return item_bytes;
  for (const auto& block : blocks) {
    if (first + index < block->end())
      return block->block.length(static_cast<std::uint32_t>(first + index - block->first));
  }
  return 0;
}

std::uint64_t Ledger::add(std::shared_ptr<Holding> holding) {
  for (std::uint32_t i = 0; i < holding->count; ++i) holding->bytes += holding->length(i);
  bytes_ += holding->bytes;
  events_ += holding->count;
  if (holding->alone) ++alone_;
  holdings_.emplace_hint(holdings_.end(), ++serial_, std::move(holding));
  return serial_;
}

std::shared_ptr<Holding> Ledger::find(std::uint64_t serial) const {
  const auto found = holdings_.find(serial);
  return found == holdings_.end() ? nullptr : found->second;
}

void Ledger::settle(std::uint64_t serial, std::span<const std::uint32_t> indexes) {
  const auto found = holdings_.find(serial);
  if (found == holdings_.end()) return;
  Holding& holding = *found->second;
  const auto fresh = std::count_if(indexes.begin(), indexes.end(), [&](auto index) { return holding.holds(index); });
  // Of what ends with this call the rest is known; only a part has to be added up.
  const bool ends = holding.done.count() + static_cast<std::uint32_t>(fresh) == holding.count;
  std::size_t bytes = ends ? holding.bytes : 0;
  for (const std::uint32_t index : indexes) {
    if (!holding.holds(index)) continue;
    holding.done.set(index);
    if (!ends) bytes += holding.length(index);
  }
  events_ -= static_cast<std::size_t>(fresh);
  holding.bytes -= bytes;
  bytes_ -= bytes;
  if (!holding.finished()) return;
  if (holding.alone) --alone_;
  holdings_.erase(found);
}

void Ledger::forget(std::uint64_t serial) {
  const auto found = holdings_.find(serial);
  if (found == holdings_.end()) return;
  std::vector<std::uint32_t> rest;
  for (std::uint32_t i = 0; i < found->second->count; ++i) rest.push_back(i);
  settle(serial, rest);
}

void Ledger::clear() {
  holdings_.clear();
  events_ = bytes_ = alone_ = 0;
}

std::vector<AckToken> Ledger::open(std::uint32_t epoch) const {
  std::vector<AckToken> tokens;
  tokens.reserve(events_);
  for (const auto& [serial, holding] : holdings_) {
    for (std::uint32_t i = 0; i < holding->count; ++i) {
      if (!holding->done.test(i)) tokens.push_back({serial, i, epoch});
    }
  }
  return tokens;
}

}  // namespace tidings::transport::sqlite
