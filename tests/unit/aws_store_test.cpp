#include "transport/aws/store.hpp"

#include <gtest/gtest.h>

namespace tidings::transport::aws {
namespace {

// What waits for its next attempt must not be taken for new because much else came by.
TEST(AwsRemembered, ForgetsTheOldestFirst) {
  Remembered numbers;
  for (std::uint32_t i = 1; i <= 20; ++i) numbers.set("m" + std::to_string(i), i, 10);
  for (std::uint32_t i = 1; i <= 20; ++i) EXPECT_EQ(numbers.of("m" + std::to_string(i)), i);
  for (std::uint32_t i = 21; i <= 25; ++i) numbers.set("m" + std::to_string(i), i, 10);
  EXPECT_EQ(numbers.of("m1"), 0U);
  EXPECT_EQ(numbers.of("m11"), 11U);
  EXPECT_EQ(numbers.of("m25"), 25U);
  numbers.set("m11", 111, 10);
  EXPECT_EQ(numbers.of("m11"), 111U);
  numbers.forget("m11");
  EXPECT_EQ(numbers.of("m11"), 0U);
}

}  // namespace
}  // namespace tidings::transport::aws
