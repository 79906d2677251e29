#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "core/json_scan.hpp"
#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

void set_unclear(Result& result, const std::string& why) {
  // Whether it was stored nobody knows: a time-out is what says so, and is tried again under the same id.
  result = {.code = ErrorCode::timeout, .retryable = true, .message = why};
}

void set_error(Result& result, const Outgoing& item, const Error& error) {
  result = {
      .code = error.code(), .retryable = error.retryable(), .message = std::string(item.id) + ": " + error.what()};
}

// Of what was not sent: not unclear, whatever kept the connection from being made.
void set_unsent(Result& result, const Outgoing& item, const Error& error) {
  set_error(result, item, error);
  if (error.code() == ErrorCode::timeout) result.code = ErrorCode::unavailable;
}

// Reads ids of entries that were added one behind the other, most of them in the same millisecond. Borrows from the
// text of the last one.
class IdReader {
 public:
  // What is no id has no position.
  [[nodiscard]] Position read(std::string_view text) noexcept {
    EntryId id{.milliseconds = milliseconds_};
    constexpr std::size_t most_digits = 19;  // So many always fit.
    const std::size_t digits = text.size() - start_.size();
    if (!start_.empty() && text.size() > start_.size() && digits <= most_digits &&
        core::same_bytes(text.data(), start_.data(), start_.size())) {
      std::size_t at = start_.size();
      for (; at < text.size(); ++at) {
        const unsigned digit = static_cast<unsigned char>(text[at]) - unsigned{'0'};
        if (digit > 9) break;
        id.sequence = id.sequence * 10 + digit;
      }
      if (at == text.size()) return position_of(id);
    }
    if (!parse_id(text, id)) return {};
    start_ = text.substr(0, text.find('-') + 1);
    milliseconds_ = id.milliseconds;
    return position_of(id);
  }

 private:
  std::string_view start_{};  // All before the sequence number.
  std::uint64_t milliseconds_ = 0;
};

void decide(Store& store, const Reply& reply, const Outgoing& item, Result& result, WaitClock::time_point deadline,
            IdReader& ids) {
  if (!reply.error()) {
    result.position = ids.read(reply.text());
    return;
  }
  // An injected clock that stands behind what others have added.
  if (reply.text().starts_with("ERR The ID specified in XADD is equal or smaller")) {
    const Replies again =
        store.nodes().run(item.stream, Commands().add({"XADD", item.stream, "*", "event", item.envelope}), deadline);
    IdReader alone;
    return decide(store, again.reply(), item, result, deadline, alone);
  }
  set_error(result, item, error_of(reply.text()));
}

// Events come many in a row whose stream is the very same text.
bool same_stream(std::string_view a, std::string_view b) noexcept {
  return (a.data() == b.data() && a.size() == b.size()) || a == b;
}

// What is sent to one server: the items, and what makes the server wait until they are as safe as `level` says.
struct Part {
  Commands commands{};
  std::vector<std::size_t> sent{};
  std::size_t next = 0;  // Of `sent`: the first that is not in `commands` yet.
  std::size_t bytes = 0;
  std::string_view stream{}, id{};
  bool waits = false;
  std::string prefix{};  // What every command on `prefix_stream` begins with.
  std::string_view prefix_stream{};

