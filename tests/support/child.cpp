#include "child.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>

namespace tidings::support {
namespace {

/// Runs `task` on a thread that lives as long as the process.
pid_t on_lasting_thread(const std::function<pid_t()>& task) {
  struct Queue {
    std::mutex mutex{};
    std::condition_variable filled{};
    std::deque<std::packaged_task<pid_t()>> tasks{};
  };
  // Never destroyed, since the thread waits on it until the process ends.
  static Queue& queue = *[] {
    auto* made = new Queue;
    std::thread([made] {
      for (;;) {
        std::unique_lock lock(made->mutex);
        made->filled.wait(lock, [made] { return !made->tasks.empty(); });
        std::packaged_task<pid_t()> next = std::move(made->tasks.front());
        made->tasks.pop_front();
        lock.unlock();
        next();
      }
    }).detach();
    return made;
  }();
  std::packaged_task<pid_t()> packaged(task);
  std::future<pid_t> result = packaged.get_future();
  {
    const std::lock_guard lock(queue.mutex);
    queue.tasks.push_back(std::move(packaged));
  }
  queue.filled.notify_one();
  return result.get();
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

Folder::Folder(const std::string& name) {
  path_ = std::filesystem::temp_directory_path() / ("tidings-" + name + "-XXXXXX");
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + path_);
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

// The kernel kills a child when the *thread* that forked it ends, which a test's threads do early.
Child start_child(std::vector<std::string> words, bool hasty) {
  int channel[2];
  if (::pipe2(channel, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  Descriptor in(channel[0]);
  const Descriptor out(channel[1]);
  if (hasty) ::fcntl(out.get(), F_SETFL, O_NONBLOCK);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = on_lasting_thread([&] {
    const pid_t child = ::fork();
    if (child != 0) return child;
    // Only what is allowed after a fork of a process with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(out.get(), STDERR_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  });
  if (pid < 0) throw std::runtime_error("fork failed");
  return {pid, std::move(in)};
}

int await_exit(pid_t pid) {
  // By its number, since glibc 2.36 declares the function without C linkage.
  const Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const bool ended = process.get() < 0 || await_readable(process.get(), patience);
  if (!ended) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) throw std::runtime_error("a child did not end when it was told to");
  return status;
}

std::string run_program(std::vector<std::string> words) {
  const std::string name = words.front();
  const Child child = start_child(std::move(words), false);
  std::string said;
  bool late = false;
  do {
    late = !await_readable(child.output.get(), patience);
  } while (!late && read_some(child.output.get(), said));
  if (late) ::kill(child.pid, SIGKILL);
  const int status = await_exit(child.pid);
  if (late) throw std::runtime_error(name + " did not end within a minute");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return trimmed(said);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && said.empty()) {
    throw std::runtime_error(name + " cannot be run; scripts/setup test installs it");
  }
  throw std::runtime_error(name + " failed: " + trimmed(said));
}

bool await_readable(int descriptor, int milliseconds) {
  pollfd ready{descriptor, POLLIN, 0};
  int found = 0;
  do {
    found = ::poll(&ready, 1, milliseconds);
  } while (found < 0 && errno == EINTR);
  return found > 0;
}

bool read_some(int descriptor, std::string& text) {
  char bytes[4096];
  ssize_t count = 0;
  do {
    count = ::read(descriptor, bytes, sizeof bytes);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return false;
  text.append(bytes, static_cast<std::size_t>(count));
  return true;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Descriptor connect_to(std::uint16_t port) {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return Descriptor();
  return socket;
}

// Below those that the kernel gives to outgoing connections: while a server is down, a client that dials its port again
// and again would sooner or later be given that very port, and talk to itself.
std::uint16_t free_port() {
  static std::mutex mutex;
  static std::mt19937 random{std::random_device{}()};
  for (int tries = 0; tries < 1000; ++tries) {
    std::uint16_t port = 0;
    {
      const std::lock_guard lock(mutex);
      port = std::uniform_int_distribution<std::uint16_t>(10'000, 32'000)(random);
    }
    const Descriptor probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    if (::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return port;
  }
  throw std::runtime_error("no free port on the loopback");
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

}  // namespace tidings::support
