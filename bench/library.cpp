// tidings_bench_library decode [--events N] [--size BYTES]   decoding alone: what consuming is held against
// tidings_bench_library reopen URL                           how long opening takes until the bus can be used
//
// Prints one JSON object on one line, in the names of `tidings bench`.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "bench_events.hpp"

namespace {

using Now = std::chrono::steady_clock;

double seconds_since(Now::time_point start) { return std::chrono::duration<double>(Now::now() - start).count(); }

void print(const char* path, std::uint64_t events, std::size_t size, double seconds) {
  std::printf(R"({"path":"%s","events":%llu,"size_bytes":%zu,"seconds":%.6f,"events_per_second":%.0f})"
              "\n",
              path, static_cast<unsigned long long>(events), size, seconds, static_cast<double>(events) / seconds);
}

/// Decodes the envelopes that consume reads, over and over, out of one buffer as an engine would hand it out.
int decode(std::uint64_t events, std::size_t size) {
  using tidings::bench::UserStored;
  constexpr std::uint64_t stored = 20'000;
  const std::size_t address = tidings::bench::address_for<UserStored>(size);
  std::string bytes;
  std::vector<std::size_t> starts;
  for (std::uint64_t i = 0; i < stored; ++i) {
    starts.push_back(bytes.size());
    bytes += tidings::bench::envelope(tidings::bench::sample<UserStored>(tidings::bench::first_number + i, address),
                                      tidings::system_clock().wall(), tidings::system_random());
  }
  const std::size_t end = bytes.size();
  bytes.append(tidings::json_padding, ' ');
  starts.push_back(end);
  std::uint64_t sum = 0;
  const auto start = Now::now();
  for (std::uint64_t i = 0; i < events; ++i) {
    const std::size_t at = i % stored;
    const auto event =
        tidings::decode_padded<UserStored>(std::string_view(bytes).substr(starts[at], starts[at + 1] - starts[at]));
    sum += tidings::bench::sum(event.data);
  }
  const double seconds = seconds_since(start);
  if (sum == 0) return 1;
  print("decode", events, size, seconds);
  return 0;
}

/// Opens, looks at every stream and closes; the time is that until the streams are known.
int reopen(const std::string& url) {
  const auto start = Now::now();
  tidings::Bus bus = tidings::Bus::open(url, {.source = std::string(tidings::bench::source)});
  std::uint64_t events = 0;
  for (const auto& stream : bus.transport().describe("")) events += stream.length;
  print("reopen", events, 0, seconds_since(start));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view path = argc > 1 ? argv[1] : "";
  try {
    if (path == "reopen" && argc == 3) return reopen(argv[2]);
    std::uint64_t events = 500'000;
    std::size_t size = 300;
    for (int i = 2; i + 1 < argc; i += 2) {
      if (std::string_view(argv[i]) == "--events") events = std::strtoull(argv[i + 1], nullptr, 10);
      if (std::string_view(argv[i]) == "--size") size = std::strtoull(argv[i + 1], nullptr, 10);
    }
    if (path == "decode") return decode(events, size);
  } catch (const tidings::Error& error) {
    std::fprintf(stderr, "tidings_bench_library: %s\n", error.what());
    return 1;
  }
  std::fputs("tidings_bench_library: say decode, or reopen URL\n", stderr);
  return 2;
}
