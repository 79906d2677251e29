#include "transport/sqlite/format.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>

#include "core/crc32c.hpp"

namespace tidings::transport::sqlite {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks are written as little-endian memory");

constexpr std::uint32_t magic = 0x31424454;  // "TDB1"

struct Header {
  std::uint32_t magic = 0, checksum = 0, count = 0, types = 0, types_bytes = 0, index_at = 0, envelopes_at = 0,
                size = 0;
};
static_assert(sizeof(Header) == 32);

std::uint64_t load64(const char* at) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t mix(std::uint64_t value) noexcept {
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93ULL;
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93ULL;
  return value ^ (value >> 32);
}

constexpr int bloom_probes = 5;

template <class F>
void each_bloom_bit(std::uint64_t hash, std::size_t bytes, F visit) {
  const std::uint64_t bits = static_cast<std::uint64_t>(bytes) * 8;
  const auto step = static_cast<std::uint32_t>(hash >> 32) | 1U;
  auto at = static_cast<std::uint32_t>(hash);
  // Scaled by a multiplication: a division a probe would cost more than all the rest of an event.
  for (int probe = 0; probe < bloom_probes; ++probe, at += step) visit(static_cast<std::size_t>((at * bits) >> 32));
}

std::uint32_t checksum(std::string_view bytes) noexcept {
  return core::crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

// The header's own checksum field counts as zero.
std::uint32_t head_checksum(const std::byte* body, std::size_t end) noexcept {
  Header header;
  std::memcpy(&header, body, sizeof header);
  header.checksum = 0;
  const std::uint32_t seed = core::crc32c(std::as_bytes(std::span(&header, 1)));
  return core::crc32c({body + sizeof header, end - sizeof header}, seed);
}

}  // namespace

struct Block::Entry {
  std::uint32_t offset = 0, length = 0, checksum = 0, id = 0, correlation = 0, key = 0;
  std::uint16_t type = 0, reserved = 0;
};

std::uint64_t stable_hash(std::string_view text) noexcept {
  std::uint64_t hash = 0x9e3779b97f4a7c15ULL ^ (text.size() * 0xff51afd7ed558ccdULL);
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; at += 8, left -= 8) hash = (hash ^ load64(at)) * 0x9fb21c651e98df25ULL, hash ^= hash >> 29;
  if (left > 0) {
    std::uint64_t tail = 0;
    std::memcpy(&tail, at, left);
    hash = (hash ^ tail) * 0x9fb21c651e98df25ULL;
  }
  return mix(hash);
}

std::uint16_t BlockBuilder::type_index(std::string_view type) {
  if (!table_.empty() && table_.back() == type) return static_cast<std::uint16_t>(table_.size() - 1);
  const auto found = std::find(table_.begin(), table_.end(), type);
  if (found == table_.end()) {
    table_.push_back(type);
    return static_cast<std::uint16_t>(table_.size() - 1);
  }
  return static_cast<std::uint16_t>(found - table_.begin());
}

void BlockBuilder::add_to_bloom(std::uint64_t hash) noexcept {
  each_bloom_bit(hash, bloom_.size(),
                 [this](std::size_t bit) { bloom_[bit / 8] |= std::byte{1} << static_cast<int>(bit % 8); });
}

