#include "transport/redis/ledger.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace tidings::transport::redis {
namespace {

std::shared_ptr<const std::byte[]> block_of(std::size_t size) {
  return std::shared_ptr<std::byte[]>(new std::byte[size]);
}

std::string_view text_of(const std::shared_ptr<const std::byte[]>& block, std::size_t size) {
  return {reinterpret_cast<const char*>(block.get()), size};
}

Ledger::Held held_of(std::uint64_t number, std::string_view envelope, char source = 'S') {
  Ledger::Held held;
  held.id = {number, 0};
  held.source = source;
  held.envelope = envelope;
  return held;
}

TEST(RedisLedger, CountsWhatIsOpen) {
  Ledger ledger;
  const auto block = block_of(10);
  const std::uint64_t first = ledger.add(held_of(1, text_of(block, 10)), block);
  const std::uint64_t second = ledger.add(held_of(2, text_of(block, 4), 'A'), block);
  EXPECT_EQ(ledger.events(), 2U);
  EXPECT_EQ(ledger.bytes(), 14U);
  EXPECT_TRUE(ledger.alone());
  ledger.settle(second);
  ledger.settle(second);
  EXPECT_EQ(ledger.events(), 1U);
  EXPECT_EQ(ledger.bytes(), 10U);
  EXPECT_FALSE(ledger.alone());
  EXPECT_EQ(ledger.find(second), nullptr);
  EXPECT_EQ(ledger.find(first)->id.milliseconds, 1U);
  EXPECT_EQ(ledger.find(first + 100), nullptr);
  EXPECT_EQ(ledger.open(), std::vector<std::uint64_t>{first});
}

TEST(RedisLedger, KeepsABlockForAsLongAsSomethingOfItIsHeld) {
  Ledger ledger;
  auto block = block_of(8);
  const std::weak_ptr<const std::byte[]> watched = block;
  const std::uint64_t first = ledger.add(held_of(1, text_of(block, 4)), block),
                      second = ledger.add(held_of(2, text_of(block, 4)), block);
  block.reset();
  ledger.settle(first);
  EXPECT_FALSE(watched.expired());
  ledger.settle(second);
  EXPECT_TRUE(watched.expired());
}

TEST(RedisLedger, NamesOnceAtATime) {
  Ledger ledger;
  const auto block = block_of(1);
  const std::uint64_t serial = ledger.add(held_of(1, text_of(block, 1)), block);
  EXPECT_NE(ledger.name(serial), nullptr);
  EXPECT_EQ(ledger.name(serial), nullptr);
  ledger.unname(serial);
  EXPECT_NE(ledger.name(serial), nullptr);
  ledger.doubt(serial);
  EXPECT_TRUE(ledger.find(serial)->unclear);
}

// Against a plain list: one that is held for long while many come and go makes the ring grow, and its end lets it
// shrink.
TEST(RedisLedger, GrowsAndShrinksWithoutLosingAnything) {
  Ledger ledger;
  std::minstd_rand random(7);
  std::deque<std::pair<std::uint64_t, std::uint64_t>> open;  // Serial and number.
  const auto block = block_of(1);
  const std::uint64_t oldest = ledger.add(held_of(0, text_of(block, 1)), block);
  for (std::uint64_t number = 1; number <= 200'000; ++number) {
    const auto one = block_of(1);
    open.emplace_back(ledger.add(held_of(number, text_of(one, 1)), one), number);
    if (open.size() < 100 && random() % 3 != 0) continue;
    const std::size_t which = random() % open.size();
    ASSERT_EQ(ledger.find(open[which].first)->id.milliseconds, open[which].second);
    ledger.settle(open[which].first);
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
    ASSERT_EQ(ledger.events(), open.size() + 1);
  }
  EXPECT_EQ(ledger.find(oldest)->id.milliseconds, 0U);
  ledger.settle(oldest);
  for (const auto& [serial, number] : open) {
    ASSERT_EQ(ledger.find(serial)->id.milliseconds, number);
    ledger.settle(serial);
  }
  EXPECT_EQ(ledger.events(), 0U);
  EXPECT_EQ(ledger.bytes(), 0U);
  const std::uint64_t next = ledger.add(held_of(1, text_of(block, 1)), block);
  EXPECT_EQ(ledger.open(), std::vector<std::uint64_t>{next});
  ledger.clear();
  EXPECT_EQ(ledger.find(next), nullptr);
}

}  // namespace
}  // namespace tidings::transport::redis
