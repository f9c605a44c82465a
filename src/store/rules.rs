//! The rules that every store applies. Pure functions: a store reads rows, calls these functions, then writes.

use std::time::Duration;

use super::{
    AuditEvent, ClientRow, Grant, Identity, LinkedIdentity, NewSession, NewUser, ProvenAt, SessionChange,
    SessionRow, StoreError, Transport, UserChange, UserRow, Written,
};
use crate::{
    clock::Timestamp,
    ids::{BadName, ClientId, Sid, UserId},
    secret::SecretText,
};

/// Returns the address in the `detail` of a `login` event. `None` for a client's session, because that event has the client's
/// address, not the person's.
pub(super) fn login_address(detail: &str) -> Option<String> {
    let detail: serde_json::Value = serde_json::from_str(detail).ok()?;
    detail["client"].is_null().then(|| detail["ip"].as_str().map(str::to_owned)).flatten()
}

/// A session that is about to begin, with its effects on other sessions.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The row to write.
    pub(super) row: SessionRow,
    /// Whether the row exists and is reused. Otherwise it is inserted.
    pub(super) takes_over: bool,
    /// The sessions that end, each with its event. Some may have been deleted meanwhile; an event is written only for those that
    /// exist.
    pub(super) ends: Vec<(Sid, AuditEvent)>,
}

impl Beginning {
    /// Plans the beginning. `live` has the user's live sessions at `now`, newest first. `cap` counts the new session.
    pub(super) fn plan(new: &NewSession, live: &[SessionRow], cap: u32, actor: &str, now: Timestamp) -> Self {
        let replaced = |sid: Sid| new.replaces == Some(sid);
        let basic = |transport| transport == Transport::Basic;
        let mut own = live.iter().filter(|_| new.takes_over_basic && basic(new.transport));
        let own = own.find(|row| basic(row.transport) && row.device == new.device && !replaced(row.sid));
        let mut row = new.row(now);
        if let Some(own) = own {
            row.sid = own.sid;
            row.expires_at = row.expires_at.max(own.expires_at);
        }
        let ended = |who: &str, reason: &str| {
            AuditEvent::new("session.revoked", who, "").with(serde_json::json!({ "reason": reason }))
        };
        let others = live.iter().map(|other| other.sid).filter(|sid| *sid != row.sid && !replaced(*sid));
        let beyond = others.skip(cap.saturating_sub(1) as usize);
        let beyond = beyond.map(|sid| (sid, ended("system", "too many sessions")));
        let ends =
            new.replaces.map(|sid| (sid, ended(actor, "new login"))).into_iter().chain(beyond).collect();
        Self { row, takes_over: own.is_some(), ends }
    }
}

impl NewSession {
    /// Whether the login from which the session derives, if any, is among the user's live sessions.
    pub(super) fn may_begin(&self, live: &[SessionRow]) -> bool {
        self.login.is_none_or(|login| live.iter().any(|row| row.sid == login))
    }

    /// Returns the row of a session that begins at `now`.
    fn row(&self, now: Timestamp) -> SessionRow {
        let expires_at = now.plus(self.life);
        SessionRow {
            sid: self.sid,
            user_id: self.user_id.clone(),
            secret_hash: self.secret_hash,
            generation: 0,
            rotated_at: now,
            pardoned_gen: None,
            pardoned_at: None,
            created_at: now,
            idle_expires_at: now.plus(self.idle).min(expires_at),
            expires_at,
            transport: self.transport,
            device: self.device.clone(),
            grant: self.grant.clone(),
            auth_time: self.proof.at.stamp(now),
        }
    }
}

impl ProvenAt {
    /// The time that is stored in a row written at `now`.
    fn stamp(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::Now => Some(now),
            Self::Then(then) => Some(then.min(now)),
        }
    }
}

