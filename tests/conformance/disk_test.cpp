// Properties of an engine that is a file: what a full disk, a failed sync, a power cut and a flipped bit leave behind.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "process.hpp"

namespace tidings::conformance {

namespace {

namespace fs = std::filesystem;

#define NEEDS_A_FILE()                                                                       \
  do {                                                                                       \
    if (!GetParam().in_directory) NOT_OFFERED("the engine keeps nothing on a disk of ours"); \
  } while (false)

// A file system of our own, gone at the end of the scope.
class Mounted {
 public:
  explicit Mounted(std::string where) : where_(std::move(where)) { fs::create_directories(where_); }
  ~Mounted() { unmount(); }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

  // Mounts it, or changes its size where it stands.
  bool tmpfs(const std::string& size) {
    const unsigned long flags = mounted_ ? MS_REMOUNT : 0;
    const bool done = ::mount("tmpfs", where_.c_str(), "tmpfs", flags, ("size=" + size).c_str()) == 0;
    mounted_ = mounted_ || done;
    return done;
  }
  bool image(const std::string& file) {
    Child mount{{"mount", "-o", "loop", file, where_}};
    return mounted_ = mount.wait() == 0;
  }
  void unmount() {
    if (!mounted_) return;
    Child umount{{"umount", where_}};
    if (umount.wait() != 0) ::umount2(where_.c_str(), MNT_DETACH);
    mounted_ = false;
  }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  std::string where_;
  bool mounted_ = false;
};

bool have(const char* program) {
  try {
    Child probe{{program, "-V"}};
    return probe.wait() == 0;
  } catch (const std::exception&) {
    return false;
  }
}

std::vector<std::string> acked(const std::vector<std::string>& lines) {
  std::vector<std::string> ids;
  for (const std::string& line : lines) {
    if (line.starts_with("acked ")) ids.push_back(line.substr(6));
  }
  return ids;
}

// Opens what is left and checks that every acknowledged event is there, that the file is sound, and that work goes on.
void expect_recovered(Place& place, const std::vector<std::string>& ids, const std::string& what) {
  const auto transport = open_transport(place.url());
  const std::vector<std::string> stored = read_ids(*transport, test_stream);
  const std::set<std::string> there(stored.begin(), stored.end());
  for (const std::string& id : ids)
    EXPECT_TRUE(there.contains(id)) << what << ": " << id << " was acknowledged and is lost";
  EXPECT_EQ(place.integrity(), "ok") << what;
  EXPECT_EQ(publish(*transport, {tick(999'999)}).at(0).code, ErrorCode::ok) << what;
  EXPECT_EQ(read_ids(*transport, test_stream).size(), stored.size() + 1) << what;
}

// Publishes ticks of `size` bytes until one is refused; returns how many were stored.
int fill(Transport& transport, std::size_t size, Result& refusal) {
  const std::string note(size, 'x');
  for (int n = 0; n < 100'000; ++n) {
    refusal = publish(transport, {tick(n, test_stream, note)}).at(0);
    if (refusal.code != ErrorCode::ok) return n;
  }
  return -1;
}

}  // namespace

TEST_P(Conformance, P49_DiskFull) {
  NEEDS_A_FILE();
  Mounted disk{directory() + "/small"};
  if (!disk.tmpfs("24m")) NOT_OFFERED("mounting a small file system is not allowed here");
  {
    const auto small = GetParam().in_directory(disk.where());
    const auto transport = open_transport(small->url() + "?reserve=8MiB", real_environment());
    publish_ticks(*transport, -100, 100);
    const auto subscription = transport->subscribe(interest("reader"));
    const std::vector<Delivery> held = fetch_all(*subscription, 50);
    ASSERT_GE(held.size(), 50U);
    Result refusal;
    const int stored = fill(*transport, 100'000, refusal);
    EXPECT_GT(stored, 10);
    EXPECT_EQ(refusal.code, ErrorCode::full) << refusal.message;
    EXPECT_TRUE(refusal.retryable);
    // Publishing stops first; settling has its reserve.
    settle_done(*subscription, held);
    EXPECT_GE(group_info(*transport, test_stream, "reader").handled, 50U);
    EXPECT_EQ(read_envelopes(*transport, test_stream).size(), static_cast<std::size_t>(stored) + 100);
    ASSERT_TRUE(disk.tmpfs("64m"));
    Result after;
    for (int look = 0; look < 200; ++look) {
      after = publish(*transport, {tick(500'000)}).at(0);
      if (after.code != ErrorCode::full) break;
      // What is known of the free space may be a moment old.
      (void)subscription->fetch(10ms, {});
    }
    EXPECT_EQ(after.code, ErrorCode::ok) << "with room again it must go on: " << after.message;
    EXPECT_EQ(small->integrity(), "ok");
  }
}

TEST_P(Conformance, P49_DiskFull_WithoutReserve) {
  NEEDS_A_FILE();
  Mounted disk{directory() + "/small"};
  if (!disk.tmpfs("6m")) NOT_OFFERED("mounting a small file system is not allowed here");
  {
    const auto small = GetParam().in_directory(disk.where());
    int stored = 0;
    {
      const auto transport = open_transport(small->url() + "?reserve=0", real_environment());
      Result refusal;
      stored = fill(*transport, 20'000, refusal);
      EXPECT_GT(stored, 10);
      EXPECT_EQ(refusal.code, ErrorCode::full) << refusal.message;
      EXPECT_EQ(read_envelopes(*transport, test_stream).size(), static_cast<std::size_t>(stored));
      ASSERT_TRUE(disk.tmpfs("64m"));
      EXPECT_EQ(publish(*transport, {tick(500'000)}).at(0).code, ErrorCode::ok) << "with room again it must go on";
    }
    std::vector<std::string> ids;
    for (int n = 0; n < stored; ++n) ids.push_back("evt_" + std::to_string(n));
    expect_recovered(*small, ids, "after ENOSPC");
  }
}

TEST_P(Conformance, P49_DiskFull_AtEachWrite) {
  NEEDS_A_FILE();
  if (!have("strace")) NOT_OFFERED("strace is not there to fail a write");
  // Once, which may be waited out, and from then on, as a disk does that stays full.
  const std::vector<std::string> once{"1", "10", "20", "30", "34", "38", "42", "46", "50", "55", "60", "70", "80"};
  const std::vector<std::string> lasting{"1+", "20+", "34+", "40+", "45+", "50+", "55+", "60+"};
  int refusals = 0;
  for (const std::vector<std::string>& writes : {once, lasting}) {
    for (const std::string& nth : writes) {
      const std::string where = directory() + "/write" + nth;
      fs::create_directories(where);
      const auto place = GetParam().in_directory(where);
      std::vector<std::string> command{"strace",
                                       "-f",
                                       "-qq",
                                       "-o",
                                       "/dev/null",
                                       "-e",
                                       "trace=pwrite64",
                                       "-e",
                                       "inject=pwrite64:error=ENOSPC:when=" + nth};
      for (const std::string& word : child_command("publish", place->url(), {"count=8", "patience=100"})) {
        command.push_back(word);
      }
      Child child{command};
      const std::vector<std::string> lines = child.lines();
      const int ended = child.wait();
      EXPECT_TRUE(ended == 0 || ended == 1 || ended == 3) << "write " << nth << " ended it with " << ended;
      if (ended == 3) ++refusals;
      expect_recovered(*place, acked(lines), "write " + nth);
    }
  }
  EXPECT_GT(refusals, 0) << "no write that mattered was failed";
}

TEST_P(Conformance, P50_FsyncEio) {
  NEEDS_A_FILE();
  if (!have("strace")) NOT_OFFERED("strace is not there to fail a sync");
  int stopped = 0;
  for (const int nth : {1, 2, 3, 4, 5, 7, 9}) {
    const std::string where = directory() + "/sync" + std::to_string(nth);
    fs::create_directories(where);
    const auto place = GetParam().in_directory(where);
    std::vector<std::string> command{"strace",
                                     "-f",
                                     "-qq",
                                     "-o",
                                     "/dev/null",
                                     "-e",
                                     "trace=fdatasync,fsync",
                                     "-e",
                                     "inject=fdatasync,fsync:error=EIO:when=" + std::to_string(nth)};
    for (const std::string& word : child_command("publish", place->url(), {"count=12"})) command.push_back(word);
    Child child{command};
    const std::vector<std::string> lines = child.lines();
    const int ended = child.wait();
    EXPECT_TRUE(ended == 0 || ended == 1 || ended == 3) << ended;
    bool refused = false;
    for (const std::string& line : lines) {
      if (line.starts_with("refused ")) {
        if (!refused) {
          EXPECT_TRUE(line.starts_with("refused io ")) << line;
        }
        refused = true;
      }
      EXPECT_FALSE(refused && line.starts_with("acked "))
          << "after a failed sync nothing may be acknowledged: " << line;
    }
    if (refused) ++stopped;
    expect_recovered(*place, acked(lines), "sync " + std::to_string(nth));
  }
  EXPECT_GT(stopped, 0) << "no sync that mattered was failed";
}

TEST_P(Conformance, P51_PowerCut) {
  NEEDS_A_FILE();
  const std::string image = directory() + "/disk.img";
  {
    const int file = ::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    ASSERT_EQ(::ftruncate(file, 64 << 20), 0);
    ::close(file);
    Child format{{"mkfs.ext4", "-q", "-F", "-b", "4096", image}};
    if (format.wait() != 0) NOT_OFFERED("mkfs.ext4 is not there to make a disk of our own");
  }
  Mounted disk{directory() + "/disk"};
  if (!disk.image(image)) NOT_OFFERED("mounting a disk image is not allowed here");
  std::vector<std::string> ids;
  for (const int at : {1, 7, 40, 120}) {
    const auto place = GetParam().in_directory(disk.where());
    const int root = ::open(disk.where().c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(root, 0);
    Child child{child_command("publish", place->url(), {"first=" + std::to_string(at * 10'000), "count=5000"})};
    std::vector<std::string> lines;
    for (int n = 0; n < at; ++n) lines.push_back(child.line());
    // EXT4_IOC_SHUTDOWN without flushing the journal: what was not synced is gone.
    std::uint32_t without_log_flush = 2;
    const int cut = ::ioctl(root, 0x8004587d, &without_log_flush);
    ::close(root);
    const std::vector<std::string> rest = child.lines();
    child.wait();
    if (cut != 0) NOT_OFFERED("the kernel does not offer to shut a file system down");
    lines.insert(lines.end(), rest.begin(), rest.end());
    for (const std::string& id : acked(lines)) ids.push_back(id);
    ASSERT_GE(ids.size(), static_cast<std::size_t>(at));
    disk.unmount();
    ASSERT_TRUE(disk.image(image)) << "the disk does not come back";
    expect_recovered(*place, ids, "cut after " + std::to_string(at));
  }
}

TEST_P(Conformance, P52_BitFlip) {
  NEEDS_A_FILE();
  {
    const auto transport = open();
    std::vector<Item> items;
    for (int n = 0; n < 10; ++n) items.push_back(tick(n, test_stream, "needle-" + std::to_string(n) + "-in-the-file"));
    for (const Result& result : publish(*transport, items)) ASSERT_EQ(result.code, ErrorCode::ok);
  }
  ASSERT_TRUE(place().flip_bit("needle-4-in-the-file")) << "the payload must stand in the file as it is";
  const auto transport = open();
  transport::ReadRange range;
  range.stream = test_stream;
  const transport::Page page = transport->read(range);
  ASSERT_EQ(page.records.size(), 10U) << "the rest must stay readable";
  for (std::size_t n = 0; n < 10; ++n) {
    EXPECT_EQ(page.records[n].damaged, n == 4) << n;
    if (n != 4) {
      EXPECT_EQ(
          page.records[n].envelope,
          tick(static_cast<std::int64_t>(n), test_stream, "needle-" + std::to_string(n) + "-in-the-file").envelope);
    }
  }
  testing::Harness harness{transport, shared_clock()};
  std::set<std::string> seen;
  Service service{harness.bus(), "reader"};
  service.on<Tick>([&](const DomainEvent<Tick>& event) { seen.insert(event.id); });
  harness.add(service);
  harness.settle();
  EXPECT_EQ(seen.size(), 9U);
  EXPECT_FALSE(seen.contains("evt_4")) << "damaged bytes were handed to a handler";
  const std::vector<testing::DeadLetter> dead = harness.dead_letters(service);
  ASSERT_EQ(dead.size(), 1U) << "what is damaged is set aside";
  EXPECT_EQ(dead[0].reason, "undecodable");
}

TEST_P(Conformance, P53_TornTail) {
  NEEDS_A_FILE();
  const auto transport = open();
  for (int n = 0; n < 40; ++n) publish_ticks(*transport, n, 1);
  const fs::path file = place().file();
  const fs::path wal = file.string() + "-wal";
  const std::uintmax_t size = fs::exists(wal) ? fs::file_size(wal) : 0;
  ASSERT_GT(size, 40'000U) << "40 commits must stand in the log, or this test cuts nothing";
  std::size_t before = 0;
  for (int cut = 0; cut <= 24; ++cut) {
    // Offsets that fall on frame borders, inside headers and inside pages.
    const std::uintmax_t at =
        cut == 24 ? size : size * static_cast<std::uintmax_t>(cut) / 24 + static_cast<std::uintmax_t>(cut % 5);
    const std::string where = directory() + "/cut" + std::to_string(cut);
    fs::create_directories(where);
    const auto torn = GetParam().in_directory(where);
    fs::copy_file(file, torn->file());
    fs::copy_file(wal, torn->file() + "-wal");
    fs::resize_file(torn->file() + "-wal", std::min(at, size));
    const auto opened = open_transport(torn->url(), real_environment());
    const std::vector<std::string> ids = read_ids(*opened, test_stream);
    for (std::size_t n = 0; n < ids.size(); ++n) ASSERT_EQ(ids[n], "evt_" + std::to_string(n)) << "cut at " << at;
    EXPECT_GE(ids.size(), before) << "a longer log holds less";
    before = ids.size();
    EXPECT_EQ(publish(*opened, {tick(1000)}).at(0).code, ErrorCode::ok) << "cut at " << at;
    EXPECT_EQ(read_ids(*opened, test_stream).size(), ids.size() + 1);
    EXPECT_EQ(torn->integrity(), "ok") << "cut at " << at;
  }
  EXPECT_EQ(before, 40U) << "the whole log must hold all";
}

}  // namespace tidings::conformance
