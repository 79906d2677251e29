// The way to the disk: SQLite's own VFS, with neighbouring reads and writes joined into one system call each.
//
// What is on disk, when, and in which order is SQLite's own affair and does not change: a write is held back only
// while SQLite is in the middle of something that nobody else can see yet (a transaction before its last frame, a
// checkpoint before its sync), a read is served from memory only within the read transaction that fetched it, while
// nobody may change these bytes. Programs that use the file without this layer see the same file.
#pragma once

struct sqlite3_vfs;

namespace tidings::transport::sqlite {

/// The name of the layer over the default VFS; registers it at the first call. Any thread.
[[nodiscard]] const char* gathering_vfs();

/// Registers a layer over `base` as `name`, for tests that let `base` fail. Both must live for ever.
void register_gathering_vfs(sqlite3_vfs* base, const char* name);

}  // namespace tidings::transport::sqlite
