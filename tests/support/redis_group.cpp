#include "redis_group.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace tidings::support {
namespace {

using Clock = std::chrono::steady_clock;

// Servers tell nobody when they have agreed: they can only be asked again.
void await(const std::string& what, const std::function<bool()>& holds) {
  const auto end = Clock::now() + std::chrono::minutes(1);
  while (!holds()) {
    if (Clock::now() > end) throw std::runtime_error("a minute was not enough until " + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

bool says(RedisServer& server, const std::vector<std::string>& words, std::string_view expected) {
  if (server.pid() < 0) return false;
  const std::string said = words.size() == 1 ? server.cli(words[0]) : server.cli(words[0], words[1]);
  return said.find(expected) != std::string::npos;
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

}  // namespace

RedisSentinels::RedisSentinels(Aof aof) {
  // A replica's first copy is made at once, and not after the five seconds that gather several.
  const std::vector<std::string> at_once{"--repl-diskless-sync-delay", "0"};
  servers_.push_back(std::make_unique<RedisServer>(RedisOptions{.aof = aof, .arguments = at_once}));
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> arguments = at_once;
    arguments.insert(arguments.end(), {"--replicaof", "127.0.0.1 " + port_text(*servers_[0])});
    servers_.push_back(std::make_unique<RedisServer>(RedisOptions{.aof = aof, .arguments = arguments}));
  }
  const std::string watched = "sentinel monitor tidings 127.0.0.1 " + port_text(*servers_[0]) +
                              " 2\nsentinel down-after-milliseconds tidings 700\nsentinel failover-timeout tidings "
                              "3000\nsentinel parallel-syncs tidings 2\n";
  for (int i = 0; i < 3; ++i) sentinels_.push_back(std::make_unique<RedisServer>(RedisOptions{.sentinel = watched}));
  for (const auto& sentinel : sentinels_) {
    await("the sentinels know each other and the replicas", [&] {
      const std::string info = sentinel->cli("INFO", "sentinel");
      return info.find("slaves=2,sentinels=3") != std::string::npos;
    });
  }
  revive();
}

std::string RedisSentinels::url() const {
  std::string url;
  for (const auto& sentinel : sentinels_)
    url += (url.empty() ? "redis+sentinel://127.0.0.1:" : ",127.0.0.1:") + port_text(*sentinel);
  return url + "/tidings";
}

RedisServer& RedisSentinels::master() {
  RedisServer* found = nullptr;
  await("there is a master", [&] {
    const std::vector<std::string> one = lines_of(sentinels_[0]->cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tidings"));
    const std::vector<std::string> other =
        lines_of(sentinels_[1]->cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tidings"));
    if (one.size() != 2 || one != other) return false;
    for (const auto& server : servers_) {
      if (port_text(*server) == one[1] && server->pid() > 0) found = server.get();
    }
    return found != nullptr && says(*found, {"ROLE"}, "master");
  });
  return *found;
}

void RedisSentinels::fail_over() {
  RedisServer& old = master();
  old.kill();
  await_other_than(old);
}

void RedisSentinels::await_other_than(const RedisServer& old) {
  await("another one is the master", [&] {
    for (const auto& sentinel : sentinels_) {
      const auto address = lines_of(sentinel->cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tidings"));
      if (address.size() != 2 || address[1] == port_text(old)) return false;
    }
    return true;
  });
  (void)master();
}

void RedisSentinels::revive() {
  for (const auto& server : servers_) {
    if (server->pid() < 0) server->restart();
  }
  await("both replicas follow the master", [&] {
    const std::string info = master().cli("INFO", "replication");
    const std::size_t first = info.find("state=online");
    return first != std::string::npos && info.find("state=online", first + 1) != std::string::npos;
  });
}

RedisCluster::RedisCluster(Aof aof) {
  std::vector<std::string> create{"redis-cli", "--cluster", "create"};
  for (int i = 0; i < 6; ++i) {
    nodes_.push_back(std::make_unique<RedisServer>(
        RedisOptions{.aof = aof,
                     .arguments = {"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port",
                                   std::to_string(free_port()), "--repl-diskless-sync-delay", "0",
                                   // A replica whose link was down for a while may take over all the same.
                                   "--cluster-replica-validity-factor", "0"}}));
    create.push_back("127.0.0.1:" + port_text(*nodes_.back()));
  }
  create.insert(create.end(), {"--cluster-replicas", "1", "--cluster-yes"});
  run_program(create);
  revive();
}

std::string RedisCluster::url() const {
  std::string url;
  for (const auto& node : nodes_)
    url += (url.empty() ? "redis+cluster://127.0.0.1:" : ",127.0.0.1:") + port_text(*node);
  return url;
}

RedisServer& RedisCluster::any() {
  for (const auto& node : nodes_) {
    if (node->pid() > 0) return *node;
  }
  throw std::runtime_error("no node of the cluster runs");
}

RedisServer& RedisCluster::owner_of(const std::string& key) {
  const int slot = std::stoi(any().cli("CLUSTER", "KEYSLOT", key));
  RedisServer* found = nullptr;
  await("somebody owns the slot", [&] {
    for (const std::string& line : lines_of(any().cli("CLUSTER", "NODES"))) {
      const std::vector<std::string> words = words_of(line);
      if (words.size() < 9 || words[2].find("master") == std::string::npos ||
          words[2].find("fail") != std::string::npos)
        continue;
      for (std::size_t i = 8; i < words.size(); ++i) {
        if (words[i].front() == '[') continue;
        const std::size_t dash = words[i].find('-');
        const int first = std::stoi(words[i]),
                  last = dash == std::string::npos ? first : std::stoi(words[i].substr(dash + 1));
        if (slot < first || slot > last) continue;
        for (const auto& node : nodes_) {
          if (words[1].starts_with("127.0.0.1:" + port_text(*node) + "@")) found = node.get();
        }
      }
    }
    return found != nullptr;
  });
  return *found;
}

std::vector<RedisServer*> RedisCluster::masters() {
  std::vector<RedisServer*> all;
  for (const auto& node : nodes_) {
    if (says(*node, {"ROLE"}, "master")) all.push_back(node.get());
  }
  return all;
}

void RedisCluster::on_masters(const std::vector<std::string>& words) {
  for (RedisServer* node : masters()) {
    words.size() == 1   ? node->cli(words[0])
    : words.size() == 2 ? node->cli(words[0], words[1])
                        : node->cli(words[0], words[1], words[2]);
  }
}

void RedisCluster::fail_over(const std::string& key) {
  RedisServer& old = owner_of(key);
  old.kill();
  await("a replica has taken over", [&] {
    RedisServer& now = owner_of(key);
    return &now != &old && says(now, {"ROLE"}, "master") &&
           std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
             return node->pid() < 0 || says(*node, {"CLUSTER", "INFO"}, "cluster_state:ok");
           });
  });
}

void RedisCluster::revive() {
  for (const auto& node : nodes_) {
    if (node->pid() < 0) node->restart();
  }
  await("every master has a replica and the cluster is well", [&] {
    std::size_t followed = 0;
    for (const auto& node : nodes_) {
      if (!says(*node, {"CLUSTER", "INFO"}, "cluster_state:ok")) return false;
      if (says(*node, {"INFO", "replication"}, "state=online")) ++followed;
    }
    return followed == 3 && masters().size() == 3;
  });
}

void RedisCluster::begin_move(const std::string& key) {
  source_ = &owner_of(key);
  for (RedisServer* each : masters()) {
    if (each != source_) target_ = each;
  }
  slot_ = any().cli("CLUSTER", "KEYSLOT", key);
  const std::string from = source_->cli("CLUSTER", "MYID"), to = target_->cli("CLUSTER", "MYID");
  target_->cli("CLUSTER", "SETSLOT", slot_, "IMPORTING", from);
  source_->cli("CLUSTER", "SETSLOT", slot_, "MIGRATING", to);
}

void RedisCluster::end_move() {
  for (const std::string& key : lines_of(source_->cli("CLUSTER", "GETKEYSINSLOT", slot_, "1000"))) {
    if (!key.empty()) source_->cli("MIGRATE", "127.0.0.1", target_->port(), key, "0", "5000");
  }
  const std::string to = target_->cli("CLUSTER", "MYID");
  target_->cli("CLUSTER", "SETSLOT", slot_, "NODE", to);
  for (RedisServer* each : masters()) each->cli("CLUSTER", "SETSLOT", slot_, "NODE", to);
}

}  // namespace tidings::support
