#include "program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <tidings/event.hpp>

namespace tidings::cli_test {

namespace {

constexpr int patience_ms = 60'000;
constexpr uid_t nobody = 65534;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

struct Pipe {
  int read_end = -1, write_end = -1;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  return {ends[0], ends[1]};
}

}  // namespace

Running::Running(const Words& words, const Setting& setting) {
  ::signal(SIGPIPE, SIG_IGN);  // A program may end before it has read its stdin.
  const Pipe in = make_pipe();
  const Pipe out = make_pipe();
  const Pipe err = make_pipe();
  Words arguments = words;
  const std::vector<char*> argument_list = pointers(arguments);
  Words variables{"PATH=/usr/local/bin:/usr/bin:/bin"};
  for (const auto& [name, value] : setting.variables) variables.push_back(name + "=" + value);
  const std::vector<char*> variable_list = pointers(variables);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("no process");
  if (pid_ == 0) {
    ::dup2(in.read_end, STDIN_FILENO);
    ::dup2(out.write_end, STDOUT_FILENO);
    ::dup2(err.write_end, STDERR_FILENO);
    ::signal(SIGPIPE, SIG_DFL);
    if (!setting.directory.empty() && ::chdir(setting.directory.c_str()) != 0) ::_exit(126);
    if (setting.as_nobody && ::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(126);
    ::execve(argument_list.front(), argument_list.data(), variable_list.data());
    ::_exit(127);
  }
  for (const int end : {in.read_end, out.write_end, err.write_end}) ::close(end);
  in_ = in.write_end;
  out_ = out.read_end;
  err_ = err.read_end;
}

Running::~Running() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (const int end : {in_.load(), out_, err_}) {
    if (end >= 0) ::close(end);
  }
}

void Running::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(in_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void Running::end_input() {
  const int end = in_.exchange(-1);
  if (end >= 0) ::close(end);
}

void Running::close_stdout() {
  if (out_ >= 0) ::close(out_);
  out_ = -1;
}

bool Running::poll_for(int descriptor) const {
  pollfd ready{descriptor, POLLIN, 0};
  return ::poll(&ready, 1, patience_ms) > 0;
}

bool Running::read_more(int descriptor, std::string& text) {
  char chunk[65536];
  for (;;) {
    const ssize_t count = ::read(descriptor, chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.append(chunk, static_cast<std::size_t>(count));
    return true;
  }
}

std::string Running::line() {
  // Byte by byte, so that what follows the line stays in the pipe, as it does with a reader that wants one line only.
  std::string text;
  for (;;) {
    if (!poll_for(out_)) {
      ADD_FAILURE() << "no line came; so far: " << text << "\nstderr: " << err_text_;
      return text;
    }
    char byte = 0;
    const ssize_t count = ::read(out_, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      ADD_FAILURE() << "the output ended; so far: " << text;
      return text;
    }
    taken_ += byte;
    if (byte == '\n') return text;
    text += byte;
  }
}

void Running::await_error(std::string_view text) {
  while (err_text_.find(text) == std::string::npos) {
    if (!poll_for(err_) || !read_more(err_, err_text_)) {
      ADD_FAILURE() << "stderr never said: " << text << "\nit said: " << err_text_;
      return;
    }
  }
}

void Running::signal(int number) const { ::kill(pid_, number); }

Outcome Running::wait() {
  bool out_open = out_ >= 0;
  bool err_open = true;
  while (out_open || err_open) {
    pollfd ready[2] = {{out_open ? out_ : -1, POLLIN, 0}, {err_open ? err_ : -1, POLLIN, 0}};
    if (::poll(ready, 2, patience_ms) <= 0) {
      ADD_FAILURE() << "it did not end; stdout: " << out_text_ << "\nstderr: " << err_text_;
      ::kill(pid_, SIGKILL);
      break;
    }
    if (ready[0].revents != 0) out_open = read_more(out_, out_text_);
    if (ready[1].revents != 0) err_open = read_more(err_, err_text_);
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), taken_ + out_text_, err_text_};
}

CliTest::CliTest() {
  std::string name = std::filesystem::temp_directory_path() / "tidings-cli-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory for the test");
  ::chmod(name.c_str(), 0755);
  directory_ = name;
  url_ = "sqlite:" + directory_ + "/log.db?durability=process";
  setting_.directory = directory_;
  setting_.variables["TIDINGS_URL"] = url_;
}

CliTest::~CliTest() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::unique_ptr<Running> CliTest::start(Words words) const {
  words.insert(words.begin(), TIDINGS_PROGRAM);
  return std::make_unique<Running>(words, setting_);
}

Outcome CliTest::tidings(Words words, std::string_view input) const {
  const auto running = start(std::move(words));
  // A thread of its own: who waits for our reading must not keep us from it.
  std::thread feeder([&] {
    running->write(input);
    running->end_input();
  });
  Outcome outcome = running->wait();
  feeder.join();
  return outcome;
}

std::string CliTest::expect_ok(Words words, std::string_view input) const {
  std::string command;
  for (const std::string& word : words) command += " " + word;
  const Outcome outcome = tidings(std::move(words), input);
  EXPECT_EQ(outcome.code, 0) << "tidings" << command << "\n" << outcome.err;
  return outcome.out;
}

std::string CliTest::publish(const std::string& type, const std::string& data, Words more) const {
  Words words{"publish", type, "--data", data};
  words.insert(words.end(), more.begin(), more.end());
  std::string id = expect_ok(words);
  if (!id.empty()) id.pop_back();
  return id;
}

std::string CliTest::file(const std::string& name, std::string_view content) const {
  std::string path = directory_ + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

Fields members(std::string_view json) {
  const std::string envelope =
      R"({"id":"x","type":"x","version":"1.0","timestamp":"2024-01-25T10:30:00Z","source":"x","correlationId":"x","data":{},)"
      R"("metadata":)" +
      std::string(json) + "}";
  try {
    validate_json(json, {.bytes = json.size()});
    return decode<Json>(envelope).metadata;
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what() << " in: " << json;
    return {};
  }
}

std::string names(std::string_view json) {
  std::string text;
  for (const auto& [name, value] : members(json)) text += (text.empty() ? "" : " ") + name;
  return text;
}

std::vector<std::string> elements(std::string_view json) {
  std::vector<std::string> texts;
  try {
    validate_json(json, {.bytes = json.size()});
    for (const Json& element : read_json<std::vector<Json>>(json)) texts.push_back(element.text());
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what() << " in: " << json;
  }
  return texts;
}

std::string value(std::string_view json, std::string_view name) {
  const Fields fields = members(json);
  const Json* found = fields.find(name);
  if (found == nullptr) return "missing";
  return found->as_string().value_or(found->text());
}

std::string complaints(std::string_view err) {
  std::string text;
  for (const std::string& line : lines(err)) {
    if (line.find(" is new on ") == std::string::npos) text += line + "\n";
  }
  return text;
}

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> list;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    list.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return list;
}

void await(const std::function<bool()>& done, const char* what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "this never came true: " << what;
      return;
    }
    ::poll(nullptr, 0, 5);
  }
}

}  // namespace tidings::cli_test
