#include "transport/redis/nodes.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

namespace tidings::transport::redis {
namespace {

constexpr std::chrono::milliseconds patience_with_one{1'000};  // Of several that can be asked.
constexpr int most_redirections = 5;

WaitClock::time_point sooner(WaitClock::time_point deadline, std::chrono::milliseconds wait) {
  return std::min(deadline, deadline_in(wait));
}

// How a server names a script.
std::string digest_of(const std::string& text) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes, &size, EVP_sha1(), nullptr) != 1) return "unknown";
  std::string digest;
  for (unsigned i = 0; i < size; ++i) {
    digest += "0123456789abcdef"[bytes[i] >> 4U];
    digest += "0123456789abcdef"[bytes[i] & 15U];
  }
  return digest;
}

// What the first of `seeds` that knows it answers. Those that did not move behind the others, so that one that hangs is
// not asked first again and again; whoever asks in vain asks the next one the next time.
template <class Answer>
auto ask_any(std::vector<Address>& seeds, const Answer& answer) -> decltype(answer(seeds.front())) {
  std::optional<Error> failure;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    try {
      return answer(seeds.front());
    } catch (const Error& error) {
      std::rotate(seeds.begin(), seeds.begin() + 1, seeds.end());
      // One that can be mended by waiting says more about the engine than one that cannot about one of its servers.
      if (!failure || !failure->retryable()) failure.emplace(error);
    }
  }
  throw Error(*failure);
}

}  // namespace

Nodes::Nodes(Endpoint endpoint, WaitClock::time_point deadline)
    : endpoint_(std::move(endpoint)), seeds_(endpoint_.addresses) {
  for (std::size_t i = 0; i < script_count; ++i) digests_[i] = digest_of(script_text(static_cast<Script>(i)));
  // Any node of a cluster knows the others; the one that owns some key may be down.
  if (clustered()) {
    refresh(deadline);
    return;
  }
  Commands ping;
  ping.add({"PING"});
  (void)run("", ping, deadline);
}

std::unique_ptr<Connection> Nodes::open(const Address& address, bool scripts, WaitClock::time_point deadline) const {
  auto connection = std::make_unique<Connection>(address, endpoint_, deadline);
  if (!scripts) return connection;
  Commands commands;
  for (std::size_t i = 0; i < script_count; ++i) commands.add({"SCRIPT", "LOAD", script_text(static_cast<Script>(i))});
  connection->send(commands, deadline);
  const Received received = connection->receive(deadline, script_count);
  for (std::size_t i = 0; i < script_count; ++i) {
    if (received.reply(i).error()) throw error_of(received.reply(i).text());
  }
  return connection;
}

