// A payload is written beside its place, synced, and renamed: under its name there is all of it or nothing. Who stores
// and who removes agree by a lock on the folder of the stream, so that nothing is removed that was just found there.
#include "transport/aws/payload_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <vector>

#include <tidings/id.hpp>

namespace tidings::transport::aws {
namespace {

namespace fs = std::filesystem;

constexpr mode_t file_mode = 0640, folder_mode = 0770;
constexpr std::string_view mark = ".tidings-payloads", unfinished = ".new-";
constexpr std::size_t most_looked_at = 1'000;
constexpr Millis between_looks = std::chrono::hours(1), unfinished_kept = std::chrono::hours(24);

/// A descriptor, closed at the end; a lock on it ends with it.
class File {
 public:
  explicit File(int descriptor) noexcept : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] bool ok() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

std::string words_of(int code) { return std::system_category().message(code); }

Payloads::Outcome failed(const std::string& what, const std::string& where, int code) {
  const bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
  const std::string advice = full              ? "make room there"
                             : code == EACCES  ? "let this program's user write there"
                             : code == EROFS   ? "mount it for writing"
                             : code == ENOENT  ? "mount or make the folder"
                             : code == ENOTDIR ? "let payloads= name a folder"
                                               : "see to that disk";
  Payloads::Outcome out;
  out.error.emplace(full ? ErrorCode::full : ErrorCode::unavailable, true,
                    "the payload could not be " + what + " (" + where + ": " + words_of(code) + "); " + advice);
  return out;
}

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

int open_folder(const std::string& path) { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

Millis age_of(const struct stat& file, Wall now) {
  return now.time_since_epoch() -
         (std::chrono::seconds(file.st_mtim.tv_sec) + Millis(file.st_mtim.tv_nsec / 1'000'000));
}

class FilePayloads final : public Payloads {
 public:
  FilePayloads(const PayloadPlace& place, Client& client) : Payloads(place, client) {}

  std::optional<Outcome> put(Client::Flight&, Work&, std::string_view key, std::string_view bytes,
                             WaitClock::time_point) override {
    return store(std::string(key), bytes);
  }
  std::optional<Outcome> get(Client::Flight&, Work&, std::string_view key, WaitClock::time_point) override {
    return fetch(place_.folder + "/" + std::string(key));
  }
  Outcome outcome(Work&) const override { return {}; }
  Millis tend(Wall now) override;

 private:
  [[nodiscard]] Outcome store(const std::string& key, std::string_view bytes);
  [[nodiscard]] Outcome store_in(int folder, const std::string& path, const std::string& name, std::string_view bytes);
  [[nodiscard]] Outcome fetch(const std::string& path) const;
  [[nodiscard]] int make_folders(const std::string& path) const;
  void list();
  [[nodiscard]] std::size_t look_on(Wall now, std::size_t most);
  static void look_at(int folder, const std::string& name, Wall now);

  std::mutex mutex_{};
  Wall next_look_{};
  std::vector<fs::path> unseen_{};  // The folders of a look that is not over.
  fs::directory_iterator next_{};  // In the last of them. There may be more files than anybody wants to hold in memory.
};

// What publishers write into, marked as ours: a reader that sees no mark looks at a disk that is not mounted.
int FilePayloads::make_folders(const std::string& path) const {
  std::error_code error;
  fs::create_directories(place_.folder, error);
  if (error) return error.value();
  const File marked(
      ::open((place_.folder + "/" + std::string(mark)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, file_mode));
  if (!marked.ok()) return errno;
  if (::mkdir(path.c_str(), folder_mode) != 0 && errno != EEXIST) return errno;
  const File root(open_folder(place_.folder));
  return root.ok() && ::fsync(root.get()) == 0 ? 0 : errno;
}

Payloads::Outcome FilePayloads::store(const std::string& key, std::string_view bytes) {
  const std::size_t slash = key.find('/');
  const std::string path = place_.folder + "/" + key.substr(0, slash);
  int descriptor = open_folder(path);
  if (descriptor < 0 && errno == ENOENT) {
    if (const int code = make_folders(path); code != 0) return failed("stored", path, code);
    descriptor = open_folder(path);
  }
  const int code = errno;
  const File folder(descriptor);
  if (!folder.ok()) return failed("stored", path, code);
  return store_in(folder.get(), path, key.substr(slash + 1), bytes);
}

Payloads::Outcome FilePayloads::store_in(int folder, const std::string& path, const std::string& name,
                                         std::string_view bytes) {
  const std::string beside =
      std::string(unfinished) + std::to_string(::getpid()) + "-" + std::to_string(system_random().next());
  const auto give_up = [&](int code) {
    ::unlinkat(folder, beside.c_str(), 0);
    return failed("stored", path, code);
  };
  struct stat there {};
  while (::flock(folder, LOCK_SH) != 0) {
    if (errno != EINTR) return failed("stored", path, errno);
  }
  // Repeated, and as young as its last pointer. Of another size, it was damaged since, and is written again.
  const bool known = ::fstatat(folder, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(there.st_mode) &&
                     static_cast<std::size_t>(there.st_size) == bytes.size() &&
                     ::utimensat(folder, name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0;
  if (!known) {
    const File file(::openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, file_mode));
    if (!file.ok()) return failed("stored", path, errno);
    if (!write_all(file.get(), bytes) || ::fsync(file.get()) != 0) return give_up(errno);
    if (::renameat(folder, beside.c_str(), folder, name.c_str()) != 0) return give_up(errno);
  }
  // Also where another has renamed it, and perhaps not come to this.
  if (::fsync(folder) != 0) return failed("stored", path, errno);
  return {};
}

Payloads::Outcome FilePayloads::fetch(const std::string& path) const {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.ok()) {
    const int code = errno;
    Outcome out = failed("read", path, code);
    const bool mounted = ::access((place_.folder + "/" + std::string(mark)).c_str(), F_OK) == 0;
    out.gone = code == ENOENT && mounted;
    if (code == ENOENT && !mounted) {
      out.error.emplace(ErrorCode::unavailable, true,
                        "the payload could not be read: " + place_.folder +
                            " is no folder that anything of ours was stored in; mount it");
    }
    return out;
  }
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return failed("read", path, errno);
  Outcome out;
  if (!S_ISREG(about.st_mode) || static_cast<std::uint64_t>(about.st_size) > largest_payload) {
    out.gone = true;
    out.error.emplace(ErrorCode::too_large, path + " is no file of at most " + std::to_string(largest_payload) +
                                                " bytes; nothing of ours is like that");
    return out;
  }
  out.bytes.resize(static_cast<std::size_t>(about.st_size));
  std::size_t had = 0;
  while (had < out.bytes.size()) {
    const ssize_t got = ::read(file.get(), out.bytes.data() + had, out.bytes.size() - had);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", path, errno);
    if (got == 0) break;
    had += static_cast<std::size_t>(got);
  }
  out.bytes.resize(had);
  return out;
}

// Removes one file that is too old to be pointed to.
void FilePayloads::look_at(int folder, const std::string& name, Wall now) {
  const Millis kept = name.starts_with(unfinished) ? unfinished_kept : payloads_kept;
  const auto old = [&] {
    struct stat about {};
    return ::fstatat(folder, name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode) &&
           age_of(about, now) > kept;
  };
  if (!old() || ::flock(folder, LOCK_EX | LOCK_NB) != 0) return;
  // Somebody may have stored it once more before the lock.
  if (old()) ::unlinkat(folder, name.c_str(), 0);
  ::flock(folder, LOCK_UN);
}

void FilePayloads::list() {
  try {
    for (const auto& stream : fs::directory_iterator(place_.folder)) {
      const std::string name = stream.path().filename().string();
      if (stream.is_directory() && (name.starts_with("events-") || name.starts_with("commands-")))
        unseen_.push_back(stream.path());
    }
  } catch (const fs::filesystem_error&) {
    // What cannot be listed is not removed; whoever stores there says what is wrong.
  }
}

// Goes on in the folder whose turn it is; returns how many files it looked at.
std::size_t FilePayloads::look_on(Wall now, std::size_t most) {
  std::error_code error;
  if (next_ == fs::directory_iterator()) next_ = fs::directory_iterator(unseen_.back(), error);
  const File folder(open_folder(unseen_.back().string()));
  std::size_t looked = 0;
  while (folder.ok() && !error && next_ != fs::directory_iterator() && looked < most) {
    const std::string name = next_->path().filename().string();
    next_.increment(error);  // First, since what it stands on may go.
    look_at(folder.get(), name, now);
    ++looked;
  }
  if (folder.ok() && !error && next_ != fs::directory_iterator()) return looked;
  next_ = {};
  unseen_.pop_back();
  return looked;
}

Millis FilePayloads::tend(Wall now) {
  const std::lock_guard lock(mutex_);
  if (now < next_look_) return std::chrono::ceil<Millis>(next_look_ - now);
  if (unseen_.empty()) list();
  for (std::size_t looked = 0; !unseen_.empty() && looked < most_looked_at;) {
    looked += look_on(now, most_looked_at - looked);
  }
  if (!unseen_.empty()) return Millis(1'000);
  next_look_ = now + between_looks;
  return between_looks;
}

}  // namespace

std::unique_ptr<Payloads> open_payload_files(const PayloadPlace& place, Client& client) {
  return std::make_unique<FilePayloads>(place, client);
}

}  // namespace tidings::transport::aws
