#include "redis_server.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace tidings::support {
namespace {

using Clock = std::chrono::steady_clock;

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
  return left.count() > 0 ? static_cast<int>(left.count()) : 0;
}

}  // namespace

RedisServer::RedisServer(RedisOptions options) : options_(std::move(options)) {
  if (!options_.unix_socket.empty()) {
    const bool alone = options_.unix_socket.find('/') == std::string::npos;
    socket_ = alone ? directory() + "/" + options_.unix_socket : options_.unix_socket;
  }
  try {
    // Between the probe and the server's own bind, another test may have taken the port.
    do {
      port_ = free_port();
      // Not the usual 10000 above, which may be one that the kernel gives to outgoing connections.
      if (options_.cluster) bus_port_ = free_port();
    } while (!start());
  } catch (...) {
    // Without a constructed object no destructor runs.
    kill();
    throw;
  }
}

RedisServer::~RedisServer() {
  try {
    kill();
  } catch (const std::exception&) {
    // It was killed and does not end: it hangs in the kernel, and there is nothing more to do about it.
  }
}

std::vector<std::string> RedisServer::command() const {
  if (!options_.sentinel.empty()) return {"redis-server", directory() + "/sentinel.conf", "--sentinel"};
  std::vector<std::string> words{"redis-server",
                                 "--port",
                                 std::to_string(port_),
                                 "--bind",
                                 "127.0.0.1",
                                 "--dir",
                                 directory(),
                                 "--daemonize",
                                 "no",
                                 "--save",
                                 "",
                                 "--appendonly",
                                 options_.aof == Aof::off ? "no" : "yes",
                                 "--appendfsync",
                                 options_.aof == Aof::always ? "always" : "everysec"};
  if (options_.remembers) words.insert(words.begin() + 1, directory() + "/redis.conf");
  if (!options_.password.empty()) words.insert(words.end(), {"--requirepass", options_.password});
  if (!socket_.empty()) words.insert(words.end(), {"--unixsocket", socket_, "--unixsocketperm", "700"});
  if (const TlsServer& tls = options_.tls; !tls.certificate.empty()) {
    words.insert(words.end(), {"--port", "0", "--tls-port", std::to_string(port_), "--tls-cert-file", tls.certificate,
                               "--tls-key-file", tls.key, "--tls-ca-cert-file", tls.ca, "--tls-auth-clients",
                               tls.clients ? "yes" : "no"});
  }
  if (options_.cluster) {
    words.insert(words.end(), {"--cluster-enabled", "yes", "--cluster-port", std::to_string(bus_port_)});
  }
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  return words;
}

/// False when a port is taken.
bool RedisServer::start() {
  suspended_ = false;
  log_.clear();
  // A sentinel writes what it learns into its configuration, and reads it again when it is restarted.
  const std::string written = directory() + "/sentinel.conf";
  if (!options_.sentinel.empty() && !started_) {
    std::ofstream(written) << "port " << port_ << "\nbind 127.0.0.1\ndir " << directory() << "\n" << options_.sentinel;
  }
  if (options_.remembers && !started_) std::ofstream(directory() + "/redis.conf") << "";
  const std::string ready = options_.sentinel.empty() ? "eady to accept connections" : "+monitor";
  Child child = start_child(command(), true);
  pid_ = child.pid;
  out_ = std::move(child.output);
  // A test that makes the server log a lot must not make it wait for a reader.
  ::fcntl(out_.get(), F_SETPIPE_SZ, 1 << 20);
  // The server says this line once its data is loaded and its sockets listen; no polling is needed before it.
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(patience);
  while (log_.find(ready) == std::string::npos) {
    if (Clock::now() > end) throw std::runtime_error("redis-server is not ready after a minute: " + log_);
    if (read_log(milliseconds_until(end))) continue;
    const int status = await_exit(std::exchange(pid_, -1));
    if (log_.find("Address already in use") != std::string::npos) return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
      throw std::runtime_error("redis-server cannot be run; scripts/setup test installs it");
    }
    throw std::runtime_error("redis-server ended instead of starting: " + log_);
  }
  started_ = true;
  if (!options_.tls.certificate.empty()) return true;
  if (const std::string answer = ask("PING"); !answer.starts_with("+PONG")) {
    throw std::runtime_error("redis-server says that it is ready, and answers PING with: " + answer + log_);
  }
  return true;
}

/// Reads what is logged within some milliseconds; false when the log is at its end.
bool RedisServer::read_log(int milliseconds) {
  return !await_readable(out_.get(), milliseconds) || read_some(out_.get(), log_);
}

const std::string& RedisServer::log() {
  while (await_readable(out_.get(), 0) && read_some(out_.get(), log_)) {
  }
  return log_;
}

std::size_t RedisServer::await_log(std::string_view text, std::size_t from) {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(patience);
  for (;;) {
    const std::size_t found = log_.find(text, from);
    if (found != std::string::npos) return found + text.size();
    if (Clock::now() > end || !read_log(milliseconds_until(end))) {
      throw std::runtime_error("the server did not log \"" + std::string(text) + "\": " + log_);
    }
  }
}

std::string RedisServer::ask(const std::string& words) const {
  if (!answers()) return {};
  const Descriptor socket = connect_to(port_);
  const std::string lines = (options_.password.empty() ? "" : "AUTH " + options_.password + "\r\n") + words + "\r\n";
  if (socket.get() < 0 || ::send(socket.get(), lines.data(), lines.size(), MSG_NOSIGNAL) < 0) return {};
  // It answers what it has read before it sees that no more comes; a sentinel of Redis 7.0 knows no QUIT.
  ::shutdown(socket.get(), SHUT_WR);
  std::string reply;
  while (await_readable(socket.get(), patience) && read_some(socket.get(), reply)) {
  }
  const std::string_view granted = options_.password.empty() ? "" : "+OK\r\n";
  return reply.starts_with(granted) ? reply.substr(granted.size()) : reply;
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
  if (WIFSTOPPED(status)) {
    suspended_ = true;
    return;
  }
  pid_ = -1;
  throw std::runtime_error("the server has ended: " + log());
}

void RedisServer::resume() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
  suspended_ = false;
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

}  // namespace tidings::support