// The sentinels are asked at each connection, and the server itself whether it is the master: a sentinel that was cut
// off names one that is it no longer.
std::unique_ptr<Connection> Nodes::open_master(bool scripts, WaitClock::time_point deadline) {
  if (endpoint_.kind == Endpoint::Kind::server) return open(endpoint_.addresses.front(), scripts, deadline);
  Endpoint sentinel = endpoint_;
  sentinel.login = endpoint_.sentinel_login;
  sentinel.database = 0;
  std::vector<Address> seeds;
  {
    const std::lock_guard lock(mutex_);
    seeds = seeds_;
  }
  auto found = ask_any(seeds, [&](const Address& address) {
    Connection asked(address, sentinel, sooner(deadline, patience_with_one));
    Commands question;
    question.add({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", endpoint_.master});
    const Received answer = asked.call(question, sooner(deadline, patience_with_one));
    if (answer.reply().size() != 2) {
      throw Error(ErrorCode::not_found, "redis: the sentinel at " + address.text() + " knows no master \"" +
                                            endpoint_.master + "\"; see SENTINEL MASTERS");
    }
    const Address master{
        std::string(answer.reply()[0].text()), static_cast<std::uint16_t>(answer.reply()[1].integer()), {}};
    // One that has just been replaced may be silent; whoever took its place is asked for soon.
    auto connection = open(master, scripts, sooner(deadline, 2 * patience_with_one));
    Commands role;
    role.add({"ROLE"});
    const Received said = connection->call(role, deadline);
    if (said.reply()[0].text() != "master") {
      throw Error(ErrorCode::unavailable, true,
                  "redis: " + master.text() + " is no master any more; a failover is under way, try again");
    }
    return connection;
  });
  const std::lock_guard lock(mutex_);
  seeds_ = std::move(seeds);
  return found;
}

void Nodes::refresh(WaitClock::time_point deadline) {
  std::vector<Address> seeds;
  {
    const std::lock_guard lock(mutex_);
    if (!stale_) return;
    seeds = seeds_;
    for (const Address& server : slots_.servers()) {
      if (std::find(seeds.begin(), seeds.end(), server) == seeds.end()) seeds.push_back(server);
    }
  }
  // A new order of the seeds is worth keeping whatever comes of it.
  struct Keep {
    Nodes& self;
    std::vector<Address>& seeds;
    ~Keep() {
      const std::lock_guard lock(self.mutex_);
      self.seeds_.swap(seeds);
    }
  };
  SlotMap slots = [&] {
    const Keep keep{*this, seeds};
    return ask_any(seeds, [&](const Address& address) { return slots_told_by(address, deadline); });
  }();
  const std::lock_guard lock(mutex_);
  slots_ = std::move(slots);
  stale_ = false;
}

SlotMap Nodes::slots_told_by(const Address& address, WaitClock::time_point deadline) const {
  // Where there is not much time, there is some left for the next one.
  const auto half = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - WaitClock::now()) / 2;
  const auto until = sooner(deadline, std::min(patience_with_one, half));
  const auto connection = open(address, false, until);
  Commands question;
  question.add({"CLUSTER", "SLOTS"});
  connection->send(question, until);
  const Received answer = connection->receive(until);
  if (answer.reply().error()) {
    const Error error = error_of(answer.reply().text());
    if (error.code() != ErrorCode::internal) throw Error(error);
    throw Error(ErrorCode::invalid, "redis: " + address.text() + " is no cluster: " +
                                        std::string(answer.reply().text()) + "; write redis:// for one server");
  }
  SlotMap map(answer.reply(), address);
  if (map.servers().empty()) {
    throw Error(ErrorCode::unavailable, true,
                "redis: the cluster of " + address.text() + " has no slots yet; try again");
  }
  return map;
}

Address Nodes::owner_of(std::string_view key, WaitClock::time_point deadline) {
  if (!clustered()) return {};
  const std::uint16_t slot = slot_of(key);
  try {
    refresh(deadline);
  } catch (const Error& error) {
    // Whoever owned it last may well own it still.
    const std::lock_guard lock(mutex_);
    const Address* const owner = slots_.owner(slot);
    if (owner == nullptr || !error.retryable()) throw;
    return *owner;
  }
  const std::lock_guard lock(mutex_);
  if (const Address* const owner = slots_.owner(slot)) return *owner;
  stale_ = true;
  throw Error(ErrorCode::unavailable, true,
              "redis: nobody in the cluster owns the slot " + std::to_string(slot) + " now; try again");
}

Client& Nodes::client_at(const Address& address, Lane lane) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Client>& client = clients_[{address, lane}];
  if (!client) {
    const auto connect = [this, address](WaitClock::time_point deadline) {
      return clustered() ? open(address, true, deadline) : open_master(true, deadline);
    };
    client = std::make_unique<Client>(connect);
  }
  return *client;
}

// What replies and failures say about where the servers are.
void Nodes::watch(const Replies& replies, Client& client, std::optional<Error>& failure) {
  if (failure) doubt();
  if (!replies.errors()) return;
  for (std::size_t i = 0; i < replies.count(); ++i) {
    const Reply reply = replies.reply(i);
    if (!reply.error()) continue;
    if (reply.text().starts_with("READONLY")) client.renew();  // It was the master before.
    if (clustered() || !reply.text().starts_with("MOVED ") || failure) continue;
    failure.emplace(ErrorCode::invalid, "redis: this server is one of a cluster; write redis+cluster:// instead");
  }
}

