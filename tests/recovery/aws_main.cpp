// Keys that only the stand-in knows, and nowhere else to look for any.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <string_view>

#include "aws_recovery.hpp"
#include "messages.hpp"

namespace {

// A service that dies of what is poison to it, as often as it is started.
int serve(const char* url) {
  const tidings::Bus bus = tidings::Bus::open(url);
  tidings::Service service(bus, "g",
                           {.lease = tidings::Millis(1'000), .max_crashes = 2, .until_idle = tidings::Millis(2'500)});
  service.on<recovery::Work>(
      [](const tidings::DomainEvent<recovery::Work>& event) {
        if (event.data.writer == "poison") (void)std::raise(SIGKILL);
      },
      {.max_attempts = 2});
  return service.run();
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("AWS_ACCESS_KEY_ID", tidings::transport::aws_key, 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", tidings::transport::aws_secret, 1);
  ::setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  ::unsetenv("AWS_PROFILE");
  if (argc == 3 && std::string_view(argv[1]) == "--serve") return serve(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
