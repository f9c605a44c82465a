//! Ends sessions.

use deadpool_postgres::Transaction;

use crate::{
    ids::Sid,
    store::{
        AuditEvent, SessionEnd,
        postgres::{
            audit::EventColumns,
            callers,
            failure::Failure,
            rows::Value,
            session_locks::{lock_all_users, lock_user_and_caller},
        },
    },
};

/// Ends sessions, with one audit event each.
pub(in crate::store::postgres) async fn end(
    t: &Transaction<'_>,
    which: SessionEnd,
    event: AuditEvent,
) -> Result<Vec<Sid>, Failure> {
    lock_to_end(t, &which, &event).await?;
    callers::check(t, &event).await?;
    let (condition, values) = match &which {
        SessionEnd::One(sid) => ("sid = $4", vec![sid.to_string()]),
        SessionEnd::OneOfUser(user, sid) => {
            ("sid = $4 AND user_id = $5", vec![sid.to_string(), user.to_string()])
        }
        SessionEnd::AllOfUser(user) => ("user_id = $4", vec![user.to_string()]),
        SessionEnd::All => ("true", vec![]),
    };
    delete(t, condition, &values, &event).await
}

async fn lock_to_end(t: &Transaction<'_>, which: &SessionEnd, event: &AuditEvent) -> Result<(), Failure> {
    match which {
        SessionEnd::All => lock_all_users(t).await,
        SessionEnd::AllOfUser(user) | SessionEnd::OneOfUser(user, _) => {
            lock_user_and_caller(t, Some(user.as_str()), event).await
        }
        // A logout takes no lock. The end of one session that a new one replaces takes none either.
        SessionEnd::One(_) if event.by.is_none() => Ok(()),
        SessionEnd::One(sid) => {
            let owner = owner(t, *sid).await?;
            lock_user_and_caller(t, owner.as_deref(), event).await
        }
    }
}

/// Returns the user of a session.
async fn owner(t: &Transaction<'_>, sid: Sid) -> Result<Option<String>, Failure> {
    let sql = "SELECT user_id FROM sessions WHERE sid = $1";
    let row = t.query_opt(&t.prepare_cached(sql).await?, &[&sid.to_string()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Deletes sessions, with one audit event each. A sid that can't be parsed is left out of the result: no token can contain it.
pub(super) async fn delete(
    t: &Transaction<'_>,
    condition: &str,
    values: &[String],
    event: &AuditEvent,
) -> Result<Vec<Sid>, Failure> {
    let sql = format!(
        "WITH gone AS (DELETE FROM sessions WHERE {condition} RETURNING sid), noted AS (
           INSERT INTO audit (at, event, actor, subject, detail) SELECT bulla_now(), $1, $2, sid, $3 FROM gone)
         SELECT sid FROM gone"
    );
    let EventColumns { event, actor, detail, .. } = event.into();
    let mut all: Vec<Value<'_>> = vec![&event, &actor, &detail];
    values.iter().for_each(|value| all.push(value));
    let rows = t.query(&t.prepare_cached(&sql).await?, &all).await?;
    let sids = rows.iter().map(|row| row.try_get::<_, &str>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(sids.into_iter().filter_map(|sid| sid.parse().ok()).collect())
}