// Sends what was answered by MOVED or ASK to where they say, in order; false when there was none.
bool Nodes::follow(Replies& replies, const Commands& commands, const Address& from, WaitClock::time_point deadline,
                   std::optional<Error>& failure, Lane lane) {
  if (!replies.errors()) return false;
  Redirection to;
  Commands again;
  std::vector<std::size_t> indexes;
  for (std::size_t i = 0; i < replies.count(); ++i) {
    if (!replies.reply(i).error()) continue;
    const Redirection each = redirection_of(replies.reply(i).text(), from);
    if (each.kind == Redirection::Kind::none) continue;
    if (to.kind == Redirection::Kind::none) to = each;
    if (each.kind != to.kind || each.to != to.to) continue;
    if (to.kind == Redirection::Kind::ask) again.add({"ASKING"});
    again.copy(commands, i);
    indexes.push_back(i);
  }
  if (indexes.empty()) return false;
  if (to.kind == Redirection::Kind::moved) learn(replies.reply(indexes.front()).text(), from);
  const std::size_t last = commands.count() - 1;
  if (commands.closed()) again.copy(commands, last);
  Client& client = client_at(to.to, lane);
  const Received received = client.run(again, deadline, failure);
  const std::size_t each = to.kind == Redirection::Kind::ask ? 2 : 1;
  for (std::size_t k = 0; k < indexes.size(); ++k) {
    const std::size_t at = (k + 1) * each - 1;
    at < received.count() ? replies.replace(indexes[k], received, at) : replies.lose(indexes[k]);
  }
  if (commands.closed() && replies.count() > last) {
    // What either server says less of counts.
    if (received.count() < again.count()) {
      replies.lose(last);
    } else if (received.reply(again.count() - 1).integer() < replies.reply(last).integer()) {
      replies.replace(last, received, again.count() - 1);
    }
  }
  watch(replies, client, failure);
  return true;
}

template <class Send>
Replies Nodes::run_with(std::string_view key, const Commands& commands, WaitClock::time_point deadline,
                        std::optional<Error>& failure, Lane lane, const Send& send) {
  Address owner;
  try {
    owner = owner_of(key, deadline);
  } catch (const Error& error) {
    failure.emplace(error);
    return {};
  }
  Replies replies(send(client_at(owner, lane)));
  watch(replies, client_at(owner, lane), failure);
  if (failure && !replies.sent() && clustered()) {
    // Nothing was sent, since the server is gone: another may have taken its place long ago.
    const std::optional<Error> before = std::exchange(failure, std::nullopt);
    try {
      const Address now = owner_of(key, deadline);
      if (now == owner) throw Error(*before);
      owner = now;
      replies = Replies(send(client_at(owner, lane)));
      watch(replies, client_at(owner, lane), failure);
    } catch (const Error& error) {
      failure.emplace(error);
    }
  }
  for (int i = 0; clustered() && !failure && i < most_redirections; ++i) {
    if (!follow(replies, commands, owner, deadline, failure, lane)) break;
  }
  return replies;
}

Replies Nodes::run(std::string_view key, const Commands& commands, WaitClock::time_point deadline,
                   std::optional<Error>& failure, Lane lane, std::uint64_t only_on) {
  return run_with(key, commands, deadline, failure, lane,
                  [&](Client& client) { return client.run(commands, deadline, failure, only_on); });
}

Replies Nodes::run(std::string_view key, Commands& commands, const Client::Fill& fill, WaitClock::time_point deadline,
                   std::optional<Error>& failure, Lane lane) {
  return run_with(key, commands, deadline, failure, lane,
                  [&](Client& client) { return client.run(commands, fill, deadline, failure); });
}

Replies Nodes::run(std::string_view key, const Commands& commands, WaitClock::time_point deadline) {
  std::optional<Error> failure;
  Replies replies = run(key, commands, deadline, failure);
  if (failure) throw Error(*failure);
  return replies;
}

Replies Nodes::call(std::string_view key, std::initializer_list<std::string_view> words,
                    WaitClock::time_point deadline) {
  Commands commands;
  commands.add(words);
  Replies replies = run(key, commands, deadline);
  if (replies.reply().error()) throw error_of(replies.reply().text());
  return replies;
}

