//! Reads and writes the rows of `audit`.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{PostgresStore, failure::Failure};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        Actor, Audit, AuditEvent, AuditQuery, AuditRow, Event, StoreError,
        rows::login_address,
        rules::audit_select::{Dialect, Select, Value},
        time_budget::LONG_TIME_LIMIT,
    },
};

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

    async fn find_audit(&self, query: AuditQuery) -> Result<Vec<AuditRow>, StoreError> {
        let settled = query.after.map(|after| match query.is_filtered() {
            true => format!("at <= (SELECT bulla_now()) - {}", longest()),
            false => settled(after),
        });
        let mut select = Select::new(&query, &DIALECT, settled.as_deref());
        let limit = select.place(Value::Number(query.limit.into()));
        let sql = format!("{} LIMIT {limit}", select.sql);
        let values: Vec<Box<dyn ToSql + Send + Sync>> = select.values.into_iter().map(boxed).collect();
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        let mut rows = self.pool.rows(&sql, &values).await?;
        if query.after.is_none() {
            rows.reverse();
        }
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

/// How PostgreSQL writes the conditions of a query. An entry of an index has a limited length, so the indexes have only the first
/// characters of the texts.
const DIALECT: Dialect = Dialect {
    sign: '$',
    plus: "",
    event: "left(event, 64) = left({}::text, 64) AND event = {}",
    actor: "left(actor, 255) = left({}::text, 255) AND actor = {}",
    subject: "left(subject, 255) = left({}::text, 255) AND subject = {}",
};

fn boxed(value: Value) -> Box<dyn ToSql + Send + Sync> {
    match value {
        Value::Number(number) => Box::new(number),
        Value::Text(value) => Box::new(text(&value)),
    }
}

/// The condition that the order of a row is final. Transactions can commit in another order than that of their numbers. A row
/// after a gap in the numbers is therefore held back until the missing row has appeared or can no longer appear. A reader that
/// continues after the last returned row then misses nothing.
fn settled(after: i64) -> String {
    let (next, longest) = (after.saturating_add(1), longest());
    format!(
        "seq < coalesce((SELECT min(young.seq + 0) FROM audit AS young
           WHERE young.at > (SELECT bulla_now()) - {longest} AND young.seq > {next}
             AND NOT EXISTS (SELECT FROM audit AS former WHERE former.seq = young.seq - 1)), {})",
        i64::MAX
    )
}

/// The longest duration of one of Bulla's transactions, in milliseconds.
fn longest() -> i64 {
    i64::try_from(LONG_TIME_LIMIT.as_millis()).unwrap_or(i64::MAX)
}
