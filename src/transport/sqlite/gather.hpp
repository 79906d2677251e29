// Joining neighbouring reads and writes. SQLite goes to the disk a page at a time, and a page of the WAL in two pieces;
// a system call each costs more than all of its own work on a block. Pure bookkeeping; vfs.cpp does the I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tidings::transport::sqlite {

/// The most that one joined read or write moves: 31 frames of a WAL. SQLite's VFS for Unix masks the size of a call
/// with 0x1ffff, and would quietly move less of more.
inline constexpr std::size_t gathered_bytes = 31 * (24 + 4096);
static_assert(gathered_bytes <= 0x1ffff);

/// Bytes that are to be written and stand in a row.
class GatheredWrites {
 public:
  /// Whether `size` bytes at `offset` continue what is held and find room; anything fits into an empty one but what is
  /// larger than it.
  [[nodiscard]] bool takes(std::int64_t offset, std::size_t size) const noexcept {
    return size_ + size <= gathered_bytes && (size_ == 0 || offset == offset_ + static_cast<std::int64_t>(size_));
  }
  /// Adds what takes() said yes to; false when there is no memory for it.
  [[nodiscard]] bool add(std::int64_t offset, std::span<const std::byte> bytes) noexcept;
  void clear() noexcept { size_ = 0; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::int64_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> bytes_{};
  std::int64_t offset_ = 0;
  std::size_t size_ = 0;
};

/// Which frames of a WAL may be held back: every write of a transaction but the last frame's, after which SQLite makes
/// the transaction visible. Its header says so, since only a commit names the size of the database (the WAL's format,
/// section "WAL File Format": bytes 4 to 7 of a frame header).
class FrameWatch {
 public:
  /// Takes note of a write; returns whether it may be held back. The last frame's header and all that follows may not,
  /// until a frame begins that is no commit's.
  [[nodiscard]] bool may_wait(std::span<const std::byte> bytes) noexcept;

 private:
  bool committing_ = false;
};

/// Bytes that were read ahead of being asked for, as long as nobody can have changed them.
class ReadAhead {
 public:
  /// Copies the bytes at `offset` to `into` when all of them are here.
  [[nodiscard]] bool give(std::int64_t offset, std::span<std::byte> into) noexcept;
  /// Whether to look further than the read at `offset`, which is not here: it continues the last one or, where a
  /// `checkpoint` goes through the whole file, the last look ahead was made use of.
  [[nodiscard]] bool worth_it(std::int64_t offset, bool checkpoint) const noexcept {
    return continues(offset) || (checkpoint && (size_ == 0 || used_ * 2 >= size_));
  }
  /// How much to read at `offset`, of a file of `file_size` bytes, where `size` bytes were asked for: more and more
  /// while the reads go forward, as much as fits for a checkpoint.
  [[nodiscard]] std::size_t plan(std::int64_t offset, std::size_t size, std::int64_t file_size,
                                 bool checkpoint) noexcept;
  /// Room for a read of `size` bytes, which keep() then makes available as those at `offset`; empty without memory.
  [[nodiscard]] std::span<std::byte> room(std::size_t size) noexcept;
  void keep(std::int64_t offset, std::size_t size) noexcept;
  /// A read of `size` bytes at `offset` went past here.
  void passed(std::int64_t offset, std::size_t size) noexcept;
  /// Forgets everything: from here on somebody may have changed the file. A row of reads ends here.
  void clear() noexcept {
    size_ = used_ = next_ = 0;
    expected_ = nowhere;
  }

 private:
  // Between two pages of a WAL stand the 24 bytes of a frame's header.
  static constexpr std::int64_t longest_step = 24, nowhere = INT64_MAX;
  [[nodiscard]] bool continues(std::int64_t offset) const noexcept {
    return offset >= expected_ && offset - expected_ <= longest_step;
  }
  std::unique_ptr<std::byte[]> bytes_{};
  std::int64_t offset_ = 0, expected_ = nowhere;  // Where the next read of a row of them begins.
  std::size_t size_ = 0, used_ = 0, next_ = 0;
};

}  // namespace tidings::transport::sqlite
