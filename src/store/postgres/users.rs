//! Reads and writes the rows of `users`.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;

use super::{
    PostgresStore,
    audit::{self, EventColumns},
    callers,
    failure::Failure,
    identities, lists,
    rows::{
        Values,
        identities::of_user_in,
        sessions::live_of,
        users::{COLUMNS, all, read_in, single},
    },
    session_locks::{lock_user, lock_user_and_caller},
    sessions,
};
use crate::{
    ids::UserId,
    store::{
        AuditEvent, Caller, Event, NewSession, NewUser, SessionEnd, SessionRow, StoreError, UserChange,
        UserPage, UserQuery, UserRow, UserRows,
        rows::{check_readable, row_id},
        rules::{
            administrators::{keep_an_admin, takes_an_admin},
            audit_details,
            identities::newly_linked,
            names,
            password::{
                begun_by_password, ended_by_password, may_set_password, password_changed, user_deleted,
            },
        },
    },
};

#[async_trait]
impl UserRows for PostgresStore {
    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError> {
        let rows =
            self.pool.rows(&format!("SELECT {COLUMNS} FROM users WHERE id = $1"), &[&row_id(id)]).await?;
        Ok(single(&rows)?)
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        // No stored name contains a NUL.
        if name.contains('\0') {
            return Ok(None);
        }
        let sql = format!("SELECT {COLUMNS} FROM users WHERE folded = ANY($1) LIMIT 3");
        let rows = self.pool.rows(&sql, &[&names::spellings(name).as_slice()]).await?;
        Ok(names::pick(all(&rows)?, name))
    }

    async fn is_name_taken(&self, name: &str) -> Result<bool, StoreError> {
        // No stored name contains a NUL.
        if name.contains('\0') {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM users WHERE folded = ANY($1) LIMIT 1";
        Ok(!self.pool.rows(sql, &[&names::spellings(name).as_slice()]).await?.is_empty())
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id > $1 ORDER BY id LIMIT $2");
        let mut after = after.and_then(row_id).unwrap_or(0);
        loop {
            let rows = self.pool.rows(&sql, &[&after, &i64::from(limit)]).await?;
            let page = all(&rows)?;
            // If all rows of a page are unreadable, continues with the next page, because an empty page would look like the end of
            // the list.
            let Some(last) = rows.last().filter(|_| page.is_empty()) else { return Ok(page) };
            after = last.try_get(0).map_err(Failure::from)?;
        }
    }

    async fn user_page(&self, query: &UserQuery) -> Result<UserPage, StoreError> {
        lists::user_page(&self.pool, query).await
    }

    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError> {
        names::check(&user.name)?;
        self.pool.transaction(None, |t| add(t, user.clone(), event.clone()).boxed()).await
    }

    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError> {
        self.pool.transaction(None, |t| update(t, id.clone(), change.clone(), event.clone()).boxed()).await
    }

    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.pool
            .transaction(None, |t| {
                change_password(t, id.clone(), password_hash.clone(), next.clone(), event.clone()).boxed()
            })
            .await
    }

    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError> {
        let sql = "UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3";
        self.pool.count(sql, &[&row_id(id), &now, &was]).await.map(|rows| rows == 1)
    }

    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| delete(t, id.clone(), event.clone()).boxed()).await
    }
}

/// Adds a user. If two names that look alike are added at the same time, the unique key refuses the second.
async fn add(t: &Transaction<'_>, user: NewUser, event: AuditEvent) -> Result<UserRow, Failure> {
    callers::lock_caller_and_check(t, &event).await?;
    let sql = format!(
        "WITH added AS (
           INSERT INTO users (name, folded, password_hash, roles, claims, disabled, created_at)
           SELECT $1, $2, $3, $4, $5, $10, bulla_now() WHERE NOT EXISTS (SELECT FROM users WHERE folded = ANY($6))
           RETURNING {COLUMNS}
         ), noted AS (
           INSERT INTO audit (at, event, actor, subject, detail) SELECT created_at, $7, $8, id::text, $9 FROM added
         ) SELECT {COLUMNS} FROM added"
    );
    let ((roles, claims), folded) = (user.as_json(), names::fold(&user.name));
    let event_with_details = audit_details::user_added(&event, &user);
    let (spellings, noted) = (names::spellings(&user.name), EventColumns::from(&event_with_details));
    let spellings = spellings.as_slice();
    let values: Values<'_> = &[
        &user.name,
        &folded,
        &user.password_hash,
        &roles,
        &claims,
        &spellings,
        &noted.event,
        &noted.actor,
        &noted.detail,
        &i32::from(user.disabled),
    ];
    let added = t.query(&t.prepare_cached(&sql).await?, values).await.map_err(Failure::from);
    let added = added.map_err(|failure| match failure.is_duplicate_key() {
        true => names::taken().into(),
        false => failure,
    });
    let added = all(&added?)?.pop().ok_or_else(names::taken)?;
    if let Some(identity) = user.identity {
        let linked = AuditEvent { event: Event::IdentityLinked, by: None, ..event };
        identities::link(t, added.id.clone(), identity, linked).await?;
    }
    Ok(added)
}

