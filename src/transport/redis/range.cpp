// Reading without a group: pages of a stream, of one partition or merged out of several.
#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <thread>

#include "core/envelope_member.hpp"
#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

constexpr std::uint64_t most_apart = 60'000;  // Milliseconds by which the clocks of a cluster may differ.
constexpr Millis look_again{50};  // At several servers, of which one cannot wait for the first that has something.

// Whether `entry` matches, and then it is in the page.
bool add_record(Page& page, const ReadRange& range, const Entry& entry) {
  const Wall stored(Millis(static_cast<std::int64_t>(entry.id.milliseconds)));
  const std::string type = core::envelope_member(entry.envelope, "type");
  const bool matches =
      (!range.from_time || stored >= *range.from_time) && (!range.to_time || stored <= *range.to_time) &&
      (range.type.empty() || range.type == type) &&
      (range.id.empty() || core::envelope_member(entry.envelope, "id") == range.id) &&
      (range.correlation.empty() || core::envelope_member(entry.envelope, "correlationId") == range.correlation);
  if (!matches) return false;
  Record& record = page.records.emplace_back();
  auto block = std::make_shared<std::vector<char>>(entry.envelope.begin(), entry.envelope.end());
  const std::size_t length = block->size();
  block->insert(block->end(), type.begin(), type.end());
  block->resize(block->size() + 64);
  record.block = std::shared_ptr<const std::byte[]>(block, reinterpret_cast<const std::byte*>(block->data()));
  record.envelope = {block->data(), length};
  record.type = {block->data() + length, type.size()};
  record.position = position_of(entry.id);
  record.stored_at = stored;
  return true;
}

// One pass over what is stored from `low` on; `newest` becomes the last entry it saw.
Page read_pass(Store& store, const ReadRange& range, const std::string& low, EntryId& newest) {
  Page page;
  page.end = true;
  const std::string high = range.to ? id_of(*range.to).text() : "+";
  std::string from = range.last ? high : low;
  bool more = range.limit > 0;
  while (more) {
    const Replies answer =
        range.last ? store.nodes().call(range.stream, {"XREVRANGE", range.stream, from, low, "COUNT", "500"},
                                        deadline_in(patience))
                   : store.nodes().call(range.stream, {"XRANGE", range.stream, from, high, "COUNT", "500"},
                                        deadline_in(patience));
    const std::size_t size = answer.reply().size();
    Reply at = answer.reply();
    at.enter();
    EntryId last{};
    for (std::size_t i = 0; i < size && more; ++i, at.skip()) {
      Entry entry;
      if (!read_entry(at.here(), entry, false)) continue;
      last = entry.id;
      newest = std::max(newest, entry.id);
      if (!add_record(page, range, entry)) continue;
      more = page.records.size() < range.limit;
      page.end = false;
    }
    if (size < 500) {
      page.end = more;
      break;
    }
    from = "(" + last.text();
  }
  if (range.last) std::reverse(page.records.begin(), page.records.end());
  return page;
}

// The first id that `range` can mean.
EntryId first_of(const ReadRange& range) {
  EntryId first = range.from == Position{} ? EntryId{0, 1} : id_of(range.from);
  if (range.from_time) {
    const auto ms = std::max<std::int64_t>(range.from_time->time_since_epoch().count(), 0);
    first = std::max(first, EntryId{static_cast<std::uint64_t>(ms), 0});
  }
  return first;
}

