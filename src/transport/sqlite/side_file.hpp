// The small mapped file beside the log, `PATH-tidings`: what the processes that share the log use to take turns at
// writing, to wake each other, and to see who has died. It holds nothing that is worth keeping.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace tidings::transport::sqlite {

/// Real waiting is measured on this clock; the injected one may stand still.
using WaitClock = std::chrono::steady_clock;

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), kept_(std::exchange(other.kept_, false)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(kept_, other.kept_);
    return *this;
  }
  ~Descriptor();
  /// Ends with this process in any case: a forked child does not have it.
  void keep_from_children();
  [[nodiscard]] int get() const noexcept { return fd_; }
  /// Gives it away unclosed.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
  bool kept_ = false;
};

class SideFile {
 public:
  /// Opens or creates it. Throws Error{unauthorized}, Error{full} or Error{io}. The first that comes with a new `boot`
  /// forgets who waited when the machine went down.
  SideFile(std::string path, std::uint64_t boot);
  ~SideFile();
  SideFile(const SideFile&) = delete;
  SideFile& operator=(const SideFile&) = delete;

  /// Takes the one write lock of the log, in turn with other processes; false at the deadline. One thread of this
  /// process at a time. The kernel drops it with the process.
  [[nodiscard]] bool lock_write(WaitClock::time_point deadline);
  void unlock_write() noexcept;

  /// Marks subscription `owner` as alive for as long as the returned descriptor is open.
  [[nodiscard]] Descriptor hold_alive(std::int64_t owner) const;
  /// Whether the process that called hold_alive(owner) still holds it.
  [[nodiscard]] bool is_alive(std::int64_t owner) const noexcept;

  /// Grows with every wake().
  [[nodiscard]] std::uint32_t signal() const noexcept;
  /// Tells everybody who waits that something may have come.
  void wake() noexcept;
  /// Waits until signal() is no longer `seen`: a short spin, then the futex; returns at the deadline at the latest.
  void wait(std::uint32_t seen, WaitClock::time_point deadline) noexcept;

  /// What has to be added to the boot clock to get a wall clock that never jumps. All processes of one boot share it:
  /// the first of them brings `offset`. Call it with the write lock held.
  [[nodiscard]] std::int64_t anchor(std::uint64_t boot, std::int64_t offset) noexcept;

  /// Grows whenever a subscription joins or leaves.
  [[nodiscard]] std::uint32_t membership() const noexcept;
  void change_membership() noexcept;

 private:
  struct Words;
  struct Gate;
  [[nodiscard]] bool lock(off_t byte, Gate& gate, WaitClock::time_point deadline);
  [[nodiscard]] bool try_lock(off_t byte) const;
  void unlock(off_t byte, Gate& gate) noexcept;

  std::string path_;
  Descriptor file_{};
  Words* words_ = nullptr;
};

}  // namespace tidings::transport::sqlite
