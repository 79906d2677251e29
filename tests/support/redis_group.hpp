// Several real redis-servers that belong together: a master with replicas and sentinels, and a cluster.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "redis_server.hpp"

namespace tidings::support {

/// A master, two replicas and three sentinels that watch them under the name `tidings`.
class RedisSentinels {
 public:
  explicit RedisSentinels(Aof aof);

  /// `redis+sentinel://…/tidings`.
  [[nodiscard]] std::string url() const;
  /// The server that two sentinels name as the master, and that is one.
  [[nodiscard]] RedisServer& master();
  [[nodiscard]] RedisServer& server(std::size_t index) { return *servers_[index]; }
  /// Kills the master and returns once another one is there.
  void fail_over();
  /// Waits until another one than `old` is the master.
  void await_other_than(const RedisServer& old);
  /// Starts what does not run, and returns once both replicas follow the master.
  void revive();

 private:
  std::vector<std::unique_ptr<RedisServer>> servers_{}, sentinels_{};
};

/// Three masters with a replica each.
class RedisCluster {
 public:
  explicit RedisCluster(Aof aof);

  /// `redis+cluster://…` of all six.
  [[nodiscard]] std::string url() const;
  [[nodiscard]] RedisServer& node(std::size_t index) { return *nodes_[index]; }
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  /// The master that owns the slot of `key`.
  [[nodiscard]] RedisServer& owner_of(const std::string& key);
  /// Runs a command on every master.
  void on_masters(const std::vector<std::string>& words);
  /// Kills the owner of `key`, and returns once its replica has taken over and the cluster is well.
  void fail_over(const std::string& key);
  /// Starts what does not run, and returns once every master has a replica that follows it.
  void revive();
  /// Begins to move the slot of `key` to another master: what is there is answered here, what is not with ASK.
  void begin_move(const std::string& key);
  /// Moves the keys that are there and ends it.
  void end_move();

 private:
  [[nodiscard]] RedisServer& any();
  [[nodiscard]] std::vector<RedisServer*> masters();

  std::vector<std::unique_ptr<RedisServer>> nodes_{};
  RedisServer *source_ = nullptr, *target_ = nullptr;  // Of the move that was begun.
  std::string slot_{};
};

}  // namespace tidings::support
