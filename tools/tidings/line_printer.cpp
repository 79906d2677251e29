#include "line_printer.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace tidings::cli {

namespace {

constexpr int look_again_ms = 50;

/// What the descriptor is ready for within `wait_ms`.
short ready_for(int descriptor, short events, int wait_ms) {
  pollfd ready{descriptor, events, 0};
  return ::poll(&ready, 1, wait_ms) > 0 ? ready.revents : short{0};
}

}  // namespace

LinePrinter::LinePrinter(std::function<void()> on_closed) : on_closed_(std::move(on_closed)) {
  struct stat status {};
  pipe_ = ::fstat(STDOUT_FILENO, &status) == 0 && S_ISFIFO(status.st_mode);
  if (!pipe_) return;
  wake_ = ::eventfd(0, EFD_CLOEXEC);
  if (wake_ < 0) throw std::runtime_error("no event descriptor for stdout: too many open files");
  watcher_ = std::thread([this] { watch(); });
}

LinePrinter::~LinePrinter() {
  if (!watcher_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  watcher_.join();
  ::close(wake_);
}

void LinePrinter::close() {
  closed_ = true;
  std::call_once(closed_once_, on_closed_);
}

void LinePrinter::watch() {
  for (;;) {
    pollfd events[2] = {{STDOUT_FILENO, 0, 0}, {wake_, POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return;
    if (events[1].revents != 0) return;
    if ((events[0].revents & (POLLERR | POLLNVAL)) != 0) {
      close();
      return;
    }
  }
}

bool LinePrinter::print(std::string_view line, const std::stop_token& stop) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  const std::string text = std::string(line) + "\n";
  return write(text, stop) && (!pipe_ || wait_until_taken(stop));
}

bool LinePrinter::write(std::string_view text, const std::stop_token& stop) {
  while (!text.empty()) {
    std::size_t size = text.size();
    if (pipe_) {
      // What a pipe says it has room for is PIPE_BUF bytes; more would block, deaf to `stop`.
      size = std::min<std::size_t>(size, PIPE_BUF);
      const short ready = ready_for(STDOUT_FILENO, POLLOUT, look_again_ms);
      if (ready == 0) {
        if (stop.stop_requested()) return false;
        continue;
      }
    }
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), size);
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN) {
      ready_for(STDOUT_FILENO, POLLOUT, look_again_ms);
      continue;
    }
    if (error == EPIPE) {
      close();
      return false;
    }
    failure_ = std::string("stdout cannot be written: ") + std::strerror(error);
    close();
    return false;
  }
  return true;
}

bool LinePrinter::wait_until_taken(const std::stop_token& stop) {
  // Nothing tells a writer that its pipe ran empty, so we look, at first often and then less so.
  std::chrono::microseconds pause{0};
  for (int round = 0;; ++round) {
    int left = 0;
    if (::ioctl(STDOUT_FILENO, FIONREAD, &left) != 0 || left == 0) return true;
    if (closed_ || (ready_for(STDOUT_FILENO, 0, 0) & POLLERR) != 0) {
      close();
      return false;
    }
    if (stop.stop_requested()) return false;
    if (round < 100) {
      std::this_thread::yield();
    } else {
      pause = std::min(pause + std::chrono::microseconds(20), std::chrono::microseconds(2'000));
      std::this_thread::sleep_for(pause);
    }
  }
}

}  // namespace tidings::cli
