// Runs the built `tidings`, and looks at what it prints and how it ends.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tidings/json.hpp>
#include <vector>

namespace tidings::cli_test {

using Words = std::vector<std::string>;

/// How a run ended.
struct Outcome {
  int code = -1;         ///< The exit code, or 1000 + the signal that ended it.
  std::string out, err;  ///< All that it printed.
};

/// How a program is started.
struct Setting {
  std::string directory{};                         ///< Working directory; empty: ours.
  std::map<std::string, std::string> variables{};  ///< Beside PATH; nothing else is inherited.
  bool as_nobody = false;                          ///< Gives up root's rights first.
};

/// One running `tidings` (or another program), with pipes at its ends. Killed when this goes before it ended.
class Running {
 public:
  Running(const Words& words, const Setting& setting);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void write(std::string_view text);
  void end_input();
  /// The next line of stdout, without its end; fails the test when there is none within a minute.
  std::string line();
  /// Waits until stderr holds `text`.
  void await_error(std::string_view text);
  /// Reads no more, and closes our end: what its reader's death looks like.
  void close_stdout();
  void signal(int number) const;
  /// Reads both outputs to their ends and waits.
  Outcome wait();
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  bool read_more(int descriptor, std::string& text);
  [[nodiscard]] bool poll_for(int descriptor) const;
  pid_t pid_ = -1;
  std::atomic<int> in_{-1};
  int out_ = -1, err_ = -1;
  std::string out_text_{}, err_text_{};
  std::string taken_{};
};

/// A directory with a fresh embedded log in it, named by TIDINGS_URL.
class CliTest : public ::testing::Test {
 protected:
  CliTest();
  ~CliTest() override;

  /// Runs `tidings words…` to its end.
  Outcome tidings(Words words, std::string_view input = {}) const;
  /// The same, and expects exit code 0 and nothing but `out`'s content; returns stdout.
  std::string expect_ok(Words words, std::string_view input = {}) const;
  /// Starts `tidings words…`.
  [[nodiscard]] std::unique_ptr<Running> start(Words words) const;
  /// Publishes one event and returns its id.
  std::string publish(const std::string& type, const std::string& data = "{}", Words more = {}) const;
  /// Writes a file into the directory and returns its path.
  [[nodiscard]] std::string file(const std::string& name, std::string_view content) const;

  std::string directory_;
  std::string url_;
  Setting setting_;
};

/// The members of one JSON object, in their order.
[[nodiscard]] Fields members(std::string_view json);
/// The names of one JSON object, in their order, with blanks between.
[[nodiscard]] std::string names(std::string_view json);
/// The elements of one JSON array.
[[nodiscard]] std::vector<std::string> elements(std::string_view json);
/// The value of one member as text: a string's content, else its JSON; "missing" without it.
[[nodiscard]] std::string value(std::string_view json, std::string_view name);
/// What stderr says beside the warning that a new group starts with the stream's history.
[[nodiscard]] std::string complaints(std::string_view err);
/// The lines of a text.
[[nodiscard]] std::vector<std::string> lines(std::string_view text);
/// Looks again until `done` says so; fails the test after a minute.
void await(const std::function<bool()>& done, const char* what);

}  // namespace tidings::cli_test
