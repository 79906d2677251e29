// The memory transport under test.
#include <atomic>

#include "conformance.hpp"

namespace tidings::conformance {

namespace {

class MemoryPlace : public Place {
 public:
  MemoryPlace() {
    static std::atomic<int> number{0};
    name_ = "memory:conformance-" + std::to_string(++number);
  }
  [[nodiscard]] std::string url() const override { return name_; }

 private:
  std::string name_;
};

Engine memory_engine() {
  Engine engine;
  engine.name = "memory";
  engine.fresh = [] { return std::make_unique<MemoryPlace>(); };
  return engine;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(memory, Conformance, ::testing::Values(memory_engine()),
                         [](const auto& info) { return info.param.name; });

}  // namespace tidings::conformance

int main(int argc, char** argv) { return tidings::conformance::run(argc, argv); }
