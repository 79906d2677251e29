#include "redis_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>

namespace tidings::support {
namespace {

using Clock = std::chrono::steady_clock;

// No machine is as slow as this; what takes longer hangs.
constexpr int patience = 60'000;  // Milliseconds.

/// A descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

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

/// Starts a program that dies with us, and returns its pid and the end of a pipe on which its output arrives. The
/// kernel kills it when the *thread* that forked it ends, which a test's threads do early. A full pipe makes a `hasty`
/// program lose output; any other waits.
std::pair<pid_t, int> start_child(std::vector<std::string> words, bool hasty) {
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
  return {pid, in.release()};
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

/// Waits until something can be read, or the other end is closed; false after `milliseconds`.
bool await_readable(int descriptor, int milliseconds) {
  pollfd ready{descriptor, POLLIN, 0};
  int found = 0;
  do {
    found = ::poll(&ready, 1, milliseconds);
  } while (found < 0 && errno == EINTR);
  return found > 0;
}

/// Adds to `text` what can be read at once; false at the end.
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

/// The wait status of a child that ends within our patience, and is killed after it.
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

}  // namespace

// Below those that the kernel gives to outgoing connections: while a server is down,
/// a client that dials its port again and again would sooner or later be given that very port, and talk to itself.
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

RedisServer::RedisServer(RedisOptions options) : options_(std::move(options)) {
  std::string pattern = std::filesystem::temp_directory_path() / "tidings-redis-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
  directory_ = pattern;
  if (!options_.unix_socket.empty()) {
    const bool alone = options_.unix_socket.find('/') == std::string::npos;
    socket_ = alone ? directory_ + "/" + options_.unix_socket : options_.unix_socket;
  }
  try {
    // Between the probe and the server's own bind, another test may have taken the port.
    do {
      port_ = free_port();
    } while (!start());
  } catch (...) {
    // Without a constructed object no destructor runs.
    if (pid_ > 0) kill();
    close_log();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
    throw;
  }
}

RedisServer::~RedisServer() {
  try {
    kill();
  } catch (const std::exception&) {
    // It was killed and does not end: it hangs in the kernel, and there is nothing more to do about it.
  }
  close_log();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::vector<std::string> RedisServer::command() const {
  if (!options_.sentinel.empty()) return {"redis-server", directory_ + "/sentinel.conf", "--sentinel"};
  std::vector<std::string> words{"redis-server",
                                 "--port",
                                 std::to_string(port_),
                                 "--bind",
                                 "127.0.0.1",
                                 "--dir",
                                 directory_,
                                 "--daemonize",
                                 "no",
                                 "--save",
                                 "",
                                 "--appendonly",
                                 options_.aof == Aof::off ? "no" : "yes",
                                 "--appendfsync",
                                 options_.aof == Aof::always ? "always" : "everysec"};
  if (!options_.password.empty()) words.insert(words.end(), {"--requirepass", options_.password});
  if (!socket_.empty()) words.insert(words.end(), {"--unixsocket", socket_, "--unixsocketperm", "700"});
  if (const TlsServer& tls = options_.tls; !tls.certificate.empty()) {
    words.insert(words.end(), {"--port", "0", "--tls-port", std::to_string(port_), "--tls-cert-file", tls.certificate,
                               "--tls-key-file", tls.key, "--tls-ca-cert-file", tls.ca, "--tls-auth-clients",
                               tls.clients ? "yes" : "no"});
  }
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  return words;
}

/// False when the port is taken.
bool RedisServer::start() {
  close_log();
  log_.clear();
  // A sentinel writes what it learns into its configuration, and reads it again when it is restarted.
  const std::string written = directory_ + "/sentinel.conf";
  if (!options_.sentinel.empty() && !std::filesystem::exists(written)) {
    std::ofstream(written) << "port " << port_ << "\nbind 127.0.0.1\ndir " << directory_ << "\n" << options_.sentinel;
  }
  const std::string ready = options_.sentinel.empty() ? "eady to accept connections" : "+monitor";
  std::tie(pid_, out_) = start_child(command(), true);
  // A test that makes the server log a lot must not make it wait for a reader.
  ::fcntl(out_, F_SETPIPE_SZ, 1 << 20);
  // The server says this line once its data is loaded and its sockets listen; no polling is needed before it.
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(patience);
  while (log_.find(ready) == std::string::npos) {
    if (Clock::now() > end) throw std::runtime_error("redis-server is not ready after a minute: " + log_);
    if (read_log(1000)) continue;
    const int status = await_exit(std::exchange(pid_, -1));
    if (log_.find("Address already in use") != std::string::npos) return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
      throw std::runtime_error("redis-server cannot be run; scripts/setup test installs it");
    }
    throw std::runtime_error("redis-server ended instead of starting: " + log_);
  }
  if (options_.tls.certificate.empty()) greet();
  return true;
}

/// Reads what is logged within some milliseconds; false when the log is at its end.
bool RedisServer::read_log(int milliseconds) { return !await_readable(out_, milliseconds) || read_some(out_, log_); }

const std::string& RedisServer::log() {
  while (out_ >= 0 && await_readable(out_, 0) && read_some(out_, log_)) {
  }
  return log_;
}

void RedisServer::close_log() noexcept {
  if (out_ >= 0) ::close(out_);
  out_ = -1;
}

/// Says PING and expects an answer; that a password is missing is one.
void RedisServer::greet() {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port_);
  std::string answer;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::send(socket.get(), "PING\r\n", 6, MSG_NOSIGNAL) != 6) {
    throw std::runtime_error("redis-server says that it is ready, and cannot be reached: " + log_);
  }
  while (answer.find('\n') == std::string::npos) {
    if (!await_readable(socket.get(), patience) || !read_some(socket.get(), answer)) break;
  }
  if (!answer.starts_with("+PONG") && !answer.starts_with("-NOAUTH")) {
    throw std::runtime_error("redis-server answers PING with: " + answer);
  }
}

