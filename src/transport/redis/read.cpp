// What one subscription reads: its connections, and what comes over them.
#include <poll.h>

#include <algorithm>

#include "core/envelope_member.hpp"
#include "transport/redis/subscription.hpp"

namespace tidings::transport::redis {
namespace {

constexpr Millis one_try{1'000};

}  // namespace

// Ends the connections whose reads the server may not have seen yet; false where it is not known that they ended: the
// server knows the connection under another address (a proxy stands between), it may not be asked, or there is none.
bool RedisSubscription::end_dropped(WaitClock::time_point deadline) {
  bool ended = std::exchange(ended_, true);
  std::vector<std::pair<std::string, Commands>> left;
  for (; !dropped_.empty(); dropped_.pop_back()) {
    const std::string& stream = dropped_.back().first;
    const Commands& command = dropped_.back().second;
    const auto joined =
        std::find_if(joined_.begin(), joined_.end(), [&](const Joined& each) { return each.stream == stream; });
    if (joined != joined_.end() && is_away(*joined)) {
      left.push_back(std::move(dropped_.back()));
      ended = false;
      continue;
    }
    if (command.count() == 0) {
      ended = false;
      continue;
    }
    try {
      ended_ = false;  // Should it throw.
      ended = store_.nodes().run(stream, command, deadline).reply().integer() == 1 && ended;
      ended_ = true;
    } catch (const Error& error) {
      if (!one_of_several() || !error.retryable()) throw;
      left.push_back(std::move(dropped_.back()));  // Its server is away; the others are not held up.
      ended = false;
      ended_ = true;
      deadline = deadline_in(one_try);
    }
  }
  dropped_ = std::move(left);
  return ended;
}

// What the server counts as ours and never came goes back, uncounted. It is looked for again later, and soon where a
// read may still be on its way to the server.
void RedisSubscription::give_back_unseen(WaitClock::time_point deadline) {
  review_pause_ = end_dropped(deadline) ? std::min(2 * review_pause_, longest_review_pause) : Millis(500);
  review_ = deadline_in(review_pause_);
  Known known;
  {
    const std::lock_guard lock(ledger_mutex_);
    for (const std::uint64_t serial : ledger_.open()) {
      const Ledger::Held& held = *ledger_.find(serial);
      known.emplace(held.stream, held.source, held.id);
    }
    for (const Ledger::Held& held : ready_.held) known.emplace(held.stream, held.source, held.id);
  }
  for (std::uint32_t i = 0; i < joined_.size(); ++i) {
    Joined& joined = joined_[i];
    if (!joined.member || is_away(joined)) continue;
    const auto begun = WaitClock::now();
    try {
      give_back_unseen(i, known, one_of_several() ? deadline_in(one_try) : deadline);
    } catch (const Error& error) {
      if (!one_of_several() || !error.retryable()) throw;
      set_away(joined, error, std::chrono::floor<Millis>(WaitClock::now() - begun));
      review_ = deadline_in(review_pause_ = Millis(500));
    }
  }
  unsure_ = false;
}

void RedisSubscription::give_back_unseen(std::uint32_t index, const Known& known, WaitClock::time_point deadline) {
  const std::string &stream = joined_[index].stream, &group = joined_[index].group;
  std::vector<std::string> words{member_, store_.now_word(), "0", "0"};
  const std::size_t before = words.size();
  for (const char source : {'S', 'R', 'A'}) {
    const std::string key = source == 'S' ? stream : group_key(stream, source == 'R' ? "retry" : "alone", group);
    for (std::string from = "-";;) {
      Commands commands;
      commands.add({"XPENDING", key, group, from, "+", "1000", member_});
      const Replies replies = store_.nodes().run(stream, commands, deadline);
      const Reply reply = replies.reply();
      if (reply.error() && !reply.text().starts_with("NOGROUP")) throw error_of(reply.text());
      EntryId id;
      Reply entry = reply.here();
      entry.enter();
      for (std::size_t k = 0; k < reply.size(); ++k, entry.skip()) {
        if (!parse_id(entry[0].text(), id) || known.contains({index, source, id})) continue;
        words.insert(words.end(), {"release", std::string(1, source), id.text(), "0", "0", "0", "", "", "", "0"});
      }
      if (reply.size() < 1000) break;
      from = "(" + id.text();
    }
  }
  if (words.size() > before) (void)store_.eval(Script::settle, stream, group, words, deadline);
}

void RedisSubscription::connect(Reader& reader) {
  if (reader.connection) return;
  reader.connection = store_.nodes().connect(joined_[reader.streams.front()].stream, deadline_in(Millis(1'000)));
}

void RedisSubscription::drop(Reader& reader) {
  if (!reader.connection) return;
  // A read that the server has not seen yet must not take anything for us later.
  dropped_.emplace_back(joined_[reader.streams.front()].stream, reader.connection->end_command());
  reader.connection.reset();
  store_.nodes().doubt();
}

void RedisSubscription::read_alone(const std::vector<Look>& looks, WaitClock::time_point deadline) {
  for (Reader& reader : readers_) {
    for (const std::uint32_t index : reader.streams) {
      if (!looks[index].alone || looks[index].paused) continue;
      connect(reader);
      const std::string key = group_key(joined_[index].stream, "alone", joined_[index].group);
      reader.connection->send(
          Commands().add({"XREADGROUP", "GROUP", reader.group, member_, "COUNT", "1", "STREAMS", key, ">"}), deadline);
      receive(reader, deadline, true);
      if (!ready_.empty()) return;
    }
  }
}

// What a read of new events asks for.
Commands RedisSubscription::read_command(const Reader& reader, const std::vector<std::string>& keys, std::size_t each,
                                         Millis block) const {
  Commands commands;
  const bool blocks = block.count() > 0;
  commands.begin(4 + 2 + (blocks ? 2 : 0) + 1 + 2 * keys.size());
  commands.word("XREADGROUP").word("GROUP").word(reader.group).word(member_);
  commands.word("COUNT").word(static_cast<std::int64_t>(each));
  if (blocks) commands.word("BLOCK").word(block.count());
  commands.word("STREAMS");
  for (const std::string& key : keys) commands.word(key);
  for (std::size_t i = 0; i < keys.size(); ++i) commands.word(">");
  return commands;
}

// Sends the next look and read before anybody asks for them. One stream's only, where both are one round trip.
void RedisSubscription::send_ahead() {
  Reader& reader = readers_.front();
  if (joined_.size() != 1 || !reader.connection) return;
  const Joined& joined = joined_.front();
  // What is under way counts as held, so that nothing is taken from others beyond the bounds.
  std::size_t bytes = 0, events = room(bytes);
  events = std::min({events, fitting(bytes), share()});
  if (events < least_ahead || bytes == 0 || WaitClock::now() >= std::min(review_, grown_)) return;
  Commands commands = store_.script_command(Script::look, joined.stream, joined.group, look_arguments(joined));
  commands.copy(read_command(reader, {joined.stream}, asked_ = events, Millis(0)), 0);
  try {
    reader.connection->send(commands, deadline_in(Millis(1'000)));
    ahead_ = true;
  } catch (const Error&) {
    drop(reader);
    unsure_ = true;
  }
}

// Takes in what was sent ahead.
bool RedisSubscription::receive_ahead(Batch& batch, std::vector<Look>& looks) {
  ahead_ = false;
  Reader& reader = readers_.front();
  const auto deadline = deadline_in(Millis(5'000));
  try {
    const Received looked = reader.connection->receive(deadline);
    receive(reader, deadline, false);
    if (looked.reply().error()) return look(batch, looks, deadline);  // Its script is gone, say.
    return take_look(looked.reply(), 0, batch, looks);
  } catch (const Error&) {
    drop(reader);
    unsure_ = true;
    throw;
  }
}

void RedisSubscription::forget_ahead() {
  if (ahead_) drop(readers_.front());
  ahead_ = false;
}

void RedisSubscription::send_read(Reader& reader, const std::vector<Look>& looks, std::size_t events, Millis block) {
  connect(reader);
  // COUNT holds for each stream. What comes back has a stream of its own, which is asked only where something is known
  // to be ready, so that new events have all of the room otherwise. They wait for their turn behind what was given
  // back, so that the order is kept, but not for ever, where there are always retries.
  const std::size_t each_stream = std::max<std::size_t>(events / reader.streams.size(), 1);
  std::vector<std::string> keys;
  for (const std::uint32_t index : reader.streams) {
    if (looks[index].paused) continue;
    Joined& joined = joined_[index];
    if (looks[index].retry > 0) keys.push_back(group_key(joined.stream, "retry", joined.group));
    const bool wait = looks[index].retry > each_stream / 2 && joined.returns < most_returns;
    joined.returns = wait ? joined.returns + 1 : 0;
    if (!wait) keys.push_back(joined.stream);
  }
  if (keys.size() > events) {
    std::rotate(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(reader.turn % keys.size()), keys.end());
    reader.turn += events;
    keys.resize(events);
  }
  asked_ = events;
  const std::size_t each = std::max<std::size_t>(events / keys.size(), 1);
  reader.connection->send(read_command(reader, keys, each, block), deadline_in(Millis(1'000)));
}

// The same, where one of several servers that cannot be reached is left alone: false then.
bool RedisSubscription::may_send_read(Reader& reader, const std::vector<Look>& looks, std::size_t events,
                                      Millis block) {
  try {
    send_read(reader, looks, events, block);
    return true;
  } catch (const Error& error) {
    if (!passes_over(reader, error)) throw;
    drop(reader);
    return false;
  }
}

// Whether a read failed only because one of several servers is gone: what it may have taken is looked for later.
bool RedisSubscription::passes_over(const Reader& reader, const Error& error) {
  if (!one_of_several() || !error.retryable()) return false;
  for (const std::uint32_t index : reader.streams) set_away(joined_[index], error, one_try);
  unsure_ = true;
  return true;
}

// Ends the waits of these readers' reads on the server.
void RedisSubscription::unblock(const std::vector<Reader*>& readers) {
  for (const Reader* reader : readers) {
    if (!reader->connection) continue;
    const Commands commands = Commands().add({"CLIENT", "UNBLOCK", std::to_string(reader->connection->id())});
    Replies answer;
    try {
      answer = store_.nodes().run_beside(*reader->connection, commands, deadline_in(one_try));
    } catch (const Error& error) {
      if (one_of_several() && error.retryable()) continue;  // It is gone, and receiving from it will say so.
      throw;
    }
    if (!answer.reply().error() || !may_unblock_.exchange(false)) continue;
    store_.environment().log(LogLevel::warning, "redis: " + std::string(answer.reply().text()) +
                                                    "; streams are looked at in turns instead, every 20 ms; allow this "
                                                    "user CLIENT UNBLOCK");
  }
}

// Waits until one of these has something; those that have nothing then are told to give up waiting.
void RedisSubscription::await_any(const std::vector<Reader*>& readers, Millis wait) {
  if (readers.size() == 1) return;  // Whoever receives waits.
  std::vector<pollfd> waiting;
  for (const Reader* reader : readers) {
    if (reader->connection->buffered()) wait = Millis(0);
    waiting.push_back({reader->connection->descriptor(), POLLIN, 0});
  }
  const auto until = deadline_in(wait);
  while (::poll(waiting.data(), waiting.size(), static_cast<int>(wait.count())) < 0 && errno == EINTR) {
    wait = std::max(std::chrono::floor<Millis>(until - WaitClock::now()), Millis(0));
  }
  std::vector<Reader*> idle;
  for (std::size_t i = 0; i < readers.size(); ++i) {
    if (waiting[i].revents == 0 && !readers[i]->connection->buffered()) idle.push_back(readers[i]);
  }
  if (readers.size() > 1 && may_unblock_) unblock(idle);
}

void RedisSubscription::read_new(const std::vector<Look>& looks, std::size_t events, Millis block,
                                 const std::stop_token& stop) {
  std::vector<Reader*> asked;
  for (Reader& reader : readers_) {
    const bool active = std::any_of(reader.streams.begin(), reader.streams.end(),
                                    [&](std::uint32_t index) { return !looks[index].paused && !looks[index].away; });
    if (active) asked.push_back(&reader);
  }
  // Each has its share of the room; where there is not enough for all, they take turns.
  if (asked.size() > events) {
    std::rotate(asked.begin(), asked.begin() + static_cast<std::ptrdiff_t>(turn_ % asked.size()), asked.end());
    turn_ += events;
    asked.resize(events);
  }
  if (asked.empty()) return;
  // Those that have nothing cannot be told to give up waiting: they wait for a short time only.
  if (asked.size() > 1 && !may_unblock_) block = std::min(block, Millis(20));
  std::optional<Error> failure;
  try {
    const std::size_t share = events / asked.size();
    std::erase_if(asked, [&](Reader* reader) { return !may_send_read(*reader, looks, share, block); });
    if (asked.empty()) return;
    if (block.count() > 0) {
      const std::stop_callback woken(stop, [&] {
        try {
          unblock(asked);
        } catch (const Error&) {
          // The block ends by itself.
        }
      });
      await_any(asked, block + Millis(1'000));
    }
    for (Reader* reader : asked) {
      try {
        receive(*reader, deadline_in(block + (one_of_several() ? one_try : Millis(5'000))), false);
      } catch (const Error& error) {
        // What the others read is ours all the same, and one of several servers that is gone is left alone.
        if (passes_over(*reader, error)) continue;
        if (!failure || error.code() == ErrorCode::not_found) failure.emplace(error);
      }
    }
  } catch (...) {
    for (Reader* reader : asked) drop(*reader);
    throw;
  }
  if (failure) throw Error(*failure);
}

// Takes in what one read answers.
void RedisSubscription::receive(Reader& reader, WaitClock::time_point deadline, bool alone) {
  try {
    const Received received = reader.connection->receive(deadline);
    if (!received.reply().error()) return take(reader, received, alone);
    const std::string_view text = received.reply().text();
    store_.nodes().learn(text, reader.connection->address());
    // A slot that has moved is read at its new owner the next time: nothing was taken, and nothing is wrong.
    if (text.starts_with("MOVED ") && store_.nodes().clustered()) return reader.connection.reset();
    throw error_of(text);
  } catch (...) {
    drop(reader);
    throw;
  }
}

// Takes in the reply of XREADGROUP: [[key, [[id, fields] …]] …].
void RedisSubscription::take(Reader& reader, const Received& received, bool alone) {
  Reply keys = received.reply();
  std::size_t count = keys.size();
  full_ = false;
  if (count == 0) return;
  keys.enter();
  std::size_t bytes = 0, events = 0;
  for (; count > 0; --count) {
    Reply pair = keys.here();
    keys.skip();
    pair.enter();
    const std::string_view key = pair.text();
    const auto index = *std::find_if(reader.streams.begin(), reader.streams.end(), [&](std::uint32_t each) {
      const std::string& stream = joined_[each].stream;
      return key == stream || (key.starts_with('{') && key.substr(1).starts_with(stream + "}"));
    });
    Joined& joined = joined_[index];
    const char source = alone ? 'A' : key == joined.stream ? 'S' : 'R';
    pair.skip();
    std::size_t entries = pair.size();
    pair.enter();
    if (ready_.empty()) {
      ready_.deliveries.reserve(entries);
      ready_.held.reserve(entries);
    }
    for (; entries > 0; --entries) {
      Entry entry;
      const bool sound = read_entry(pair.here(), entry, source != 'S');
      pair.skip();
      if (!sound) continue;
      Delivery& delivery = ready_.deliveries.emplace_back();
      delivery.block = received.block;
      delivery.envelope = entry.envelope;
      delivery.position = position_of(entry.position);
      delivery.stored_at = Wall(Millis(static_cast<std::int64_t>(entry.position.milliseconds)));
      delivery.stream = joined.index;
      delivery.attempt = entry.attempts + 1;
      delivery.crashes = entry.crashes;
      delivery.origin = entry.origin;
      delivery.run = entry.run;
      delivery.type = core::envelope_text(entry.envelope, "type");
      delivery.alone = source == 'A';
      if (source == 'S') joined.seen = entry.id;
      bytes += entry.envelope.size();
      ++events;
      ready_.held.push_back({.stream = index, .source = source, .id = entry.id, .envelope = entry.envelope});
    }
  }
  full_ = events >= asked_;
  if (events > 0) average_ = (average_ + bytes / events) / 2 + 1;
  const std::lock_guard lock(ledger_mutex_);
  ready_events_ = ready_.held.size();
}

}  // namespace tidings::transport::redis
