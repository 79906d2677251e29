#include "play.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include "messages.hpp"

extern char** environ;

namespace recovery {
namespace {

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            const std::string& output) {
  std::vector<char*> argv;
  for (const auto& text : arguments) argv.push_back(const_cast<char*>(text.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const auto& text : environment) envp.push_back(const_cast<char*>(text.c_str()));
  for (char** entry = environ; *entry != nullptr; ++entry) envp.push_back(*entry);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!output.empty()) {
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
  }
  pid_t pid = 0;
  const int failure = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) throw std::runtime_error("cannot start " + arguments[0]);
  return pid;
}

/// The ids of a stream, in order.
std::vector<std::string> ids_of(tidings::transport::Transport& transport, const std::string& stream) {
  std::vector<std::string> ids;
  tidings::transport::ReadRange range{.stream = stream, .limit = 5000};
  for (bool end = false; !end;) {
    const auto page = transport.read(range);
    for (const auto& record : page.records) {
      EXPECT_FALSE(record.damaged);
      ids.push_back(tidings::decode<tidings::Json>(record.envelope).id);
    }
    range.from = page.next;
    end = page.end;
  }
  return ids;
}

tidings::transport::GroupInfo group_of_stream(tidings::transport::Transport& transport, const std::string& stream,
                                              const std::string& group) {
  for (const auto& info : transport.describe(stream)) {
    for (const auto& row : info.groups) {
      if (row.group == group) return row;
    }
  }
  return {};
}

}  // namespace

void expect_sound_file(const std::string& database) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open_v2(database.c_str(), &handle, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  std::string answer;
  sqlite3_exec(
      handle, "PRAGMA integrity_check",
      [](void* target, int, char** values, char**) {
        *static_cast<std::string*>(target) += values[0];
        return 0;
      },
      &answer, nullptr);
  EXPECT_EQ(answer, "ok");
  sqlite3_close(handle);
}

Stage::Stage() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tidings-recovery-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  folder_ = pattern;
  arena_ = &map_arena(path("arena"));
}

Stage::~Stage() {
  if (!::testing::Test::HasFailure()) {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  } else {
    std::fprintf(stderr, "left for a look: %s\n", folder_.c_str());
  }
}

pid_t Stage::start(const std::string& role, int slot, const std::string& log, const std::vector<std::string>& extra,
                   const std::vector<std::string>& environment, const std::string& options) const {
  std::vector<std::string> arguments{RECOVERY_CHILD,       role,     url(options), path("arena"),
                                     std::to_string(slot), path(log)};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  return spawn(arguments, environment, path("output"));
}

Ending await_end(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return {WTERMSIG(status) == SIGKILL, WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

Ending run_program(const std::vector<std::string>& arguments, const std::string& output) {
  return await_end(spawn(arguments, {}, output));
}

std::unordered_map<std::string, std::uint64_t> lines_of(const std::string& path) {
  std::unordered_map<std::string, std::uint64_t> counts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line) && !file.eof();) ++counts[line];
  return counts;
}

Account audit(const Stage& stage, const std::vector<std::string>& writers, const std::string& worker_journal) {
  Account account;
  auto bus = tidings::Bus::open(stage.url(), {.source = "audit"});
  auto& transport = bus.transport();
  const std::vector<std::string> work = ids_of(transport, "events:work");
  const std::vector<std::string> done = ids_of(transport, "events:done");
  const std::set<std::string> stored(work.begin(), work.end());
  account.work = work.size();
  EXPECT_EQ(stored.size(), work.size()) << "an id of a writer stands in the stream twice";
  for (const auto& journal : writers) {
    for (const auto& [id, count] : lines_of(stage.path(journal))) {
      ++account.acknowledged;
      EXPECT_TRUE(stored.contains(id)) << "acknowledged and lost: " << id;
    }
  }

  std::set<std::string> dead;
  for (const auto& item : transport.shelf({"events:work", "worker"}, {.limit = 1'000'000})) {
    EXPECT_EQ(item.state, tidings::transport::ShelfState::dead) << item.id;
    EXPECT_TRUE(item.reason == "rejected" || item.reason == "crashed")
        << item.id << ' ' << item.reason << ' ' << item.error;
    account.crashed += item.reason == "crashed" ? 1 : 0;
    EXPECT_TRUE(dead.insert(item.id).second) << "two dead letters of " << item.id;
  }
  const auto handled = lines_of(stage.path(worker_journal));
  for (const auto& [id, count] : handled) account.duplicates += count - 1;
  for (const auto& id : work)
    EXPECT_TRUE(handled.contains(id) || dead.contains(id)) << "neither handled nor dead: " << id;

  const auto worker = group_of_stream(transport, "events:work", "worker");
  account.handled = worker.handled.value_or(0);
  account.dead = worker.dead_letters;
  EXPECT_EQ(worker.lag.value_or(1), 0U);
  EXPECT_EQ(worker.pending + worker.retrying, 0U);
  EXPECT_EQ(worker.handled.value_or(0) + worker.ignored.value_or(0) + worker.dead_letters, account.work);
  account.done = done.size();
  EXPECT_EQ(std::set<std::string>(done.begin(), done.end()).size(), done.size());
  EXPECT_EQ(done.size(), worker.handled) << "outputs and settlements are one transaction, so they match one to one";
  const auto auditor = group_of_stream(transport, "events:done", "auditor");
  EXPECT_EQ(auditor.handled.value_or(0) + auditor.dead_letters, done.size());
  expect_sound_file(stage.database());
  return account;
}

void drain(const Stage& stage, const std::string& worker_journal, const std::string& auditor_journal) {
  stage.arena().stop.store(1);
  const Ending worker = await_end(stage.start("worker", 14, worker_journal));
  EXPECT_TRUE(!worker.killed && worker.code == 0) << "the last worker ended with " << worker.code;
  const Ending auditor = await_end(stage.start("auditor", 15, auditor_journal));
  EXPECT_TRUE(!auditor.killed && auditor.code == 0) << "the last auditor ended with " << auditor.code;
}

}  // namespace recovery
