//! The row of an OAuth client, a program that requests tokens (RFC 6749, section 2).

use crate::{
    clock::Timestamp,
    ids::{Audience, BadName, ClientId, Scope},
    secret::Digest,
    store::StoreError,
};

/// A row of `clients`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// The client id of the protocol (`client_id`).
    pub id: ClientId,
    /// The name for people; unique.
    pub name: String,
    /// SHA-256 of the client's secret. `None` if the client signs assertions, is public, or has no way to authenticate.
    pub secret_hash: Option<Digest>,
    /// The previous secret, as long as it is still valid.
    pub former: Option<FormerSecret>,
    /// The public keys for the client's signatures, as a JSON Web Key Set.
    pub jwks: Option<String>,
    /// Whether the client is an app on a person's device that can't authenticate (RFC 6749, section 2.1). [`Self::is_public`]
    /// checks more than this field.
    pub public: bool,
    /// The scope that the client may request.
    pub scopes: Scope,
    /// The audiences for which the client may exchange tokens, and whose tokens it may introspect.
    pub audiences: Vec<Audience>,
    /// The redirect URIs that the client may use.
    pub redirect_uris: Vec<String>,
    /// Whether every request of the client is refused.
    pub disabled: bool,
    /// The time at which the client was added.
    pub created_at: Timestamp,
}

/// A previous secret that was replaced by a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerSecret {
    /// SHA-256 of the secret.
    pub hash: Digest,
    /// The end of its validity, by the store's time.
    pub until: Timestamp,
}

/// A client to add.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// The client id, drawn at random by the caller.
    pub id: ClientId,
    /// The name ([`CLIENT_NAME_RULE`](crate::store::CLIENT_NAME_RULE)). The caller checks this.
    pub name: String,
    /// SHA-256 of the client's secret.
    pub secret_hash: Option<Digest>,
    /// The client's public keys, checked by the caller.
    pub jwks: Option<String>,
    /// Whether the client is public. A public client has neither a secret nor keys.
    pub public: bool,
    /// The scope that the client may request.
    pub scopes: Scope,
    /// The audiences of the client.
    pub audiences: Vec<Audience>,
    /// The redirect URIs that the client may use, checked by the caller.
    pub redirect_uris: Vec<String>,
}

impl ClientRow {
    /// Whether the client id alone identifies the client. The column `public` decides: a missing secret does not make a client
    /// public, and a client with a secret or keys must authenticate even if its row says `public`.
    pub fn is_public(&self) -> bool {
        self.public && self.secret_hash.is_none() && self.former.is_none() && self.jwks.is_none()
    }

    /// Whether the credentials of this row, with which a client was authenticated, are still valid in the present row.
    pub fn is_authenticated_by(&self, now: &Self) -> bool {
        let hashes = |row: &Self| [row.secret_hash, row.former.map(|former| former.hash)];
        let secret = self.secret_hash.is_none_or(|hash| hashes(now).contains(&Some(hash)));
        let former = self.former.is_none_or(|former| hashes(now).contains(&Some(former.hash)));
        let same_kind = self.secret_hash.is_some() == now.secret_hash.is_some();
        !now.disabled && secret && former && same_kind && self.jwks == now.jwks && self.public == now.public
    }

    pub(in crate::store) fn columns(&self) -> ClientColumns {
        ClientColumns {
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

/// The columns whose form in the database differs from the form in the program.
pub(in crate::store) struct ClientColumns {
    pub(in crate::store) secret_hash: Option<[u8; 32]>,
    pub(in crate::store) former_hash: Option<[u8; 32]>,
    pub(in crate::store) former_until: Option<i64>,
    pub(in crate::store) scopes: String,
    pub(in crate::store) audiences: String,
    pub(in crate::store) redirect_uris: String,
}

impl ClientColumns {
    pub(in crate::store) fn former(&self) -> Option<FormerSecret> {
        let (hash, until) = self.former_hash.zip(self.former_until)?;
        Some(FormerSecret { hash: Digest(hash), until: Timestamp::from_millis(until) })
    }

    pub(in crate::store) fn scope(&self) -> Option<Scope> {
        let words: Vec<String> = serde_json::from_str(&self.scopes).ok()?;
        Scope::new(words).ok()
    }

    pub(in crate::store) fn audiences(&self) -> Option<Vec<Audience>> {
        let names: Vec<String> = serde_json::from_str(&self.audiences).ok()?;
        names.into_iter().map(Audience::new).collect::<Result<_, BadName>>().ok()
    }

    pub(in crate::store) fn redirect_uris(&self) -> Option<Vec<String>> {
        serde_json::from_str(&self.redirect_uris).ok()
    }
}

impl NewClient {
    /// Returns the row of a client that is added at `now`.
    pub(in crate::store) fn row(self, now: Timestamp) -> ClientRow {
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

/// The error for a name that is already taken.
pub(in crate::store) fn taken() -> StoreError {
    StoreError::Conflict("a client with this name exists already".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_replaced_during_issuance_no_longer_authenticate() {
        let row = |secret: Option<u8>, former: Option<u8>, jwks: Option<&str>| ClientRow {
            id: ClientId::new("c").unwrap(),
            name: "app".into(),
            secret_hash: secret.map(|byte| Digest([byte; 32])),
            former: former.map(|byte| FormerSecret { hash: Digest([byte; 32]), until: Timestamp::EPOCH }),
            jwks: jwks.map(str::to_owned),
            public: false,
            scopes: Scope::default(),
            audiences: vec![],
            redirect_uris: vec![],
            disabled: false,
            created_at: Timestamp::EPOCH,
        };
        let old = row(Some(1), None, None);
        assert!(old.is_authenticated_by(&old));
        assert!(old.is_authenticated_by(&row(Some(2), Some(1), None)), "the old secret has its time");
        assert!(!old.is_authenticated_by(&row(Some(2), None, None)), "rotated at once");
        assert!(!old.is_authenticated_by(&row(None, None, Some("{}"))), "keys replace the secret");
        assert!(!old.is_authenticated_by(&ClientRow { disabled: true, ..old.clone() }));
        let signs = row(None, None, Some("{}"));
        assert!(signs.is_authenticated_by(&signs));
        assert!(!signs.is_authenticated_by(&row(None, None, Some("{\"keys\":[]}"))));
        assert!(!signs.is_authenticated_by(&row(Some(1), None, None)));
    }

    #[test]
    fn a_client_is_public_only_if_its_row_says_so() {
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
}
