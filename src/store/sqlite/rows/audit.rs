//! Reads the rows of `audit`.

use rusqlite::Row;

use super::table::Table;
use crate::{
    clock::Timestamp,
    store::{Actor, AuditRow, Event, rules::audit_select::AUDIT_COLUMNS},
};

pub(in crate::store::sqlite) const TABLE: Table = Table { name: "audit", columns: AUDIT_COLUMNS, key: 1 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        event: Event::read(&row.get::<_, String>(2)?),
        actor: Actor::read(&row.get::<_, String>(3)?),
        subject: row.get(4)?,
        detail: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
    })
}
