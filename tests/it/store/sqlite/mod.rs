//! Tests of behavior that only SQLite has: disk faults, crashes, and the write-ahead log.

mod crashes;
mod disk_faults;
mod wal;
