// What a forked child must not share with its parent: locks that live in file descriptions, and SQLite's own memory of
// the files that were open.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace tidings::transport::sqlite {

/// How often this process and its ancestors have forked since they first asked; differs in every forked child.
[[nodiscard]] std::uint64_t fork_generation() noexcept;

/// From now on a forked child loses `fd` at once, so that a lock of its file description ends with this process. The
/// number stays taken in the child until it is closed there.
void keep_from_children(int fd);
/// Undoes keep_from_children() before `fd` is closed.
void forget_descriptor(int fd) noexcept;

/// Marks the file at `path` as open in SQLite by this process, for as long as it lives.
class OpenMark {
 public:
  OpenMark() = default;
  explicit OpenMark(const std::string& path);
  ~OpenMark();
  OpenMark(OpenMark&& other) noexcept;
  OpenMark& operator=(OpenMark&& other) noexcept;

 private:
  std::uint64_t generation_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool set_ = false;
};

/// Whether the file at `path` was open in an ancestor when this process was forked: SQLite still believes in locks that
/// only the ancestor has, and would wait for them for ever.
[[nodiscard]] bool open_since_fork(const std::string& path);

}  // namespace tidings::transport::sqlite
