//! A session to begin.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::{Digest, SecretText},
    store::{Device, Grant, Identity, SessionRow, Transport},
};

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The id, drawn at random by the caller. With `takes_over_basic`, it is replaced by the id of an existing row if there is one.
    pub sid: Sid,
    /// The user of the session.
    pub user_id: UserId,
    /// SHA-256 of the session secret.
    pub secret_hash: Digest,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// The device that begins the session.
    pub device: Device,
    /// The idle life, counted from the store's present time.
    pub idle: Duration,
    /// The absolute life, counted from the store's present time.
    pub life: Duration,
    /// An earlier session that ends in the same transaction (audit `session.revoked`), whichever user it belongs to.
    pub replaces: Option<Sid>,
    /// For HTTP Basic only. If this user has a live row with `transport = 'basic'`, the same IP address and the same user agent,
    /// that row is reused: its sid stays and is returned, `secret_hash`, generation and times are new, and nothing is revoked.
    pub takes_over_basic: bool,
    /// The grant of the client that receives the session.
    pub grant: Option<Grant>,
    /// The login of the user from which this session derives. If that login has ended, no session begins.
    pub login: Option<Sid>,
    /// The proof of the person's identity. The transaction that begins the session requires that the proof still holds.
    pub proof: Proof,
}

impl NewSession {
    /// Whether the login from which the session derives, if any, is among the user's live sessions.
    pub(in crate::store) fn may_begin(&self, live: &[SessionRow]) -> bool {
        self.login.is_none_or(|login| live.iter().any(|row| row.sid == login))
    }

    /// Returns the row of a session that begins at `now`.
    pub(in crate::store) fn row(&self, now: Timestamp) -> SessionRow {
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

/// The proof of a person's identity, with its time.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The time of the proof; becomes the session's `auth_time`.
    pub at: ProvenAt,
    /// The hash against which the password was checked. The user's row must still have it.
    pub password_hash: Option<SecretText>,
    /// The identity that a provider has proven. It must still be linked to the user.
    pub identity: Option<Identity>,
    /// The method of an embedding program that has proven the identity itself; for the audit.
    pub method: Option<String>,
}

/// The time of a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvenAt {
    /// The proof is not known to be recent.
    #[default]
    Unknown,
    /// The store's present time.
    Now,
    /// An earlier time, as stated by a provider. A time in the future counts as the store's present time.
    At(Timestamp),
}

impl ProvenAt {
    /// The time that is stored in a row written at `now`.
    fn stamp(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::Now => Some(now),
            Self::At(at) => Some(at.min(now)),
        }
    }
}
