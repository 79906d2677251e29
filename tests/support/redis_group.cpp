#include "redis_group.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace tidings::support {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* here = "127.0.0.1";
constexpr const char* victory = "Failover election won";

// Servers that have to agree tell nobody when they have: they can only be asked again.
void await_or_tell(const std::string& what, const std::function<bool()>& holds,
                   const std::function<std::string()>& state) {
  const auto end = Clock::now() + std::chrono::milliseconds(patience);
  while (!holds()) {
    if (Clock::now() > end) throw std::runtime_error("a minute was not enough until " + what + state());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

bool says(const RedisServer& server, const std::string& words, std::string_view expected) {
  return server.ask(words).find(expected) != std::string::npos;
}

/// Says something that must be answered with OK.
void tell(const RedisServer& server, const std::string& words) {
  if (const std::string reply = server.ask(words); !reply.starts_with("+OK")) {
    throw std::runtime_error(words + " was answered with: " + reply);
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string port_text(const RedisServer& server) { return std::to_string(server.port()); }

std::string address_of(const RedisServer& server) { return here + (" " + port_text(server)); }

/// `SCHEME://127.0.0.1:PORT,…`
std::string url_of(std::string url, const std::vector<std::unique_ptr<RedisServer>>& servers) {
  std::string_view between = "://";
  for (const auto& server : servers) {
    url.append(between).append(here).append(":").append(port_text(*server));
    between = ",";
  }
  return url;
}

RedisOptions options_of(const GroupOptions& group, const std::vector<std::string>& more) {
  RedisOptions options;
  options.aof = group.aof;
  options.password = group.password;
  // A replica's first copy is made at once, and not after the five seconds that gather several.
  options.arguments = {"--repl-diskless-sync-delay", "0"};
  if (!group.password.empty()) options.arguments.insert(options.arguments.end(), {"--masterauth", group.password});
  options.arguments.insert(options.arguments.end(), more.begin(), more.end());
  return options;
}

/// What several servers say to some words, and the ends of their logs.
std::string state_of(const std::vector<std::unique_ptr<RedisServer>>& servers, const std::string& words) {
  constexpr std::size_t most = 2'000;
  std::string text;
  for (const auto& server : servers) {
    const std::string& log = server->log();
    text +=
        "\n" + address_of(*server) + ": " + server->ask(words) + log.substr(log.size() - std::min(log.size(), most));
  }
  return text;
}

std::size_t replicas_online(const RedisServer& server) {
  const std::string info = server.ask("INFO replication");
  std::size_t count = 0;
  for (std::size_t at = info.find("state=online"); at != std::string::npos; at = info.find("state=online", at + 1))
    ++count;
  return count;
}

/// A line of CLUSTER NODES: `ID ADDRESS FLAGS MASTER ping pong epoch link SLOT …`.
struct NodeLine {
  std::string id{}, flags{}, master{};
  std::uint16_t port = 0;
  std::vector<std::pair<int, int>> slots{};
};

std::vector<NodeLine> nodes_seen_by(const RedisServer& node) {
  std::vector<NodeLine> nodes;
  for (const std::string& line : lines_of(node.ask("CLUSTER NODES"))) {
    const std::vector<std::string> words = words_of(line);
    const std::size_t colon = words.size() < 8 ? std::string::npos : words[1].find(':');
    if (colon == std::string::npos) continue;
    NodeLine& each = nodes.emplace_back();
    each.id = words[0];
    each.flags = words[2];
    each.master = words[3];
    each.port = static_cast<std::uint16_t>(std::stoi(words[1].substr(colon + 1)));
    for (std::size_t i = 8; i < words.size(); ++i) {
      if (words[i].front() == '[') continue;  // A slot that moves.
      const std::size_t dash = words[i].find('-');
      const int first = std::stoi(words[i]);
      each.slots.emplace_back(first, dash == std::string::npos ? first : std::stoi(words[i].substr(dash + 1)));
    }
  }
  return nodes;
}

NodeLine self(const RedisServer& node) {
  for (NodeLine& each : nodes_seen_by(node)) {
    if (each.flags.find("myself") != std::string::npos) return std::move(each);
  }
  throw std::runtime_error("a node of the cluster does not answer");
}

}  // namespace

RedisSentinels::RedisSentinels(const GroupOptions& options) {
  for (int i = 0; i < 3; ++i) {
    RedisOptions each = options_of(options, {});
    // What the sentinels make of a server outlives its restart.
    each.remembers = true;
    servers_.push_back(std::make_unique<RedisServer>(each));
    if (i > 0) tell(*servers_[i], "REPLICAOF " + address_of(*servers_[0]));
  }
  std::string watched = "sentinel monitor tidings " + address_of(*servers_[0]) + " 2\n" +
                        "sentinel down-after-milliseconds tidings " + std::to_string(options.down_after) + "\n" +
                        "sentinel failover-timeout tidings 3000\nsentinel parallel-syncs tidings 2\n";
  if (!options.password.empty()) watched += "sentinel auth-pass tidings " + options.password + "\n";
  // The sentinels look for replicas once they start, and then every ten seconds.
  await("both replicas follow the master", [&] { return replicas_online(*servers_[0]) == 2; });
  for (int i = 0; i < 3; ++i) sentinels_.push_back(std::make_unique<RedisServer>(RedisOptions{.sentinel = watched}));
  hurry();
  for (const auto& sentinel : sentinels_) {
    for (const char* found : {"+slave slave", "+sentinel sentinel"}) {
      (void)sentinel->await_log(found, sentinel->await_log(found));
    }
    // One that does not know the others' state elects nobody.
    await("the sentinels reach each other",
          [&] { return says(*sentinel, "SENTINEL CKQUORUM tidings", "OK 3 usable Sentinels"); });
  }
}

void RedisSentinels::await(const std::string& what, const std::function<bool()>& holds) const {
  await_or_tell(what, holds, [this] {
    return state_of(servers_, "ROLE") + state_of(sentinels_, "SENTINEL GET-MASTER-ADDR-BY-NAME tidings");
  });
}

/// Lets the sentinels look and talk more often than Redis has them do, by settings that they forget when they end.
void RedisSentinels::hurry() const {
  for (const auto& sentinel : sentinels_) {
    if (sentinel->answers()) tell(*sentinel, "SENTINEL DEBUG info-period 500 ask-period 300 publish-period 300");
  }
}

std::string RedisSentinels::url() const { return url_of("redis+sentinel", sentinels_) + "/tidings"; }

/// The port of what a sentinel holds for the master; 0 when it does not say.
std::uint16_t RedisSentinels::named_by(const RedisServer& sentinel) const {
  // An array of two: `*2`, `$9`, the host, `$5`, the port.
  const std::vector<std::string> lines = lines_of(sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME tidings"));
  return lines.size() < 5 ? std::uint16_t{0} : static_cast<std::uint16_t>(std::stoi(lines[4]));
}

RedisServer& RedisSentinels::master() {
  RedisServer* found = nullptr;
  await("there is a master", [&] {
    for (const auto& server : servers_) {
      const auto named = std::count_if(sentinels_.begin(), sentinels_.end(),
                                       [&](const auto& each) { return named_by(*each) == server->port(); });
      if (named >= 2 && says(*server, "ROLE", "master")) found = server.get();
    }
    return found != nullptr;
  });
  return *found;
}

void RedisSentinels::fail_over() {
  RedisServer& old = master();
  old.kill();
  await_new_master(old.port());
}

void RedisSentinels::fail_over_by_command() {
  const std::uint16_t old = master().port();
  // Refused while no replica is known to be good, or an earlier failover is not over.
  await("a sentinel begins a failover", [&] { return says(*sentinels_[0], "SENTINEL FAILOVER tidings", "+OK"); });
  await_new_master(old);
}

// Asked rather than read from the logs, since a test that let the master hang comes when it may have happened already.
void RedisSentinels::await_new_master(std::uint16_t old) {
  await("another one is the master", [&] {
    return std::all_of(sentinels_.begin(), sentinels_.end(), [&](const auto& sentinel) {
      const std::uint16_t named = sentinel->answers() ? named_by(*sentinel) : 1;
      return named != 0 && named != old;
    });
  });
  (void)master();
}

void RedisSentinels::revive() {
  for (const auto* group : {&servers_, &sentinels_}) {
    for (const auto& server : *group) {
      if (server->pid() < 0) server->restart();
    }
  }
  hurry();
  await("both replicas follow the master", [&] { return replicas_online(master()) == 2; });
}

RedisCluster::RedisCluster(const GroupOptions& options)
    : password_(options.password), votes_last_(2 * std::max(2 * options.down_after, 2'000)) {
  RedisOptions each = options_of(options, {"--cluster-node-timeout", std::to_string(options.down_after),
                                           // A replica whose link was down for a while may take over all the same.
                                           "--cluster-replica-validity-factor", "0"});
  each.cluster = true;
  for (int i = 0; i < 6; ++i) nodes_.push_back(std::make_unique<RedisServer>(each));
  introduce();
  revive();
}

void RedisCluster::await(const std::string& what, const std::function<bool()>& holds) const {
  await_or_tell(what, holds, [this] { return state_of(nodes_, "CLUSTER NODES"); });
}

// `redis-cli --cluster create` does the same, and sleeps a second between its looks.
void RedisCluster::introduce() {
  const std::vector<std::string> ranges{"0 5460", "5461 10922", "10923 16383"};
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    tell(*nodes_[i], "CLUSTER SET-CONFIG-EPOCH " + std::to_string(i + 1));
    if (i < ranges.size()) tell(*nodes_[i], "CLUSTER ADDSLOTSRANGE " + ranges[i]);
  }
  for (const auto& other : nodes_) {
    if (other == nodes_[0]) continue;
    tell(*nodes_[0], "CLUSTER MEET " + address_of(*other) + " " + std::to_string(other->bus_port()));
  }
  await("all nodes know each other", [&] {
    return std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
      const std::vector<NodeLine> known = nodes_seen_by(*node);
      return known.size() == nodes_.size() && std::all_of(known.begin(), known.end(), [](const NodeLine& each) {
               return each.flags.find("handshake") == std::string::npos;
             });
    });
  });
  for (std::size_t i = 0; i < 3; ++i) tell(*nodes_[i + 3], "CLUSTER REPLICATE " + self(*nodes_[i]).id);
}

std::string RedisCluster::url() const { return url_of("redis+cluster", nodes_); }

int RedisCluster::slot_of(const std::string& key) {
  for (const auto& node : nodes_) {
    if (node->answers()) return std::stoi(node->cli("CLUSTER", "KEYSLOT", key));
  }
  throw std::runtime_error("no node of the cluster answers");
}

RedisServer* RedisCluster::owner_told_by(const RedisServer& node, int slot) const {
  for (const NodeLine& each : nodes_seen_by(node)) {
    const bool owns = std::any_of(each.slots.begin(), each.slots.end(),
                                  [&](const auto& range) { return range.first <= slot && slot <= range.second; });
    if (!owns) continue;
    for (const auto& known : nodes_) {
      if (known->port() == each.port) return known.get();
    }
  }
  return nullptr;
}

/// What all nodes that answer hold for the slot's owner, when that holds itself for a master.
RedisServer* RedisCluster::agreed_owner(int slot) const {
  std::optional<RedisServer*> owner;
  for (const auto& node : nodes_) {
    if (!node->answers()) continue;
    RedisServer* told = owner_told_by(*node, slot);
    if (owner.value_or(told) != told) return nullptr;
    owner = told;
  }
  RedisServer* found = owner.value_or(nullptr);
  return found != nullptr && says(*found, "ROLE", "master") ? found : nullptr;
}

RedisServer& RedisCluster::owner_of(const std::string& key) {
  const int slot = slot_of(key);
  RedisServer* found = nullptr;
  await("all agree on a slot's owner", [&] { return (found = agreed_owner(slot)) != nullptr; });
  return *found;
}

RedisServer& RedisCluster::replica_of(const RedisServer& master) const {
  const std::string id = self(master).id;
  for (const auto& node : nodes_) {
    if (node->answers() && self(*node).master == id) return *node;
  }
  throw std::runtime_error("the master has no replica that answers");
}

std::vector<RedisServer*> RedisCluster::masters() const {
  std::vector<RedisServer*> all;
  for (const auto& node : nodes_) {
    if (says(*node, "ROLE", "master")) all.push_back(node.get());
  }
  return all;
}

bool RedisCluster::well() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
    return !node->answers() || says(*node, "CLUSTER INFO", "cluster_state:ok");
  });
}