// The time before which the partitions are complete: whatever is added to any of them later has no earlier id. All that
// was stored before the call is before it, as far as the servers' clocks agree to a second.
std::uint64_t complete_until(Store& store, const std::vector<std::string>& partitions) {
  // An injected clock stands still, and nothing is added meanwhile.
  if (store.environment().clock != &system_clock()) return INT64_MAX;
  std::int64_t newest = 0;
  const auto patient = deadline_in(Millis(1'000));
  for (;;) {
    std::int64_t oldest = INT64_MAX;
    const bool first = newest == 0;
    for (const std::string& each : partitions) {
      const std::int64_t now = store.now_ms(each);
      oldest = std::min(oldest, now);
      if (first) newest = std::max(newest, now);
      if (!store.nodes().clustered()) break;
    }
    if (oldest > newest || WaitClock::now() >= patient) {
      return static_cast<std::uint64_t>(std::max<std::int64_t>(oldest, 1));
    }
    // Their clocks have to pass the newest, which takes a millisecond, or as long as they differ.
    std::this_thread::sleep_for(std::min(Millis(newest - oldest + 1), Millis(100)));
  }
}

// One pass over all partitions, in the order of their ids; `newest` becomes the last up to which it is complete.
Page merge_pass(Store& store, const std::vector<std::string>& partitions, const ReadRange& range, EntryId first,
                EntryId& newest) {
  EntryId high{complete_until(store, partitions) - 1, UINT64_MAX};
  if (range.to) high = std::min(high, id_of(*range.to));
  Page page;
  page.end = true;
  for (const std::string& each : partitions) {
    ReadRange part = range;
    part.stream = each;
    part.to = position_of(high);
    EntryId seen{};
    Page some = read_pass(store, part, first.text(), seen);
    // Behind the last that it had room for, a partition may hold more than was read of it.
    if (!range.last && some.records.size() >= range.limit) high = std::min(high, seen);
    page.end = page.end && some.end;
    newest = std::max(newest, seen);
    std::move(some.records.begin(), some.records.end(), std::back_inserter(page.records));
  }
  newest = std::min(newest, high);
  std::stable_sort(page.records.begin(), page.records.end(),
                   [](const Record& a, const Record& b) { return a.position < b.position; });
  const auto beyond = std::find_if(page.records.begin(), page.records.end(),
                                   [&](const Record& record) { return position_of(high) < record.position; });
  page.end = page.end && beyond == page.records.end();
  page.records.erase(beyond, page.records.end());
  if (range.last && page.records.size() > range.limit) {
    page.records.erase(page.records.begin(), page.records.end() - static_cast<std::ptrdiff_t>(range.limit));
  } else if (page.records.size() > range.limit) {
    // Those of one id stay together, or the next page would begin behind some of them.
    std::size_t keep = range.limit;
    while (keep < page.records.size() && page.records[keep].position == page.records[keep - 1].position) ++keep;
    page.end = page.end && keep == page.records.size();
    newest = id_of(page.records[keep - 1].position);
    page.records.resize(keep);
  }
  return page;
}

// The earliest that the clocks say by which what is added next has its id. In a cluster those of all nodes count, since
// a partition may come on any of them; one that cannot be reached takes no events either.
std::int64_t earliest_clock(Store& store, const std::string& stream, EntryId newest) {
  std::int64_t earliest = store.now_ms(stream);
  if (!store.nodes().clustered() || newest.milliseconds + most_apart < static_cast<std::uint64_t>(earliest)) {
    return earliest;
  }
  for (const std::string& each : store.nodes().key_of_each()) {
    try {
      earliest = std::min(earliest, store.now_ms(each, Millis(500)));
    } catch (const Error& error) {
      if (!error.retryable()) throw;
    }
  }
  return earliest;
}

// Whether there are more partitions than were read; then `partitions` are all of them. Otherwise none that comes holds
// anything up to `newest`: their number stands on the server before the first event goes to a new one, and it is asked
// for after a clock that has passed `newest`.
bool are_more(Store& store, const std::string& stream, PartitionNames& partitions, EntryId newest) {
  const bool stands = store.environment().clock != &system_clock();  // An injected clock; see complete_until().
  const auto patient = deadline_in(Millis(1'000));
  for (;;) {
    const std::int64_t now = newest == EntryId{} || stands ? INT64_MAX : earliest_clock(store, stream, newest);
    PartitionNames known =
        store.partitions().names(stream_of_partition(stream), deadline_in(patience), Partitions::Asks::look_anew);
    if (known->size() > partitions->size()) {
      partitions = std::move(known);
      return true;
    }
    const std::int64_t ahead = static_cast<std::int64_t>(newest.milliseconds) - now;
    if (ahead < 0 || WaitClock::now() >= patient) return false;
    std::this_thread::sleep_for(std::min(Millis(ahead + 1), Millis(100)));
  }
}

// A page of what is stored from `first` on, in all partitions, also in those that came while it was read.
Page read_page(Store& store, PartitionNames& partitions, const ReadRange& range, EntryId first) {
  if (range.limit == 0) return {.next = position_of(first), .end = false};
  for (;;) {
    EntryId newest{};
    Page page = partitions->size() > 1 ? merge_pass(store, *partitions, range, first, newest)
                                       : read_pass(store, range, first.text(), newest);
    page.next = newest == EntryId{} ? position_of(first) : position_of(newest.next());
    if (!are_more(store, range.stream, partitions, newest)) return page;
  }
}

// Waits until there may be something from `first` on.
void await_more(Store& store, std::unique_ptr<Connection>& connection, const std::string& stream, EntryId first) {
  if (!connection) connection = store.nodes().connect(stream, deadline_in(Millis(1'000)));
  Commands commands;
  commands.add({"XREAD", "COUNT", "1", "BLOCK", "100", "STREAMS", stream, first.previous().text()});
  const Received woken = connection->call(commands, deadline_in(Millis(2'000)));
  if (woken.reply().error()) throw error_of(woken.reply().text());
}

}  // namespace

Page read_stream(Store& store, const ReadRange& range, const std::stop_token& stop) {
  PartitionNames partitions = store.partitions().names(range.stream);
  const auto deadline = deadline_in(range.wait);
  EntryId first = first_of(range);
  std::unique_ptr<Connection> connection;
  std::mutex mutex;
  std::condition_variable_any woken;
  for (;;) {
    Page page = read_page(store, partitions, range, first);
    first = id_of(page.next);
    const auto now = WaitClock::now();
    if (!page.records.empty() || stop.stop_requested() || now >= deadline || range.limit == 0) return page;
    if (range.to && id_of(*range.to) < first) return page;
    if (partitions->size() == 1) {
      await_more(store, connection, range.stream, first);
      continue;
    }
    std::unique_lock lock(mutex);
    woken.wait_until(lock, stop, std::min(deadline, now + look_again), [] { return false; });
  }
}

}  // namespace tidings::transport::redis
