#include "transport/redis/store.hpp"

#include <algorithm>
#include <charconv>

#include "core/acceptable.hpp"

namespace tidings::transport::redis {
namespace {

template <class Number>
Number number_of(std::string_view text) noexcept {
  Number number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

constexpr std::string_view origins[] = {"live", "retry", "redrive", "replay"};

}  // namespace

std::string_view origin_word(Origin origin) noexcept { return origins[static_cast<std::size_t>(origin)]; }

std::int64_t Store::injected_ms() const noexcept {
  // Injected wall clocks jump, and entries' ids and due times must not.
  constexpr std::int64_t base = 1'700'000'000'000;
  return base + std::chrono::duration_cast<Millis>(environment_.clock->steady()).count();
}

std::string Store::now_word() const { return injected() ? std::to_string(injected_ms()) : std::string(); }

std::int64_t Store::now_ms(std::string_view stream, Millis within) {
  if (injected()) return injected_ms();
  const Replies time = nodes_.call(stream, {"TIME"}, deadline_in(within));
  return time.reply()[0].integer() * 1000 + time.reply()[1].integer() / 1000;
}

namespace {

// All that a script may touch is named, in the order of scripts.cpp: a cluster that is moving the slot refuses the call
// then as a whole, and not in its middle.
std::vector<std::string> keys_of(std::string_view stream, std::string_view group) {
  std::vector<std::string> keys{std::string(stream)};
  for (const char* part : {"retry", "alone", "held", "due", "dead", "state", "live", "types", "gaps"}) {
    keys.push_back(group_key(stream, part, group));
  }
  return keys;
}

}  // namespace

Replies Store::eval(Script script, std::string_view stream, std::string_view group, std::vector<std::string> arguments,
                    WaitClock::time_point deadline) {
  arguments.insert(arguments.begin(), std::string(group));
  return nodes_.eval(script, keys_of(stream, group), arguments, deadline);
}

Commands Store::script_command(Script script, std::string_view stream, std::string_view group,
                               std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), std::string(group));
  return nodes_.script_command(script, keys_of(stream, group), arguments);
}

std::string Store::setting(std::string_view key, std::string_view name, Millis within) {
  const Replies replies = nodes_.run(key, Commands().add({"CONFIG", "GET", name}), deadline_in(within));
  // Some users, and some hosted servers, may not ask.
  return replies.reply().size() == 2 ? std::string(replies.reply()[1].text()) : std::string();
}

// What all servers offer, since an event may go to any of them. Of a cluster's nodes those that can be reached are
// believed, unless a level was asked for that nobody checks when an event is stored.
Capabilities Store::probe() {
  bool synced = true, appended = true, waitaof = true, may_wait = true;
  std::int64_t fewest = INT64_MAX;
  const std::optional<Error> unreached = nodes_.ask_each([&](const std::string& key, Millis within) {
    const bool appends = setting(key, "appendonly", within) == "yes";
    const bool syncs = setting(key, "appendfsync", within) == "always";
    // Asked for nothing, both waits answer at once; a server without them, or one that forbids them, with an error.
    const Replies known =
        nodes_.run(key, Commands().add({"WAITAOF", "0", "0", "1"}).add({"INFO", "replication"}).add({"WAIT", "0", "1"}),
                   deadline_in(within));
    appended = appended && appends;
    synced = synced && syncs;
    waitaof = waitaof && !known.reply(0).error();
    may_wait = may_wait && !known.reply(2).error();
    fewest = std::min(fewest, info_number(known.reply(1).text(), "connected_slaves"));
  });
  // Whether a node that nobody has seen syncs at once, only that node can confirm.
  waits_for_disk_ = appended && waitaof && (!synced || unreached);
  if (unreached) {
    if (nodes_.endpoint().level == Level::disk && appended && synced && !waitaof) throw Error(*unreached);
    environment_.log(LogLevel::warning,
                     std::string("a node of the cluster cannot be asked what it offers, and is taken to offer what the "
                                 "others do: ") +
                         unreached->what());
  }
  Capabilities capabilities;
  capabilities.engine = "redis";
  capabilities.levels = {Level::process};
  if (appended && (synced || waitaof)) capabilities.levels.push_back(Level::disk);
  if (may_wait && fewest >= static_cast<std::int64_t>(replicas())) capabilities.levels.push_back(Level::replicated);
  capabilities.atomic_outputs = !nodes_.clustered();
  capabilities.exact_lag = true;
  return capabilities;
}

std::int64_t info_number(std::string_view info, std::string_view name) {
  const std::string line = std::string(name) + ":";
  const std::size_t at = info.starts_with(line) ? 0 : info.find("\n" + line);
  if (at == std::string_view::npos) return 0;
  info.remove_prefix(info.find(':', at) + 1);
  return number_of<std::int64_t>(info);
}

std::string Store::id_word() const { return injected() ? std::to_string(injected_ms()) + "-*" : "*"; }

std::string group_key(std::string_view stream, std::string_view part, std::string_view group) {
  std::string key;
  key.reserve(stream.size() + part.size() + group.size() + 5);
  key.append("{").append(stream).append("}:").append(part);
  if (!group.empty()) key.append(":").append(group);
  return key;
}

std::string start_word(const Start& start) {
  switch (start.kind) {
    case Start::Kind::beginning:
      return "0";
    case Start::Kind::end:
      return "$";
    case Start::Kind::time: {
      const std::int64_t ms = start.time.time_since_epoch().count();
      return ms <= 0 ? "0" : std::to_string(ms - 1) + "-" + std::to_string(UINT64_MAX);
    }
    case Start::Kind::position: {
      EntryId id = id_of(start.position);
      if (id.sequence > 0) return EntryId{id.milliseconds, id.sequence - 1}.text();
      return id.milliseconds == 0 ? "0" : EntryId{id.milliseconds - 1, UINT64_MAX}.text();
    }
  }
  return "0";
}

bool read_entry(const Reply& reply, Entry& entry, bool ours) {
  Reply at = reply;
  if (at.size() != 2) return false;
  at.enter();
  if (!parse_id(at.text(), entry.id)) return false;
  entry.position = entry.id;
  at.skip();
  std::size_t left = at.size();
  if (left < 2) return false;
  at.enter();
  bool named = false;
  for (std::size_t field = 0; left >= 2; left -= 2, ++field) {
    const std::string_view name = at.text();
    at.skip();
    const std::string_view value = at.text();
    at.skip();
    if (name == "event" || (field == 0 && !named)) {
      entry.envelope = value;
      named = named || name == "event";
    } else if (!ours) {
      continue;
    } else if (name == "attempt") {
      entry.attempts = number_of<std::uint32_t>(value);
    } else if (name == "crashes") {
      entry.crashes = number_of<std::uint32_t>(value);
    } else if (name == "origin") {
      const auto found = std::find(std::begin(origins), std::end(origins), value);
      if (found != std::end(origins)) entry.origin = static_cast<Origin>(found - std::begin(origins));
    } else if (name == "run") {
      entry.run = number_of<std::uint64_t>(value);
    } else if (name == "pos") {
      (void)parse_id(value, entry.position);
    } else if (name == "reason") {
      entry.reason = value;
    } else if (name == "error") {
      entry.error = value;
    } else if (name == "first") {
      entry.first = value;
    } else if (name == "last") {
      entry.last = value;
    }
  }
  return true;
}

bool acceptable(const Outgoing& event, const Capabilities& limits, Result& result, bool named) {
  const auto stream = named ? std::nullopt : std::optional(stream_of_partition(event.stream));
  return core::acceptable(event, stream, limits, result);
}

}  // namespace tidings::transport::redis