/// Whether all nodes that answer see the same roles, and none that is down. A master that has not heard that a node is
/// its replica now lets it take over neither by an election nor by a command.
bool RedisCluster::agree() const {
  std::optional<std::string> seen;
  for (const auto& node : nodes_) {
    if (!node->answers()) continue;
    std::vector<std::string> roles;
    for (const NodeLine& each : nodes_seen_by(*node)) {
      if (each.flags.find("fail") != std::string::npos) return false;
      roles.push_back(each.id + " " + each.master + ";");
    }
    std::sort(roles.begin(), roles.end());
    const std::string all = std::accumulate(roles.begin(), roles.end(), std::string());
    if (seen.value_or(all) != all) return false;
    seen = all;
  }
  return true;
}

void RedisCluster::on_masters(const std::vector<std::string>& words) {
  for (RedisServer* node : masters()) node->run_cli(words);
}

/// Notes who has won an election since it was last looked at.
void RedisCluster::note_elections() {
  elections_.resize(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const std::string& log = nodes_[i]->log();
    std::size_t won = 0;
    for (std::size_t at = log.find(victory); at != std::string::npos; at = log.find(victory, at + 1)) ++won;
    if (won != elections_[i].won) elections_[i] = {won, Clock::now()};
  }
}

// Redis 7.0 keeps the votes of an election for a while, also when their winner is a replica again. Had it to take over
// within that time, it would do so at once, with the old epoch, and be believed by nobody, for ever. Only a restart
// makes it forget sooner; nothing tells when it has.
void RedisCluster::await_forgotten_votes() {
  await("the votes of the last election are forgotten", [this] {
    note_elections();
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (elections_[i].won > 0 && Clock::now() < elections_[i].at + votes_last_ && says(*nodes_[i], "ROLE", "slave"))
        return false;
    }
    return true;
  });
}

