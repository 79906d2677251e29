// Starting, watching and ending children.
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace tidings::conformance {

Child::Child(std::vector<std::string> arguments, const std::vector<std::string>& environment) {
  int channel[2];
  if (::pipe2(channel, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, channel[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> added = environment;
  std::vector<char*> variables;
  for (std::string& variable : added) variables.push_back(variable.data());
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  variables.push_back(nullptr);
  const int failed = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(channel[1]);
  out_ = channel[0];
  if (failed != 0) {
    ::close(out_);
    throw std::runtime_error("cannot start " + arguments[0]);
  }
}

Child::Child(Child&& other) noexcept : pid_(other.pid_), out_(other.out_), rest_(std::move(other.rest_)) {
  other.pid_ = -1;
  other.out_ = -1;
}

Child::~Child() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  if (out_ >= 0) ::close(out_);
}

std::string Child::line() {
  for (;;) {
    if (const std::size_t end = rest_.find('\n'); end != std::string::npos) {
      std::string line = rest_.substr(0, end);
      rest_.erase(0, end + 1);
      return line;
    }
    pollfd ready{out_, POLLIN, 0};
    if (::poll(&ready, 1, 60'000) <= 0) return {};
    char buffer[4096];
    const ssize_t got = ::read(out_, buffer, sizeof buffer);
    if (got <= 0) return {};
    rest_.append(buffer, static_cast<std::size_t>(got));
  }
}

std::vector<std::string> Child::lines() {
  std::vector<std::string> all;
  for (std::string one = line(); !one.empty(); one = line()) all.push_back(std::move(one));
  return all;
}

void Child::signal(int number) const { ::kill(pid_, number); }

int Child::wait() {
  int status = 0;
  const pid_t waited = ::waitpid(pid_, &status, 0);
  pid_ = -1;
  if (waited < 0) return -1000;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::vector<std::string> child_command(const std::string& role, const std::string& url,
                                       const std::vector<std::string>& rest) {
  std::vector<std::string> words{CONFORMANCE_CHILD, role, url};
  words.insert(words.end(), rest.begin(), rest.end());
  return words;
}

std::vector<std::string> file_lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace tidings::conformance