  // Commands take the room that the last ones of the thread had, unless that was exceptional: asking the kernel for so
  // much anew costs more than filling it.
  Part() { std::swap(commands, room()); }
  ~Part() {
    constexpr std::size_t most_kept = 4U << 20;
    if (commands.capacity() > most_kept || commands.capacity() < room().capacity()) return;
    commands.clear();
    std::swap(commands, room());
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

 private:
  static Commands& room() {
    thread_local Commands of_thread;
    return of_thread;
  }
};

// How long a server is let wait at once: shorter than the silence by which one that hangs is known.
constexpr Millis longest_wait{2'000};

// Makes the server answer only once all that came before over its connection is as safe as `level` says.
void add_wait(Commands& commands, const Store& store, Level level, Millis within) {
  // Before the caller's own deadline, so that the server's answer still comes.
  const std::int64_t milliseconds = std::clamp<std::int64_t>(within.count() * 3 / 4, 1, longest_wait.count());
  if (level == Level::replicated) {
    commands.begin(3).word("WAIT").word(std::int64_t{store.replicas()}).word(milliseconds);
  } else {
    commands.begin(4).word("WAITAOF").word("1").word("0").word(milliseconds);
  }
}

// Why what was stored is not as safe as it should be; empty when it is.
std::string shortfall(const Reply& reply, const Store& store, Level level) {
  if (reply.error()) return "redis: " + std::string(reply.text());
  if (level == Level::disk)
    return reply[0].integer() >= 1 ? "" : "redis: the disk of the server did not confirm it in time";
  if (reply.integer() >= static_cast<std::int64_t>(store.replicas())) return {};
  return "redis: " + std::to_string(reply.integer()) + " replicas have it, and " + std::to_string(store.replicas()) +
         " must; look after the replicas, or ask for less with durability=";
}

// The same of a part that was sent; asks again while there is time.
std::string await_confirmation(Store& store, const Part& part, const Replies& sent, Level level,
                               WaitClock::time_point deadline) {
  if (sent.lost(part.sent.size())) return "redis: no confirmation came";
  std::string why = shortfall(sent.reply(part.sent.size()), store, level);
  bool refused = sent.reply(part.sent.size()).error();  // Nothing that asking again would change.
  while (!why.empty() && !refused && !sent.redirected()) {
    const auto left = std::chrono::floor<Millis>(deadline - WaitClock::now());
    if (left <= Millis(20)) return why;
    Commands again;
    add_wait(again, store, level, left);
    std::optional<Error> failure;
    const Replies answer =
        store.nodes().run(part.stream, again, deadline, failure, Nodes::Lane::waiting, sent.connection());
    if (failure) return why;
    why = shortfall(answer.reply(), store, level);
    refused = answer.reply().error();
  }
  return why;
}

// Bytes that are sent before the next are written: the server begins with its work meanwhile.
constexpr std::size_t slice = 48U << 10;

// The items of a call. Where `more` is, it makes further ones, and says whether there may be others behind them.
struct Items {
  std::span<const Outgoing> all{};
  std::span<Result> results{};
  std::function<bool()> more{};
  bool growing = false;  // They come in slices already.

  // Makes more of them, if there are any, until `part` has something to send.
  void make(const Part& part) {
    while (more && part.next == part.sent.size()) {
      if (!more()) more = nullptr;
    }
  }
  // Makes all that are left; what comes too late to be sent has a result all the same.
  void finish(Part& part) {
    for (; more; part.next = part.sent.size()) make(part);
  }
};

// Adds a slice of what is to be sent; false when it was the last.
bool add_slice(Part& part, const Store& store, Items& items, Level level, Millis within) {
  const std::size_t begun = part.commands.bytes().size();
  const std::size_t limit = items.growing ? SIZE_MAX : slice;
  for (items.make(part); part.next < part.sent.size() && part.commands.bytes().size() - begun < limit;) {
    const Outgoing& item = items.all[part.sent[part.next++]];
    if (part.prefix.empty() || !same_stream(item.stream, part.prefix_stream)) {
      Commands words;
      words.begin(5).word("XADD").word(item.stream).word(part.id).word("event");
      part.prefix = words.bytes();
      part.prefix_stream = item.stream;
    }
    part.commands.add_with(part.prefix, item.envelope);
  }
  if (items.more || part.next < part.sent.size()) return true;
  if (part.waits) {
    add_wait(part.commands, store, level, within);
    part.commands.close_with_last();
  }
  return false;
}

void send(Store& store, Part& part, Items& items, Level level, WaitClock::time_point deadline) {
  std::optional<Error> failure;
  const auto fill = [&](Commands&) {
    return add_slice(part, store, items, level, std::chrono::floor<Millis>(deadline - WaitClock::now()));
  };
  const bool more = fill(part.commands);
  const Nodes::Lane lane = part.waits ? Nodes::Lane::waiting : Nodes::Lane::shared;
  const Replies replies = more ? store.nodes().run(part.stream, part.commands, fill, deadline, failure, lane)
                               : store.nodes().run(part.stream, part.commands, deadline, failure, lane);
  items.finish(part);
  const std::span<const Outgoing> all = items.all;
  const std::span<Result> results = items.results;
  IdReader ids;
  for (std::size_t k = 0; k < part.sent.size(); ++k) {
    const std::size_t i = part.sent[k];
    if (failure && !replies.sent()) {
      set_unsent(results[i], all[i], *failure);
    } else if (k >= replies.count() || replies.lost(k)) {
      set_unclear(results[i], failure ? failure->what() : "redis: no answer came");
    } else {
      decide(store, replies.reply(k), all[i], results[i], deadline, ids);
    }
  }
  if (!part.waits || !replies.sent()) return;
  const std::string why = failure ? failure->what() : await_confirmation(store, part, replies, level, deadline);
  for (const std::size_t i : part.sent) {
    if (!why.empty() && results[i].code == ErrorCode::ok) set_unclear(results[i], why);
  }
}

}  // namespace

namespace {

bool must_wait(const Store& store, Level level) {
  return level == Level::replicated || (level == Level::disk && store.waits_for_disk());
}

// Sends a part; whatever happens, each of its items has a result.
void store_part(Store& store, Part& part, Items& items, Level level, WaitClock::time_point deadline) {
  try {
    send(store, part, items, level, deadline);
  } catch (const Error& error) {
    items.finish(part);
    for (const std::size_t i : part.sent) {
      Result& result = items.results[i];
      const bool confirmed = result.position != Position{} && !part.waits;
      if (result.code == ErrorCode::ok && !confirmed) set_unclear(result, error.what());
    }
  }
}

}  // namespace

void add_events(Store& store, std::span<const Outgoing> events, Level level, Millis within, std::span<Result> results) {
  const auto deadline = deadline_in(within);
  Placed placed;
  std::span<const Outgoing> items;
  try {
    items = store.partitions().place(events, placed, deadline);
  } catch (const Error& error) {
    for (std::size_t i = 0; i < events.size(); ++i) set_unsent(results[i], events[i], error);
    return;
  }
  std::map<std::size_t, Part> parts;
  const std::string id = store.id_word();
  Part* last = nullptr;
  for (std::size_t i = 0; i < items.size(); ++i) {
    results[i] = {};
    const bool same = last != nullptr && same_stream(items[i].stream, last->stream);
    if (!acceptable(items[i], store.capabilities(), results[i], same)) continue;
    if (!same) last = &parts[store.nodes().place_of(items[i].stream)];
    last->stream = items[i].stream;
    last->bytes += items[i].envelope.size() + items[i].stream.size() + 80;
    last->sent.push_back(i);
  }
  Items all{.all = items, .results = results};
  for (auto& [place, part] : parts) {
    part.waits = must_wait(store, level);
    part.id = id;
    part.commands.reserve(part.sent.size() + 1, part.bytes + 128);
    store_part(store, part, all, level, deadline);
  }
}

void add_growing(Store& store, const core::MoreEvents& more, Level level, Millis within, std::vector<Outgoing>& items,
                 std::vector<Result>& results) {
  const auto deadline = deadline_in(within);
  const std::string id = store.id_word();
  Part part;
  part.waits = must_wait(store, level);
  part.id = id;
  Items all{.all = items, .results = results, .growing = true};
  all.more = [&] {
    std::size_t taken = items.size();
    const bool goes_on = more(items);
    results.resize(items.size());
    all.all = items;
    all.results = results;
    for (; taken < items.size(); ++taken) {
      // All are of one stream: what one was accepted for holds for the next.
      if (acceptable(items[taken], store.capabilities(), results[taken], !part.sent.empty())) {
        part.sent.push_back(taken);
      }
    }
    return goes_on;
  };
  all.make(part);
  if (part.sent.empty()) return;
  part.stream = items[part.sent.front()].stream;
  try {
    if (store.partitions().names(part.stream, deadline, Partitions::Asks::raise)->size() > 1) {
      all.finish(part);
      return add_events(store, items, level, within, results);
    }
  } catch (const Error& error) {
    all.finish(part);
    for (const std::size_t i : part.sent) set_unsent(results[i], items[i], error);
    return;
  }
  store_part(store, part, all, level, deadline);
}

}  // namespace tidings::transport::redis