void RedisCluster::fail_over(const std::string& key) {
  await_forgotten_votes();
  RedisServer& old = owner_of(key);
  RedisServer& heir = replica_of(old);
  const std::size_t logged = heir.log().size();
  old.kill();
  (void)heir.await_log(victory, logged);
  await_other_than(old, key);
}

void RedisCluster::fail_over_by_command(const std::string& key) {
  await_forgotten_votes();
  RedisServer& old = owner_of(key);
  tell(replica_of(old), "CLUSTER FAILOVER");
  await_other_than(old, key);
}

void RedisCluster::await_other_than(const RedisServer& old, const std::string& key) {
  const int slot = slot_of(key);
  await("another one owns the slot", [&] {
    const RedisServer* owner = agreed_owner(slot);
    return owner != nullptr && owner != &old && well();
  });
  note_elections();
}

void RedisCluster::revive() {
  for (const auto& node : nodes_) {
    if (node->pid() < 0) node->restart();
  }
  await("every master has a replica and the cluster is well", [&] {
    const std::vector<RedisServer*> leading = masters();
    return leading.size() == 3 && well() && agree() &&
           std::all_of(leading.begin(), leading.end(), [](RedisServer* each) { return replicas_online(*each) > 0; });
  });
  await_forgotten_votes();
}