/// Reads and locks the row that is to be changed. If the change takes away an administrator, locks all administrators, in the order
/// of their ids; otherwise two changes at the same time could take away the last two. The caller's row is locked in the same order,
/// because the caller may have lost the role meanwhile.
async fn read_for_change(
    t: &Transaction<'_>,
    id: &UserId,
    event: &AuditEvent,
    after: impl Fn(&UserRow) -> Option<UserRow> + Sync,
) -> Result<Option<UserRow>, Failure> {
    lock_user_and_caller(t, Some(id.as_str()), event).await?;
    let takes = |row: &UserRow| takes_an_admin(row, after(row).as_ref());
    let before_lock = read_in(t, id, "").await?;
    let admins = match before_lock.as_ref().is_some_and(takes) {
        true => Some(admins(t).await?),
        false => None,
    };
    if let (None, Some(Caller::Person { user, .. })) = (&admins, &event.by) {
        let both = "SELECT FROM users WHERE id = $1 OR id = $2 ORDER BY id FOR UPDATE";
        t.query(&t.prepare_cached(both).await?, &[&row_id(id), &row_id(user)]).await?;
    }
    let row = read_in(t, id, "FOR UPDATE").await?;
    callers::lock_and_check(t, event).await?;
    match (&row, admins) {
        (Some(row), Some(admins)) if takes(row) => keep_an_admin(id, &admins)?,
        // The user became an administrator after the first read.
        (Some(row), None) if takes(row) => return Err(Failure::Stale),
        _ => {}
    }
    Ok(row)
}

/// Returns the users that may be administrators. The rule checks them exactly.
async fn admins(t: &Transaction<'_>) -> Result<Vec<UserRow>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM users WHERE disabled = 0 AND roles LIKE '%\"admin\"%' ORDER BY id FOR UPDATE"
    );
    all(&t.query(&t.prepare_cached(&sql).await?, &[]).await?)
}

async fn update(
    t: &Transaction<'_>,
    id: UserId,
    change: UserChange,
    event: AuditEvent,
) -> Result<Option<UserRow>, Failure> {
    let after = |row: &UserRow| Some(change.apply(row));
    let Some(before) = read_for_change(t, &id, &event, after).await? else { return Ok(None) };
    check_readable(&before)?;
    let after = change.apply(&before);
    if after.name != before.name {
        rename(t, &id, &after.name).await?;
    }
    let (roles, claims) = after.as_json();
    let sql = "UPDATE users SET roles = $2, claims = $3, disabled = $4 WHERE id = $1";
    let disabled = i32::from(after.disabled);
    t.execute(&t.prepare_cached(sql).await?, &[&row_id(&id), &roles, &claims, &disabled]).await?;
    audit::write(t, &audit_details::user_changed(&event, &before, &after).about(&id)).await?;
    Ok(Some(after))
}

/// Gives a user a new name. A trigger ends all sessions of the user.
async fn rename(t: &Transaction<'_>, id: &UserId, name: &str) -> Result<(), Failure> {
    names::check(name)?;
    let sql = "UPDATE users SET name = $2, folded = $3
         WHERE id = $1 AND NOT EXISTS (SELECT FROM users WHERE folded = ANY($4) AND id <> $1)";
    let (folded, spellings) = (names::fold(name), names::spellings(name));
    let values: Values<'_> = &[&row_id(id), &name, &folded, &spellings.as_slice()];
    match t.execute(&t.prepare_cached(sql).await?, values).await.map_err(Failure::from) {
        Ok(0) => Err(names::taken().into()),
        Err(failure) if failure.is_duplicate_key() => Err(names::taken().into()),
        renamed => renamed.map(drop),
    }
}

async fn change_password(
    t: &Transaction<'_>,
    id: UserId,
    password_hash: String,
    next: Option<NewSession>,
    event: AuditEvent,
) -> Result<Option<SessionRow>, Failure> {
    lock_user(t, &id).await?;
    let row = read_in(t, &id, "FOR NO KEY UPDATE").await?;
    callers::lock_and_check(t, &event).await?;
    if !may_set_password(row.as_ref(), next.as_ref())? {
        return match next {
            Some(_) => Ok(None),
            None => Err(user_deleted().into()),
        };
    }
    let sql = "UPDATE users SET password_hash = $2 WHERE id = $1";
    t.execute(&t.prepare_cached(sql).await?, &[&row_id(&id), &password_hash]).await?;
    // The sessions end first. A transaction that links an identity has locked the session, so this one waits for it.
    let (ended, begun) = (ended_by_password(&event.actor), begun_by_password(&id));
    let (_, now) = live_of(t, &id).await?;
    let row = match (next, &event.by) {
        (Some(next), Some(Caller::Person { sid, .. })) => {
            Some(sessions::start_in_place_of(t, *sid, &next, &ended, &begun, now).await?)
        }
        (next, _) => {
            sessions::end(t, SessionEnd::AllOfUser(id.clone()), ended).await?;
            match next {
                Some(next) => Some(sessions::start(t, &next, &[], u32::MAX, &begun, now).await?),
                None => None,
            }
        }
    };
    let new = newly_linked(of_user_in(t, &id).await?, now);
    audit::write(t, &password_changed(&event, &new).about(&id)).await?;
    Ok(row)
}

async fn delete(t: &Transaction<'_>, id: UserId, event: AuditEvent) -> Result<bool, Failure> {
    let Some(before) = read_for_change(t, &id, &event, |_| None).await? else { return Ok(false) };
    t.execute(&t.prepare_cached("DELETE FROM users WHERE id = $1").await?, &[&row_id(&id)]).await?;
    audit::write(t, &audit_details::user_deleted(&event, &before).about(&id)).await?;
    Ok(true)
}
