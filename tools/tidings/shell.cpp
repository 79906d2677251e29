#include "shell.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

namespace tidings::cli {

namespace {

/// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) noexcept : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return number_; }
  void reset(int number = -1) noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = number;
  }

 private:
  int number_;
};

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string("CMD cannot be started: ") + what + ": " + std::strerror(errno));
}

/// What the child does between its birth and the shell. It shares our memory, so it only makes system calls.
[[noreturn]] void become_shell(pid_t parent, int input, char* const* arguments, char* const* environment) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // The consumer died before the line above.
  ::setpgid(0, 0);
  ::dup2(input, STDIN_FILENO);
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaction(number, &usual, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve("/bin/sh", arguments, environment);
  ::_exit(127);
}

// vfork spares copying the page tables of a process with a large backlog in memory. Nothing of this function's frame is
// used by both sides after the call.
__attribute__((noinline)) pid_t start_shell(int input, char* const* arguments, char* const* environment) {
  const pid_t parent = ::getpid();
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);  // Our handlers must not run in the child, on our memory.
  // The child only sets up its descriptors and execs, and a consumer with a large heap must not be copied for each
  // event.
  const pid_t child = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (child == 0) become_shell(parent, input, arguments, environment);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return child;
}

std::vector<char*> with_variables(const std::vector<std::string>& variables) {
  const auto name_of = [](std::string_view text) { return text.substr(0, text.find('=')); };
  std::vector<char*> list;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const std::string& variable : variables) replaced = replaced || name_of(variable) == name_of(*entry);
    if (!replaced) list.push_back(*entry);
  }
  for (const std::string& variable : variables) list.push_back(const_cast<char*>(variable.c_str()));
  list.push_back(nullptr);
  return list;
}

/// Feeds `rest` to a pipe as far as it goes. Returns whether there is more to feed.
bool feed(int descriptor, std::string_view& rest) {
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno == EAGAIN;  // Anything else: CMD has closed its stdin, as it may.
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return false;
}

/// Waits for the child, feeding its stdin meanwhile; kills its group when `stop_event` fires.
ShellResult attend(pid_t child, Descriptor& stdin_end, std::string_view input, int stop_event) {
  const Descriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  ShellResult result;
  int status = 0;
  bool feeding = true;
  for (;;) {
    if (feeding && !feed(stdin_end.get(), input)) {
      feeding = false;
      stdin_end.reset();
    }
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child || (ended < 0 && errno == ECHILD)) break;
    pollfd events[3] = {{handle.get(), POLLIN, 0}, {stop_event, POLLIN, 0}, {stdin_end.get(), POLLOUT, 0}};
    // A negative descriptor is passed over. Without a handle of the child we look again every now and then.
    ::poll(events, 3, handle.get() >= 0 ? -1 : 10);
    if ((events[1].revents & POLLIN) != 0 && !result.killed) {
      result.killed = true;
      ::kill(-child, SIGKILL);
      ::kill(child, SIGKILL);
      while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
  }
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace

ShellResult run_shell(const std::string& command, std::string_view input, const std::vector<std::string>& variables,
                      const std::stop_token& stop) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("no pipe");
  Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  ::fcntl(write_end.get(), F_SETFL, O_NONBLOCK);
  const Descriptor stop_event(::eventfd(0, EFD_CLOEXEC));
  if (stop_event.get() < 0) fail("no event descriptor");
  const std::stop_callback on_stop(stop, [&] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_event.get(), &one, sizeof one);
  });

  std::string shell = "sh";
  std::string flag = "-c";
  std::string text = command;
  char* const arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
  const std::vector<char*> environment = with_variables(variables);
  const pid_t child = start_shell(read_end.get(), arguments, environment.data());
  if (child < 0) fail("no process");
  read_end.reset();
  return attend(child, write_end, input, stop_event.get());
}

}  // namespace tidings::cli
