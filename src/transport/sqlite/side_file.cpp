#include "transport/sqlite/side_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <tidings/error.hpp>

#include "transport/sqlite/fork.hpp"

namespace tidings::transport::sqlite {
namespace {

constexpr off_t turn_byte = 0, write_byte = 1, first_owner_byte = off_t{1} << 20;
constexpr std::size_t mapped_bytes = 4096;
// A process that dies holding a lock wakes nobody; waiters look again this often.
constexpr auto recheck = std::chrono::milliseconds(2);
constexpr auto spin = std::chrono::microseconds(30);

using Word = std::atomic<std::uint32_t>;
static_assert(sizeof(Word) == 4 && Word::is_always_lock_free);

void futex_wait(Word& word, std::uint32_t seen, std::chrono::nanoseconds longest) noexcept {
  if (longest.count() <= 0) return;
  const timespec time{.tv_sec = longest.count() / 1'000'000'000, .tv_nsec = longest.count() % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &time, nullptr, 0);
}

void futex_wake(Word& word, int how_many) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, how_many, nullptr, nullptr, 0);
}

struct flock byte_lock(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

int open_side(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0666);
  if (fd >= 0) return fd;
  const int error = errno;
  const bool refused = error == EACCES || error == EPERM || error == EROFS;
  throw Error(refused ? ErrorCode::unauthorized : ErrorCode::io, error == EMFILE || error == ENFILE,
              "cannot open " + path + ": " + std::strerror(error) +
                  (refused ? "; the log's directory must be writable for every process that uses it"
                           : "; free what is short and open the log again"));
}

// Opens what `file` is. A file that was put in its place would give locks that nobody else sees.
int open_again(const std::string& path, const Descriptor& file) {
  Descriptor opened(open_side(path, 0));
  struct stat mine {
  }, now{};
  if (::fstat(file.get(), &mine) != 0 || ::fstat(opened.get(), &now) != 0 || mine.st_ino != now.st_ino ||
      mine.st_dev != now.st_dev) {
    throw Error(ErrorCode::io, path +
                                   " was removed or replaced while the log was open; close every program that uses "
                                   "the log, then open it again");
  }
  return opened.release();
}

// Room for all of the file: a page that the disk has no room for would be a SIGBUS at its first use.
void fill(const Descriptor& file, const std::string& path) {
  int error = 0;
  do error = ::posix_fallocate(file.get(), 0, mapped_bytes);
  while (error == EINTR);
  if (error == 0) return;
  throw Error(error == ENOSPC || error == EDQUOT ? ErrorCode::full : ErrorCode::io, true,
              "cannot size " + path + ": " + std::strerror(error) + "; make room on its file system");
}

}  // namespace

struct SideFile::Gate {
  Word released{0};
  Word waiting{0};
};

struct SideFile::Words {
  Gate turn;
  Gate write;
  alignas(64) Word signal{0};
  Word waiting{0};
  alignas(64) Word membership{0};
  // Written under the write lock, once a boot.
  std::uint64_t boot = 0;
  std::int64_t offset = 0;
  std::atomic<std::uint64_t> counted_boot{0};  // Of the counters of those who wait.
};

Descriptor::~Descriptor() {
  if (kept_) forget_descriptor(fd_);
  if (fd_ >= 0) ::close(fd_);
}

void Descriptor::keep_from_children() {
  sqlite::keep_from_children(fd_);
  kept_ = true;
}

SideFile::SideFile(std::string path, std::uint64_t boot) : path_(std::move(path)), file_(open_side(path_, O_CREAT)) {
  file_.keep_from_children();
  fill(file_, path_);
  // A mapping keeps its file description, and the locks of that, beyond a fork: it gets one of its own.
  const Descriptor source(open_again(path_, file_));
  void* mapped = ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, source.get(), 0);
  if (mapped == MAP_FAILED) throw Error(ErrorCode::io, "cannot map " + path_ + ": " + std::strerror(errno));
  words_ = static_cast<Words*>(mapped);  // All zero when new, and any value is a valid state.
  if (words_->counted_boot.load() != boot && words_->counted_boot.exchange(boot) != boot) {
    for (Word* waiting : {&words_->turn.waiting, &words_->write.waiting, &words_->waiting}) waiting->store(0);
  }
}

