//! Changes of a client.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::{Audience, Scope},
    secret::Digest,
    store::{ClientRow, FormerSecret, StoreError},
};

/// A change of a client. `None` leaves a field unchanged. A trigger revokes the client's tokens at every change except two: a
/// change of the redirect URIs, and a new secret with an `overlap` in which the old secret stays valid.
#[derive(Clone, Debug, Default)]
pub struct ClientChange {
    /// A new secret.
    pub secret: Option<NewSecret>,
    /// Public keys; they replace the secrets.
    pub jwks: Option<String>,
    /// The scope that the client may request.
    pub scopes: Option<Scope>,
    /// The audiences of the client.
    pub audiences: Option<Vec<Audience>>,
    /// The redirect URIs that the client may use.
    pub redirect_uris: Option<Vec<String>>,
    /// Whether the client is disabled. Disabling ends the client's sessions (by trigger).
    pub disabled: Option<bool>,
}

impl ClientChange {
    /// Returns the row after the change. A client authenticates in one way only. New keys replace the secrets. A client that
    /// signs can't get a secret. A public client stays public, because its copies on people's devices have neither secret nor
    /// keys.
    pub(in crate::store) fn apply(
        &self,
        before: &ClientRow,
        now: Timestamp,
    ) -> Result<ClientRow, StoreError> {
        if before.public && (self.secret.is_some() || self.jwks.is_some()) {
            return Err(StoreError::Conflict(format!(
                "the client {} is public and can have neither a secret nor keys",
                before.name
            )));
        }
        if before.jwks.is_some() && self.secret.is_some() {
            return Err(StoreError::Conflict(format!(
                "the client {} authenticates by signatures and can have no secret",
                before.name
            )));
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

/// A secret that replaces the present one.
#[derive(Clone, Copy, Debug)]
pub struct NewSecret {
    /// SHA-256 of the new secret.
    pub hash: Digest,
    /// How long the previous secret stays valid.
    pub overlap: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::ClientId, store::NewClient};

    #[test]
    fn a_new_secret_leaves_only_the_previous_one_valid_for_its_overlap() {
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
    fn a_client_has_only_one_way_to_authenticate() {
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
        // A row that was inserted by hand without a secret gets its first secret.
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
