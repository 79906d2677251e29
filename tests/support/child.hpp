// What the fixtures share: programs that die with the test, ports of the loopback, folders that are gone with their
// scope.
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tidings::support {

/// No machine is as slow as this; what takes longer hangs. Milliseconds.
inline constexpr int patience = 60'000;

/// A descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) noexcept : number_(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

/// A new folder below the temporary one, removed with what is in it.
class Folder {
 public:
  /// `/tmp/tidings-NAME-XXXXXX`.
  explicit Folder(const std::string& name);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_{};
};

/// A running program.
struct Child {
  pid_t pid = -1;
  Descriptor output{};  ///< Where what it says arrives, on both of its outputs.
};

/// Starts a program that dies with us. A full pipe makes a `hasty` program lose output; any other waits for a reader.
[[nodiscard]] Child start_child(std::vector<std::string> words, bool hasty);

/// The wait status of a child that ends within our patience; one that does not is killed, and thrown.
int await_exit(pid_t pid);

/// Runs a program to its end and returns what it said; a failure of it is a std::runtime_error with that.
std::string run_program(std::vector<std::string> words);

/// Waits until something can be read, or the other end is closed; false after `milliseconds`.
[[nodiscard]] bool await_readable(int descriptor, int milliseconds);

/// Adds to `text` what can be read at once; false at the end.
bool read_some(int descriptor, std::string& text);

[[nodiscard]] sockaddr_in loopback(std::uint16_t port);

/// A connected socket; get() is negative when nobody listens.
[[nodiscard]] Descriptor connect_to(std::uint16_t port);

/// A port of the loopback where nobody listens now, and that the kernel gives to no outgoing connection.
[[nodiscard]] std::uint16_t free_port();

/// Without white space at the ends.
[[nodiscard]] std::string trimmed(const std::string& text);

}  // namespace tidings::support
