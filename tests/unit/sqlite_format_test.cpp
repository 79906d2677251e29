// The block and the ledger: pure parts of the embedded log.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/envelope_member.hpp"
#include "transport/sqlite/format.hpp"
#include "transport/sqlite/ledger.hpp"

namespace tidings::transport::sqlite {
namespace {

struct Sample {
  std::vector<std::string> ids{}, envelopes{};
  std::vector<Outgoing> events{};
  std::vector<const Outgoing*> pointers{};

  explicit Sample(int count) {
    for (int i = 0; i < count; ++i) {
      ids.push_back("evt_" + std::to_string(i));
      envelopes.push_back(R"({"id":")" + ids.back() + R"(","correlationId":"req_)" + std::to_string(i % 3) +
                          R"(","data":{"id":"inner"}})");
    }
    for (int i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      events.push_back({"events:user", ids[at], i % 2 == 0 ? "user.created" : "user.deleted", i % 2 == 0 ? "req_0" : "",
                        "key", envelopes[at]});
    }
    for (const Outgoing& event : events) pointers.push_back(&event);
  }
};

Block block_of(std::span<const std::byte> body, std::uint32_t count) {
  auto bytes = Block::allocate(body.size());
  std::memcpy(bytes.get(), body.data(), body.size());
  return {std::move(bytes), body.size(), count};
}

TEST(SqliteFormat, ABlockGivesBackWhatWasPutIn) {
  const Sample sample(100);
  BlockBuilder builder;
  builder.build(sample.pointers);
  const Block block = block_of(builder.body(), 100);
  for (std::uint32_t i = 0; i < 100; ++i) {
    const Record record = block.record(i);
    EXPECT_EQ(record.envelope, sample.envelopes[i]);
    EXPECT_EQ(record.type, sample.events[i].type);
    EXPECT_FALSE(record.damaged);
    EXPECT_TRUE(record.validated);
    EXPECT_TRUE(block.may_match(i, sample.ids[i], sample.events[i].correlation));
    EXPECT_FALSE(block.may_match(i, "evt_other", ""));
  }
  EXPECT_TRUE(types_hold(builder.types(), "user.deleted"));
  EXPECT_FALSE(types_hold(builder.types(), "user"));
  for (const std::string& id : sample.ids) EXPECT_TRUE(bloom_may_hold(builder.bloom(), id));
  int wrong = 0;
  for (int i = 1000; i < 2000; ++i) wrong += bloom_may_hold(builder.bloom(), "evt_" + std::to_string(i)) ? 1 : 0;
  EXPECT_LT(wrong, 150);
}

TEST(SqliteFormat, ABuilderIsUsedAgain) {
  BlockBuilder builder;
  for (const int count : {300, 1, 7}) {
    const Sample sample(count);
    builder.build(sample.pointers);
    const Block block = block_of(builder.body(), static_cast<std::uint32_t>(count));
    for (std::uint32_t i = 0; i < block.count(); ++i) EXPECT_EQ(block.record(i).envelope, sample.envelopes[i]);
  }
}

TEST(SqliteFormat, AFlippedBitCostsOneEventAtMost) {
  const Sample sample(8);
  BlockBuilder builder;
  builder.build(sample.pointers);
  const std::vector<std::byte> good(builder.body().begin(), builder.body().end());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
    const Block block = block_of(bad, 8);
    int damaged = 0;
    for (std::uint32_t i = 0; i < 8; ++i) {
      const Record record = block.record(i);
      damaged += record.damaged ? 1 : 0;
      // Whatever is not marked as damaged is right, to the byte.
      if (!record.damaged) {
        ASSERT_EQ(record.envelope, sample.envelopes[i]) << "bit " << bit;
        ASSERT_TRUE(record.type.empty() || record.type == sample.events[i].type) << "bit " << bit;
      }
    }
    // A bit of the header's layout fields costs the block; any other at most one event.
    if (bit >= 32 * 8) {
      ASSERT_LE(damaged, 1) << "bit " << bit;
    }
  }
}

TEST(SqliteFormat, ACutBlockIsDamagedAndReadsNothingOutside) {
  const Sample sample(8);
  BlockBuilder builder;
  builder.build(sample.pointers);
  for (std::size_t size = 0; size < builder.body().size(); ++size) {
    const Block block = block_of(builder.body().first(size), 8);
    for (std::uint32_t i = 0; i < 8; ++i) {
      const Record record = block.record(i);
      ASSERT_TRUE(record.damaged) << size;
    }
  }
}

TEST(SqliteFormat, MembersAreFoundAtTheTopOnly) {
  const std::string text =
      R"({ "data" : {"id":"inner","x":["a","id","b"]}, "id" : "evt_\u0041\"", "n":1, "correlationId":"c,{}" })";
  EXPECT_EQ(core::envelope_member(text, "id"), "evt_A\"");
  EXPECT_EQ(core::envelope_member(text, "correlationId"), "c,{}");
  EXPECT_EQ(core::envelope_member(text, "n"), "");
  EXPECT_EQ(core::envelope_member(text, "missing"), "");
  EXPECT_EQ(core::envelope_member(R"({"id":"unended)", "id"), "");
  EXPECT_EQ(core::envelope_member("", "id"), "");
}

TEST(SqliteLedger, BitsCountAndTravel) {
  Bits bits(130);
  for (const std::uint32_t i : {0U, 1U, 63U, 64U, 129U, 129U}) bits.set(i);
  EXPECT_EQ(bits.count(), 5U);
  EXPECT_EQ(bits.first_clear(), 2U);
  const Bits copy = Bits::from_bytes(bits.bytes(), 130);
  EXPECT_EQ(copy.count(), 5U);
  EXPECT_TRUE(copy.test(129));
  // A range that was cut at its end keeps no bit behind it.
  EXPECT_EQ(Bits::from_bytes(bits.bytes(), 64).count(), 3U);
  Bits full(64);
  for (std::uint32_t i = 0; i < 64; ++i) full.set(i);
  EXPECT_EQ(full.first_clear(), 64U);
}

TEST(SqliteLedger, KeepsTheAccount) {
  Ledger ledger;
  auto one = std::make_shared<Holding>();
  one->alone = true;
  one->item_bytes = 10;
  const std::uint64_t serial = ledger.add(one);
  EXPECT_EQ(ledger.events(), 1U);
  EXPECT_EQ(ledger.bytes(), 10U);
  EXPECT_TRUE(ledger.alone());
  ASSERT_NE(ledger.find(serial), nullptr);
  EXPECT_TRUE(ledger.find(serial)->holds(0));
  EXPECT_FALSE(ledger.find(serial)->holds(1)) << "there is no such event";
  EXPECT_EQ(ledger.find(serial + 1), nullptr);
  EXPECT_EQ(ledger.open(7), (std::vector<AckToken>{{serial, 0, 7}}));
  const std::uint32_t first = 0;
  ledger.settle(serial, {&first, 1});
  EXPECT_EQ(ledger.events(), 0U);
  EXPECT_EQ(ledger.bytes(), 0U);
  EXPECT_FALSE(ledger.alone());
  EXPECT_EQ(ledger.find(serial), nullptr);
}

}  // namespace
}  // namespace tidings::transport::sqlite
