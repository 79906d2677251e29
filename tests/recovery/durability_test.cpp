// `disk` means what it says: the syncs are counted from the outside.
#include <gtest/gtest.h>

#include <fstream>

#include "play.hpp"

namespace recovery {
namespace {

struct Counted {
  std::uint64_t syncs = 0, acknowledged = 0;
  bool sync_before_each = true;  ///< Between two acknowledgements there was always a sync.
};

/// One writer under strace: its fdatasyncs, and its journal writes as the marks of acknowledgement.
Counted trace_writer(const Stage& stage, const std::string& options) {
  const std::string trace = stage.path("trace");
  const Ending ending =
      run_program({"strace", "-f", "-y", "-o", trace, "-e", "trace=fdatasync,fsync,write", RECOVERY_CHILD, "writer",
                   stage.url(options), stage.path("arena"), "0", stage.path("journal"), "w", "600"},
                  stage.path("output"));
  EXPECT_TRUE(!ending.killed && ending.code == 0) << "strace ended with " << ending.code;
  Counted counted;
  std::ifstream file(trace);
  bool synced = false;
  for (std::string line; std::getline(file, line);) {
    if (line.find("sync(") != std::string::npos) {
      if (line.find("events.db-wal") != std::string::npos) ++counted.syncs, synced = true;
    } else if (line.find("/journal>") != std::string::npos) {
      ++counted.acknowledged;
      counted.sync_before_each = counted.sync_before_each && synced;
      synced = false;
    }
  }
  return counted;
}

TEST(Durability, DiskSyncsTheLogBeforeEachAcknowledgement) {
  const Stage stage;
  const Counted counted = trace_writer(stage, "?durability=disk");
  EXPECT_GT(counted.acknowledged, 5U);
  EXPECT_TRUE(counted.sync_before_each);
  EXPECT_GE(counted.syncs, counted.acknowledged);
}

TEST(Durability, DiskIsTheDefault) {
  const Stage stage;
  EXPECT_TRUE(trace_writer(stage, "").sync_before_each);
}

TEST(Durability, ProcessDoesNotSyncForEachAcknowledgement) {
  const Stage stage;
  const Counted counted = trace_writer(stage, "?durability=process");
  EXPECT_GT(counted.acknowledged, 5U);
  EXPECT_LT(counted.syncs, counted.acknowledged);
}

}  // namespace
}  // namespace recovery