void RedisCluster::move_slot(const std::string& key) {
  begin_move(key);
  end_move();
}

RedisServer& RedisCluster::begin_move(const std::string& key) {
  source_ = &owner_of(key);
  for (RedisServer* each : masters()) {
    if (each != source_) target_ = each;
  }
  slot_ = slot_of(key);
  const std::string slot = "CLUSTER SETSLOT " + std::to_string(slot_);
  // In this order: a key that is not there must not be asked for where nobody expects it.
  tell(*target_, slot + " IMPORTING " + self(*source_).id);
  tell(*source_, slot + " MIGRATING " + self(*target_).id);
  return *target_;
}

void RedisCluster::end_move() {
  std::vector<std::string> migrate{"MIGRATE", here, port_text(*target_), "", "0", "5000"};
  if (!password_.empty()) migrate.insert(migrate.end(), {"AUTH", password_});
  migrate.emplace_back("KEYS");
  for (;;) {
    std::vector<std::string> words = migrate;
    // No new ones come meanwhile: what is not there is made at the target.
    for (const std::string& key : lines_of(source_->cli("CLUSTER", "GETKEYSINSLOT", slot_, 100))) {
      if (!key.empty()) words.push_back(key);
    }
    if (words.size() == migrate.size()) break;
    const std::string said = source_->run_cli(words);
    if (said != "OK" && said != "NOKEY") throw std::runtime_error("keys cannot be moved: " + said);
  }
  const std::string moved = "CLUSTER SETSLOT " + std::to_string(slot_) + " NODE " + self(*target_).id;
  // The target first: between the two, clients are sent on by ASK, and never back and forth.
  tell(*target_, moved);
  for (RedisServer* each : masters()) tell(*each, moved);
  await("all know the slot's new owner", [&] { return agreed_owner(slot_) == target_; });
}

}  // namespace tidings::support
