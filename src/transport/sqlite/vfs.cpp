#include "transport/sqlite/vfs.hpp"

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

#include "transport/sqlite/gather.hpp"

namespace tidings::transport::sqlite {
namespace {

// The write lock of a WAL-mode database, and where its wal-index keeps how many frames the WAL has and how many a
// checkpoint is about to have moved, in words of 32 bits (SQLite's "WAL-mode File Format", sections 2.2 and 2.3.1).
constexpr int write_lock = 0;
constexpr std::size_t frames_word = 4, attempted_word = 32;

// One open database or WAL. The VFS below has its own file behind it, in the same allocation.
struct File {
  sqlite3_file base{};
  sqlite3_file* real = nullptr;
  bool wal = false;
  File* partner = nullptr;  // The WAL of a database, the database of a WAL, of the same connection.
  GatheredWrites writes{};
  FrameWatch frames{};
  ReadAhead ahead{};
  bool checkpointing = false;
  bool writing = false;    // Of a database: this connection has the write lock.
  bool may_hold = false;   // Of a database: a checkpoint's writes may wait for each other.
  int failed = SQLITE_OK;  // What was held back did not get through: of a checkpoint, or of the transaction.
  volatile std::uint32_t* wal_index = nullptr;  // Of a database, once it is mapped.
};

constexpr std::size_t own_bytes = (sizeof(File) + 15) / 16 * 16;

File& self(sqlite3_file* file) noexcept { return *reinterpret_cast<File*>(file); }

const sqlite3_io_methods& real(const File& file) noexcept { return *file.real->pMethods; }

std::span<const std::byte> bytes_of(const void* data, int size) noexcept {
  return {static_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

int flush(File& file) noexcept {
  if (file.writes.empty()) return SQLITE_OK;
  const auto bytes = file.writes.bytes();
  const std::int64_t offset = file.writes.offset();
  file.writes.clear();
  const int code = real(file).xWrite(file.real, bytes.data(), static_cast<int>(bytes.size()), offset);
  // SQLite was told that these bytes are written. A transaction that goes on without them must not be committed.
  if (code != SQLITE_OK) file.failed = code;
  return code;
}

void forget_reads(File& file) noexcept {
  file.ahead.clear();
  if (file.partner != nullptr) file.partner->ahead.clear();
}

int close_file(sqlite3_file* base) noexcept {
  File& file = self(base);
  if (file.partner != nullptr) file.partner->partner = nullptr;
  const int code = file.real->pMethods == nullptr ? SQLITE_OK : real(file).xClose(file.real);
  file.~File();
  return code;
}

// Reads more than was asked for, as far as that is worth it; false where the page is better read alone. What lies ahead
// may be unreadable where the page is not, so no failure here is one.
bool read_ahead(File& file, std::span<std::byte> wanted, std::int64_t offset) noexcept {
  if (file.partner == nullptr && file.wal) return false;  // Nobody would say when it is old.
  if (!file.ahead.worth_it(offset, file.checkpointing)) return false;
  sqlite3_int64 file_size = 0;
  if (real(file).xFileSize(file.real, &file_size) != SQLITE_OK) return false;
  const std::size_t planned = file.ahead.plan(offset, wanted.size(), file_size, file.checkpointing);
  if (planned <= wanted.size()) return false;
  const std::span<std::byte> room = file.ahead.room(planned);
  if (room.empty() || real(file).xRead(file.real, room.data(), static_cast<int>(planned), offset) != SQLITE_OK)
    return false;
  file.ahead.keep(offset, planned);
  return file.ahead.give(offset, wanted);
}

int read_file(sqlite3_file* base, void* into, int size, sqlite3_int64 offset) noexcept {
  File& file = self(base);
  if (const int code = flush(file); code != SQLITE_OK) return code;
  const std::span<std::byte> wanted(static_cast<std::byte*>(into), static_cast<std::size_t>(size));
  if (file.ahead.give(offset, wanted) || read_ahead(file, wanted, offset)) return SQLITE_OK;
  file.ahead.passed(offset, wanted.size());
  return real(file).xRead(file.real, into, size, offset);
}

int write_file(sqlite3_file* base, const void* data, int size, sqlite3_int64 offset) noexcept {
  File& file = self(base);
  file.ahead.clear();
  if (file.failed != SQLITE_OK) return file.failed;
  const auto bytes = bytes_of(data, size);
  const bool may_wait = file.wal ? file.frames.may_wait(bytes) && file.partner != nullptr : file.may_hold;
  if (!file.writes.takes(offset, bytes.size())) {
    if (const int code = flush(file); code != SQLITE_OK) return code;
  }
  const bool alone = !may_wait && file.writes.empty();
  if (alone || !file.writes.takes(offset, bytes.size()) || !file.writes.add(offset, bytes)) {
    if (const int code = flush(file); code != SQLITE_OK) return code;
    return real(file).xWrite(file.real, data, size, offset);
  }
  return may_wait ? SQLITE_OK : flush(file);
}

int truncate_file(sqlite3_file* base, sqlite3_int64 size) noexcept {
  File& file = self(base);
  file.ahead.clear();
  const int code = file.failed != SQLITE_OK ? file.failed : flush(file);
  return code != SQLITE_OK ? code : real(file).xTruncate(file.real, size);
}

int sync_file(sqlite3_file* base, int flags) noexcept {
  File& file = self(base);
  const int code = file.failed != SQLITE_OK ? file.failed : flush(file);
  return code != SQLITE_OK ? code : real(file).xSync(file.real, flags);
}

int size_of_file(sqlite3_file* base, sqlite3_int64* size) noexcept {
  const int code = flush(self(base));
  return code != SQLITE_OK ? code : real(self(base)).xFileSize(self(base).real, size);
}

int lock_file(sqlite3_file* base, int level) noexcept {
  forget_reads(self(base));
  return real(self(base)).xLock(self(base).real, level);
}

int unlock_file(sqlite3_file* base, int level) noexcept {
  forget_reads(self(base));
  return real(self(base)).xUnlock(self(base).real, level);
}

int check_reserved_lock(sqlite3_file* base, int* result) noexcept {
  return real(self(base)).xCheckReservedLock(self(base).real, result);
}

// A checkpoint's writes wait for each other until it says that it is done. It asks for their result, by the truncate
// and the sync that follow, only when it moves all frames there are; where readers keep it from that, or others may
// write meanwhile, it counts as moved at once what it wrote, so that each write has to say for itself whether it got
// through.
void set_checkpointing(File& file, bool on) noexcept {
  if (on) {
    file.failed = SQLITE_OK;
    file.may_hold =
        file.writing && file.wal_index != nullptr && file.wal_index[frames_word] == file.wal_index[attempted_word];
  } else {
    (void)flush(file);
    file.may_hold = false;
  }
  forget_reads(file);
  file.checkpointing = on;
  if (file.partner != nullptr) file.partner->checkpointing = on;
}

int control_file(sqlite3_file* base, int operation, void* argument) noexcept {
  File& file = self(base);
  if (operation == SQLITE_FCNTL_CKPT_START) set_checkpointing(file, true);
  if (operation == SQLITE_FCNTL_CKPT_DONE) set_checkpointing(file, false);
  return real(file).xFileControl(file.real, operation, argument);
}

int sector_size(sqlite3_file* base) noexcept { return real(self(base)).xSectorSize(self(base).real); }

int characteristics(sqlite3_file* base) noexcept { return real(self(base)).xDeviceCharacteristics(self(base).real); }

int map_shared_memory(sqlite3_file* base, int region, int size, int extend, void volatile** result) noexcept {
  File& file = self(base);
  const int code = real(file).xShmMap(file.real, region, size, extend, result);
  if (region == 0 && code == SQLITE_OK) file.wal_index = static_cast<volatile std::uint32_t*>(*result);
  return code;
}

int lock_shared_memory(sqlite3_file* base, int lock, int count, int flags) noexcept {
  File& file = self(base);
  // With each lock that comes or goes others may change, or have changed, what was read.
  forget_reads(file);
  const bool unlocks = (flags & SQLITE_SHM_UNLOCK) != 0;
  if (unlocks && lock == write_lock && file.partner != nullptr) {
    // A transaction that was committed is written; what is left was rolled back, and the place is the next writer's.
    file.partner->writes.clear();
    file.partner->failed = SQLITE_OK;
  }
  const int code = real(file).xShmLock(file.real, lock, count, flags);
  if (lock == write_lock && code == SQLITE_OK) file.writing = !unlocks;
  return code;
}

void shared_memory_barrier(sqlite3_file* base) noexcept { real(self(base)).xShmBarrier(self(base).real); }

int unmap_shared_memory(sqlite3_file* base, int remove) noexcept {
  self(base).wal_index = nullptr;
  return real(self(base)).xShmUnmap(self(base).real, remove);
}

// Version 2: without xFetch. A file is never mapped here, since a read that the disk fails would be a signal.
constexpr sqlite3_io_methods methods{2,
                                     close_file,
                                     read_file,
                                     write_file,
                                     truncate_file,
                                     sync_file,
                                     size_of_file,
                                     lock_file,
                                     unlock_file,
                                     check_reserved_lock,
                                     control_file,
                                     sector_size,
                                     characteristics,
                                     map_shared_memory,
                                     lock_shared_memory,
                                     shared_memory_barrier,
                                     unmap_shared_memory,
                                     nullptr,
                                     nullptr};

sqlite3_vfs* below(sqlite3_vfs* vfs) noexcept { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* into, int flags, int* out_flags) noexcept {
  sqlite3_vfs* const base = below(vfs);
  const bool wal = (flags & SQLITE_OPEN_WAL) != 0;
  if (!wal && (flags & SQLITE_OPEN_MAIN_DB) == 0) return base->xOpen(base, name, into, flags, out_flags);
  File& file = *new (into) File;
  file.wal = wal;
  file.real = reinterpret_cast<sqlite3_file*>(reinterpret_cast<std::byte*>(into) + own_bytes);
  std::memset(static_cast<void*>(file.real), 0, static_cast<std::size_t>(base->szOsFile));
  const int code = base->xOpen(base, name, file.real, flags, out_flags);
  if (code != SQLITE_OK && file.real->pMethods == nullptr) {
    file.~File();
    into->pMethods = nullptr;  // Nothing to close.
    return code;
  }
  into->pMethods = &methods;
  if (wal) {
    sqlite3_file* const database = sqlite3_database_file_object(name);
    if (database != nullptr && database->pMethods == &methods) {
      file.partner = &self(database);
      file.partner->partner = &file;
    }
  }
  return code;
}

}  // namespace

void register_gathering_vfs(sqlite3_vfs* base, const char* name) {
  auto* const vfs = new sqlite3_vfs{};
  vfs->iVersion = 2;
  vfs->szOsFile = static_cast<int>(own_bytes) + base->szOsFile;
  vfs->mxPathname = base->mxPathname;
  vfs->zName = name;
  vfs->pAppData = base;
  vfs->xOpen = open_file;
  vfs->xDelete = [](sqlite3_vfs* v, const char* file, int sync) { return below(v)->xDelete(below(v), file, sync); };
  vfs->xAccess = [](sqlite3_vfs* v, const char* file, int flags, int* result) {
    return below(v)->xAccess(below(v), file, flags, result);
  };
  vfs->xFullPathname = [](sqlite3_vfs* v, const char* file, int size, char* out) {
    return below(v)->xFullPathname(below(v), file, size, out);
  };
  vfs->xDlOpen = [](sqlite3_vfs* v, const char* file) { return below(v)->xDlOpen(below(v), file); };
  vfs->xDlError = [](sqlite3_vfs* v, int size, char* out) { below(v)->xDlError(below(v), size, out); };
  vfs->xDlSym = [](sqlite3_vfs* v, void* library, const char* symbol) {
    return below(v)->xDlSym(below(v), library, symbol);
  };
  vfs->xDlClose = [](sqlite3_vfs* v, void* library) { below(v)->xDlClose(below(v), library); };
  vfs->xRandomness = [](sqlite3_vfs* v, int size, char* out) { return below(v)->xRandomness(below(v), size, out); };
  vfs->xSleep = [](sqlite3_vfs* v, int micros) { return below(v)->xSleep(below(v), micros); };
  vfs->xCurrentTime = [](sqlite3_vfs* v, double* now) { return below(v)->xCurrentTime(below(v), now); };
  vfs->xGetLastError = [](sqlite3_vfs* v, int size, char* out) { return below(v)->xGetLastError(below(v), size, out); };
  vfs->xCurrentTimeInt64 = [](sqlite3_vfs* v, sqlite3_int64* now) {
    return below(v)->xCurrentTimeInt64(below(v), now);
  };
  sqlite3_vfs_register(vfs, 0);
}

const char* gathering_vfs() {
  static constexpr const char* name = "tidings";
  static const bool registered = [] {
    register_gathering_vfs(sqlite3_vfs_find(nullptr), name);
    return true;
  }();
  (void)registered;
  return name;
}

}  // namespace tidings::transport::sqlite
