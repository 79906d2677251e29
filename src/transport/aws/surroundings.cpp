#include "transport/aws/surroundings.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <tidings/detail/json_reader.hpp>
#include <tidings/error.hpp>

extern char** environ;

namespace tidings::transport::aws {
namespace {

/// A descriptor that is closed.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  void close() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

std::optional<std::string> read_whole(const std::string& path) {
  constexpr std::size_t largest = 4U << 20;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return std::nullopt;
  std::string text;
  char part[8192];
  for (;;) {
    const ssize_t count = ::read(file.get(), part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 || text.size() > largest) return std::nullopt;
    if (count == 0) return text;
    text.append(part, static_cast<std::size_t>(count));
  }
}

bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool replace_file(const std::string& path, std::string_view text) {
  std::string beside = path + ".XXXXXX";
  Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));  // For its owner alone from the beginning.
  if (file.get() < 0) return false;
  const bool written = write_whole(file.get(), text) && ::fsync(file.get()) == 0;
  file.close();
  if (written && ::rename(beside.c_str(), path.c_str()) == 0) return true;
  ::unlink(beside.c_str());
  return false;
}

/// Starts the shell in a group of its own, so that all that it started can be ended. What it writes goes to `out`.
std::optional<pid_t> start_shell(const std::string& command, int out) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  // What it complains of may hold a secret; nobody here could tell.
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGCHLD}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "sh", option = "-c", text = command;
  char* arguments[] = {shell.data(), option.data(), text.data(), nullptr};
  pid_t process = 0;
  const int failed = ::posix_spawn(&process, "/bin/sh", &files, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return failed == 0 ? std::optional(process) : std::nullopt;
}

/// Reads until the end, or until `deadline`; false then.
bool read_all(int fd, std::string& text, WaitClock::time_point deadline) {
  constexpr std::size_t largest = 1U << 20;
  char part[4096];
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - WaitClock::now()).count();
    pollfd ready{fd, POLLIN, 0};
    const int found = left <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (found < 0 && errno == EINTR) continue;
    if (found == 0 && WaitClock::now() < deadline) continue;
    if (found <= 0 || text.size() > largest) return false;
    const ssize_t count = ::read(fd, part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count == 0;
    text.append(part, static_cast<std::size_t>(count));
  }
}

ProcessOutput run_shell(const std::string& command, WaitClock::time_point deadline) {
  ProcessOutput out;
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    out.why = std::strerror(errno);
    return out;
  }
  const Descriptor reading(ends[0]);
  Descriptor writing(ends[1]);
  const std::optional<pid_t> process = start_shell(command, writing.get());
  writing.close();
  if (!process) {
    out.why = "it cannot be started";
    return out;
  }
  const bool whole = read_all(reading.get(), out.text, deadline);
  if (!whole) ::kill(-*process, SIGKILL);
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(*process, &status, 0)) < 0 && errno == EINTR) {
  }
  // A program that ignores SIGCHLD has its children's ends thrown away: what was written decides then.
  const bool unknown = ended < 0;
  out.ended_well = whole && (unknown || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  if (!whole) {
    out.why = "it did not end in time, or wrote too much";
  } else if (!out.ended_well) {
    out.why = WIFEXITED(status) ? "it ended with status " + std::to_string(WEXITSTATUS(status)) : "a signal ended it";
  }
  return out;
}

struct Flat {
  std::map<std::string, std::string>* out;
  std::string prefix{};
};

void read_flat(detail::JsonValue& value, const detail::JsonPath& path, void* target) {
  const Flat& flat = *static_cast<Flat*>(target);
  const std::string name = flat.prefix + std::string(path.key);
  switch (detail::kind_of(value, path)) {
    case detail::JsonKind::object: {
      Flat inner{flat.out, name + '.'};
      detail::read_entries(value, path, read_flat, &inner);
      break;
    }
    case detail::JsonKind::string:
      detail::read_string(value, path, (*flat.out)[name]);
      break;
    case detail::JsonKind::array:
    case detail::JsonKind::null:
      break;
    default:
      (*flat.out)[name] = detail::read_raw(value, path);
  }
}

}  // namespace

Surroundings Surroundings::real(const Clock& clock) {
  Surroundings out;
  out.variable = [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  out.read_file = read_whole;
  out.write_file = replace_file;
  out.run_process = run_shell;
  out.now = [&clock] { return clock.wall(); };
  return out;
}

std::optional<std::string> Surroundings::filled(const std::string& name) const {
  std::optional<std::string> value = variable(name);
  if (value && value->empty()) value.reset();
  return value;
}

std::string Surroundings::home_path(std::string_view path) const {
  if (!path.starts_with("~/")) return std::string(path);
  return filled("HOME").value_or("") + std::string(path.substr(1));
}

Profiles Surroundings::profiles() const {
  const std::string config = filled("AWS_CONFIG_FILE").value_or("~/.aws/config");
  const std::string credentials = filled("AWS_SHARED_CREDENTIALS_FILE").value_or("~/.aws/credentials");
  return read_profiles(read_file(home_path(config)).value_or(""), read_file(home_path(credentials)).value_or(""));
}

std::optional<std::map<std::string, std::string>> flat_json(std::string_view text) {
  std::map<std::string, std::string> out;
  Flat flat{&out};
  try {
    const std::string padded = detail::padded_copy(text);
    detail::read_document(
        std::string_view(padded).substr(0, text.size()),
        [](detail::JsonValue& value, const detail::JsonPath& path, void* target) {
          detail::read_entries(value, path, read_flat, target);
        },
        &flat);
  } catch (const Error&) {
    return std::nullopt;
  }
  return out;
}

}  // namespace tidings::transport::aws
