//! Reads the row of `ring`.

use tokio_postgres::Row;

use crate::store::postgres::failure::Failure;

pub(in crate::store::postgres) fn all_rings() -> String {
    "SELECT one, fingerprint FROM ring".into()
}

pub(in crate::store::postgres) fn check_ring(row: &Row) -> Result<(), Failure> {
    match row.try_get::<_, &[u8]>(1)?.len() {
        32 => Ok(()),
        _ => Err(Failure::Unreadable("ring", "fingerprint".into())),
    }
}

pub(in crate::store::postgres) fn key_ring(_: &Row) -> String {
    "one = 1".into()
}
