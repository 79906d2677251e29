// The Redis transport under test, on a real server a place.
#include "conformance.hpp"
#include "support/redis_server.hpp"

namespace tidings::conformance {

namespace {

class RedisPlace : public Place {
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

Engine redis_engine() {
  Engine engine;
  engine.name = "redis";
  engine.mortal = {"lease=1000", "idle=2500"};
  engine.fresh = [] { return std::make_unique<RedisPlace>(); };
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(redis, Conformance, ::testing::Values(redis_engine()),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
