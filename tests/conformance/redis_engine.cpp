// The Redis transport under test: on a server of its own a place, on a master with sentinels, and on a cluster.
#include "conformance.hpp"
#include "support/redis_group.hpp"
#include "support/redis_server.hpp"

namespace tidings::conformance {

namespace {

class ServerPlace : public Place {
 public:
  [[nodiscard]] std::string url() const override { return server_.url(); }
  bool restart() override {
    server_.kill();
    server_.restart();
    return true;
  }

 private:
  support::RedisServer server_{{.aof = support::Aof::always}};
};

// Several servers take seconds to find each other, so that all places share them, one after the other.
class SentinelPlace : public Place {
 public:
  SentinelPlace() {
    servers().revive();
    servers().master().cli("FLUSHALL");
  }
  [[nodiscard]] std::string url() const override { return servers().url(); }
  bool restart() override {
    support::RedisServer& master = servers().master();
    master.restart();
    servers().revive();
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
  bool restart() override {
    for (std::size_t i = 0; i < servers().size(); ++i) servers().node(i).kill();
    servers().revive();
    return true;
  }

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
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(redis, Conformance,
                         ::testing::Values(engine<ServerPlace>("redis"), engine<SentinelPlace>("sentinels"),
                                           engine<ClusterPlace>("cluster")),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
