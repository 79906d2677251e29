#include "transport/redis/subscription.hpp"

#include <unistd.h>

#include <algorithm>
#include <tidings/id.hpp>

#include "core/interest.hpp"

namespace tidings::transport::redis {
namespace {

constexpr Millis slice{250};
constexpr std::size_t due_at_once = 500;
constexpr Millis patience_with_one{1'000};  // Of several servers, so that one that hangs does not hold up the others.

}  // namespace

RedisSubscription::RedisSubscription(Store& store, const Interest& interest)
    : store_(store),
      interest_(interest),
      instance_(interest.instance.empty() ? core::new_instance() : interest.instance) {
  core::check_interest(interest_);
  const bool several = store_.nodes().clustered() && interest_.streams.size() > 1;
  const Millis each = several ? patience_with_one : Millis(30'000);
  for (std::uint32_t i = 0; i < interest_.streams.size(); ++i) {
    try {
      const PartitionNames names =
          store_.partitions().names(interest_.streams[i], deadline_in(each), Partitions::Asks::raise);
      for (std::uint32_t k = 0; k < names->size(); ++k) add(i, k, (*names)[k]);
    } catch (const Error& error) {
      if (!several || !error.retryable()) throw;
      add(i, 0, interest_.streams[i]);  // Whether there are more is asked again once it can be reached.
    }
  }
  grown_ = deadline_in(Partitions::fresh);
  join(deadline_in(Millis(30'000)));
}

void RedisSubscription::add(std::uint32_t stream, std::uint32_t partition, const std::string& name) {
  const auto index = static_cast<std::uint32_t>(joined_.size());
  const std::string group(group_of(name, interest_.service));
  joined_.push_back({.stream = name, .group = group, .index = stream, .partition = partition});
  // A cluster reads from one slot at a time.
  auto reader = std::find_if(readers_.begin(), readers_.end(),
                             [&](const Reader& each) { return each.group == group && !store_.nodes().clustered(); });
  if (reader == readers_.end()) reader = readers_.insert(readers_.end(), Reader{.group = group});
  reader->streams.push_back(index);
}

// Joins partitions that were added since.
void RedisSubscription::grow(WaitClock::time_point deadline) {
  for (std::uint32_t i = 0; i < interest_.streams.size(); ++i) {
    Joined& first = *std::find_if(joined_.begin(), joined_.end(), [&](const Joined& each) { return each.index == i; });
    if (is_away(first)) continue;
    const auto begun = WaitClock::now();
    PartitionNames names;
    try {
      const auto until = one_of_several() ? deadline_in(patience_with_one) : deadline;
      names = store_.partitions().names(interest_.streams[i], until, Partitions::Asks::raise);
    } catch (const Error& error) {
      if (!one_of_several() || !error.retryable()) throw;
      set_away(first, error, std::chrono::floor<Millis>(WaitClock::now() - begun));
      continue;
    }
    std::uint32_t known = 0;
    for (const Joined& joined : joined_) known = joined.index == i ? std::max(known, joined.partition + 1) : known;
    for (std::uint32_t k = known; k < names->size(); ++k) {
      const std::scoped_lock lock(settling_, ledger_mutex_);
      add(i, k, (*names)[k]);
    }
  }
  // Where this fails it is done again before anything is read; of several servers, each stream's look joins it.
  for (Joined& joined : joined_) {
    if (!joined.member && !one_of_several()) join(joined, member_, deadline);
  }
  grown_ = deadline_in(Partitions::fresh);
}

void RedisSubscription::join(WaitClock::time_point deadline) {
  static std::atomic<std::uint32_t> epochs{0};
  // A member that finds a group gone joins it again under its name, since the others still hold things for it.
  const bool again = epoch_ != 0;
  const std::uint32_t epoch = again ? epoch_.load() : ++epochs;
  const std::string member =
      again ? member_ : instance_ + "/" + std::to_string(epoch) + "." + std::to_string(system_random().next());
  if (!again) {
    const std::lock_guard lock(ledger_mutex_);
    for (const std::uint64_t serial : ledger_.open()) lost_.push_back({serial, 0, 0});
    ledger_.clear();
    ready_.clear();  // Of a membership that is over.
    ready_events_ = 0;
  }
  if (!again) {
    forget_ahead();
    for (Reader& reader : readers_) reader.connection.reset();
    if (!member_.empty()) {
      (void)end_dropped(deadline);  // What a late read takes for the name that is given up, upkeep finds.
      give_back(deadline);
    }
  }
  join_each(member, deadline);
  for (Joined& joined : joined_) joined.made = false;
  const std::lock_guard lock(ledger_mutex_);
  member_ = member;
  epoch_ = epoch;
}

// Where there are several servers, one that cannot be reached is joined later: see look_at_each().
void RedisSubscription::join_each(const std::string& member, WaitClock::time_point deadline) {
  if (!one_of_several()) {
    for (Joined& joined : joined_) join(joined, member, deadline);
    return;
  }
  std::optional<Error> failure;
  std::size_t reached = 0;
  for (Joined& joined : joined_) {
    const auto begun = WaitClock::now();
    try {
      {
        const std::lock_guard lock(ledger_mutex_);
        joined.member = false;
      }
      join(joined, member, deadline_in(patience_with_one));
      ++reached;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      if (!failure) failure.emplace(error);
      set_away(joined, error, std::chrono::floor<Millis>(WaitClock::now() - begun));
    }
  }
  if (reached == 0 && failure) throw Error(*failure);
}

void RedisSubscription::join(Joined& joined, const std::string& member, WaitClock::time_point deadline) {
  const bool command = is_command_stream(joined.stream);
  const bool before = joined.seen != EntryId{};
  std::string start = before ? joined.seen.text() : start_word(interest_.start);
  if (!before && joined.partition > 0) {
    // Where the first one began: whoever made the group may have made only that, and events wait here already.
    const auto first =
        std::find_if(joined_.begin(), joined_.end(), [&](const Joined& each) { return each.index == joined.index; });
    if (!first->member && first->began.empty()) {
      throw Error(ErrorCode::unavailable, true, joined.stream + " is joined after " + first->stream);
    }
    start = first->made ? start_word(interest_.start) : first->began;
  }
  std::vector<std::string> words{member, store_.now_word(), std::to_string(interest_.lease.count())};
  words.insert(words.end(), {core::join_lines(interest_.types), command ? interest_.service : "", start});
  words.emplace_back(before ? "1" : "0");
  add_held(joined, words);
  const Replies answer = store_.eval(Script::join, joined.stream, joined.group, std::move(words), deadline);
  if (answer.reply().kind() != Value::Kind::array) {
    throw Error(ErrorCode::conflict, joined.stream + " belongs to the service " + std::string(answer.reply().text()) +
                                         ", so " + interest_.service +
                                         " cannot take its commands; a command has one owner: remove the group "
                                         "first to hand it over");
  }
  joined.began = answer.reply()[1].text();
  // Who begins at the end means that of each partition that is there now.
  joined.made = answer.reply()[2].integer() == 1 && !before;
  const std::lock_guard lock(ledger_mutex_);
  joined.member = true;
  joined.renewed = WaitClock::now();
}

// What is out and not settled, and what is about to be: nobody else knows it of a group that is made again.
void RedisSubscription::add_held(const Joined& joined, std::vector<std::string>& words) {
  const auto add = [&](const Ledger::Held& held) {
    if (held.source == 'S' && &joined_[held.stream] == &joined) words.push_back(held.id.text());
  };
  for (const Ledger::Held& held : ready_.held) add(held);
  const std::lock_guard lock(ledger_mutex_);
  for (const std::uint64_t serial : ledger_.open()) add(*ledger_.find(serial));
}

RedisSubscription::~RedisSubscription() {
  const auto deadline = deadline_in(Millis(5'000));
  // What could not be given back is found by its lease; one stream that fails keeps no other from it.
  const auto attempt = [](const auto& step) {
    try {
      step();
    } catch (...) {
    }
  };
  // A read that is still under way on the server would take something for a consumer that is gone.
  attempt([&] { forget_ahead(); });
  for (Reader& reader : readers_) reader.connection.reset();
  attempt([&] { (void)end_dropped(deadline); });
  for (const Joined& joined : joined_) {
    attempt([&] { (void)store_.eval(Script::leave, joined.stream, joined.group, {member_}, deadline); });
  }
}

// What a membership that is over still holds in other streams: healthy work, which need not wait for a lease.
void RedisSubscription::give_back(WaitClock::time_point deadline) {
  for (const Joined& joined : joined_) {
    try {
      (void)store_.eval(Script::leave, joined.stream, joined.group, {member_}, deadline);
    } catch (const Error& error) {
      // A group that is gone holds nothing; and what a server that is away keeps for us is found by its lease.
      if (error.retryable() && !one_of_several()) throw;
    }
  }
}

void RedisSubscription::lose_all() {
  const std::lock_guard lock(ledger_mutex_);
  for (const std::uint64_t serial : ledger_.open()) lost_.push_back({serial, 0, epoch()});
  ledger_.clear();
  ready_.clear();
  ready_events_ = 0;
  epoch_ = 0;
}

std::vector<AckToken> RedisSubscription::renew() {
  std::string member;
  std::vector<std::uint32_t> joined;
  {
    const std::lock_guard lock(ledger_mutex_);
    if (epoch_ == 0) return std::exchange(lost_, {});
    member = member_;
    for (std::uint32_t i = 0; i < joined_.size(); ++i) {
      if (joined_[i].member) joined.push_back(i);
    }
  }
  bool kept = true;
  std::optional<Error> failure;  // One that cannot be reached keeps no other from being renewed.
  std::vector<std::uint32_t> failed;
  const auto begun = WaitClock::now();
  for (const std::uint32_t i : joined) {
    try {
      const Replies answer = store_.eval(Script::renew, joined_[i].stream, joined_[i].group,
                                         {member, store_.now_word(), std::to_string(interest_.lease.count())},
                                         deadline_in(std::max(Millis(50), interest_.lease / 12)));
      kept = kept && answer.reply().integer() == 1;
      const std::lock_guard lock(ledger_mutex_);
      joined_[i].renewed = begun;
    } catch (const Error& error) {
      if (!failure) failure.emplace(error);
      failed.push_back(i);
    }
  }
  const bool partly = failure && failure->retryable() && one_of_several() && failed.size() < joined.size();
  if (failure && kept && !partly) throw Error(*failure);
  const std::lock_guard lock(ledger_mutex_);
  std::vector<AckToken> lost = std::exchange(lost_, {});
  if (member_ != member || kept) {
    for (const std::uint32_t i : failed) give_up_expired(i, begun, lost);
    return lost;
  }
  for (const std::uint64_t serial : ledger_.open()) lost.push_back({serial, 0, epoch()});
  ledger_.clear();
  epoch_ = 0;
  return lost;
}

// Of several servers, one is away: what is held of it is ours until others may have it. Under the ledger's mutex.
void RedisSubscription::give_up_expired(std::uint32_t index, WaitClock::time_point now, std::vector<AckToken>& lost) {
  Joined& joined = joined_[index];
  if (now - joined.renewed < interest_.lease * 2 / 3) return;
  joined.member = false;  // It is joined again when it can be reached.
  for (const std::uint64_t serial : ledger_.open()) {
    if (ledger_.find(serial)->stream != index) continue;
    lost.push_back({serial, 0, epoch()});
    ledger_.settle(serial);
  }
}

std::vector<std::string> RedisSubscription::look_arguments(const Joined& joined) const {
  std::vector<std::string> arguments{member_, store_.now_word(), std::to_string(due_at_once)};
  arguments.insert(arguments.end(), joined.told.begin(), joined.told.end());
  return arguments;
}

// Takes in what one look found; false when we are no member any more.
bool RedisSubscription::take_look(const Reply& reply, std::uint32_t index, Batch& batch, std::vector<Look>& looks) {
  if (reply[0].integer() == 0) return false;
  Joined& joined = joined_[index];
  Look& look = looks.emplace_back();
  look.paused = reply[1].text() == "1";
  look.alone = reply[2].integer() > 0;
  look.retry = static_cast<std::size_t>(std::max<std::int64_t>(reply[3].integer(), 0));
  look.next_due = reply[4].integer(-1);
  look.now = reply[5].integer();
  look.types = joined.types = reply[6].text();
  look.orphans = reply[7].integer() > 0;
  batch.paused = batch.paused || look.paused;
  joined.told.clear();
  const Reply gaps = reply[8];
  for (std::size_t k = 0; k < gaps.size(); ++k) {
    const std::string_view text = gaps[k].text();
    const std::size_t space = text.find(' ');
    EntryId first, last;
    joined.told.emplace_back(text);
    if (space != std::string_view::npos && parse_id(text.substr(0, space), first) &&
        parse_id(text.substr(space + 1), last)) {
      batch.gaps.push_back({joined.index, position_of(first), position_of(last)});
    }
  }
  return true;
}

// Asks every group what there is beside new events. False when we are no member any more.
bool RedisSubscription::look(Batch& batch, std::vector<Look>& looks, WaitClock::time_point deadline) {
  looks.clear();
  if (one_of_several()) return look_at_each(batch, looks);
  Replies together;
  if (joined_.size() > 1) {
    // One round trip for all of them.
    Commands commands;
    for (const Joined& joined : joined_) {
      commands.copy(store_.script_command(Script::look, joined.stream, joined.group, look_arguments(joined)), 0);
    }
    together = store_.nodes().run(joined_.front().stream, commands, deadline);
  }
  for (std::uint32_t i = 0; i < joined_.size(); ++i) {
    if (i < together.count() && !together.reply(i).error()) {
      if (!take_look(together.reply(i), i, batch, looks)) return false;
      continue;
    }
    const Joined& joined = joined_[i];
    const Replies answer = store_.eval(Script::look, joined.stream, joined.group, look_arguments(joined), deadline);
    if (!take_look(answer.reply(), i, batch, looks)) return false;
  }
  return true;
}

bool RedisSubscription::one_of_several() const { return store_.nodes().clustered() && joined_.size() != 1; }

bool RedisSubscription::is_away(const Joined& joined) const {
  return one_of_several() && WaitClock::now() < joined.away;
}

// Leaves a stream alone for a while: long enough that asking for it in vain, which took `spent`, does not slow the
// others down much.
void RedisSubscription::set_away(Joined& joined, const Error& error, Millis spent) {
  joined.away = deadline_in(std::clamp(4 * spent, Millis(200), Millis(4'000)));
  bool before = false;
  {
    const std::lock_guard lock(ledger_mutex_);
    before = std::exchange(joined.missed, true);
  }
  if (before) return;
  store_.environment().log(LogLevel::warning, joined.stream +
                                                  " cannot be reached, and is asked for again and again; "
                                                  "what is on other nodes goes on: " +
                                                  error.what());
}

void RedisSubscription::set_reached(Joined& joined) {
  {
    const std::lock_guard lock(ledger_mutex_);
    if (!std::exchange(joined.missed, false)) return;
  }
  store_.environment().log(LogLevel::info, joined.stream + " can be reached again");
}

// The same where streams lie on several servers, one of which may be down: what is on the others goes on. Throws when
// none of them can be reached.
bool RedisSubscription::look_at_each(Batch& batch, std::vector<Look>& looks) {
  const bool all_away = std::all_of(joined_.begin(), joined_.end(), [&](const Joined& each) { return is_away(each); });
  std::optional<Error> failure;
  std::size_t reached = 0;
  for (std::uint32_t i = 0; i < joined_.size(); ++i) {
    Joined& joined = joined_[i];
    const auto begun = WaitClock::now();
    if (all_away || !is_away(joined)) {
      try {
        const auto deadline = deadline_in(patience_with_one);
        if (!joined.member) {
          ready_.drop([&](const Ledger::Held& held) { return held.stream == i; });
          join(joined, member_, deadline);
          unsure_ = true;  // What it kept in our name, from before it was away, goes back.
        }
        const Replies answer = store_.eval(Script::look, joined.stream, joined.group, look_arguments(joined), deadline);
        if (!take_look(answer.reply(), i, batch, looks)) return false;
        ++reached;
        set_reached(joined);
        continue;
      } catch (const Error& error) {
        if (!error.retryable()) throw;
        if (!failure) failure.emplace(error);
        set_away(joined, error, std::chrono::floor<Millis>(WaitClock::now() - begun));
      }
    }
    looks.push_back({.away = true, .types = joined.types});
  }
  if (reached == 0 && failure) throw Error(*failure);
  return true;
}

// What follows from looks: dead instances are taken over from, and the group's types are known.
void RedisSubscription::act_on(std::vector<Look>& looks, WaitClock::time_point deadline) {
  std::string types;
  for (std::uint32_t i = 0; i < looks.size(); ++i) {
    types += looks[i].types;
    if (!looks[i].orphans) continue;
    (void)store_.eval(Script::orphans, joined_[i].stream, joined_[i].group, {store_.now_word(), "500"}, deadline);
    looks[i].alone = true;
  }
  if (types_ && types == types_text_) return;
  types_text_ = types;
  std::vector<std::string> list;
  for (std::string_view rest = types; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    list.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  types_ = std::make_shared<const std::vector<std::string>>(std::move(list));
}

std::size_t RedisSubscription::room(std::size_t& bytes) {
  const std::lock_guard lock(ledger_mutex_);
  if (ledger_.alone()) return 0;
  bytes = interest_.bytes - std::min(interest_.bytes, ledger_.bytes());
  return interest_.events - std::min(interest_.events, ledger_.events());
}

void RedisSubscription::Ready::clear() noexcept {
  deliveries.clear();
  held.clear();
}

void RedisSubscription::Ready::move_front(std::size_t count, std::vector<Delivery>& out) {
  const auto end = static_cast<std::ptrdiff_t>(count);
  if (out.empty() && count == deliveries.size()) {
    out.swap(deliveries);
  } else {
    out.insert(out.end(), std::move_iterator(deliveries.begin()), std::move_iterator(deliveries.begin() + end));
    deliveries.erase(deliveries.begin(), deliveries.begin() + end);
  }
  held.erase(held.begin(), held.begin() + end);
}

void RedisSubscription::hand_out(Batch& batch, std::size_t events, std::size_t bytes) {
  const std::lock_guard lock(ledger_mutex_);
  if (epoch_ == 0) return;  // renew() found meanwhile that all of it is lost.
  // renew() found meanwhile that some of it is nobody's.
  if (one_of_several()) ready_.drop([&](const Ledger::Held& held) { return !joined_[held.stream].member; });
  const std::size_t most = std::min(events, ready_.held.size());
  std::size_t count = 0;
  for (bool larger = false; count < most && !larger; ++count) {
    const Ledger::Held& held = ready_.held[count];
    const std::size_t size = held.envelope.size();
    larger = size > bytes;
    if (larger && ledger_.events() > 0) break;
    bytes -= std::min(bytes, size);
    Delivery& delivery = ready_.deliveries[count];
    delivery.token = {ledger_.add(held, delivery.block), 0, epoch()};
  }
  ready_.move_front(count, batch.deliveries);
  ready_events_ = ready_.held.size();
}

// Reads what there is room for; `batch` says what else there is. Leaves ready_ as it was where nothing may be read now.
RedisSubscription::Round RedisSubscription::read(Batch& batch, Millis wait, const std::stop_token& stop) {
  const auto patient = deadline_in(Millis(1'000));
  Round round;
  if (epoch_ == 0) join(patient);
  if (unsure_ || (!ahead_ && WaitClock::now() >= review_)) give_back_unseen(deadline_in(Millis(5'000)));
  if (!ahead_ && WaitClock::now() >= grown_) grow(patient);
  round.events = room(round.bytes);
  std::vector<Look> looks;
  try {
    if (!(ahead_ ? receive_ahead(batch, looks) : look(batch, looks, patient))) {
      lose_all();
      return round;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    join(patient);  // Somebody removed the group between the look and the read that were sent ahead.
    return round;
  }
  act_on(looks, patient);
  batch.types = types_;
  round.alone = std::any_of(looks.begin(), looks.end(), [](const Look& each) { return each.alone && !each.paused; });
  round.calm = std::none_of(looks.begin(), looks.end(),
                            [](const Look& each) { return each.alone || each.paused || each.retry > 0; });
  round.complete = true;
  if (!ready_.empty() || round.events == 0) return round;
  bool nothing_held = false;
  {
    const std::lock_guard lock(ledger_mutex_);
    nothing_held = ledger_.events() == 0;
  }
  try {
    if (round.alone && nothing_held) {
      read_alone(looks, patient);
    } else if (!round.alone && (round.bytes > 0 || nothing_held)) {
      Millis block = std::min(wait, slice);
      for (const Look& each : looks) {
        if (each.retry > 0) block = Millis(0);
        if (each.next_due > each.now) block = std::min(block, Millis(each.next_due - each.now));
      }
      read_turns(looks, std::min({round.events, fitting(round.bytes), share()}), block, stop);
    }
  } catch (const Error& error) {
    unsure_ = true;
    if (error.code() != ErrorCode::not_found) throw;
    join(patient);  // Somebody removed the group.
    round.complete = false;
  }
  return round;
}

// Reads new events where there is something to be read at once. Room for fewer events than there are streams is given
// to them in turns, and nobody waits at one of them while another has something.
void RedisSubscription::read_turns(const std::vector<Look>& looks, std::size_t events, Millis block,
                                   const std::stop_token& stop) {
  std::size_t keys = 0;
  for (const Look& look : looks) keys += look.paused ? 0 : look.retry > 0 ? 2 : 1;
  narrow_ = keys > events;
  if (!narrow_) return read_new(looks, events, block, stop);
  for (std::size_t turn = 0; turn * events < keys && ready_.empty(); ++turn) read_new(looks, events, Millis(0), stop);
}

// The most that one read asks for: where there is room for many a part of it, so that one part is handled while the
// next is read and the one before is settled; and not so few that the look before each read weighs.
std::size_t RedisSubscription::share() const noexcept {
  const std::size_t window = interest_.events;
  return window >= 2 * least_ahead ? std::min(window / 2, std::max(window / 8, worth_a_look)) : window;
}

// As many events as `bytes` hold, as far as one can know.
std::size_t RedisSubscription::fitting(std::size_t bytes) const noexcept {
  return std::max<std::size_t>(bytes / std::max<std::size_t>(average_, 1), 1);
}

Batch RedisSubscription::fetch(Millis wait, std::stop_token stop) {
  const auto deadline = deadline_in(wait);
  for (;;) {
    Batch batch;
    Round round;
    try {
      const auto left = std::chrono::floor<Millis>(deadline - WaitClock::now());
      round = read(batch, std::max(left, Millis(0)), stop);
    } catch (const Error&) {
      for (Joined& joined : joined_) joined.told.clear();  // Nobody hears of these gaps this time.
      throw;
    }
    if (!round.complete) {
      for (Joined& joined : joined_) joined.told.clear();
      continue;
    }
    // What was read ahead of a pause waits for its end.
    if (!batch.paused || joined_.size() > 1) hand_out(batch, round.events, round.bytes);
    // Where there is more, the server looks for it while this batch is handled.
    if (round.calm && full_ && ready_.empty() && !batch.deliveries.empty() && !stop.stop_requested()) send_ahead();
    if (!batch.deliveries.empty() || !batch.gaps.empty() || stop.stop_requested()) return batch;
    const auto now = WaitClock::now();
    if (now >= deadline) return batch;
    const bool turns = narrow_ && round.events > 0;
    if (turns || round.events == 0 || round.bytes == 0 || round.alone || batch.paused || ready_events_ > 0) {
      std::unique_lock lock(ledger_mutex_);
      settled_.wait_until(lock, stop, std::min(deadline, now + (turns ? turn_pause : slice)),
                          [&, seen = ledger_.events()] { return ledger_.events() < seen; });
    }
  }
}

}  // namespace tidings::transport::redis
