#include <algorithm>
#include <iterator>
#include <numeric>

#include "core/failpoint.hpp"
#include "transport/redis/subscription.hpp"

namespace tidings::transport::redis {
namespace {

using Kind = Settlement::Kind;
constexpr std::size_t longest_error = 4096;

const char* word_of(Kind kind) {
  switch (kind) {
    case Kind::done:
      return "done";
    case Kind::ignored:
      return "ignored";
    case Kind::release:
      return "release";
    case Kind::again:
      return "again";
    case Kind::dead:
      return "dead";
  }
  return "done";
}

void set_stale(Result& result) {
  result = {.code = ErrorCode::stale,
            .stale = true,
            .message = "this delivery was settled before, or lost to another subscription"};
}

}  // namespace

// What goes to one group.
struct RedisSubscription::Part {
  std::vector<EntryId> done{}, ignored{};
  std::vector<std::string> words{};
  std::vector<std::size_t> simple{}, items{};  // Of the call: those in the first two, and those in `words`.
};

void RedisSubscription::add(Part& part, const Ledger::Held& held, const Settlement& item, std::size_t index,
                            std::span<const Outgoing> outputs) {
  const bool simple = held.source == 'S' && outputs.empty() && (item.kind == Kind::done || item.kind == Kind::ignored);
  if (simple) {
    (item.kind == Kind::done ? part.done : part.ignored).push_back(held.id);
    part.simple.push_back(index);
    return;
  }
  part.items.push_back(index);
  const std::int64_t after = std::clamp<std::int64_t>(item.after.count(), 0, std::int64_t{1} << 50);
  part.words.emplace_back(word_of(item.kind));
  part.words.emplace_back(1, held.source);
  part.words.push_back(held.id.text());
  part.words.emplace_back(held.unclear ? "0" : "1");
  part.words.push_back(std::to_string(after));
  part.words.emplace_back(item.counted ? "1" : "0");
  part.words.emplace_back(item.reason);
  part.words.emplace_back(item.error.substr(0, longest_error));
  part.words.emplace_back(item.kind == Kind::done || item.kind == Kind::ignored ? std::string_view{} : held.envelope);
  part.words.push_back(std::to_string(outputs.size()));
  for (const Outgoing& output : outputs) {
    part.words.emplace_back(output.stream);
    part.words.emplace_back(output.envelope);
  }
}

// Of several servers, one that hangs must not keep the others' deliveries unsettled: what is not answered is settled
// again by whoever asked.
WaitClock::time_point RedisSubscription::settling_deadline(const Joined& joined) {
  if (!one_of_several()) return deadline_in(Millis(30'000));
  const std::lock_guard lock(ledger_mutex_);
  return deadline_in(joined.missed ? Millis(500) : Millis(5'000));
}

// Acknowledges what needs no script, which costs a server half of what a script does: whether we are a member, the
// acknowledgement and its count are one transaction. Nothing when the server would not have it so, and nothing is done.
std::optional<bool> RedisSubscription::acknowledge(const Part& part, const Joined& joined, const std::string& member) {
  Commands commands;
  commands.reserve(8, 256 + 28 * (part.done.size() + part.ignored.size()));
  commands.add({"MULTI"}).add({"ZSCORE", group_key(joined.stream, "live", joined.group), member});
  const std::string state = group_key(joined.stream, "state", joined.group);
  std::vector<std::pair<const char*, std::int64_t>> counted;
  for (const auto& [counter, ids] : {std::pair{"handled", &part.done}, std::pair{"ignored", &part.ignored}}) {
    if (ids->empty()) continue;
    counted.emplace_back(counter, static_cast<std::int64_t>(ids->size()));
    commands.begin(3 + ids->size()).word("XACK").word(joined.stream).word(joined.group);
    for (const EntryId& id : *ids) commands.word(id);
    commands.add({"HINCRBY", state, counter, std::to_string(ids->size())});
  }
  commands.add({"EXEC"});
  const auto deadline = settling_deadline(joined);
  const Replies answer = store_.nodes().run(joined.stream, commands, deadline);
  const Reply executed = answer.reply(commands.count() - 1);
  if (executed.kind() != Value::Kind::array || executed.size() == 0) return std::nullopt;
  Commands corrections;
  for (std::size_t i = 0; i < executed.size(); ++i) {
    if (executed[i].error()) return std::nullopt;  // The script says what is wrong.
  }
  for (std::size_t i = 0; i < counted.size(); ++i) {
    const auto& [counter, expected] = counted[i];
    const std::int64_t wrong = executed[1 + 2 * i].integer(expected) - expected;
    if (wrong != 0) corrections.add({"HINCRBY", state, counter, std::to_string(wrong)});
  }
  if (corrections.count() > 0) {
    // What was acknowledged is acknowledged, whatever becomes of a count.
    std::optional<Error> uncounted;
    (void)store_.nodes().run(joined.stream, corrections, deadline, uncounted);
  }
  return executed[0].kind() == Value::Kind::text && executed[0].text() != "0";
}

// The same, and all else, by a script.
Replies RedisSubscription::settle_by_script(Part& part, const Joined& joined, const std::string& member) {
  std::vector<std::string> arguments{member, store_.now_word()};
  for (const std::vector<EntryId>* ids : {&part.done, &part.ignored}) {
    arguments.push_back(std::to_string(ids->size()));
    for (const EntryId& id : *ids) arguments.push_back(id.text());
  }
  std::move(part.words.begin(), part.words.end(), std::back_inserter(arguments));
  return store_.eval(Script::settle, joined.stream, joined.group, std::move(arguments), settling_deadline(joined));
}

void RedisSubscription::send(Part& part, const Joined& joined, const std::string& member,
                             std::span<const Settlement> items, std::span<Result> results) {
  TIDINGS_FAILPOINT("redis.before_settle_commit");
  std::optional<bool> simply;
  // A transaction cannot follow a slot that moves.
  if (part.items.empty() && !store_.nodes().clustered()) simply = acknowledge(part, joined, member);
  Replies answer;
  if (!simply) answer = settle_by_script(part, joined, member);
  TIDINGS_FAILPOINT("redis.after_settle_commit");
  const bool member_still = simply.value_or(answer.count() > 0 && answer.reply().kind() != Value::Kind::integer);
  const std::lock_guard lock(ledger_mutex_);
  const auto conclude = [&](std::size_t i, bool ours) {
    if (!ours) set_stale(results[i]);
    if (member_still) ledger_.settle(items[i].token.lease);
  };
  for (const std::size_t i : part.simple) conclude(i, member_still);
  if (part.items.empty()) return;
  Reply at = answer.reply();
  const std::size_t answered = at.size();
  if (answered > 0) at.enter();
  for (std::size_t k = 0; k < part.items.size(); ++k) {
    const Reply reply = k < answered ? at.here() : answer.reply()[k];
    if (k < answered) at.skip();
    const std::size_t i = part.items[k];
    if (reply.kind() == Value::Kind::text) {
      const Error error = error_of(reply.text());
      results[i] = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
      continue;
    }
    const Ledger::Held* const held = ledger_.find(items[i].token.lease);
    const bool before = held != nullptr && held->unclear;  // Only we could settle it while we are a member.
    conclude(i, member_still && (reply.integer() == 1 || before));
  }
}

// Asks for what has outputs whether it is still ours.
void RedisSubscription::refuse_lost(std::span<const Settlement> items, const std::string& member,
                                    std::span<Result> results) {
  for (std::uint32_t stream = 0; stream < joined_.size(); ++stream) {
    std::vector<std::string> words{member};
    std::vector<std::size_t> asked;
    {
      const std::lock_guard lock(ledger_mutex_);
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (results[i].code != ErrorCode::ok || items[i].outputs.empty()) continue;
        const Ledger::Held* const held = ledger_.find(items[i].token.lease);
        if (held == nullptr || held->stream != stream) continue;
        words.emplace_back(1, held->source);
        words.push_back(held->id.text());
        words.emplace_back(held->unclear ? "0" : "1");
        asked.push_back(i);
      }
    }
    if (asked.empty()) continue;
    try {
      const Replies answer = store_.eval(Script::holds, joined_[stream].stream, joined_[stream].group, std::move(words),
                                         settling_deadline(joined_[stream]));
      for (std::size_t k = 0; k < asked.size(); ++k) {
        if (answer.reply()[k].integer() != 1) set_stale(results[asked[k]]);
      }
    } catch (const Error& error) {
      for (const std::size_t i : asked) {
        results[i] = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
      }
    }
  }
}

// In a cluster, outputs and settlement have slots of their own: outputs come first then, under ids that a repeat has
// too. Items whose outputs could not be stored have that as their result, and are not settled.
void RedisSubscription::store_outputs(std::span<const Settlement> items, const std::string& member,
                                      std::span<Result> results) {
  refuse_lost(items, member, results);
  std::vector<Outgoing> outputs;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (results[i].code != ErrorCode::ok) continue;
    outputs.insert(outputs.end(), items[i].outputs.begin(), items[i].outputs.end());
    owners.resize(outputs.size(), i);
  }
  if (outputs.empty()) return;
  std::vector<Result> stored(outputs.size());
  add_events(store_, outputs, store_.output_level(), Millis(30'000), stored);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (stored[k].code != ErrorCode::ok) results[owners[k]] = std::move(stored[k]);
  }
}

void RedisSubscription::send_each(std::vector<Part>& parts, const std::string& member,
                                  std::span<const Settlement> items, std::span<Result> results) {
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  {
    // Those whose server was away have their turn when the others are settled.
    const std::lock_guard lock(ledger_mutex_);
    std::stable_partition(order.begin(), order.end(), [&](std::size_t p) { return !joined_[p].missed; });
  }
  for (const std::size_t p : order) {
    if (parts[p].simple.empty() && parts[p].items.empty()) continue;
    try {
      send(parts[p], joined_[p], member, items, results);
    } catch (const Error& error) {
      const std::lock_guard lock(ledger_mutex_);
      for (const auto* indices : {&parts[p].simple, &parts[p].items}) {
        for (const std::size_t i : *indices) {
          ledger_.doubt(items[i].token.lease);
          results[i] = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
        }
      }
    }
  }
}

void RedisSubscription::settle(std::span<const Settlement> items, std::span<Result> results) {
  const std::lock_guard settling(settling_);
  std::vector<Part> parts(joined_.size());
  std::string member;
  const bool together = store_.capabilities().atomic_outputs;
  {
    const std::lock_guard lock(ledger_mutex_);
    member = member_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Settlement& item = items[i];
      results[i] = {};
      const bool accepted = std::all_of(item.outputs.begin(), item.outputs.end(), [&](const Outgoing& output) {
        return acceptable(output, store_.capabilities(), results[i]);
      });
      if (!accepted) continue;
      if (item.token.epoch != epoch() || ledger_.name(item.token.lease) == nullptr) set_stale(results[i]);
    }
  }
  // What could not be sent can be named again.
  struct Unname {
    RedisSubscription& self;
    std::span<const Settlement> items;
    ~Unname() {
      const std::lock_guard lock(self.ledger_mutex_);
      for (const Settlement& item : items) self.ledger_.unname(item.token.lease);
      self.settled_.notify_all();
    }
  } const unname{*this, items};
  Placed placed;
  std::vector<std::span<const Outgoing>> outputs(items.size());
  for (std::size_t i = 0; together && i < items.size(); ++i) {
    if (items[i].outputs.empty() || results[i].code != ErrorCode::ok) continue;
    try {
      outputs[i] = store_.partitions().place(items[i].outputs, placed, deadline_in(Millis(30'000)));
    } catch (const Error& error) {
      results[i] = {.code = error.code(), .retryable = error.retryable(), .message = error.what()};
    }
  }
  if (!together) store_outputs(items, member, results);
  {
    const std::lock_guard lock(ledger_mutex_);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (results[i].code != ErrorCode::ok) continue;
      const Ledger::Held* const held = ledger_.find(items[i].token.lease);
      if (held == nullptr) {
        set_stale(results[i]);  // All was lost meanwhile.
      } else {
        add(parts[held->stream], *held, items[i], i, outputs[i]);
      }
    }
  }
  send_each(parts, member, items, results);
}

}  // namespace tidings::transport::redis
