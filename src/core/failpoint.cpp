#include "core/failpoint.hpp"

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

namespace tidings::core {
namespace {

// One line each, by transport and in the order of an event's way. A name that is not here never fires.
constexpr std::string_view failpoints[] = {
    "core.selftest",
    "sqlite.before_publish_commit",
    "sqlite.after_publish_commit",
    "sqlite.before_sync",
    "sqlite.after_publish_sync",
    "sqlite.after_join",
    "sqlite.before_claim_commit",
    "sqlite.after_claim",
    "sqlite.before_settle_commit",
    "sqlite.after_settle_commit",
    "sqlite.in_takeover",
    "sqlite.after_takeover",
    "sqlite.before_move_commit",
    "sqlite.before_inject_commit",
    "sqlite.before_shelve_commit",
    "sqlite.before_change_commit",
    "sqlite.in_trim",
    "sqlite.in_checkpoint",
    "redis.before_settle_commit",
    "redis.after_settle_commit",
    "aws.before_settle_commit",
    "aws.after_settle_commit",
    "runtime.before_handler",
    "runtime.after_handler",
    "runtime.before_settle",
    "runtime.after_settle",
};

struct Wanted {
  std::string_view name;
  std::atomic<long> left{0};

  Wanted() noexcept {
    const char* value = std::getenv("TIDINGS_FAILPOINT");
    if (value == nullptr || *value == '\0') return;
    name = value;
    long passages = 1;
    if (const auto colon = name.rfind(':'); colon != std::string_view::npos) {
      const std::string_view digits = name.substr(colon + 1);
      std::from_chars(digits.data(), digits.data() + digits.size(), passages);
      name = name.substr(0, colon);
    }
    left = passages;
    for (std::string_view known : failpoints) {
      if (known == name) failpoint_armed.store(true, std::memory_order_relaxed);
    }
    if (!failpoint_armed.load(std::memory_order_relaxed)) {
      // A misspelt name would let a crash test pass without a crash.
      constexpr std::string_view complaint = "tidings: TIDINGS_FAILPOINT names no failpoint of this program\n";
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, complaint.data(), complaint.size());
      std::_Exit(70);
    }
  }
};

}  // namespace

// Constant-initialised, so that a passage before the environment was read is merely not armed.
constinit std::atomic<bool> failpoint_armed{false};

namespace {
Wanted wanted;
}  // namespace

void pass_failpoint(std::string_view name) noexcept {
  if (name != wanted.name) return;
  if (wanted.left.fetch_sub(1, std::memory_order_relaxed) == 1) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
}

std::span<const std::string_view> failpoint_names() noexcept { return failpoints; }

}  // namespace tidings::core
