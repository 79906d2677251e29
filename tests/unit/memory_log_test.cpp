// How the memory engine copies what is published.
#include <gtest/gtest.h>

#include "transport/memory/log.hpp"

namespace tidings::memory {
namespace {

TEST(MemoryLog, BlocksKeepTextsApartAndPadded) {
  const std::string large(300'000, 'l');
  const std::vector<transport::Outgoing> items = {
      {.stream = "events:a", .id = "1", .type = "a.b", .correlation = "c", .envelope = "{}"},
      {.stream = "events:a", .id = "2", .type = "a.c", .envelope = large},
      {.stream = "events:a", .id = "3", .type = "a.d", .envelope = "[]"}};
  const auto entries = copy_entries(items, Wall{});
  ASSERT_EQ(entries.size(), 3U);
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(entries[i].record.envelope, items[i].envelope);
    EXPECT_EQ(entries[i].id, items[i].id);
    EXPECT_EQ(entries[i].record.type, items[i].type);
    EXPECT_EQ(entries[i].correlation, items[i].correlation);
    volatile char behind = 0;
    for (std::size_t at = 0; at < 64; ++at) behind = *(entries[i].record.envelope.end() + at);
    (void)behind;
  }
  EXPECT_NE(entries[0].record.block, entries[1].record.block);
}

}  // namespace
}  // namespace tidings::memory
