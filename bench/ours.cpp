// tidings_bench_ours publish|publish-async|awaited|consume|move|wake|make-group URL [--events N] [--batch B]
// [--threads T] [--rate R]
//
// Our side of the figures on Redis and AWS, with the very event, stream and field that the other contestants have. Each
// path is a process of its own, whose processor time is that of our client alone. Prints one JSON object on one line.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <thread>
#include <tidings/tidings.hpp>

#include "figure.hpp"

namespace {

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)
struct UserCreated {
  std::string userId{}, email{};
  std::optional<Role> role{};
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, email, role)

using Now = std::chrono::steady_clock;
using bench_run::Line;

constexpr const char* group = "bench";
// As the other contestants number and fill their events, so that all of them are equally large.
constexpr std::uint64_t first_number = 1'000'000;
constexpr const char* address = "ada@home.io";

struct Job {
  std::string url{};
  std::uint64_t events = 200'000;
  std::uint64_t batch = 500;
  unsigned threads = 1;
  double rate = 1000;
};

std::int64_t now_ns() { return Now::now().time_since_epoch().count(); }

/// Seconds and processor seconds of this process since it was made.
class Meter {
 public:
  [[nodiscard]] Line line(const Job& job) const {
    const double seconds = static_cast<double>(now_ns() - start_) * 1e-9;
    return {.events_per_second = static_cast<double>(job.events) / seconds,
            .seconds = seconds,
            .cpu_seconds = used() - cpu_};
  }

 private:
  static double used() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    double seconds = 0;
    for (const timeval& part : {usage.ru_utime, usage.ru_stime}) {
      seconds += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) * 1e-6;
    }
    return seconds;
  }

  double cpu_ = used();
  std::int64_t start_ = now_ns();
};

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "tidings_bench_ours: %s\n", why);
  std::_Exit(1);
}

tidings::Bus open(const Job& job) {
  return tidings::Bus::open(job.url, {.source = "user-service", .durability = tidings::Level::process});
}

UserCreated user(std::uint64_t index) {
  return {.userId = "usr_" + std::to_string(first_number + index), .email = address, .role = Role::CLIENT};
}

/// The index of an event; it must be what was published.
std::uint64_t index_of(const UserCreated& event) {
  const std::uint64_t index = std::strtoull(event.userId.c_str() + 4, nullptr, 10) - first_number;
  if (event.email != address || event.role != Role::CLIENT) {
    give_up("an event is not what was published");
  }
  return index;
}

// What is measured has the indices 1 … `job.events`, with every contestant.

void publish_batches(tidings::Bus& bus, const Job& job) {
  std::vector<UserCreated> batch;
  for (std::uint64_t done = 0; done < job.events; done += batch.size()) {
    batch.clear();
    for (std::uint64_t i = done; i < std::min(done + job.batch, job.events); ++i) batch.push_back(user(i + 1));
    for (const tidings::PublishResult& result : bus.publish_batch(batch)) {
      if (result.code != tidings::ErrorCode::ok) give_up(result.message.c_str());
    }
  }
}

Line publish(const Job& job) {
  tidings::Bus bus = open(job);
  const Meter meter;
  publish_batches(bus, job);
  return meter.line(job);
}

Line publish_async(const Job& job) {
  tidings::Bus bus = open(job);
  const Meter meter;
  for (std::uint64_t i = 1; i <= job.events; ++i) bus.publish_async(user(i));
  bus.flush();
  return meter.line(job);
}

/// One by one, each awaited, from as many threads as asked for.
Line awaited(const Job& job) {
  tidings::Bus bus = open(job);
  std::latch ready(job.threads);
  const auto produce = [&](unsigned thread) {
    ready.arrive_and_wait();
    for (std::uint64_t i = thread; i < job.events; i += job.threads) bus.publish(user(i + 1));
  };
  const Meter meter;
  {
    std::vector<std::jthread> others;
    for (unsigned thread = 1; thread < job.threads; ++thread) others.emplace_back(produce, thread);
    produce(0);
  }
  return meter.line(job);
}

/// Makes the group, so that the service does not warn of a history that is the very thing to be measured.
/// On an engine without history it must be there before anything is published.
void make_group(const tidings::Bus& bus) {
  try {
    bus.transport().change({.stream = "events:user", .group = group}, {});
  } catch (const tidings::Error& error) {
    if (error.code() != tidings::ErrorCode::conflict) throw;
  }
}

Line only_make_group(const Job& job) {
  make_group(open(job));
  return {};
}