SideFile::~SideFile() { ::munmap(words_, mapped_bytes); }

bool SideFile::try_lock(off_t byte) const {
  struct flock lock = byte_lock(F_WRLCK, byte);
  if (::fcntl(file_.get(), F_OFD_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES || errno == EINTR) return false;
  throw Error(ErrorCode::io, "cannot lock " + path_ + ": " + std::strerror(errno));
}

bool SideFile::lock(off_t byte, Gate& gate, WaitClock::time_point deadline) {
  for (;;) {
    if (try_lock(byte)) return true;
    gate.waiting.fetch_add(1);
    const std::uint32_t seen = gate.released.load();
    const bool taken = try_lock(byte);
    const auto left = deadline - WaitClock::now();
    if (!taken) futex_wait(gate.released, seen, std::min<std::chrono::nanoseconds>(left, recheck));
    gate.waiting.fetch_sub(1);
    if (taken) return true;
    if (left.count() <= 0) return false;
  }
}

void SideFile::unlock(off_t byte, Gate& gate) noexcept {
  struct flock lock = byte_lock(F_UNLCK, byte);
  ::fcntl(file_.get(), F_OFD_SETLK, &lock);
  gate.released.fetch_add(1);
  if (gate.waiting.load() != 0) futex_wake(gate.released, 1);
}

bool SideFile::lock_write(WaitClock::time_point deadline) {
  // Whoever finds somebody at the turnstile queues behind him; with nobody there the turnstile need not be touched.
  if (words_->turn.waiting.load() == 0 && words_->write.waiting.load() == 0 && try_lock(write_byte)) return true;
  if (!lock(turn_byte, words_->turn, deadline)) return false;
  bool locked = false;
  try {
    locked = lock(write_byte, words_->write, deadline);
  } catch (...) {
    unlock(turn_byte, words_->turn);
    throw;
  }
  unlock(turn_byte, words_->turn);
  return locked;
}

void SideFile::unlock_write() noexcept { unlock(write_byte, words_->write); }

Descriptor SideFile::hold_alive(std::int64_t owner) const {
  Descriptor file(open_again(path_, file_));
  file.keep_from_children();
  struct flock lock = byte_lock(F_WRLCK, first_owner_byte + owner);
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
    throw Error(ErrorCode::io, true, "cannot lock " + path_ + ": " + std::strerror(errno));
  }
  return file;
}

bool SideFile::is_alive(std::int64_t owner) const noexcept {
  struct flock lock = byte_lock(F_WRLCK, first_owner_byte + owner);
  if (::fcntl(file_.get(), F_OFD_GETLK, &lock) != 0) return true;  // The lease decides where the kernel does not tell.
  return lock.l_type != F_UNLCK;
}

std::uint32_t SideFile::signal() const noexcept { return words_->signal.load(); }

void SideFile::wake() noexcept {
  words_->signal.fetch_add(1);
  if (words_->waiting.load() != 0) futex_wake(words_->signal, INT32_MAX);
}

void SideFile::wait(std::uint32_t seen, WaitClock::time_point deadline) noexcept {
  const auto spin_until = std::min(deadline, WaitClock::now() + spin);
  do {
    for (int i = 0; i < 64; ++i) {
      if (words_->signal.load(std::memory_order_relaxed) != seen) return;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
  } while (WaitClock::now() < spin_until);
  words_->waiting.fetch_add(1);
  futex_wait(words_->signal, seen, deadline - WaitClock::now());
  words_->waiting.fetch_sub(1);
}

std::int64_t SideFile::anchor(std::uint64_t boot, std::int64_t offset) noexcept {
  if (words_->boot != boot) {
    words_->offset = offset;
    words_->boot = boot;
  }
  return words_->offset;
}

std::uint32_t SideFile::membership() const noexcept { return words_->membership.load(); }

void SideFile::change_membership() noexcept { words_->membership.fetch_add(1); }

}  // namespace tidings::transport::sqlite
