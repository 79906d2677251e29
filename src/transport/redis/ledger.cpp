#include "transport/redis/ledger.hpp"

namespace tidings::transport::redis {

std::uint64_t Ledger::add(const Held& held, const std::shared_ptr<const std::byte[]>& block) {
  if (count_ == places_.size()) grow();
  if (blocks_.empty() || blocks_.back().bytes != block) blocks_.push_back({block, 0});
  ++blocks_.back().open;
  ++events_;
  bytes_ += held.envelope.size();
  if (held.source == 'A') ++alone_;
  const std::uint64_t serial = first_ + count_++;
  Held& kept = place(serial) = held;
  kept.block = first_block_ + blocks_.size() - 1;
  return serial;
}

void Ledger::grow() {
  std::vector<Held> larger(2 * places_.size());
  for (std::uint64_t serial = first_; serial < first_ + count_; ++serial) {
    larger[serial & (larger.size() - 1)] = place(serial);
  }
  places_.swap(larger);
}

const Ledger::Held* Ledger::name(std::uint64_t serial) noexcept {
  const Held* const held = find(serial);
  if (held == nullptr || held->named) return nullptr;
  place(serial).named = true;
  return held;
}

void Ledger::unname(std::uint64_t serial) noexcept {
  if (find(serial) != nullptr) place(serial).named = false;
}

void Ledger::settle(std::uint64_t serial) noexcept {
  if (find(serial) == nullptr) return;
  Held& held = place(serial);
  held.open = false;
  --events_;
  bytes_ -= held.envelope.size();
  if (held.source == 'A') --alone_;
  Block& block = blocks_[held.block - first_block_];
  if (--block.open == 0) block.bytes.reset();
  for (; !blocks_.empty() && blocks_.front().open == 0; ++first_block_) blocks_.pop_front();
  for (; count_ > 0 && !place(first_).open; ++first_) --count_;
  // One that was held for long, while many others came and went, has made the ring large.
  if (count_ == 0 && places_.size() > most_kept_places) {
    places_.resize(fewest_places);
    places_.shrink_to_fit();
  }
}

void Ledger::clear() noexcept {
  first_ += count_;
  count_ = 0;
  first_block_ += blocks_.size();
  blocks_.clear();
  events_ = bytes_ = alone_ = 0;
}

std::vector<std::uint64_t> Ledger::open() const {
  std::vector<std::uint64_t> serials;
  for (std::uint64_t serial = first_; serial < first_ + count_; ++serial) {
    if (place(serial).open) serials.push_back(serial);
  }
  return serials;
}

}  // namespace tidings::transport::redis
