// What may wait, and what may be read ahead: the decisions of the layer between SQLite and the disk.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "transport/sqlite/gather.hpp"

namespace tidings::transport::sqlite {
namespace {

std::vector<std::byte> bytes(std::size_t size, int first = 0) {
  std::vector<std::byte> result(size);
  for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<std::byte>(first + static_cast<int>(i % 251));
  return result;
}

std::vector<std::byte> frame_header(std::uint32_t database_size) {
  auto header = bytes(24);
  for (int i = 0; i < 4; ++i) header[4 + i] = static_cast<std::byte>(database_size >> (24 - 8 * i) & 0xff);
  return header;
}

TEST(SqliteGatheredWrites, TakesWhatContinuesAndNothingElse) {
  GatheredWrites writes;
  EXPECT_TRUE(writes.takes(700, 24));
  EXPECT_TRUE(writes.add(700, bytes(24)));
  EXPECT_TRUE(writes.takes(724, 4096));
  EXPECT_FALSE(writes.takes(723, 4096)) << "overlaps";
  EXPECT_FALSE(writes.takes(725, 4096)) << "leaves a hole";
  EXPECT_FALSE(writes.takes(724, gathered_bytes)) << "too much";
  EXPECT_TRUE(writes.add(724, bytes(4096, 7)));
  EXPECT_EQ(writes.offset(), 700);
  ASSERT_EQ(writes.bytes().size(), 24U + 4096U);
  EXPECT_EQ(writes.bytes()[24], std::byte{7});
  writes.clear();
  EXPECT_TRUE(writes.empty());
  EXPECT_FALSE(writes.takes(0, gathered_bytes + 1));
  EXPECT_TRUE(writes.takes(0, gathered_bytes));
}

TEST(SqliteFrameWatch, TheLastFrameOfATransactionAndWhatFollowsMayNotWait) {
  FrameWatch frames;
  EXPECT_TRUE(frames.may_wait(bytes(32))) << "the header of the WAL";
  EXPECT_TRUE(frames.may_wait(frame_header(0)));
  EXPECT_TRUE(frames.may_wait(bytes(4096)));
  EXPECT_FALSE(frames.may_wait(frame_header(0x00ab0000))) << "a commit";
  EXPECT_FALSE(frames.may_wait(bytes(4096))) << "its page";
  EXPECT_FALSE(frames.may_wait(bytes(4096))) << "anything more of it";
  EXPECT_TRUE(frames.may_wait(frame_header(0))) << "the next transaction";
  EXPECT_TRUE(frames.may_wait(bytes(4096)));
}

class SqliteReadAhead : public ::testing::Test {
 protected:
  // Reads as the layer does; returns how many bytes were read from the file.
  std::size_t read(std::int64_t offset, std::size_t size, bool checkpoint = false) {
    std::vector<std::byte> wanted(size);
    std::size_t moved = 0;
    if (!ahead_.give(offset, wanted)) {
      const std::size_t planned = ahead_.worth_it(offset, checkpoint)
                                      ? ahead_.plan(offset, size, static_cast<std::int64_t>(file_.size()), checkpoint)
                                      : size;
      moved = planned;
      if (planned > size) {
        const auto room = ahead_.room(planned);
        std::copy_n(file_.begin() + offset, planned, room.begin());
        ahead_.keep(offset, planned);
        EXPECT_TRUE(ahead_.give(offset, wanted));
      } else {
        std::copy_n(file_.begin() + offset, size, wanted.begin());
        ahead_.passed(offset, size);
      }
    }
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), file_.begin() + offset)) << "at " << offset;
    return moved;
  }
  std::vector<std::byte> file_ = bytes(1U << 20);
  ReadAhead ahead_;
};

TEST_F(SqliteReadAhead, GoesAheadOfReadsInARowOnly) {
  EXPECT_EQ(read(8192, 4096), 4096U);
  EXPECT_EQ(read(0, 4096), 4096U) << "backwards";
  EXPECT_GT(read(4096, 4096), 16384U) << "in a row";
  EXPECT_EQ(read(8192, 4096), 0U) << "is there";
  EXPECT_EQ(read(500'000, 4096), 4096U) << "somewhere else";
}

TEST_F(SqliteReadAhead, FramesOfAWalStandInARowAndLongRowsTakeFewReads) {
  int reads = 0;
  for (std::int64_t frame = 0; frame < 200; ++frame) reads += read(32 + frame * 4120 + 24, 4096) > 0 ? 1 : 0;
  EXPECT_LT(reads, 14);
}

TEST_F(SqliteReadAhead, ACheckpointThatJumpsAboutReadsPageByPage) {
  EXPECT_GT(read(0, 4096, true), 100'000U);
  EXPECT_EQ(read(700'000, 4096, true), 4096U) << "next to nothing of the last look ahead was used";
  EXPECT_EQ(read(400'000, 4096, true), 4096U);
  EXPECT_GT(read(404'096, 4096, true), 100'000U) << "in a row again";
}

TEST_F(SqliteReadAhead, NothingIsReadBehindTheEnd) {
  const auto end = static_cast<std::int64_t>(file_.size());
  (void)read(end - 12288, 4096);
  EXPECT_EQ(read(end - 8192, 4096), 8192U);
  EXPECT_EQ(read(end - 4096, 4096), 0U);
}

TEST_F(SqliteReadAhead, ForgetsWhatOthersMayHaveChanged) {
  (void)read(0, 4096, true);
  EXPECT_EQ(read(4096, 4096, true), 0U);
  ahead_.clear();
  file_[4096] = std::byte{99};
  EXPECT_GT(read(4096, 4096, true), 0U);
}

}  // namespace
}  // namespace tidings::transport::sqlite
