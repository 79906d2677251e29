#include <algorithm>
#include <map>
#include <optional>

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

void decide(Store& store, const Reply& reply, const Outgoing& item, Result& result, WaitClock::time_point deadline) {
  if (!reply.error()) {
    EntryId id;
    (void)parse_id(reply.text(), id);
    result.position = position_of(id);
    return;
  }
  // An injected clock that stands behind what others have added.
  if (reply.text().starts_with("ERR The ID specified in XADD is equal or smaller")) {
    const Replies again =
        store.nodes().run(item.stream, Commands().add({"XADD", item.stream, "*", "event", item.envelope}), deadline);
    return decide(store, again.reply(), item, result, deadline);
  }
  set_error(result, item, error_of(reply.text()));
}

// What is sent to one server: the items, and what makes the server wait until they are as safe as `level` says.
struct Part {
  Commands commands{};
  std::vector<std::size_t> sent{};
  std::string_view stream{};
  bool waits = false;
};

void add_wait(Part& part, const Store& store, Level level, Millis within) {
  const std::int64_t milliseconds = std::max<std::int64_t>(within.count(), 1);  // 0 would mean for ever.
  if (level == Level::replicated) {
    part.commands.begin(3).word("WAIT").word(std::int64_t{store.replicas()}).word(milliseconds);
  } else if (level == Level::disk && store.waits_for_disk()) {
    part.commands.begin(4).word("WAITAOF").word("1").word("0").word(milliseconds);
  } else {
    return;
  }
  part.waits = true;
}

// Why what was stored is not as safe as it should be; nothing when it is.
std::optional<std::string> shortfall(const Replies& replies, const Part& part, const Store& store, Level level) {
  if (!part.waits) return std::nullopt;
  if (replies.redirected()) return "redis: the slot moved meanwhile, so that nobody confirmed it";
  const Reply reply = replies.reply(part.sent.size());
  if (reply.error()) return "redis: " + std::string(reply.text());
  if (level == Level::disk) {
    return reply[0].integer() >= 1 ? std::nullopt
                                   : std::optional<std::string>("redis: the server's disk did not confirm it in time");
  }
  if (reply.integer() >= static_cast<std::int64_t>(store.replicas())) return std::nullopt;
  return "redis: " + std::to_string(reply.integer()) + " replicas have it, and " + std::to_string(store.replicas()) +
         " must; look after the replicas, or ask for less with durability=";
}

void send(Store& store, Part& part, std::span<const Outgoing> items, Level level, WaitClock::time_point deadline,
          std::span<Result> results) {
  std::optional<Error> failure;
  const Replies replies = store.nodes().run(part.stream, part.commands, deadline, failure,
                                            part.waits ? Nodes::Lane::waiting : Nodes::Lane::shared);
  for (std::size_t k = 0; k < part.sent.size(); ++k) {
    const std::size_t i = part.sent[k];
    if (failure && !replies.sent()) {
      set_error(results[i], items[i], *failure);
      // Not unclear, whatever kept the connection from being made.
      if (failure->code() == ErrorCode::timeout) results[i].code = ErrorCode::unavailable;
    } else if (k >= replies.count() || replies.lost(k)) {
      set_unclear(results[i], failure ? failure->what() : "redis: no answer came");
    } else {
      decide(store, replies.reply(k), items[i], results[i], deadline);
    }
  }
  if (failure) {
    if (!part.waits || replies.count() > part.sent.size()) return;
    for (const std::size_t i : part.sent) {
      if (results[i].code == ErrorCode::ok) set_unclear(results[i], failure->what());
    }
    return;
  }
  const auto why = shortfall(replies, part, store, level);
  for (const std::size_t i : part.sent) {
    if (why && results[i].code == ErrorCode::ok) set_unclear(results[i], *why);
  }
}

}  // namespace

void add_events(Store& store, std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) {
  const auto deadline = deadline_in(within);
  std::map<std::size_t, Part> parts;
  const std::string id = store.id_word();
  Part* last = nullptr;
  for (std::size_t i = 0; i < items.size(); ++i) {
    results[i] = {};
    if (!acceptable(items[i], store.capabilities(), results[i])) continue;
    if (last == nullptr || items[i].stream != last->stream) last = &parts[store.nodes().place_of(items[i].stream)];
    last->stream = items[i].stream;
    last->commands.begin(5).word("XADD").word(items[i].stream).word(id).word("event").word(items[i].envelope);
    last->sent.push_back(i);
  }
  for (auto& [place, part] : parts) {
    add_wait(part, store, level, within);
    try {
      send(store, part, items, level, deadline, results);
    } catch (const Error& error) {
      for (const std::size_t i : part.sent) {
        if (results[i].code == ErrorCode::ok && results[i].position == Position{})
          set_unclear(results[i], error.what());
      }
    }
  }
}

}  // namespace tidings::transport::redis
