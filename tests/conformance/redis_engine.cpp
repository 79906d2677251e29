// The Redis transport under test: on a server of its own a place, on a master with sentinels, and on a cluster.
#include "conformance.hpp"
#include "support/proxy.hpp"
#include "support/redis_group.hpp"
#include "support/redis_server.hpp"

namespace tidings::conformance {

namespace {

class ServerPlace : public Place {
 public:
  [[nodiscard]] std::string url() const override { return server_.url(); }
  [[nodiscard]] bool restarts() const override { return true; }
  bool restart() override {
    server_.kill();
    server_.restart();
    return true;
  }
  std::string url_over_network() override { return "redis://127.0.0.1:" + std::to_string(network_.port()); }
  void cut(bool broken) override {
    // Connections that live through it are none the wiser, so that both kinds are seen: hung, and ended.
    network_.set(broken ? support::Proxy::Mode::drop_requests : support::Proxy::Mode::pass);
    if (!broken) network_.cut();
  }

 private:
  support::RedisServer server_{{.aof = support::Aof::always}};
  support::Proxy network_{server_.port()};
};

// Three partitions of each category, on one server.
class PartitionedPlace final : public ServerPlace {
 public:
  [[nodiscard]] std::string url() const override { return ServerPlace::url() + "?partitions=3"; }
  std::string url_over_network() override { return ServerPlace::url_over_network() + "?partitions=3"; }
};

// Several servers take seconds to find each other, so that all places share them, one after the other.
class SentinelPlace : public Place {
 public:
  SentinelPlace() {
    servers().revive();
    servers().master().cli("FLUSHALL");
  }
  [[nodiscard]] std::string url() const override { return servers().url(); }
  [[nodiscard]] bool restarts() const override { return true; }
  bool restart() override {
    // A master that is back before the sentinels have agreed that it was gone may end as nobody's master: they begin a
    // failover and give it up when it is half done. So another one takes over first.
    servers().fail_over();
    servers().revive();
    return true;
  }
  bool fail_over() override {
    servers().fail_over();
    return true;
  }

 private:
  static support::RedisSentinels& servers() {
    static support::RedisSentinels servers(support::Aof::always);
    return servers;
  }
};

class ClusterPlace : public Place {
 public:
  ClusterPlace() {
    servers().revive();
    servers().on_masters({"FLUSHALL"});
  }
  [[nodiscard]] std::string url() const override { return servers().url(); }
  [[nodiscard]] bool restarts() const override { return true; }
  bool restart() override {
    for (std::size_t i = 0; i < servers().size(); ++i) servers().node(i).kill();
    servers().revive();
    return true;
  }
  bool fail_over() override {
    servers().fail_over(std::string(test_stream));
    return true;
  }
  bool move_begins(std::string_view stream) override {
    servers().begin_move(std::string(stream));
    return true;
  }
  void move_ends() override { servers().end_move(); }

 private:
  static support::RedisCluster& servers() {
    static support::RedisCluster servers(support::Aof::always);
    return servers;
  }
};

template <class Made>
Engine engine(const char* name) {
  Engine engine;
  engine.name = name;
  engine.mortal = {"lease=1000", "idle=2500"};
  engine.fresh = [] { return std::make_unique<Made>(); };
  engine.in_order = !std::is_same_v<Made, PartitionedPlace>;
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(redis, Conformance,
                         ::testing::Values(engine<ServerPlace>("redis"), engine<SentinelPlace>("redis_sentinels"),
                                           engine<ClusterPlace>("redis_cluster"),
                                           engine<PartitionedPlace>("redis_partitions")),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