namespace {

Commands call_of(std::string_view verb, std::string_view script, const std::vector<std::string>& keys,
                 const std::vector<std::string>& arguments) {
  Commands commands;
  commands.begin(keys.size() + arguments.size() + 3).word(verb).word(script);
  commands.word(static_cast<std::int64_t>(keys.size()));
  for (const std::string& key : keys) commands.word(key);
  for (const std::string& argument : arguments) commands.word(argument);
  return commands;
}

}  // namespace

Commands Nodes::script_command(Script script, const std::vector<std::string>& keys,
                               const std::vector<std::string>& arguments) const {
  return call_of("EVALSHA", digests_[static_cast<std::size_t>(script)], keys, arguments);
}

Replies Nodes::eval(Script script, const std::vector<std::string>& keys, const std::vector<std::string>& arguments,
                    WaitClock::time_point deadline) {
  Replies replies = run(keys.front(), script_command(script, keys, arguments), deadline);
  // Somebody emptied the server's scripts: nothing was done.
  if (replies.reply().error() && replies.reply().text().starts_with("NOSCRIPT")) {
    replies = run(keys.front(), call_of("EVAL", script_text(script), keys, arguments), deadline);
  }
  if (replies.reply().error()) throw error_of(replies.reply().text());
  return replies;
}

std::unique_ptr<Connection> Nodes::connect(std::string_view key, WaitClock::time_point deadline) {
  if (!clustered()) return open_master(false, deadline);
  try {
    return open(owner_of(key, deadline), false, deadline);
  } catch (const Error&) {
    doubt();
    throw;
  }
}

Replies Nodes::run_beside(const Connection& connection, const Commands& commands, WaitClock::time_point deadline) {
  std::optional<Error> failure;
  Replies replies(
      client_at(clustered() ? connection.address() : Address{}, Lane::shared).run(commands, deadline, failure));
  if (failure) throw Error(*failure);
  return replies;
}

void Nodes::learn(std::string_view error, const Address& from) {
  const Redirection to = redirection_of(error, from);
  if (!clustered() || to.kind != Redirection::Kind::moved) return;
  const std::lock_guard lock(mutex_);
  slots_.move(to.slot, to.to);
}

void Nodes::doubt() {
  const std::lock_guard lock(mutex_);
  stale_ = true;
}

std::size_t Nodes::place_of(std::string_view key) {
  if (!clustered()) return 0;
  const std::lock_guard lock(mutex_);
  const std::uint16_t slot = slot_of(key);
  const Address* const owner = slots_.owner(slot);
  return owner == nullptr ? slot_count + slot : static_cast<std::size_t>(owner - slots_.servers().data());
}

std::vector<std::string> Nodes::key_of_each() {
  if (!clustered()) return {""};
  refresh(deadline_in(patience_with_one * 5));
  const std::lock_guard lock(mutex_);
  std::map<Address, std::string> keys;
  for (std::size_t i = 0; i < 4 * slot_count && keys.size() < slots_.servers().size(); ++i) {
    std::string key = std::to_string(i);
    if (const Address* const owner = slots_.owner(slot_of(key))) keys.try_emplace(*owner, std::move(key));
  }
  std::vector<std::string> all;
  for (auto& [owner, key] : keys) all.push_back(std::move(key));
  return all;
}

std::optional<Error> Nodes::ask_each(const std::function<void(const std::string& key, Millis within)>& ask) {
  std::optional<Error> failure;
  std::size_t reached = 0;
  for (const std::string& key : key_of_each()) {
    try {
      ask(key, clustered() ? 2 * patience_with_one : Millis(10'000));
      ++reached;
    } catch (const Error& error) {
      if (!clustered() || !error.retryable()) throw;
      failure.emplace(error);
    }
  }
  if (reached > 0) return failure;
  if (!failure) failure.emplace(ErrorCode::unavailable, true, "redis: the cluster has no slots yet; try again");
  throw Error(*failure);
}

}  // namespace tidings::transport::redis
