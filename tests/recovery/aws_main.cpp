// Keys that only the stand-in knows, and nowhere else to look for any.
#include <gtest/gtest.h>

#include <cstdlib>

#include "aws_recovery.hpp"

int main(int argc, char** argv) {
  ::setenv("AWS_ACCESS_KEY_ID", tidings::transport::aws_key, 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", tidings::transport::aws_secret, 1);
  ::setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  ::unsetenv("AWS_PROFILE");
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
