//! Authenticates clients: by a secret, by a signature, or, for public clients, by the id alone (RFC 6749, section 2.3).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{
    clock::Timestamp,
    ids::ClientId,
    oauth::{
        Form, Issuer, Refusal,
        assertion::{Assertion, KIND},
        form,
    },
    secret::{Digest, Secret, SecretText},
    store::ClientRow,
};

/// The client id in a request, with its proof.
pub struct Credentials {
    id: String,
    proof: Proof,
}

enum Proof {
    Secret(SecretText),
    Signature(Box<Assertion>),
    Nothing,
}

/// An authenticated client.
#[derive(Clone, Debug)]
pub struct Client {
    /// The row of the client, as it was read.
    pub row: ClientRow,
}

impl Credentials {
    /// Reads the credentials from the `Authorization` header (Basic) or from the form. A request that uses more than one method is
    /// refused.
    pub fn of(basic: Option<(String, SecretText)>, form: &Form) -> Result<Self, Refusal> {
        let twice = Refusal::Request("a client must authenticate in one way only");
        let named = form.text("client_id");
        let assertion = match (form.text("client_assertion_type"), form.text("client_assertion")) {
            (None, None) => None,
            (Some(KIND), Some(assertion)) => Some(Assertion::read(assertion).ok_or(Refusal::Client)?),
            _ => return Err(Refusal::Client),
        };
        let (id, proof) = match (basic, form.secret("client_secret"), assertion) {
            (None, None, Some(assertion)) => {
                if named.is_some_and(|named| named != assertion.client()) {
                    return Err(Refusal::Client);
                }
                (assertion.client().to_owned(), Proof::Signature(Box::new(assertion)))
            }
            (Some((id, secret)), None, None) => {
                let id = form::unwrap(&id);
                if named.is_some_and(|named| named != id) {
                    return Err(twice);
                }
                (id, Proof::Secret(SecretText::new(form::unwrap(secret.expose()))))
            }
            (None, secret, None) => {
                let id = named.ok_or(Refusal::Client)?.to_owned();
                (id, secret.map_or(Proof::Nothing, Proof::Secret))
            }
            _ => return Err(twice),
        };
        Ok(Self { id, proof })
    }

    /// The client id that the request states; not verified yet.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Issuer<'_> {
    /// Authenticates a client. Every failure gives the same refusal; for secrets, every failure takes the same work.
    ///
    /// # Errors
    ///
    /// `Refusal::Client` if the client is unknown, disabled or not authenticated; `Refusal::CannotTell` if the store does not
    /// answer.
    pub async fn authenticate_client(&self, credentials: &Credentials) -> Result<Client, Refusal> {
        // Only an id that breaks the rule for client ids, so that no client can have it, skips this work.
        let id = ClientId::new(credentials.id.as_str()).map_err(|_| Refusal::Client)?;
        let (row, now) = self.sessions.parts().store.client(&id).await?;
        let proven = match &credentials.proof {
            Proof::Secret(secret) => holds(row.as_ref(), secret, now),
            Proof::Signature(assertion) => self.signed(row.as_ref(), assertion, now).await?,
            Proof::Nothing => row.as_ref().is_some_and(ClientRow::is_public),
        };
        let row = row.filter(|row| proven && !row.disabled).ok_or(Refusal::Client)?;
        Ok(Client { row })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.id)
    }
}

impl Issuer<'_> {
    /// Whether the client has signed the assertion, and it is used for the first time.
    async fn signed(
        &self,
        row: Option<&ClientRow>,
        assertion: &Assertion,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let here = ["", "/oauth/token", "/oauth/revoke", "/oauth/introspect"]
            .map(|path| format!("{}{path}", self.url));
        let jwks = row.and_then(|row| row.jwks.as_deref());
        let Some((once, until)) = jwks.and_then(|jwks| assertion.holds(jwks, &here, now)) else {
            return Ok(false);
        };
        Ok(self.sessions.parts().store.mark_used(Sha256::digest(once).into(), until).await?)
    }
}

/// Whether this is one of the client's secrets. For an unknown client the same comparison runs and always fails.
fn holds(row: Option<&ClientRow>, secret: &SecretText, now: Timestamp) -> bool {
    const NEVER: Digest = Digest([0; 32]);
    let presented = Secret::<32>::from_base64url(secret.expose()).map(|secret| secret.sha256());
    let former = row.and_then(|row| row.former).filter(|former| now < former.until).map(|former| former.hash);
    let known = [row.and_then(|row| row.secret_hash), former];
    let matches = known.map(|hash| presented.unwrap_or(NEVER) == hash.unwrap_or(NEVER) && hash.is_some());
    presented.is_some() && (matches[0] | matches[1])
}
