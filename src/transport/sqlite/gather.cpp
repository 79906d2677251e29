#include "transport/sqlite/gather.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace tidings::transport::sqlite {
namespace {

constexpr std::size_t frame_header_bytes = 24;
constexpr std::size_t first_read_ahead = 32U << 10;

}  // namespace

bool GatheredWrites::add(std::int64_t offset, std::span<const std::byte> bytes) noexcept {
  if (!bytes_) bytes_.reset(new (std::nothrow) std::byte[gathered_bytes]);
  if (!bytes_) return false;
  if (size_ == 0) offset_ = offset;
  std::memcpy(bytes_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  return true;
}

bool FrameWatch::may_wait(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() == frame_header_bytes) {
    std::uint32_t database_size = 0;
    std::memcpy(&database_size, bytes.data() + 4, sizeof database_size);
    committing_ = database_size != 0;
  }
  return !committing_;
}

bool ReadAhead::give(std::int64_t offset, std::span<std::byte> into) noexcept {
  if (size_ == 0 || offset < offset_ ||
      offset - offset_ + static_cast<std::int64_t>(into.size()) > static_cast<std::int64_t>(size_)) {
    return false;
  }
  std::memcpy(into.data(), bytes_.get() + (offset - offset_), into.size());
  used_ += into.size();
  passed(offset, into.size());
  return true;
}

std::size_t ReadAhead::plan(std::int64_t offset, std::size_t size, std::int64_t file_size, bool checkpoint) noexcept {
  if (checkpoint) {
    next_ = gathered_bytes;
  } else if (continues(offset)) {
    next_ = std::clamp(next_ * 2, first_read_ahead, gathered_bytes);
  } else {
    next_ = 0;
  }
  const std::int64_t left = std::max<std::int64_t>(file_size - offset, 0);
  return std::max(size, static_cast<std::size_t>(std::min<std::int64_t>(left, static_cast<std::int64_t>(next_))));
}

std::span<std::byte> ReadAhead::room(std::size_t size) noexcept {
  if (!bytes_) bytes_.reset(new (std::nothrow) std::byte[gathered_bytes]);
  size_ = used_ = 0;
  return {bytes_.get(), bytes_ ? size : 0};
}

void ReadAhead::keep(std::int64_t offset, std::size_t size) noexcept {
  offset_ = offset;
  size_ = size;
  used_ = 0;
}

void ReadAhead::passed(std::int64_t offset, std::size_t size) noexcept {
  expected_ = offset + static_cast<std::int64_t>(size);
}

}  // namespace tidings::transport::sqlite
