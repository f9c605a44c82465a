//! Reads and writes the rows of `audit`.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::{PostgresStore, failure::Failure};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        Actor, Audit, AuditEvent, AuditRow, Event, StoreError, rows::login_address,
        time_budget::LONG_TIME_LIMIT,
    },
};

const COLUMNS: &str = "seq, at, event, actor, subject, detail";

/// The columns of an event, in order. NUL characters are replaced, because a PostgreSQL text can't contain them.
pub(super) struct EventColumns {
    pub(super) event: String,
    pub(super) actor: String,
    pub(super) subject: String,
    pub(super) detail: String,
}

impl From<&AuditEvent> for EventColumns {
    fn from(event: &AuditEvent) -> Self {
        Self {
            event: text(event.event.as_str()),
            actor: text(&event.actor.to_string()),
            subject: text(&event.subject),
            detail: event.detail.to_string(),
        }
    }
}

/// Replaces NUL characters, which a PostgreSQL text can't contain.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) const INSERT: &str =
    "INSERT INTO audit (at, event, actor, subject, detail) VALUES (bulla_now(), $1, $2, $3, $4)";

pub(super) async fn write(transaction: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    let EventColumns { event, actor, subject, detail } = event.into();
    let statement = transaction.prepare_cached(INSERT).await?;
    transaction.execute(&statement, &[&event, &actor, &subject, &detail]).await?;
    Ok(())
}

#[async_trait]
impl Audit for PostgresStore {
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError> {
        let EventColumns { event, actor, subject, detail } = (&event).into();
        self.pool.count(INSERT, &[&event, &actor, &subject, &detail]).await.map(drop)
    }

    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let limit = i64::from(limit);
        let rows = match after {
            Some(after) => {
                let sql = format!(
                    "SELECT {COLUMNS}, at > bulla_now() - $3::bigint FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"
                );
                settled(after, self.pool.rows(&sql, &[&after, &limit, &longest()]).await?)?
            }
            None => {
                let newest = format!("SELECT {COLUMNS} FROM audit ORDER BY seq DESC LIMIT $1");
                self.pool.rows(&format!("SELECT * FROM ({newest}) AS newest ORDER BY seq"), &[&limit]).await?
            }
        };
        let read = rows.iter().map(|row| {
            Ok(AuditRow {
                seq: row.try_get(0)?,
                at: Timestamp::from_millis(row.try_get(1)?),
                event: Event::read(row.try_get(2)?),
                actor: Actor::read(row.try_get(3)?),
                subject: row.try_get(4)?,
                detail: serde_json::from_str(row.try_get(5)?).unwrap_or_default(),
            })
        });
        Ok(read.collect::<Result<_, Failure>>()?)
    }

    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT detail FROM audit WHERE event = 'login' AND actor = $1 AND at >= $2 ORDER BY at DESC LIMIT $3";
        let rows = self.pool.rows(sql, &[&text(user.as_str()), &since.millis(), &i64::from(limit)]).await?;
        let details = rows.iter().map(|row| row.try_get::<_, &str>(0));
        let details = details.collect::<Result<Vec<_>, _>>().map_err(Failure::from)?;
        Ok(details.into_iter().filter_map(login_address).collect())
    }
}

/// Cuts off the rows whose order is not final yet. Transactions can commit in another order than that of their numbers. A row
/// after a gap in the numbers is therefore held back until the missing row has appeared or can no longer appear. A reader that
/// continues after the last returned row then misses nothing.
fn settled(after: i64, mut rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
    let (mut last, mut settled) = (after, 0);
    for row in &rows {
        let (seq, young): (i64, bool) = (row.try_get(0)?, row.try_get(6)?);
        if young && seq != last + 1 {
            break;
        }
        (last, settled) = (seq, settled + 1);
    }
    rows.truncate(settled);
    Ok(rows)
}

/// The longest duration of one of Bulla's transactions, in milliseconds.
fn longest() -> i64 {
    i64::try_from(LONG_TIME_LIMIT.as_millis()).unwrap_or(i64::MAX)
}
