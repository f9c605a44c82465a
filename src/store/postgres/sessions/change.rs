//! Changes and deletes the row of a session, if it still is as it was judged.

use deadpool_postgres::Transaction;

use crate::{
    clock::Timestamp,
    store::{
        AuditEvent, SessionChange, SessionRow, StoreError, Written,
        postgres::{
            audit::{self, EventColumns},
            failure::Failure,
            pool::Pool,
            rows::{Value, Values, bigint},
        },
    },
};

/// The condition that the row has not changed since it was judged.
const UNCHANGED: &str = "sid = $1 AND secret_hash = $2 AND generation = $3 AND rotated_at = $4
    AND pardoned_gen IS NOT DISTINCT FROM $5 AND pardoned_at IS NOT DISTINCT FROM $6";

/// The values that [`UNCHANGED`] compares.
struct Judged {
    sid: String,
    hash: [u8; 32],
    numbers: [i64; 2],
    pardoned: [Option<i64>; 2],
}

impl From<&SessionRow> for Judged {
    fn from(row: &SessionRow) -> Self {
        Self {
            sid: row.sid.to_string(),
            hash: row.secret_hash.0,
            numbers: [bigint(row.generation), row.rotated_at.millis()],
            pardoned: [row.pardoned_gen.map(bigint), row.pardoned_at.map(Timestamp::millis)],
        }
    }
}

/// Changes one row. Waits if another transaction has locked it.
pub(in crate::store::postgres) async fn change(
    pool: &Pool,
    judged: &SessionRow,
    change: SessionChange,
    event: Option<&AuditEvent>,
) -> Result<Written, StoreError> {
    let (was, after) = (Judged::from(judged), Judged::from(&judged.after(change)));
    let update = format!(
        "UPDATE sessions SET generation = $7, rotated_at = $8, pardoned_gen = $9, pardoned_at = $10, idle_expires_at = $11
         WHERE {UNCHANGED}"
    );
    let idle = judged.after(change).idle_expires_at.millis();
    let ([generation, rotated], [pardoned_gen, pardoned_at]) = (&was.numbers, &was.pardoned);
    let hash = was.hash.as_slice();
    let mut values: Vec<Value<'_>> = vec![&was.sid, &hash, generation, rotated, pardoned_gen, pardoned_at];
    let ([next, now], [next_pardoned_gen, next_pardoned_at]) = (&after.numbers, &after.pardoned);
    values.extend_from_slice(&[next, now, next_pardoned_gen, next_pardoned_at, &idle]);
    let Some(event) = event.map(EventColumns::from) else {
        return pool.count(&update, &values).await.map(Written::from_count);
    };
    let sql = format!(
        "WITH changed AS ({update} RETURNING 1) INSERT INTO audit (at, event, actor, subject, detail)
         SELECT bulla_now(), $12, $13, $14, $15 FROM changed"
    );
    let all: [Value<'_>; 4] = [&event.event, &event.actor, &event.subject, &event.detail];
    values.extend_from_slice(&all);
    pool.count(&sql, &values).await.map(Written::from_count)
}
pub(super) async fn delete_session_if_unchanged(
    t: &Transaction<'_>,
    judged: SessionRow,
    event: AuditEvent,
) -> Result<Written, Failure> {
    let sql = format!("DELETE FROM sessions WHERE {UNCHANGED}");
    let Judged { sid, hash, numbers: [generation, rotated], pardoned: [pardoned_gen, pardoned_at] } =
        (&judged).into();
    let values: Values<'_> = &[&sid, &hash.as_slice(), &generation, &rotated, &pardoned_gen, &pardoned_at];
    let written = Written::from_count(t.execute(&t.prepare_cached(&sql).await?, values).await?);
    if written == Written::Applied {
        audit::write(t, &event).await?;
    }
    Ok(written)
}
