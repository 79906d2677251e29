#include "children.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

namespace market {
namespace {

/// Services drain within this, or are killed.
constexpr std::chrono::seconds longest_stop{20};

}  // namespace

Child::Child(std::vector<std::string> arguments, std::string log)
    : arguments_(std::move(arguments)), log_(std::move(log)) {
  start();
}

Child::~Child() {
  if (pid_ > 0) kill();
}

void Child::start() {
  std::vector<char*> argv;
  for (std::string& argument : arguments_) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  // Until its program runs, the child would answer a signal with this process's handlers, and lose it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = fork();
  if (pid_ != 0) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid_ < 0) throw std::runtime_error("cannot start " + arguments_[0]);
    return;
  }
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_DFL);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // Of its own group, so that Ctrl-C reaches the driver alone, which then stops its services in order.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  if (!log_.empty()) {
    const int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (out < 0) _exit(127);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
  }
  execv(argv[0], argv.data());
  _exit(127);
}

void Child::kill() {
  ::kill(pid_, SIGKILL);
  wait();
}

int Child::stop() {
  if (pid_ < 0) return 0;
  ::kill(pid_, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + longest_stop;
  while (running() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  if (running()) ::kill(pid_, SIGKILL);
  const int code = wait();
  // Stopped before it had begun to listen: it had not done anything yet.
  return code == 128 + SIGTERM ? 0 : code;
}

int Child::wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Child::running() {
  if (pid_ < 0) return false;
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

}  // namespace market
