#include "runtime/signals.hpp"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <tidings/error.hpp>

namespace tidings::runtime {
namespace {

// All that the handler touches: lock-free, and constant-initialised.
constinit std::atomic<int> first_signal{0};
constinit std::atomic<int> pipe_write{-1};
constinit std::atomic<pid_t> owner{0};
static_assert(std::atomic<pid_t>::is_always_lock_free);

extern "C" void tidings_on_signal(int signal) {
  const int saved = errno;
  if (::getpid() != owner.load()) {
    // A forked child inherits the handler and the pipe, but its signal is not the parent's.
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    errno = saved;
    return;
  }
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, signal)) ::_exit(128 + signal);
  const char byte = 's';
  [[maybe_unused]] const auto written = ::write(pipe_write.load(), &byte, 1);
  errno = saved;
}

/// The process-wide part, alive while any watch is.
struct Shared {
  std::mutex mutex;
  std::vector<std::stop_source> sources;
  struct sigaction old_term {
  }, old_int{};
  int read_end = -1;
  std::thread reader;
};

Shared& shared() {
  static auto* const instance = new Shared;
  return *instance;
}

void read_signals(int read_end) {
  char byte = 0;
  for (;;) {
    const auto got = ::read(read_end, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || byte == 'q') return;
    std::vector<std::stop_source> sources;
    {
      const std::lock_guard lock(shared().mutex);
      sources = shared().sources;
    }
    for (std::stop_source& source : sources) source.request_stop();
  }
}

void install(Shared& state) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw Error(ErrorCode::io, true, "no pipe for signals could be made; too many open files?");
  }
  try {
    state.reader = std::thread(read_signals, ends[0]);
  } catch (const std::exception& error) {
    ::close(ends[0]);
    ::close(ends[1]);
    throw Error(ErrorCode::unavailable, true, std::string("no thread for signals can be started: ") + error.what());
  }
  state.read_end = ends[0];
  pipe_write.store(ends[1]);
  first_signal.store(0);
  owner.store(::getpid());
  struct sigaction action {};
  action.sa_handler = &tidings_on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGTERM, &action, &state.old_term);
  ::sigaction(SIGINT, &action, &state.old_int);
}

}  // namespace

SignalWatch::SignalWatch() {
  Shared& state = shared();
  const std::lock_guard lock(state.mutex);
  if (state.sources.empty()) install(state);
  state.sources.push_back(source_);
  // One that joins after the signal stops at once.
  if (first_signal.load() != 0) source_.request_stop();
}

SignalWatch::~SignalWatch() {
  Shared& state = shared();
  std::thread reader;
  int read_end = -1, write_end = -1;
  {
    const std::lock_guard lock(state.mutex);
    std::erase(state.sources, source_);
    if (!state.sources.empty()) return;
    ::sigaction(SIGTERM, &state.old_term, nullptr);
    ::sigaction(SIGINT, &state.old_int, nullptr);
    reader = std::move(state.reader);
    read_end = state.read_end;
    write_end = pipe_write.exchange(-1);
  }
  const char quit = 'q';
  [[maybe_unused]] const auto written = ::write(write_end, &quit, 1);
  reader.join();
  ::close(write_end);
  ::close(read_end);
}

int SignalWatch::exit_code() const noexcept { return first_signal.load() == SIGINT ? 130 : 0; }

}  // namespace tidings::runtime
