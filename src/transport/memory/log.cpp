#include "transport/memory/log.hpp"

#include <algorithm>
#include <cstring>

#include <tidings/event.hpp>

namespace tidings::memory {
namespace {

constexpr std::size_t block_bytes = 256U << 10;

std::size_t size_of(const transport::Outgoing& item) {
  return item.envelope.size() + item.id.size() + item.type.size() + item.correlation.size();
}

std::string_view place(char*& at, std::string_view text) {
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  const std::string_view placed(at, text.size());
  at += text.size();
  return placed;
}

bool matches(const transport::ReadRange& range, const Entry& entry) {
  const transport::Record& record = entry.record;
  return (range.id.empty() || range.id == entry.id) &&
         (range.correlation.empty() || range.correlation == entry.correlation) &&
         (range.type.empty() || range.type == record.type) &&
         (!range.from_time || record.stored_at >= *range.from_time) &&
         (!range.to_time || record.stored_at <= *range.to_time);
}

}  // namespace

std::vector<Entry> copy_entries(std::span<const transport::Outgoing> items, Wall now) {
  std::vector<Entry> entries;
  entries.reserve(items.size());
  for (std::size_t begin = 0; begin < items.size();) {
    std::size_t end = begin;
    std::size_t bytes = 0;
    do {
      bytes += size_of(items[end++]);
    } while (end < items.size() && bytes + size_of(items[end]) <= block_bytes);
    // The padding behind the last text serves every envelope: the others are followed by readable bytes anyway.
    const auto block = std::make_shared<std::byte[]>(bytes + json_padding);
    char* at = reinterpret_cast<char*>(block.get());
    for (; begin < end; ++begin) {
      const transport::Outgoing& item = items[begin];
      Entry& entry = entries.emplace_back();
      entry.record.block = block;
      entry.record.envelope = place(at, item.envelope);
      entry.record.type = place(at, item.type);
      entry.record.stored_at = now;
      entry.record.validated = true;
      entry.id = place(at, item.id);
      entry.correlation = place(at, item.correlation);
    }
  }
  return entries;
}

Position Log::append(Entry entry) {
  entry.record.position = {end(), 0};
  bytes_ += entry.record.envelope.size();
  entries_.push_back(std::move(entry));
  return entries_.back().record.position;
}

std::uint64_t Log::locate(const Start& start) const {
  switch (start.kind) {
    case Start::Kind::beginning:
      return first_;
    case Start::Kind::end:
      return end();
    case Start::Kind::position:
      return std::clamp(start.position.major, first_, end());
    case Start::Kind::time:
      break;
  }
  // The wall clock may have jumped back between two events, so the first match is searched for, not bisected.
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.record.stored_at >= start.time; });
  return first_ + static_cast<std::uint64_t>(found - entries_.begin());
}

transport::Page Log::read(const transport::ReadRange& range) const {
  transport::Page page;
  const std::uint64_t begin = std::max(range.from.major, first_);
  std::uint64_t stop = end();
  if (range.to && range.to->major < stop) stop = range.to->major + 1;
  std::uint64_t next = std::max(begin, stop);
  if (range.last) {
    for (std::uint64_t at = stop; at > begin && page.records.size() < range.limit; --at) {
      if (matches(range, this->at(at - 1))) page.records.push_back(this->at(at - 1).record);
    }
    std::reverse(page.records.begin(), page.records.end());
  } else {
    for (std::uint64_t at = begin; at < stop; ++at) {
      if (page.records.size() == range.limit) {
        next = at;
        break;
      }
      if (matches(range, this->at(at))) page.records.push_back(this->at(at).record);
    }
  }
  page.next = {next, 0};
  page.end = next >= stop;
  return page;
}

std::uint64_t Log::expired(const transport::Retention& retention, Wall now) const {
  std::uint64_t offset = first_;
  std::uint64_t bytes = bytes_;
  for (const Entry& entry : entries_) {
    const bool old = retention.age && now - entry.record.stored_at > *retention.age;
    const bool large = retention.bytes && bytes > *retention.bytes;
    if (!old && !large) break;
    bytes -= entry.record.envelope.size();
    ++offset;
  }
  return offset;
}

void Log::trim(std::uint64_t offset) {
  while (first_ < offset && !entries_.empty()) {
    bytes_ -= entries_.front().record.envelope.size();
    entries_.pop_front();
    ++first_;
  }
}

}  // namespace tidings::memory