void BlockBuilder::build(std::span<const Outgoing* const> events) {
  table_.clear();
  types_.clear();
  type_of_.clear();
  bloom_.assign(std::max<std::size_t>(8, events.size() * 2), std::byte{0});
  std::size_t envelopes = 0;
  for (const Outgoing* event : events) {
    type_of_.push_back(type_index(event->type));
    envelopes += event->envelope.size();
  }
  Header header{.magic = magic, .count = static_cast<std::uint32_t>(events.size())};
  header.types = static_cast<std::uint32_t>(table_.size());
  for (std::string_view type : table_) {
    types_.append(type).push_back('\n');
    header.types_bytes += static_cast<std::uint32_t>(2 + type.size());
  }
  header.index_at = (static_cast<std::uint32_t>(sizeof header) + header.types_bytes + 3U) & ~3U;
  header.envelopes_at = header.index_at + static_cast<std::uint32_t>(events.size() * sizeof(Block::Entry));
  size_ = header.envelopes_at + envelopes;
  header.size = static_cast<std::uint32_t>(size_);
  if (size_ > capacity_) {
    capacity_ = std::max(size_, block_bytes + block_bytes / 4);
    body_.reset(new std::byte[capacity_]);
  }
  std::byte* at = body_.get() + sizeof header;
  for (std::string_view type : table_) {
    const auto length = static_cast<std::uint16_t>(type.size());
    std::memcpy(at, &length, sizeof length);
    std::memcpy(at + sizeof length, type.data(), type.size());
    at += sizeof length + type.size();
  }
  std::memset(at, 0, static_cast<std::size_t>(body_.get() + header.index_at - at));
  std::byte* index = body_.get() + header.index_at;
  std::uint32_t offset = header.envelopes_at;
  std::string_view last_correlation;  // A request's events stand together, and need to be added once.
  std::uint64_t correlation = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Outgoing& event = *events[i];
    const std::uint64_t id = stable_hash(event.id);
    add_to_bloom(id);
    if (event.correlation != last_correlation) {
      last_correlation = event.correlation;
      correlation = event.correlation.empty() ? 0 : stable_hash(event.correlation);
      if (correlation != 0) add_to_bloom(correlation);
    }
    const Block::Entry entry{.offset = offset,
                             .length = static_cast<std::uint32_t>(event.envelope.size()),
                             .checksum = checksum(event.envelope),
                             .id = static_cast<std::uint32_t>(id),
                             .correlation = static_cast<std::uint32_t>(correlation),
                             .key = event.key.empty() ? 0 : static_cast<std::uint32_t>(stable_hash(event.key)),
                             .type = type_of_[i]};
    std::memcpy(index, &entry, sizeof entry);
    std::memcpy(body_.get() + offset, event.envelope.data(), event.envelope.size());
    index += sizeof entry;
    offset += entry.length;
  }
  std::memcpy(body_.get(), &header, sizeof header);
  header.checksum = head_checksum(body_.get(), header.envelopes_at);
  std::memcpy(body_.get(), &header, sizeof header);
}

bool bloom_may_hold(std::span<const std::byte> bloom, std::string_view text) noexcept {
  if (bloom.empty()) return true;
  bool all = true;
  each_bloom_bit(stable_hash(text), bloom.size(), [&](std::size_t bit) {
    all = all && (bloom[bit / 8] & (std::byte{1} << static_cast<int>(bit % 8))) != std::byte{0};
  });
  return all;
}

bool types_hold(std::string_view types, std::string_view type) noexcept {
  for (std::size_t at = 0; at < types.size();) {
    const std::size_t end = std::min(types.find('\n', at), types.size());
    if (types.substr(at, end - at) == type) return true;
    at = end + 1;
  }
  return false;
}

namespace {

// Buffers of full blocks are used again: at this size the allocator gives memory back to the system at once, and each
// new one would be zeroed and faulted in page by page, which costs more than reading the block.
constexpr std::size_t pooled_bytes = block_bytes + block_bytes / 4, pooled_most = 16;

class Pool {
 public:
  [[nodiscard]] std::byte* take() {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        std::byte* bytes = free_.back().release();
        free_.pop_back();
        return bytes;
      }
    }
    return new std::byte[pooled_bytes];
  }
  void give(std::byte* bytes) noexcept {
    std::unique_ptr<std::byte[]> owned(bytes);
    std::lock_guard lock(mutex_);
    if (free_.size() < pooled_most) free_.push_back(std::move(owned));
  }

 private:
  Pool() { free_.reserve(pooled_most); }
  friend Pool& pool();
  std::mutex mutex_{};
  std::vector<std::unique_ptr<std::byte[]>> free_{};
};

