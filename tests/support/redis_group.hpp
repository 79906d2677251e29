// Several real redis-servers that belong together: a master with replicas and sentinels, and a cluster.
//
//   RedisCluster servers(Aof::always);
//   auto bus = Bus::open(servers.url(), {.source = "test"});
//   servers.fail_over("events:user");
//   servers.revive();
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "redis_server.hpp"

namespace tidings::support {

/// How the servers of a group are started. A password is that of all servers and of their replicas, not of sentinels.
struct GroupOptions {
  Aof aof = Aof::off;
  std::string password{};
  /// After how many milliseconds of silence a server counts as down.
  int down_after = 1'000;
};

/// A master, two replicas and three sentinels that watch them under the name `tidings`, two of which must agree.
class RedisSentinels {
 public:
  explicit RedisSentinels(Aof aof) : RedisSentinels(GroupOptions{.aof = aof}) {}
  explicit RedisSentinels(const GroupOptions& options);

  /// `redis+sentinel://…/tidings`, without the password.
  [[nodiscard]] std::string url() const;
  /// The server that two sentinels name as the master, and that is one.
  [[nodiscard]] RedisServer& master();
  [[nodiscard]] RedisServer& server(std::size_t index) { return *servers_.at(index); }
  [[nodiscard]] RedisServer& sentinel(std::size_t index) { return *sentinels_.at(index); }
  /// Kills the master and returns once another one is there.
  void fail_over();
  /// Lets a sentinel promote a replica while the master lives, and returns once all sentinels name it. The old one
  /// takes writes, which will be lost, until the sentinels turn it into a replica; revive() waits for that.
  void fail_over_by_command();
  /// Waits until another one than `old` is the master.
  void await_other_than(const RedisServer& old) { await_new_master(old.port()); }
  /// The same, by the port.
  void await_new_master(std::uint16_t old);
  /// Starts what does not run, and returns once both replicas follow the master. A master of old comes back as one, and
  /// takes writes until the sentinels turn it into a replica.
  void revive();

 private:
  [[nodiscard]] std::uint16_t named_by(const RedisServer& sentinel) const;
  void hurry() const;
  void await(const std::string& what, const std::function<bool()>& holds) const;

  std::vector<std::unique_ptr<RedisServer>> servers_{}, sentinels_{};
};

/// Three masters with a replica each.
class RedisCluster {
 public:
  explicit RedisCluster(Aof aof) : RedisCluster(GroupOptions{.aof = aof}) {}
  explicit RedisCluster(const GroupOptions& options);

  /// `redis+cluster://…` of all six, without the password.
  [[nodiscard]] std::string url() const;
  [[nodiscard]] RedisServer& node(std::size_t index) { return *nodes_.at(index); }
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  /// The master that owns the slot of `key`.
  [[nodiscard]] RedisServer& owner_of(const std::string& key);
  /// Runs a command on every master.
  void on_masters(const std::vector<std::string>& words);
  /// Kills the owner of `key`, and returns once its replica has taken over and the cluster is well.
  void fail_over(const std::string& key);
  /// The same while the owner lives; it follows its replica then.
  void fail_over_by_command(const std::string& key);
  /// Waits until another one than `old` owns the slot of `key` and the cluster is well.
  void await_other_than(const RedisServer& old, const std::string& key);
  /// Starts what does not run, and returns once every master has a replica that follows it and can take over. That
  /// takes seconds after a failover that left the old master alive.
  void revive();
  /// Moves the slot of `key` and its keys to another master, and returns once all nodes know.
  void move_slot(const std::string& key);
  /// Begins to, and returns that master: what is there is answered here, what is not with ASK.
  RedisServer& begin_move(const std::string& key);
  /// Moves the keys that are there and ends it.
  void end_move();

 private:
  [[nodiscard]] int slot_of(const std::string& key);
  [[nodiscard]] RedisServer* owner_told_by(const RedisServer& node, int slot) const;
  [[nodiscard]] RedisServer* agreed_owner(int slot) const;
  [[nodiscard]] RedisServer& replica_of(const RedisServer& master) const;
  [[nodiscard]] std::vector<RedisServer*> masters() const;
  [[nodiscard]] bool well() const;
  [[nodiscard]] bool agree() const;
  void introduce();
  void note_elections();
  void await_forgotten_votes();
  void await(const std::string& what, const std::function<bool()>& holds) const;

  std::string password_{};
  std::vector<std::unique_ptr<RedisServer>> nodes_{};
  std::chrono::milliseconds votes_last_;
  struct Election {
    std::size_t won = 0;  // How many since the node's start.
    std::chrono::steady_clock::time_point at{};
  };
  std::vector<Election> elections_{};                  // Of each node.
  RedisServer *source_ = nullptr, *target_ = nullptr;  // Of the move that was begun.
  int slot_ = 0;
};

}  // namespace tidings::support
