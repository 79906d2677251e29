// The verdict of each property: a table at the end of the run, so that nothing is skipped in silence.
#include "conformance.hpp"

#include <iomanip>

namespace tidings::conformance {

namespace {

struct Property {
  std::string_view number, name;
};

// What the suite promises to test on every transport.
constexpr Property promised[] = {
    {"P01", "PublishSubscribe"},
    {"P02", "ConcurrentSubscribe"},
    {"P03", "ConcurrentTopics"},
    {"P04", "ResendOnError"},
    {"P06", "ContinueAfterClose"},
    {"P07", "ConcurrentClose"},
    {"P08", "ContinueAfterErrors"},
    {"P10", "PublisherClose"},
    {"P11", "Isolation"},
    {"P12", "HandlerCancelled"},
    {"P13", "CancelResubscribe"},
    {"P14", "LateGroup"},
    {"P15", "Reconnect"},
    {"P16", "Groups"},
    {"P17", "DoubleAck"},
    {"P18", "Unicode"},
    {"P19", "ClosedHandle"},
    {"P20", "Cancel"},
    {"P21", "DeliveryCount"},
    {"P22", "ErrorHandlerThrows"},
    {"P23", "ConcurrencyChange"},
    {"P24", "StopDuringHandler"},
    {"P25", "SaturatedUnacked"},
    {"P26", "PartialBatchFailure"},
    {"P27", "Poison"},
    {"P28", "LeaseExtended"},
    {"P31", "DeadLetterWriteFails"},
    {"P32", "ThrowInHandler"},
    {"P33", "CrashEffectBeforeAck"},
    {"P34", "CrashDeadLetterBeforeAck"},
    {"P35", "StaleAck"},
    {"P37", "RenewalDead"},
    {"P38", "RedeliveryStorm"},
    {"P39", "TrimUnderLag"},
    {"P40", "ClockJump"},
    {"P41", "LostGroup"},
    {"P42", "SlowConsumer"},
    {"P43", "GiantPayload"},
    {"P44", "AmbiguousPublish"},
    {"P45", "Partition"},
    {"P46", "FailoverBelowWait"},
    {"P47", "ClusterMoved"},
    {"P48", "BatchHalf"},
    {"P49", "DiskFull"},
    {"P50", "FsyncEio"},
    {"P51", "PowerCut"},
    {"P52", "BitFlip"},
    {"P53", "TornTail"},
    {"P54", "TwoProcesses"},
    {"P55", "CheckpointRace"},
    {"P56", "ReplayDuringLive"},
    {"P57", "RedriveTwice"},
    {"P61", "UnknownType"},
    {"P62", "RollingUpgrade"},
    {"P63", "FdExhaustion"},
    {"P64", "ReclaimFairness"},
    {"P65", "RetryPrivate"},
    {"P66", "MalformedEntry"},
    {"P67", "Shelved"},
};

// What no transport can be asked yet, and why.
constexpr std::pair<std::string_view, std::string_view> absent[] = {
    {"P05_HoldFirst", "order by key is refused by the runtime for now"},
    {"P09_InOrder", "order by key is refused by the runtime for now"},
    {"P29_BlowUpAfterPublish", "there is no outbox yet"},
    {"P30_DuplicateArrives", "there is no inbox yet"},
    {"P36_StaleEffect", "there is no inbox yet"},
    {"P58_OutboxOrder", "there is no outbox yet"},
    {"P59_TwoRelays", "there is no outbox yet"},
    {"P60_DedupExpiry", "there is no inbox yet"},
};

// `P27_Poison` of `P27_Poison_Among500/sqlite`.
std::string property_of(std::string_view test) {
  test = test.substr(0, test.find('/'));
  const std::size_t first = test.find('_');
  if (first == std::string_view::npos) return std::string(test);
  return std::string(test.substr(0, test.find('_', first + 1)));
}

struct Verdict {
  int passed = 0, failed = 0, skipped = 0;
  std::string reason{};
};

class Table : public ::testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (result.skipped()) reason_ = result.message() == nullptr ? "" : result.message();
  }

  void OnTestEnd(const ::testing::TestInfo& info) override {
    Verdict& verdict = verdicts_[property_of(info.name())];
    if (info.result()->Failed()) {
      ++verdict.failed;
    } else if (info.result()->Skipped()) {
      ++verdict.skipped;
      verdict.reason = reason_;
    } else {
      ++verdict.passed;
    }
  }

  void OnTestProgramEnd(const ::testing::UnitTest&) override {
    int passed = 0, failed = 0, skipped = 0;
    std::cout << "\nproperty                       verdict\n";
    for (const auto& [name, verdict] : verdicts_) {
      std::cout << std::left << std::setw(30) << name << ' ';
      if (verdict.failed > 0) {
        ++failed;
        std::cout << "FAILED\n";
      } else if (verdict.passed > 0) {
        ++passed;
        std::cout << "passed\n";
      } else {
        ++skipped;
        std::cout << "not offered: " << verdict.reason << '\n';
      }
    }
    for (const auto& [name, why] : absent) {
      std::cout << std::left << std::setw(30) << name << " not covered: " << why << '\n';
    }
    std::cout << passed << " properties passed, " << failed << " failed, " << skipped << " not offered, "
              << std::size(absent) << " not covered\n";
  }

 private:
  std::string reason_;
  std::map<std::string, Verdict> verdicts_;
};

// The promised properties that have no test in this binary.
std::vector<std::string> missing() {
  std::set<std::string> there;
  const ::testing::UnitTest& unit = *::testing::UnitTest::GetInstance();
  for (int suite = 0; suite < unit.total_test_suite_count(); ++suite) {
    const ::testing::TestSuite& tests = *unit.GetTestSuite(suite);
    for (int test = 0; test < tests.total_test_count(); ++test)
      there.insert(property_of(tests.GetTestInfo(test)->name()));
  }
  std::vector<std::string> names;
  for (const Property& property : promised) {
    std::string name = std::string(property.number) + "_" + std::string(property.name);
    if (!there.contains(name)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

std::string property_name() {
  const ::testing::TestInfo* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return info == nullptr ? "?" : property_of(info->name());
}

int run(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  // gtest owns its listeners.
  ::testing::UnitTest::GetInstance()->listeners().Append(new Table);
  const int result = RUN_ALL_TESTS();
  const std::vector<std::string> names = missing();
  for (const std::string& name : names) std::cout << "no test: " << name << '\n';
  return names.empty() ? result : 1;
}

}  // namespace tidings::conformance
