//! The table `used`.

use super::table::Table;

pub(in crate::store::sqlite) const TABLE: Table = Table { name: "used", columns: "hash, expires_at", key: 1 };