// Never destroyed: a block may outlive everything else.
Pool& pool() {
  static Pool* const only = new Pool;
  return *only;
}

}  // namespace

std::shared_ptr<std::byte[]> Block::allocate(std::size_t size) {
  const std::size_t whole = size + block_padding;
  std::shared_ptr<std::byte[]> bytes;
  if (whole > block_bytes / 4 && whole <= pooled_bytes) {
    bytes = {pool().take(), [](std::byte* done) { pool().give(done); }};
  } else {
    bytes = std::shared_ptr<std::byte[]>(new std::byte[whole]);
  }
  std::memset(bytes.get() + size, 0, block_padding);
  return bytes;
}

Block::Block(std::shared_ptr<const std::byte[]> bytes, std::size_t size, std::uint32_t count)
    : bytes_(std::move(bytes)), size_(size), count_(count) {
  Header header;
  if (size_ < sizeof header) return;
  std::memcpy(&header, bytes_.get(), sizeof header);
  const std::uint64_t index_bytes = std::uint64_t{count_} * sizeof(Entry);
  const bool plausible = header.magic == magic && header.count == count_ && header.size == size_ &&
                         header.envelopes_at <= size_ && header.index_at >= sizeof header &&
                         std::uint64_t{header.index_at} + index_bytes == header.envelopes_at &&
                         sizeof header + std::uint64_t{header.types_bytes} <= header.index_at;
  sound_ = plausible && head_checksum(bytes_.get(), header.envelopes_at) == header.checksum;
  if (!plausible) return;
  // With a damaged index each event is still judged by its own checksum, but its type is not to be trusted.
  index_at_ = header.index_at;
  if (sound_) read_types(header.types_bytes, header.types);
}

void Block::read_types(std::size_t bytes, std::size_t count) {
  const std::byte* at = bytes_.get() + sizeof(Header);
  const std::byte* end = at + bytes;
  for (std::size_t i = 0; i < count && at + 2 <= end; ++i) {
    std::uint16_t length = 0;
    std::memcpy(&length, at, sizeof length);
    if (at + 2 + length > end) return;
    types_.emplace_back(reinterpret_cast<const char*>(at + 2), length);
    at += 2 + length;
  }
}

Block::Entry Block::entry(std::uint32_t index) const noexcept {
  Entry entry;
  if (index_at_ == 0 || index >= count_) return entry;
  std::memcpy(&entry, bytes_.get() + index_at_ + std::size_t{index} * sizeof entry, sizeof entry);
  if (std::uint64_t{entry.offset} + entry.length > size_) return {};
  return entry;
}

std::size_t Block::length(std::uint32_t index) const noexcept { return entry(index).length; }

std::string_view Block::type(std::uint32_t index) const noexcept {
  const Entry found = entry(index);
  return found.type < types_.size() ? types_[found.type] : std::string_view{};
}

Record Block::record(std::uint32_t index) const {
  Record record;
  const Entry found = entry(index);
  record.block = bytes_;
  record.envelope = {reinterpret_cast<const char*>(bytes_.get()) + found.offset, found.length};
  record.type = found.type < types_.size() ? types_[found.type] : std::string_view{};
  record.damaged = found.length == 0 || checksum(record.envelope) != found.checksum;
  record.validated = !record.damaged;
  return record;
}

bool Block::may_match(std::uint32_t index, std::string_view id, std::string_view correlation) const noexcept {
  if (!sound_) return true;
  const Entry found = entry(index);
  return (id.empty() || found.id == static_cast<std::uint32_t>(stable_hash(id))) &&
         (correlation.empty() || found.correlation == static_cast<std::uint32_t>(stable_hash(correlation)));
}

}  // namespace tidings::transport::sqlite
