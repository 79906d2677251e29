#include "transport/sqlite/fork.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

namespace tidings::transport::sqlite {
namespace {

struct Mark {
  std::uint64_t generation = 0;
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const Mark&) const = default;
};

struct Registry {
  std::mutex mutex{};
  std::atomic<std::uint64_t> forks{0};
  std::vector<int> descriptors{};
  std::vector<Mark> marks{};
  int nothing = -1;  // Takes the place of the descriptors in a child, where nothing may be allocated.
};

// Never destroyed: a fork may come at any time.
Registry& registry() {
  static Registry* const only = [] {
    auto* made = new Registry;
    made->nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    return made;
  }();
  static const int registered = ::pthread_atfork([] { only->mutex.lock(); }, [] { only->mutex.unlock(); },
                                                 [] {
                                                   only->forks.fetch_add(1, std::memory_order_relaxed);
                                                   for (const int fd : only->descriptors) {
                                                     if (::dup3(only->nothing, fd, O_CLOEXEC) < 0) ::close(fd);
                                                   }
                                                   only->descriptors.clear();
                                                   only->mutex.unlock();
                                                 });
  (void)registered;
  return *only;
}

}  // namespace

std::uint64_t fork_generation() noexcept { return registry().forks.load(std::memory_order_relaxed); }

void keep_from_children(int fd) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.descriptors.push_back(fd);
}

void forget_descriptor(int fd) noexcept {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  std::erase(all.descriptors, fd);
}

OpenMark::OpenMark(const std::string& path) : generation_(fork_generation()) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.marks.push_back({generation_, device_, inode_});
  set_ = true;
}

OpenMark::~OpenMark() {
  // In a forked child the mark stays: what SQLite remembers stays too.
  if (!set_ || generation_ != fork_generation()) return;
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  const auto found = std::find(all.marks.begin(), all.marks.end(), Mark{generation_, device_, inode_});
  if (found != all.marks.end()) all.marks.erase(found);
}

OpenMark::OpenMark(OpenMark&& other) noexcept { *this = std::move(other); }

OpenMark& OpenMark::operator=(OpenMark&& other) noexcept {
  std::swap(generation_, other.generation_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(set_, other.set_);
  return *this;
}

bool open_since_fork(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  const std::uint64_t generation = fork_generation();
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  return std::any_of(all.marks.begin(), all.marks.end(), [&](const Mark& mark) {
    return mark.generation != generation && mark.device == status.st_dev && mark.inode == status.st_ino;
  });
}

}  // namespace tidings::transport::sqlite
