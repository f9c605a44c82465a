//! Clients: programs that may ask for tokens (RFC 6749, section 2). What every store decides alike about them.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::{Audience, BadName, ClientId, Scope},
    secret::Digest,
    store::StoreError,
};

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// What the protocol calls it.
    pub id: ClientId,
    /// What people call it; unique.
    pub name: String,
    /// SHA-256 of its secret; none: it signs, is public, or can't prove who it is.
    pub secret_hash: Option<Digest>,
    /// The secret before, while it is still good.
    pub former: Option<FormerSecret>,
    /// Public keys it signs with, a JSON Web Key Set.
    pub jwks: Option<String>,
    /// Whether it proves nothing: an app on a person's device (RFC 6749, section 2.1). [`Self::is_public`] asks for more.
    pub public: bool,
    /// What it may ask for.
    pub scopes: Scope,
    /// For whom it may exchange tokens, and whose tokens it may ask about.
    pub audiences: Vec<Audience>,
    /// Where it may have people sent back to.
    pub redirect_uris: Vec<String>,
    /// Whether it is refused everything.
    pub disabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A secret that has a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerSecret {
    /// Its SHA-256.
    pub hash: Digest,
    /// It is good until then, by the store's time.
    pub until: Timestamp,
}

/// A client to add.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Drawn by the caller.
    pub id: ClientId,
    /// 1 to 128 characters, no control characters, checked by the caller.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: Option<Digest>,
    /// Its public keys, checked by the caller.
    pub jwks: Option<String>,
    /// Whether it proves nothing. Then it has neither secret nor keys.
    pub public: bool,
    /// What it may ask for.
    pub scopes: Scope,
    /// For whom.
    pub audiences: Vec<Audience>,
    /// Where it may have people sent back to, checked by the caller.
    pub redirect_uris: Vec<String>,
}

/// A change of a client; `None` leaves as is. Its tokens are revoked (by trigger) by any but that of redirect URIs, and by a
/// new secret that leaves the old one no time.
#[derive(Clone, Debug, Default)]
pub struct ClientChange {
    /// A new secret.
    pub secret: Option<NewSecret>,
    /// Public keys, in place of secrets.
    pub jwks: Option<String>,
    /// What it may ask for.
    pub scopes: Option<Scope>,
    /// For whom.
    pub audiences: Option<Vec<Audience>>,
    /// Where it may have people sent back to.
    pub redirect_uris: Option<Vec<String>>,
    /// Disabling ends the sessions it holds (by trigger).
    pub disabled: Option<bool>,
}

/// A secret in place of another.
#[derive(Clone, Copy, Debug)]
pub struct NewSecret {
    /// Its SHA-256.
    pub hash: Digest,
    /// How long the one before stays good.
    pub overlap: Duration,
}

impl ClientRow {
    /// Whether its name alone identifies it. The row says so: a missing secret does not, and a row with a secret or keys
    /// asks for them whatever else it says.
    pub fn is_public(&self) -> bool {
        self.public && self.secret_hash.is_none() && self.former.is_none() && self.jwks.is_none()
    }

    pub(super) fn columns(&self) -> Columns {
        Columns {
            secret_hash: self.secret_hash.map(|hash| hash.0),
            former_hash: self.former.map(|former| former.hash.0),
            former_until: self.former.map(|former| former.until.millis()),
            scopes: serde_json::json!(self.scopes.words()).to_string(),
            audiences: serde_json::json!(self.audiences.iter().map(Audience::as_str).collect::<Vec<_>>())
                .to_string(),
            redirect_uris: serde_json::json!(self.redirect_uris).to_string(),
        }
    }
}

/// What a row holds in another form than the program does.
pub(super) struct Columns {
    pub(super) secret_hash: Option<[u8; 32]>,
    pub(super) former_hash: Option<[u8; 32]>,
    pub(super) former_until: Option<i64>,
    pub(super) scopes: String,
    pub(super) audiences: String,
    pub(super) redirect_uris: String,
}

impl Columns {
    pub(super) fn former(&self) -> Option<FormerSecret> {
        let (hash, until) = self.former_hash.zip(self.former_until)?;
        Some(FormerSecret { hash: Digest(hash), until: Timestamp::from_millis(until) })
    }

    pub(super) fn scope(&self) -> Option<Scope> {
        let words: Vec<String> = serde_json::from_str(&self.scopes).ok()?;
        Scope::new(words).ok()
    }

    pub(super) fn audiences(&self) -> Option<Vec<Audience>> {
        let names: Vec<String> = serde_json::from_str(&self.audiences).ok()?;
        names.into_iter().map(Audience::new).collect::<Result<_, BadName>>().ok()
    }

    pub(super) fn redirect_uris(&self) -> Option<Vec<String>> {
        serde_json::from_str(&self.redirect_uris).ok()
    }
}

impl NewClient {
    /// Its row if it is added at `now`.
    pub(super) fn row(self, now: Timestamp) -> ClientRow {
        ClientRow {
            id: self.id,
            name: self.name,
            secret_hash: self.secret_hash,
            former: None,
            jwks: self.jwks,
            public: self.public,
            scopes: self.scopes,
            audiences: self.audiences,
            redirect_uris: self.redirect_uris,
            disabled: false,
            created_at: now,
        }
    }
}

