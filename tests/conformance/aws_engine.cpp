// The AWS transport under test, on a strict stand-in for SQS and SNS: alone, and with a shelf beside it; and on an
// emulator that others made.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
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

/// The emulator in a process of its own, which ends with this.
class Emulator {
 public:
  Emulator() {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl(AWS_EMULATOR, AWS_EMULATOR, AWS_NODE, nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    // One line, which is the URL and the region, or why there is none.
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) said_ += c;
    ::close(out[0]);
  }
  ~Emulator() {
    ::close(input_);
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  [[nodiscard]] bool runs() const { return said_.starts_with("http://127.0.0.1:"); }
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] std::string url() const { return said_.substr(0, said_.find(' ')); }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  std::string said_{};
};

/// One serves all tests, each with a prefix of its own.
Emulator& emulator() {
  static Emulator started;
  return started;
}

class EmulatedPlace final : public Place {
 public:
  [[nodiscard]] std::string url() const override {
    return "aws://eu-west-1?prefix=" + prefix_ + "&endpoint=" + emulator().url();
  }

 private:
  static inline int places_ = 0;
  const std::string prefix_ = "t" + std::to_string(++places_);
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

Engine emulated() {
  Engine made = engine<EmulatedPlace>("aws_emulator");
  made.fresh = []() -> std::unique_ptr<Place> {
    if (!emulator().runs()) return nullptr;
    return std::make_unique<EmulatedPlace>();
  };
  made.own_clock = true;
  return made;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(aws, Conformance,
                         ::testing::Values(engine<AwsPlace>("aws"), engine<ShelvedPlace>("aws_shelf"), emulated()),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) {
  // Also for the processes that tests start; and nothing else may be asked for keys.
  ::setenv("AWS_ACCESS_KEY_ID", tidings::conformance::key, 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", tidings::conformance::secret, 1);
  ::setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  ::unsetenv("AWS_PROFILE");
  // Whoever asks for the emulator by name is told with one word that there is none, since it needs Node.
  const bool named =
      std::any_of(argv, argv + argc, [](std::string_view word) { return word.ends_with("/aws_emulator"); });
  if (named && !tidings::conformance::emulator().runs()) {
    std::puts(tidings::conformance::emulator().said().c_str());
    return 77;
  }
  return tidings::conformance::run(argc, argv);
}
