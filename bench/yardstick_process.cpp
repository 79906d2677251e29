// Two processes: the leanest honest mover of blocks through SQLite, and a futex between two CPUs.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <new>

#include "yardstick.hpp"

namespace yardstick {

namespace {

/// What both processes see.
struct Shared {
  pthread_mutex_t write_lock{};
  std::atomic<std::uint32_t> word{0};
  std::atomic<std::uint32_t> ready{0};
  std::atomic<std::uint32_t> waiting{0};
  std::atomic<std::int64_t> sent_ns{0};
  std::atomic<std::int64_t> done_ns{0};
};

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  const timespec patience{0, 100'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &patience, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }

template <class T>
T* share(std::size_t count) {
  void* memory = mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up("cannot map shared memory");
  return static_cast<T*>(memory);
}

Shared* share_lock() {
  Shared* shared = new (share<Shared>(1)) Shared{};
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->write_lock, &attributes);
  return shared;
}

/// Runs `body` in a child that dies with this process.
template <class F>
pid_t in_child(F body) {
  const pid_t child = fork();
  if (child < 0) give_up("cannot fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    _exit(0);
  }
  return child;
}

void await(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) give_up("the second process failed");
}

/// Waits for the writer's next block: a short spin, then the futex.
void wait_for_block(Shared& shared, std::uint32_t seen) {
  for (int spin = 0; spin < 500 && shared.word.load() == seen; ++spin) __builtin_ia32_pause();
  shared.waiting.store(1);
  if (shared.word.load() == seen) futex_wait(shared.word, seen);
  shared.waiting.store(0);
}

/// The reading process: reads each block whole and moves its cursor in a transaction of its own.
void read_blocks(const Job& job, const std::string& path, Shared& shared) {
  Database database(path, false);
  sqlite3_stmt* begin = database.prepare("BEGIN IMMEDIATE");
  sqlite3_stmt* commit = database.prepare("COMMIT");
  sqlite3_stmt* select = database.prepare("SELECT id, count, body FROM blocks WHERE id > ?1 ORDER BY id LIMIT 1");
  sqlite3_stmt* advance = database.prepare("UPDATE cursor SET at = ?1");
  shared.ready.store(1);
  std::string copy;
  std::int64_t at = 0;
  std::uint64_t events = 0;
  while (events < job.events) {
    const std::uint32_t seen = shared.word.load();
    sqlite3_bind_int64(select, 1, at);
    if (!database.step(select)) {
      wait_for_block(shared, seen);
      continue;
    }
    at = sqlite3_column_int64(select, 0);
    events += static_cast<std::uint64_t>(sqlite3_column_int64(select, 1));
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(select, 2));
    copy.assign(bytes, static_cast<std::size_t>(sqlite3_column_bytes(select, 2)));
    sqlite3_reset(select);
    pthread_mutex_lock(&shared.write_lock);
    database.step(begin);
    sqlite3_bind_int64(advance, 1, at);
    database.step(advance);
    database.step(commit);
    pthread_mutex_unlock(&shared.write_lock);
  }
  shared.done_ns.store(now_ns());
}

}  // namespace

Outcome move_blocks(const Job& job) {
  const std::string path = job.directory + "/move.db";
  Shared* shared = share_lock();
  {
    Database database(path, false);
    database.run("CREATE TABLE cursor(at INTEGER)");
    database.run("INSERT INTO cursor VALUES(0)");
  }
  const pid_t child = in_child([&] { read_blocks(job, path, *shared); });
  Database database(path, job.sync);
  sqlite3_stmt* begin = database.prepare("BEGIN IMMEDIATE");
  sqlite3_stmt* commit = database.prepare("COMMIT");
  const std::vector<std::string> blocks = blocks_of(job.batch, job.size);
  while (shared->ready.load() == 0) usleep(1000);
  std::int64_t id = 0;
  const std::int64_t start = now_ns();
  for (std::uint64_t done = 0; done < job.events; done += job.batch) {
    pthread_mutex_lock(&shared->write_lock);
    database.step(begin);
    for (const std::string& block : blocks) {
      database.insert_block(++id, block, job.size);
    }
    database.step(commit);
    database.checkpoint_when_due();
    pthread_mutex_unlock(&shared->write_lock);
    shared->word.fetch_add(1);
    if (shared->waiting.load() != 0) futex_wake(shared->word);
  }
  await(child);
  return {.seconds = static_cast<double>(shared->done_ns.load() - start) * 1e-9};
}

Outcome wake_process(const Job& job) {
  Shared* shared = new (share<Shared>(1)) Shared{};
  auto* samples = share<double>(job.events);
  prctl(PR_SET_TIMERSLACK, 1UL);
  const pid_t child = in_child([&] {
    shared->ready.store(1);
    for (std::uint32_t seen = 0; seen < job.events;) {
      while (shared->word.load() == seen) futex_wait(shared->word, seen);
      const std::int64_t now = now_ns();
      samples[seen] = static_cast<double>(now - shared->sent_ns.load()) * 1e-3;
      seen = shared->word.load();
    }
  });
  while (shared->ready.load() == 0) usleep(1000);
  const auto started = Now::now();
  const std::int64_t step = static_cast<std::int64_t>(1e9 / job.rate);
  std::int64_t due = now_ns();
  for (std::uint64_t i = 0; i < job.events; ++i) {
    due += step;
    const timespec when{due / 1'000'000'000, due % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
    shared->sent_ns.store(now_ns());
    shared->word.fetch_add(1);
    futex_wake(shared->word);
  }
  await(child);
  Outcome outcome{.seconds = seconds_since(started)};
  outcome.micros.assign(samples, samples + job.events);
  std::erase(outcome.micros, 0.0);
  return outcome;
}

}  // namespace yardstick
