// The tables. See docs/decisions/seam.md for what each verb does with them.
#pragma once

namespace tidings::transport::sqlite {

/// "Tdng": marks a SQLite file as ours.
inline constexpr int application_id = 0x54646e67;
/// Grows when a file of this version cannot be read by older programs.
inline constexpr int format_version = 1;

/// An item's state in the table. Whether a pending item shows as waiting or retrying depends on its due time.
enum class ItemState : int { pending = 0, leased = 1, dead = 3 };

inline constexpr const char* schema = R"sql(
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next INTEGER NOT NULL DEFAULT 1,
  first INTEGER NOT NULL DEFAULT 1, bytes INTEGER NOT NULL DEFAULT 0) STRICT;
-- id = stream << 44 | offset of the first event. The body comes last, so that looking for a block does not read it.
CREATE TABLE blocks(
  id INTEGER PRIMARY KEY, count INTEGER NOT NULL, stored_at INTEGER NOT NULL, bytes INTEGER NOT NULL,
  types TEXT NOT NULL, bloom BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE groups(
  id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL DEFAULT '',
  cursor INTEGER NOT NULL, handled INTEGER NOT NULL DEFAULT 0, ignored INTEGER NOT NULL DEFAULT 0,
  paused INTEGER NOT NULL DEFAULT 0, UNIQUE(stream, name)) STRICT;
-- A range of positions that one subscription holds; done is a bitmap. Without an owner: its owner died.
CREATE TABLE claims(
  id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, owner INTEGER,
  crashes INTEGER NOT NULL DEFAULT 0, settled INTEGER NOT NULL DEFAULT 0, done BLOB) STRICT;
CREATE INDEX orphans ON claims(grp) WHERE owner IS NULL;
-- What left its range, with its bytes: waiting, retrying, leased or dead.
CREATE TABLE items(
  id INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, position INTEGER NOT NULL, state INTEGER NOT NULL,
  due INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
  alone INTEGER NOT NULL DEFAULT 0, owner INTEGER, origin INTEGER NOT NULL, run INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', first_failed INTEGER, last_failed INTEGER,
  stored_at INTEGER NOT NULL, type TEXT NOT NULL, event_id TEXT NOT NULL, damaged INTEGER NOT NULL DEFAULT 0,
  checksum INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT;
-- What is ready, and what describe() counts, without a look at the envelopes; a dead letter by its event's id.
CREATE INDEX items_due ON items(grp, state, alone, due, stored_at);
CREATE INDEX items_by_event ON items(grp, event_id);
CREATE INDEX items_owned ON items(owner) WHERE owner IS NOT NULL;
-- A subscription; its lease is that of all it holds. The milliseconds are the boot clock's.
CREATE TABLE owners(
  id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, service TEXT NOT NULL, boot_id TEXT NOT NULL,
  lease_until INTEGER NOT NULL, types TEXT NOT NULL) STRICT;
CREATE TABLE members(grp INTEGER NOT NULL, owner INTEGER NOT NULL, PRIMARY KEY(grp, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE gaps(id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
CREATE INDEX gaps_of ON gaps(grp);
)sql";

}  // namespace tidings::transport::sqlite
