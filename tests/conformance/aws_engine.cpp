// The AWS transport under test, on a strict stand-in for SQS and SNS: alone, and with a shelf beside it.
#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "conformance.hpp"
#include "support/aws_stub.hpp"

namespace tidings::conformance {
namespace {

constexpr const char *key = "AKIDCONFORMANCE", *secret = "not-a-secret";

// Time goes on by itself there, and further when a test moves it: leases are AWS's, and there are several clocks.
class Time {
 public:
  void follow(std::shared_ptr<testing::VirtualClock> clock) {
    const std::lock_guard lock(mutex_);
    clock_ = std::move(clock);
    moved_ = clock_->steady();
  }
  [[nodiscard]] Wall now() const {
    const std::lock_guard lock(mutex_);
    const Wall real = std::chrono::floor<Millis>(std::chrono::system_clock::now());
    return clock_ ? real + std::chrono::floor<Millis>(clock_->steady() - moved_) : real;
  }

 private:
  mutable std::mutex mutex_{};
  std::shared_ptr<testing::VirtualClock> clock_{};
  Steady moved_{};
};

class AwsPlace : public Place {
 public:
  AwsPlace() { aws_.add_key({.id = key, .secret = secret}); }
  void follow(const std::shared_ptr<testing::VirtualClock>& clock) override { time_->follow(clock); }
  [[nodiscard]] std::string url() const override {
    return "aws://" + aws_.region() + "?prefix=t&endpoint=" + aws_.url();
  }
  [[nodiscard]] bool restarts() const override { return true; }
  // AWS is never seen to restart, but connections end, before and after what was asked for is done.
  bool restart() override {
    aws_.drop("*", 20, support::AwsDrop::after);
    aws_.drop("*", 20, support::AwsDrop::before);
    return true;
  }

 private:
  std::shared_ptr<Time> time_ = std::make_shared<Time>();
  support::AwsStub aws_{{.now = [time = time_] { return time->now(); }}};
};

class ShelvedPlace final : public AwsPlace {
 public:
  ShelvedPlace() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tidings-shelf-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no directory for a shelf");
    directory_ = pattern;
  }
  ~ShelvedPlace() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  [[nodiscard]] std::string url() const override {
    return AwsPlace::url() + "&shelf=sqlite:" + directory_ + "/shelf.db";
  }

 private:
  std::string directory_{};
};

template <class Made>
Engine engine(const char* name) {
  Engine engine;
  engine.name = name;
  engine.mortal = {"lease=1000", "idle=2500"};
  engine.fresh = [] { return std::make_unique<Made>(); };
  engine.in_order = false;
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(aws, Conformance,
                         ::testing::Values(engine<AwsPlace>("aws"), engine<ShelvedPlace>("aws_shelf")),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) {
  // Also for the processes that tests start; and nothing else may be asked for keys.
  ::setenv("AWS_ACCESS_KEY_ID", tidings::conformance::key, 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", tidings::conformance::secret, 1);
  ::setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  ::unsetenv("AWS_PROFILE");
  return tidings::conformance::run(argc, argv);
}