/// Handles the events `first` … `job.events` and settles them; tells `each` the index of every one. Returns how many
/// never came.
template <class Each>
std::uint64_t serve(const tidings::Bus& bus, const Job& job, std::uint64_t first, std::size_t window, Each each) {
  std::vector<bool> seen(job.events + 1 - first);
  tidings::Service service(
      bus, group, {.prefetch_events = window, .max_events = seen.size(), .until_idle = tidings::Millis{10'000}});
  service.on<UserCreated>([&](const tidings::DomainEvent<UserCreated>& event) {
    const std::uint64_t index = index_of(event.data);
    seen.at(index - first) = true;
    each(index);
  });
  service.run();
  return static_cast<std::uint64_t>(std::count(seen.begin(), seen.end(), false));
}

Line consume(const Job& job) {
  tidings::Bus bus = open(job);
  make_group(bus);
  const Meter meter;
  const std::uint64_t lost = serve(bus, job, 1, 8 * job.batch, [](std::uint64_t) {});
  Line line = meter.line(job);
  line.lost = lost;
  return line;
}

/// What the consumer tells the publisher.
struct Told {
  std::int64_t last = 0;
  std::uint64_t lost = 0;
  std::int64_t seen[1]{};  // One for each event.
};

/// Another process that handles the event 0, which only says that both are ready, and the `job.events` behind it.
class Consumer {
 public:
  /// To be made before any thread is.
  Consumer(const Job& job, std::size_t window) {
    void* const memory = ::mmap(nullptr, sizeof(Told) + job.events * sizeof(std::int64_t), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    if (memory == MAP_FAILED || ::pipe2(ends, O_CLOEXEC) != 0) give_up("no memory or pipe for a second process");
    told_ = static_cast<Told*>(memory);
    ready_ = ends[0];
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      follow(job, window, ends[1]);
      ::_exit(0);
    }
    ::close(ends[1]);
  }
  ~Consumer() { ::close(ready_); }
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  void await_first(tidings::Bus& bus) const {
    bus.publish(user(0));
    char byte = 0;
    if (::read(ready_, &byte, 1) != 1) give_up("the consumer ended before its time");
  }
  const Told& await_end() const {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_ || status != 0) give_up("the consumer failed");
    return *told_;
  }

 private:
  void follow(const Job& job, std::size_t window, int ready) {
    const tidings::Bus bus = open(job);
    make_group(bus);
    told_->lost = serve(bus, job, 0, window, [&](std::uint64_t index) {
      told_->seen[index] = now_ns();
      if (index == 0 && ::write(ready, "", 1) != 1) give_up("the publisher is gone");
    });
    told_->last = now_ns();
  }

  Told* told_ = nullptr;
  int ready_ = -1;
  pid_t pid_ = -1;
};

/// Publishes batches while another process handles them, until the last is settled.
Line move(const Job& job) {
  const Consumer consumer(job, 4 * job.batch);
  tidings::Bus bus = open(job);
  consumer.await_first(bus);
  const std::int64_t start = now_ns();
  publish_batches(bus, job);
  const Told& told = consumer.await_end();
  const double seconds = static_cast<double>(told.last - start) * 1e-9;
  return {.events_per_second = static_cast<double>(job.events) / seconds, .seconds = seconds, .lost = told.lost};
}

double percentile(std::vector<double>& samples, double share) {
  const auto at = std::min(samples.size() - 1, static_cast<std::size_t>(share * static_cast<double>(samples.size())));
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(at), samples.end());
  return samples[at];
}

/// The time from the call of publish() to the handler in another process, at a steady rate.
Line wake(const Job& job) {
  const Consumer consumer(job, tidings::ServiceOptions{}.prefetch_events);
  tidings::Bus bus = open(job);
  consumer.await_first(bus);
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  std::vector<std::int64_t> sent(job.events + 1);
  const auto start = Now::now();
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    std::this_thread::sleep_until(start + std::chrono::duration_cast<Now::duration>(
                                              std::chrono::duration<double>(static_cast<double>(i) / job.rate)));
    sent[i] = now_ns();
    bus.publish(user(i));
  }
  const double seconds = std::chrono::duration<double>(Now::now() - start).count();
  const Told& told = consumer.await_end();
  std::vector<double> micros;
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    micros.push_back(static_cast<double>(told.seen[i] - sent[i]) * 1e-3);
  }
  return {.events_per_second = static_cast<double>(job.events) / seconds,
          .seconds = seconds,
          .p50_us = percentile(micros, 0.5),
          .p99_us = percentile(micros, 0.99),
          .lost = told.lost};
}

Job parse(int argc, char** argv) {
  Job job{.url = argv[2]};
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--events") job.events = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--batch") job.batch = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--threads") job.threads = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (name == "--rate") job.rate = std::strtod(argv[i + 1], nullptr);
  }
  if (job.events == 0 || job.batch == 0 || job.threads == 0 || job.rate <= 0) give_up("nothing to measure");
  return job;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view path = argc > 2 ? argv[1] : "";
  Line (*measure)(const Job&) = nullptr;
  if (path == "publish") measure = publish;
  if (path == "publish-async") measure = publish_async;
  if (path == "awaited") measure = awaited;
  if (path == "consume") measure = consume;
  if (path == "move") measure = move;
  if (path == "wake") measure = wake;
  if (path == "make-group") measure = only_make_group;
  if (measure == nullptr) give_up("say publish, publish-async, awaited, consume, move, wake or make-group, and a URL");
  ::alarm(300);  // Something that hangs must not keep the machine for ever.
  std::string out;
  tidings::write_json(out, measure(parse(argc, argv)));
  std::puts(out.c_str());
  return 0;
} catch (const std::exception& error) {
  give_up(error.what());
}