impl ClientChange {
    /// The row after it. A client proves itself in one way: keys take the place of its secrets, what signs gets no secret, and
    /// what is public, out there on devices that know of neither, stays so.
    pub(super) fn apply(&self, before: &ClientRow, now: Timestamp) -> Result<ClientRow, StoreError> {
        if before.public && (self.secret.is_some() || self.jwks.is_some()) {
            return Err(StoreError::Conflict(format!("{} is public, and has no secret", before.name)));
        }
        if before.jwks.is_some() && self.secret.is_some() {
            return Err(StoreError::Conflict(format!("{} signs, and has no secret", before.name)));
        }
        let mut after = before.clone();
        if let Some(NewSecret { hash, overlap }) = self.secret {
            let overlapping = before.secret_hash.filter(|_| !overlap.is_zero());
            after.former = overlapping.map(|hash| FormerSecret { hash, until: now.plus(overlap) });
            after.secret_hash = Some(hash);
        }
        if self.jwks.is_some() {
            (after.secret_hash, after.former) = (None, None);
        }
        after.jwks = self.jwks.clone().or(after.jwks);
        after.scopes = self.scopes.clone().unwrap_or(after.scopes);
        after.audiences = self.audiences.clone().unwrap_or(after.audiences);
        after.redirect_uris = self.redirect_uris.clone().unwrap_or(after.redirect_uris);
        after.disabled = self.disabled.unwrap_or(after.disabled);
        Ok(after)
    }
}

/// Why a name can't be had.
pub(super) fn taken() -> StoreError {
    StoreError::Conflict("there is a client of this name already".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_leaves_the_old_one_its_time_and_no_third() {
        let new = NewClient {
            id: ClientId::new("c").unwrap(),
            name: "cron".into(),
            secret_hash: Some(Digest([1; 32])),
            jwks: None,
            public: false,
            scopes: Scope::default(),
            audiences: vec![],
            redirect_uris: vec![],
        };
        let (now, hour) = (Timestamp::EPOCH, Duration::from_secs(3600));
        let change = |hash, overlap| ClientChange {
            secret: Some(NewSecret { hash: Digest([hash; 32]), overlap }),
            ..ClientChange::default()
        };
        let second = change(2, hour).apply(&new.row(now), now).unwrap();
        assert_eq!(second.secret_hash, Some(Digest([2; 32])));
        assert_eq!(second.former, Some(FormerSecret { hash: Digest([1; 32]), until: now.plus(hour) }));
        let third = change(3, hour).apply(&second, now).unwrap();
        assert_eq!(third.former.map(|former| former.hash), Some(Digest([2; 32])));
        assert_eq!(change(4, Duration::ZERO).apply(&third, now).unwrap().former, None);
    }

    #[test]
    fn a_client_is_public_by_its_row_and_never_for_want_of_a_secret() {
        let new = |public, secret: Option<u8>, jwks: Option<&str>| NewClient {
            id: ClientId::new("c").unwrap(),
            name: "phone".into(),
            secret_hash: secret.map(|byte| Digest([byte; 32])),
            jwks: jwks.map(str::to_owned),
            public,
            scopes: Scope::default(),
            audiences: vec![],
            redirect_uris: vec![],
        };
        let is_public = |public, secret, jwks| new(public, secret, jwks).row(Timestamp::EPOCH).is_public();
        assert!(is_public(true, None, None));
        assert!(!is_public(false, None, None));
        assert!(!is_public(true, Some(1), None) && !is_public(true, None, Some("{}")));
    }

    #[test]
    fn a_client_proves_itself_in_one_way() {
        let row = |secret: Option<u8>, jwks: Option<&str>, public: bool| ClientRow {
            id: ClientId::new("c").unwrap(),
            name: "cron".into(),
            secret_hash: secret.map(|byte| Digest([byte; 32])),
            former: secret.map(|byte| FormerSecret { hash: Digest([byte + 1; 32]), until: Timestamp::EPOCH }),
            jwks: jwks.map(str::to_owned),
            public,
            scopes: Scope::default(),
            audiences: vec![],
            redirect_uris: vec![],
            disabled: false,
            created_at: Timestamp::EPOCH,
        };
        let (now, keys) =
            (Timestamp::EPOCH, || ClientChange { jwks: Some("{}".into()), ..ClientChange::default() });
        let new = NewSecret { hash: Digest([9; 32]), overlap: Duration::ZERO };
        let secret = ClientChange { secret: Some(new), ..ClientChange::default() };
        assert_eq!(keys().apply(&row(Some(1), None, false), now).unwrap(), row(None, Some("{}"), false));
        assert_eq!(keys().apply(&row(None, Some("[]"), false), now).unwrap(), row(None, Some("{}"), false));
        // A row typed in without a secret gets its first one.
        let given = secret.apply(&row(None, None, false), now).unwrap();
        assert_eq!((given.secret_hash, given.is_public()), (Some(Digest([9; 32])), false));
        for (change, before) in [
            (&secret, row(None, Some("{}"), false)),
            (&secret, row(None, None, true)),
            (&keys(), row(None, None, true)),
        ] {
            assert!(
                matches!(change.apply(&before, now), Err(StoreError::Conflict(_))),
                "{change:?} {before:?}"
            );
        }
    }
}
