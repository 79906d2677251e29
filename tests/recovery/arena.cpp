#include "arena.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>
#include <stdexcept>

namespace recovery {

Arena& map_arena(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(Arena)) != 0) throw std::runtime_error("cannot make " + path);
  void* memory = ::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) throw std::runtime_error("cannot map " + path);
  return *static_cast<Arena*>(memory);
}

void advance(Slot& slot) {
  slot.progress.fetch_add(1);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&slot.progress), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool wait_for_progress(Slot& slot, std::uint32_t target, int milliseconds) {
  const timespec patience{milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
  for (;;) {
    const std::uint32_t seen = slot.progress.load();
    if (seen >= target) return true;
    const long answer =
        ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&slot.progress), FUTEX_WAIT, seen, &patience, nullptr, 0);
    if (answer != 0 && errno == ETIMEDOUT && slot.progress.load() == seen) return false;
  }
}

}  // namespace recovery
