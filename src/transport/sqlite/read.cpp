#include <algorithm>
#include <cstring>
#include <limits>

#include "core/envelope_member.hpp"
#include "transport/sqlite/log.hpp"

namespace tidings::transport::sqlite {
namespace {

std::shared_ptr<const StoredBlock> take_block(Database& db, const Query& row) {
  auto size = static_cast<std::size_t>(row.integer(3));
  auto bytes = Block::allocate(size);
  bool whole = false;
  try {
    whole = db.read_blob("blocks", "body", row.integer(0), {bytes.get(), size});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt) throw;
  }
  if (!whole) {
    // A damaged page: the row still tells how many events are lost with it. Each of them is a damaged record, and what
    // lies behind the block can be read.
    size = 0;
    bytes = Block::allocate(size);
  }
  auto block = std::make_shared<StoredBlock>();
  block->first = offset_of(row.integer(0));
  block->stored_at = row.integer(2);
  block->block = Block(std::move(bytes), size, static_cast<std::uint32_t>(row.integer(1)));
  return block;
}

bool matches(const Block& block, std::uint32_t index, const Record& record, const ReadRange& range) {
  if (!range.type.empty() && record.type != range.type) return false;
  if (range.id.empty() && range.correlation.empty()) return true;
  if (!block.may_match(index, range.id, range.correlation) || record.damaged) return false;
  return (range.id.empty() || core::envelope_member(record.envelope, "id") == range.id) &&
         (range.correlation.empty() || core::envelope_member(record.envelope, "correlationId") == range.correlation);
}

struct Bounds {
  std::int64_t stream = 0;
  std::uint64_t first = 1, next = 1;  // Of the whole stream.
  std::uint64_t from = 1, to = 0;     // Of the range, `to` exclusive.
};

bool find_bounds(Database& db, const ReadRange& range, Bounds& bounds) {
  Query query(db, "SELECT id, first, next FROM streams WHERE name=?", range.stream);
  if (!query.step()) return false;
  bounds.stream = query.integer(0);
  bounds.first = static_cast<std::uint64_t>(query.integer(1));
  bounds.next = static_cast<std::uint64_t>(query.integer(2));
  bounds.from = std::max({range.from.major, bounds.first, std::uint64_t{1}});
  bounds.to = range.to ? std::min(bounds.next, range.to->major + (range.to->major != UINT64_MAX)) : bounds.next;
  return true;
}

bool block_may_match(const Query& row, const ReadRange& range) {
  return (range.type.empty() || types_hold(row.text(3), range.type)) &&
         (range.id.empty() || bloom_may_hold(row.blob(4), range.id)) &&
         (range.correlation.empty() || bloom_may_hold(row.blob(4), range.correlation));
}

// Adds the matching records of one block in the order of the scan; returns where a full page stopped.
void scan_block(Database& db, const Bounds& bounds, std::uint64_t first, const ReadRange& range, Page& page) {
  const auto stored = load_block(db, bounds.stream, first);
  if (!stored || stored->first != first) return;
  const std::uint64_t from = std::max(bounds.from, stored->first), to = std::min(bounds.to, stored->end());
  for (std::uint64_t step = 0; from + step < to && page.records.size() < range.limit; ++step) {
    const std::uint64_t offset = range.last ? to - 1 - step : from + step;
    const auto index = static_cast<std::uint32_t>(offset - first);
    Record record = stored->record(offset);
    if (!range.last) page.next = {offset + 1, 0};
    if (matches(stored->block, index, record, range)) page.records.push_back(std::move(record));
  }
}

Page read_page(Store& store, const ReadRange& range) {
  Page page;
  page.next = range.from;
  page.end = true;
  store.read([&](Database& db) {
    Bounds bounds;
    if (!find_bounds(db, range, bounds)) {
      if (page.next.major == 0) page.next = {1, 0};
      return;
    }
    page.next = {std::max(bounds.from, range.from.major), 0};
    if (bounds.from >= bounds.to || range.limit == 0) {
      page.end = range.limit > 0 || bounds.from >= bounds.to;
      return;
    }
    const std::int64_t low =
        range.from_time ? range.from_time->time_since_epoch().count() : std::numeric_limits<std::int64_t>::min();
    const std::int64_t high =
        range.to_time ? range.to_time->time_since_epoch().count() : std::numeric_limits<std::int64_t>::max();
    // The block that holds `from` may start before it.
    std::int64_t start = block_key(bounds.stream, bounds.from);
    {
      Query query(db, "SELECT id FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
                  block_key(bounds.stream, 0), start);
      if (query.step()) start = query.integer(0);
    }
    Query rows(db,
               range.last ? "SELECT id, count, stored_at, types, bloom FROM blocks WHERE id BETWEEN ? AND ? AND "
                            "stored_at BETWEEN ? AND ? ORDER BY id DESC"
                          : "SELECT id, count, stored_at, types, bloom FROM blocks WHERE id BETWEEN ? AND ? AND "
                            "stored_at BETWEEN ? AND ? ORDER BY id",
               start, block_key(bounds.stream, bounds.to - 1), low, high);
    while (page.records.size() < range.limit && rows.step()) {
      if (block_may_match(rows, range)) scan_block(db, bounds, offset_of(rows.integer(0)), range, page);
    }
    if (range.last) std::reverse(page.records.begin(), page.records.end());
    if (range.last || page.records.size() < range.limit) page.next = {std::max(bounds.to, page.next.major), 0};
    page.end = page.next.major >= bounds.to;
  });
  return page;
}

}  // namespace

Record StoredBlock::record(std::uint64_t offset) const {
  Record record = block.record(static_cast<std::uint32_t>(offset - first));
  record.position = {offset, 0};
  record.stored_at = Wall(Millis(stored_at));
  return record;
}

std::shared_ptr<const StoredBlock> load_block(Database& db, std::int64_t stream, std::uint64_t offset) {
  {
    Query row(db,
              "SELECT id, count, stored_at, length(body) FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
              block_key(stream, 0), block_key(stream, offset));
    if (row.step() && offset_of(row.integer(0)) + static_cast<std::uint64_t>(row.integer(1)) > offset)
      return take_block(db, row);
  }
  Query row(db, "SELECT id, count, stored_at, length(body) FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
            block_key(stream, offset), block_key(stream + 1, 0) - 1);
  return row.step() ? take_block(db, row) : nullptr;
}

Page read_log(Store& store, const ReadRange& range, std::stop_token stop) {
  const auto deadline = deadline_in(range.wait);
  std::stop_callback woken(stop, [&] { store.side().wake(); });
  for (;;) {
    const std::uint32_t seen = store.side().signal();
    Page page = read_page(store, range);
    if (!page.records.empty() || stop.stop_requested() || range.wait.count() == 0 || range.limit == 0) return page;
    const auto now = WaitClock::now();
    if (now >= deadline) return page;
    store.side().wait(seen, std::min(deadline, now + std::chrono::milliseconds(250)));
  }
}

}  // namespace tidings::transport::sqlite