void RedisServer::await_end() {
  if (pid_ <= 0) return;
  await_exit(std::exchange(pid_, -1));
}

void RedisServer::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  await_end();
}

void RedisServer::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  ::kill(pid_, SIGCONT);  // A suspended one would not hear of it.
  await_end();
}

void RedisServer::restart() {
  stop();
  if (!start()) throw std::runtime_error("somebody took the server's port while it was down: " + log_);
}

void RedisServer::suspend() {
  if (pid_ <= 0) throw std::runtime_error("the server does not run");
  ::kill(pid_, SIGSTOP);
  int status = 0;
  while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
  }
  if (WIFSTOPPED(status)) return;
  pid_ = -1;
  throw std::runtime_error("the server has ended: " + log());
}

void RedisServer::resume() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

std::string RedisServer::run_cli(const std::vector<std::string>& words) {
  std::vector<std::string> line{"redis-cli", "-h", "127.0.0.1", "-p", std::to_string(port_)};
  if (!options_.password.empty()) line.insert(line.end(), {"--no-auth-warning", "-a", options_.password});
  if (!options_.tls.certificate.empty()) line.insert(line.end(), {"--tls", "--cacert", options_.tls.ca});
  if (!options_.cli_certificate.empty()) {
    line.insert(line.end(), {"--cert", options_.cli_certificate, "--key", options_.cli_key});
  }
  line.insert(line.end(), words.begin(), words.end());
  return run_program(std::move(line));
}

std::string run_program(std::vector<std::string> words) {
  const std::string name = words.front();
  const auto [pid, descriptor] = start_child(std::move(words), false);
  const Descriptor out(descriptor);
  std::string said;
  bool late = false;
  do {
    late = !await_readable(out.get(), patience);
  } while (!late && read_some(out.get(), said));
  if (late) ::kill(pid, SIGKILL);
  const int status = await_exit(pid);
  if (late) throw std::runtime_error(name + " did not end within a minute");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error(name + " failed: " + trimmed(said));
  return trimmed(said);
}

}  // namespace tidings::support
