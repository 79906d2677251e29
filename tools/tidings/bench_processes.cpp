// The paths of `tidings bench` that take a second process: e2e and latency. This process publishes, a copy of this
// program consumes, and answers through a pipe when it has seen everything.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "bench_publisher.hpp"

namespace tidings::cli {

using bench::UserMoved;
using bench::UserTimed;

namespace {

/// What the consumer writes to its stdout, then one time in nanoseconds an event for latency.
struct Answer {
  std::uint64_t distinct = 0, duplicated = 0, sum = 0;
  std::int64_t last = 0;
  double cpu = 0;
  int exit = 0;
};

void write_all(int fd, const void* data, std::size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      throw Error(ErrorCode::io, "the consumer of the benchmark cannot answer; run the benchmark again");
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

/// The second process. It ends with its parent.
class Consumer {
 public:
  Consumer(const std::string& url, const BenchOptions& options, const std::string& group);
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;
  /// Throws when it has ended before its time.
  void check_alive();
  /// Reads exactly `size` bytes of its answer; throws when it ends before.
  void read(void* data, std::size_t size);

 private:
  [[noreturn]] void gone();
  pid_t pid_ = -1;
  int answer_ = -1;
};

Consumer::Consumer(const std::string& url, const BenchOptions& options, const std::string& group) {
  // The URL may hold a secret, and command lines are public: it goes through the environment.
  std::vector<std::string> environment{"TIDINGS_URL=" + url, std::string(consumer_variable) + "=" + group};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("TIDINGS_URL=")) environment.emplace_back(*entry);
  }
  std::vector<std::string> arguments{"tidings",
                                     "bench",
                                     options.path,
                                     "--events",
                                     std::to_string(options.events),
                                     "--batch",
                                     std::to_string(options.batch),
                                     "--size",
                                     std::to_string(options.size),
                                     "--concurrency",
                                     std::to_string(options.concurrency)};
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (std::string& text : texts) list.push_back(text.data());
    list.push_back(nullptr);
    return list;
  };
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw Error(ErrorCode::io, "no pipe could be made; close other programs");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(pipe[1], STDOUT_FILENO);
    ::execve("/proc/self/exe", argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(pipe[1]);
  answer_ = pipe[0];
  if (pid_ < 0) throw Error(ErrorCode::io, "no second process could be started; close other programs");
}

Consumer::~Consumer() {
  if (answer_ >= 0) ::close(answer_);
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Consumer::gone() {
  throw Error(ErrorCode::unavailable, "the consumer of the benchmark ended before its time; its message stands above");
}

void Consumer::check_alive() {
  if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
    pid_ = -1;
    gone();
  }
}

void Consumer::read(void* data, std::size_t size) {
  char* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::read(answer_, bytes, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) gone();
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
}

/// Waits until the consumer's group exists: from then on nothing that is published can pass it by.
void await_group(const Bus& bus, const std::string& stream, const std::string& group, Consumer& consumer) {
  const std::int64_t deadline = nanoseconds_now() + 15'000'000'000;
  // A queue does not know who reads it; what is published stays in it all the same.
  const bool counts = bus.transport().capabilities().from_beginning || bus.transport().capabilities().shelf;
  while (nanoseconds_now() < deadline) {
    for (const auto& info : bus.transport().describe(stream)) {
      for (const auto& candidate : info.groups) {
        if (candidate.group == group && (candidate.consumers > 0 || !counts)) return;
      }
    }
    consumer.check_alive();
    const timespec pause{0, 2'000'000};
    ::nanosleep(&pause, nullptr);
  }
  throw Error(ErrorCode::timeout, "the consumer of the benchmark did not join " + stream + " within 15 s; try again");
}

/// Refuses an engine that lives within one process.
void check_shared(const Bus& bus) {
  if (!bus.transport().capabilities().several_processes) {
    throw Error(ErrorCode::not_supported, "e2e and latency take two processes, which " +
                                              std::string(bus.transport().capabilities().engine) +
                                              ": cannot join: measure on sqlite:PATH");
  }
}

/// Takes the consumer's answer into `report`.
Answer collect(Consumer& consumer, const BenchOptions& options, std::uint64_t expected, Report& report) {
  Answer answer;
  consumer.read(&answer, sizeof answer);
  report.exit = answer.exit;
  report.cpu += answer.cpu;
  report.lost = options.events - answer.distinct;
  report.duplicated = answer.duplicated;
  if (report.exit == 0 && report.lost == 0 && answer.sum != expected) {
    throw Error(ErrorCode::corrupt,
                "the sum over the fields of what was consumed differs from what was published: "
                "bytes were changed on the way; run `tidings doctor` on this URL");
  }
  return answer;
}

template <class T>
int consume_and_answer(const std::string& url, const BenchOptions& options, const std::string& group, bool timed) {
  Tally tally(bench::first_number, options.events);
  std::vector<std::int64_t> times(timed ? options.events : 0);
  std::atomic<std::int64_t> last{0};
  Answer answer;
  {
    Bus bus = Bus::open(url, {.source = std::string(bench::source)});
    Service service(bus, group,
                    {.concurrency = options.concurrency,
                     .prefetch_events = 4 * options.batch,
                     .start = {.kind = Start::Kind::end},
                     .max_events = options.events,
                     .until_idle = Millis{20'000}});
    service.on<T>([&](const DomainEvent<T>& event) {
      const std::uint64_t index = event.data.number - bench::first_number;
      if (timed && index < times.size()) times[index] = nanoseconds_now();
      tally.add(event.data.number, bench::sum(event.data));
      if (!timed && index + 2 * options.batch >= options.events)
        last.store(nanoseconds_now(), std::memory_order_relaxed);
    });
    answer.exit = service.run();
  }
  answer.distinct = tally.distinct();
  answer.duplicated = tally.duplicated();
  answer.sum = tally.sum();
  answer.last = last.load();
  answer.cpu = cpu_seconds(RUSAGE_SELF);
  write_all(STDOUT_FILENO, &answer, sizeof answer);
  write_all(STDOUT_FILENO, times.data(), times.size() * sizeof(std::int64_t));
  return 0;
}

}  // namespace

int bench_consumer(const std::string& url, const BenchOptions& options, const std::string& group) {
  return options.path == "latency" ? consume_and_answer<UserTimed>(url, options, group, true)
                                   : consume_and_answer<UserMoved>(url, options, group, false);
}

Report bench_e2e(const std::string& url, const BenchOptions& options) {
  const std::string group = new_group();
  const std::uint64_t expected = expected_sum<UserMoved>(options, bench::first_number, options.events);
  Bus bus = Bus::open(url, publishing_options(options));
  check_shared(bus);
  Consumer consumer(url, options, group);
  await_group(bus, event_stream(message_info<UserMoved>().type), group, consumer);
  Report report;
  const double cpu = cpu_seconds(RUSAGE_SELF);
  const std::int64_t start = nanoseconds_now();
  publish_all<UserMoved>(bus, options, bench::first_number, options.events, nullptr);
  report.cpu = cpu_seconds(RUSAGE_SELF) - cpu;
  const Answer answer = collect(consumer, options, expected, report);
  const std::int64_t end = answer.last > start ? answer.last : nanoseconds_now();
  report.seconds = static_cast<double>(end - start) * 1e-9;
  return report;
}

Report bench_latency(const std::string& url, const BenchOptions& options) {
  const std::string group = new_group();
  const std::uint64_t expected = expected_sum<UserTimed>(options, bench::first_number, options.events);
  Bus bus = Bus::open(url, publishing_options(options));
  check_shared(bus);
  Consumer consumer(url, options, group);
  await_group(bus, event_stream(message_info<UserTimed>().type), group, consumer);
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  UserTimed event = bench::sample<UserTimed>(bench::first_number, bench::address_for<UserTimed>(options.size));
  std::vector<std::int64_t> sent(options.events), seen(options.events);
  Report report;
  const double cpu = cpu_seconds(RUSAGE_SELF);
  const std::int64_t start = nanoseconds_now();
  for (std::uint64_t i = 0; i < options.events; ++i) {
    const std::int64_t due = start + static_cast<std::int64_t>(static_cast<double>(i) * 1e9 / options.rate);
    const timespec when{due / 1'000'000'000, due % 1'000'000'000};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr) == EINTR) {
    }
    bench::renumber(event, bench::first_number + i);
    sent[i] = nanoseconds_now();
    bus.publish(event);
  }
  report.seconds = static_cast<double>(nanoseconds_now() - start) * 1e-9;
  report.cpu = cpu_seconds(RUSAGE_SELF) - cpu;
  collect(consumer, options, expected, report);
  consumer.read(seen.data(), seen.size() * sizeof(std::int64_t));
  for (std::uint64_t i = 0; i < options.events; ++i) {
    if (seen[i] != 0) report.micros.push_back(static_cast<double>(seen[i] - sent[i]) * 1e-3);
  }
  return report;
}

}  // namespace tidings::cli
