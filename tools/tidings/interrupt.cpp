#include "interrupt.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <stdexcept>

#include "failure.hpp"

namespace tidings::cli {

namespace {

// A signal handler may only touch what is lock-free: the first signal's number, and a pipe that wakes the watcher.
std::atomic<int> first_signal{0};
std::atomic<int> wake_end{-1};

extern "C" void on_signal(int number) {
  const int saved = errno;
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, number)) ::_exit(none == SIGINT ? exit_interrupted : 128 + number);
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = ::write(wake_end.load(), &byte, 1);
  errno = saved;
}

}  // namespace

Interrupt::Interrupt() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for signals: too many open files");
  first_signal = 0;
  wake_end = ends[1];
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &old_interrupt_);
  ::sigaction(SIGTERM, &action, &old_terminate_);
  watcher_ = std::jthread([this, read_end = ends[0]] {
    char byte = 1;
    while (::read(read_end, &byte, 1) < 0 && errno == EINTR) {
    }
    ::close(read_end);
    if (byte == 0) source_.request_stop();
  });
}

Interrupt::~Interrupt() {
  ::sigaction(SIGINT, &old_interrupt_, nullptr);
  ::sigaction(SIGTERM, &old_terminate_, nullptr);
  const int end = wake_end.exchange(-1);
  const char done = 1;
  [[maybe_unused]] const ssize_t written = ::write(end, &done, 1);
  watcher_.join();
  ::close(end);
}

int Interrupt::exit_code() const noexcept { return first_signal.load() == SIGINT ? exit_interrupted : exit_ok; }

bool Interrupt::wait(Millis time) const {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, source_.get_token(), time, [] { return false; });
  return !fired();
}

}  // namespace tidings::cli