impl Grant {
    /// Whether the client may hold the grant now: it is enabled and has the complete scope.
    pub(crate) fn may_be_held_by(&self, client: &ClientRow) -> bool {
        !client.disabled && self.scope.is_within(&client.scopes)
    }

    /// Reads a grant from the columns of a session. `None` if the session has no client.
    pub(super) fn read(client: Option<String>, scope: Option<String>) -> Result<Option<Self>, BadName> {
        let Some(client) = client else { return Ok(None) };
        let scope = scope.unwrap_or_default().parse()?;
        Ok(Some(Self { client: ClientId::new(client)?, scope }))
    }
}

impl SessionRow {
    /// The row after a change.
    pub(super) fn after(&self, change: SessionChange) -> Self {
        let mut row = self.clone();
        match change {
            SessionChange::Rotate { to, idle, now } => {
                row.generation = to;
                row.rotated_at = now;
                row.idle_expires_at = now.plus(idle).min(self.expires_at);
            }
            SessionChange::Pardon { generation, now } => {
                row.pardoned_gen = Some(generation);
                row.rotated_at = now;
                row.pardoned_at = Some(now);
            }
        }
        row
    }
}

impl UserChange {
    /// Returns the roles after the change.
    pub(crate) fn roles_after(&self, before: &[String]) -> Vec<String> {
        let mut roles = self.roles.clone().unwrap_or_else(|| before.to_vec());
        roles.retain(|role| !self.remove_roles.contains(role));
        for role in &self.add_roles {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// Returns the row after the change.
    pub(super) fn apply(&self, before: &UserRow) -> UserRow {
        let mut after = before.clone();
        after.roles = self.roles_after(&before.roles);
        after.claims = self.claims.clone().unwrap_or(after.claims);
        after.disabled = self.disabled.unwrap_or(after.disabled);
        after
    }
}

impl UserRow {
    fn is_admin(&self) -> bool {
        !self.disabled && self.roles.iter().any(|role| role == "admin")
    }

    /// The texts of `roles` and `claims` in the database.
    pub(super) fn as_json(&self) -> (String, String) {
        as_json(&self.roles, &self.claims)
    }
}

impl NewUser {
    /// The texts of `roles` and `claims` in the database.
    pub(super) fn as_json(&self) -> (String, String) {
        as_json(&self.roles, &self.claims)
    }
}

fn as_json(roles: &[String], claims: &serde_json::Map<String, serde_json::Value>) -> (String, String) {
    (serde_json::json!(roles).to_string(), serde_json::json!(claims).to_string())
}

/// Refuses to change a row that can't be read. It must be repaired first, because a change would overwrite its contents.
pub(super) fn readable(row: &UserRow) -> Result<(), StoreError> {
    match row.is_unreadable() {
        false => Ok(()),
        true => Err(StoreError::Conflict(format!(
            "the row of user {} can't be read; `bulla doctor` names the statement that mends it",
            row.id
        ))),
    }
}

/// Whether this change (`None`: a deletion) takes away an enabled administrator. Then the installation must have another one,
/// because it always keeps one enabled administrator once it has one.
pub(super) fn takes_an_admin(before: &UserRow, after: Option<&UserRow>) -> bool {
    before.is_admin() && !after.is_some_and(UserRow::is_admin)
}

/// Checks that one of these administrators is not `id`.
pub(super) fn keep_an_admin(id: &UserId, all: &[UserRow]) -> Result<(), StoreError> {
    match all.iter().any(|row| row.is_admin() && row.id != *id) {
        true => Ok(()),
        false => Err(StoreError::LastAdmin),
    }
}

/// Whether an identity is to be linked to `user`: true if it is free, false if it is linked to `user` already. An identity of
/// another user is a conflict.
pub(super) fn may_link(owner: Option<&UserId>, user: &UserId) -> Result<bool, StoreError> {
    match owner {
        None => Ok(true),
        Some(owner) if owner == user => Ok(false),
        Some(_) => Err(StoreError::Conflict("this identity is linked to another user".into())),
    }
}

/// Whether an identity is to be unlinked: false if it is not among the user's identities. Refuses to remove the last way to log
/// in.
pub(super) fn may_unlink(
    identity: &Identity,
    all: &[LinkedIdentity],
    has_password: bool,
) -> Result<bool, StoreError> {
    match all.iter().any(|linked| linked.identity == *identity) {
        false => Ok(false),
        true if all.len() == 1 && !has_password => Err(StoreError::LastWayIn),
        true => Ok(true),
    }
}

/// Returns the `users.id` of a user id. `None` for an id of an embedding program.
pub(super) fn number(id: &UserId) -> Option<i64> {
    id.as_str().parse().ok().filter(|n: &i64| n.to_string() == id.as_str())
}

/// How long a linked identity counts as new. The event of a password change names the new ones.
const NEWLY_LINKED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Returns the identities that were linked in the last 30 days. An identity with an unknown time counts as new.
pub(super) fn newly_linked(all: Vec<LinkedIdentity>, now: Timestamp) -> Vec<LinkedIdentity> {
    let is_new = |one: &LinkedIdentity| one.linked_at.is_none_or(|at| now.since(at) <= NEWLY_LINKED);
    all.into_iter().filter(is_new).collect()
}

/// Returns the event of a password change. It names the recently linked identities, because they remain a way to log in after the
/// password has changed.
pub(super) fn password_changed(event: &AuditEvent, new: &[LinkedIdentity]) -> AuditEvent {
    let mut event = event.clone();
    if !new.is_empty() {
        event.detail["recently_linked"] = new.iter().map(LinkedIdentity::to_json).collect();
    }
    event
}

/// Whether a password may be set. With `next`, the verified password must still be the stored one. `Ok(false)` if the user does
/// not exist, or if the user is disabled and `next` is given.
pub(super) fn may_set_password(row: Option<&UserRow>, next: Option<&NewSession>) -> Result<bool, StoreError> {
    let Some(row) = row else { return Ok(false) };
    let Some(next) = next else { return Ok(true) };
    match !row.disabled {
        true => holds(row, next).map(|()| true),
        false => Ok(false),
    }
}

/// The error if a user was deleted before an administrator's change of them.
pub(super) fn gone() -> StoreError {
    StoreError::Conflict("there is no such user any more; nothing was written".into())
}

/// Checks that a user's row still has the hash against which the password was checked.
pub(super) fn holds(row: &UserRow, new: &NewSession) -> Result<(), StoreError> {
    let verified = new.proof.password_hash.as_ref().map(SecretText::expose);
    match verified.is_none() || row.password_hash.as_deref() == verified {
        true => Ok(()),
        false => Err(StoreError::Moved),
    }
}

/// The event for the sessions that a password change ends.
pub(super) fn ended_by_password(actor: &str) -> AuditEvent {
    AuditEvent::new("session.revoked", actor, "").with(serde_json::json!({"reason": "password changed"}))
}

/// The event for the session that a password change begins.
pub(super) fn begun_by_password(user: &UserId) -> AuditEvent {
    AuditEvent::new("login", user.to_string(), "").with(serde_json::json!({"by": "password change"}))
}

impl AuditEvent {
    /// Returns the same event with another subject.
    pub(super) fn about(&self, subject: impl std::fmt::Display) -> Self {
        Self { subject: subject.to_string(), ..self.clone() }
    }
}

impl Written {
    /// Converts the number of rows that a conditional write has changed.
    pub(super) fn rows(rows: u64) -> Self {
        if rows == 0 { Self::Lost } else { Self::Applied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::Digest,
        store::{Device, Proof},
    };

    fn new(n: u8) -> NewSession {
        NewSession {
            sid: Sid([n; 16]),
            user_id: UserId::new("7").unwrap(),
            secret_hash: Digest([n; 32]),
            transport: Transport::Cookie,
            device: Device::default(),
            idle: Duration::from_secs(60),
            life: Duration::from_secs(50),
            replaces: None,
            takes_over_basic: false,
            grant: None,
            login: None,
            proof: Proof::default(),
        }
    }

    fn ended(beginning: &Beginning) -> Vec<(u8, &str)> {
        let reason = |event: &AuditEvent| event.detail["reason"].as_str().unwrap().to_owned();
        let all: Vec<_> = beginning.ends.iter().map(|(sid, event)| (sid.0[0], reason(event))).collect();
        all.into_iter().map(|(n, why)| (n, if why == "new login" { "replaced" } else { "cap" })).collect()
    }

    #[test]
    fn the_oldest_beyond_the_cap_go_and_the_replaced_one_is_not_counted() {
        let now = Timestamp::from_millis(1000);
        let live: Vec<SessionRow> = [5, 4, 3, 2].map(|n| new(n).row(now)).into();
        let plan = |cap, replaces| Beginning::plan(&NewSession { replaces, ..new(9) }, &live, cap, "7", now);
        assert_eq!(ended(&plan(5, None)), []);
        assert_eq!(ended(&plan(3, None)), [(3, "cap"), (2, "cap")]);
        assert_eq!(ended(&plan(3, Some(Sid([5; 16])))), [(5, "replaced"), (2, "cap")]);
        assert_eq!(ended(&plan(1, Some(Sid([77; 16])))).len(), 5);
    }

    #[test]
    fn basic_takes_over_its_own_row_of_the_same_place_and_never_shortens_it() {
        let now = Timestamp::from_millis(1000);
        let basic = |n| NewSession { transport: Transport::Basic, ..new(n) };
        let mut own = basic(3).row(now);
        own.expires_at = now.plus(Duration::from_secs(500));
        let elsewhere = Device { ip: "192.0.2.1".into(), ..Device::default() };
        let other = NewSession { device: elsewhere, ..basic(4) }.row(now);
        let live = [new(5).row(now), other, own.clone()];
        let asks = NewSession { takes_over_basic: true, ..basic(9) };
        let taken = Beginning::plan(&asks, &live, 20, "7", now);
        assert!(taken.takes_over && taken.ends.is_empty());
        assert_eq!((taken.row.sid, taken.row.secret_hash), (own.sid, Digest([9; 32])));
        assert_eq!(taken.row.expires_at, own.expires_at);
        for other in [
            NewSession { replaces: Some(own.sid), ..asks.clone() },
            NewSession { takes_over_basic: false, ..asks.clone() },
            NewSession { transport: Transport::Cookie, ..asks },
        ] {
            assert!(!Beginning::plan(&other, &live, 20, "7", now).takes_over);
        }
    }

    #[test]
    fn a_proof_is_never_later_than_the_row_that_keeps_it() {
        let (now, at) = (Timestamp::from_millis(5000), Timestamp::from_millis);
        for (proven, kept) in [
            (ProvenAt::Unknown, None),
            (ProvenAt::Now, Some(now)),
            (ProvenAt::Then(at(4000)), Some(at(4000))),
            (ProvenAt::Then(at(6000)), Some(now)),
        ] {
            let new = NewSession { proof: Proof { at: proven, ..Proof::default() }, ..new(1) };
            assert_eq!(new.row(now).auth_time, kept, "{proven:?}");
        }
    }

    #[test]
    fn no_session_idles_longer_than_it_lives() {
        let row = new(1).row(Timestamp::EPOCH);
        assert_eq!(row.idle_expires_at, row.expires_at);
        let later = Timestamp::from_millis(49_000);
        let rotated = row.after(SessionChange::Rotate { to: 1, idle: Duration::from_secs(60), now: later });
        assert_eq!((rotated.idle_expires_at, rotated.rotated_at), (row.expires_at, later));
    }
}
