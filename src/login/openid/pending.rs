//! The data of a login while the person is at a provider. It is sealed into a token of purpose `login`, which their browser keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    clock::{SKEW, Timestamp},
    login::{Logins, openid::reauthentication::ExpectedLogin},
    problem::Problem,
    token::{OpenBuffer, SealedToken},
};

/// The longest time that a login at a provider can take, and the life of a nonce.
pub(crate) const LIFE: Duration = Duration::from_secs(600);
/// How many times, and at which interval, a node checks whether another node has finished the login, after a provider has refused
/// the code.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(100);
/// The maximum length of a remembered return address, in characters. The site accepts no longer address, and with it the sealed
/// token still fits into a cookie.
const RD_MAX: usize = 2048;

/// A login that is not finished, or the mark of a finished one.
#[derive(Deserialize, Serialize)]
#[serde(tag = "for", rename_all = "lowercase")]
pub(crate) enum Pending {
    /// A login on a provider's pages.
    Provider(ProviderLogin),
    /// A nonce for an ID token that a browser will present.
    Cookie { nonce: String },
    /// A nonce for an ID token that a program without cookies will present.
    Body { nonce: String },
    /// A login on a provider's pages that this browser has finished. The Back button or a reload leads to the provider's answer
    /// again.
    Finished { provider: String, state: String, rd: String },
}

/// The data against which the provider's answer is checked.
#[derive(Deserialize, Serialize)]
pub(crate) struct ProviderLogin {
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    /// The address after the login; empty for the account page.
    pub(crate) rd: String,
    /// The sid of the session whose user links the identity. `None` for a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// Set if a person who is signed in logs in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<ExpectedLogin>,
}

impl ProviderLogin {
    /// The data that is remembered after the login is finished.
    pub(crate) fn finished(&self) -> Pending {
        Pending::Finished { provider: self.provider.clone(), state: self.state.clone(), rd: self.rd.clone() }
    }
}

impl Logins {
    pub(crate) fn seal_pending(&self, mut pending: Pending) -> Result<SealedToken, Problem> {
        if let Pending::Provider(flow) = &mut pending
            && flow.rd.len() > RD_MAX
        {
            flow.rd = "/".into();
        }
        let json = serde_json::to_string(&pending).expect("texts have a JSON form");
        let json = zeroize::Zeroizing::new(json);
        let parts = self.sessions.parts();
        parts.tokens.login(|keys| keys.seal_at(&json, parts.clock.now())).map_err(|error| {
            tracing::error!(%error, "the state of a login at a provider could not be sealed");
            Problem::unavailable()
        })
    }

    /// Opens a token. `None` if it does not open, for any reason.
    pub(crate) fn open_pending(&self, token: &str) -> Option<Pending> {
        self.open_with_time(token).map(|(pending, _)| pending)
    }

    /// Opens a token. Also returns the time at which it was sealed.
    pub(crate) fn open_with_time(&self, token: &str) -> Option<(Pending, Timestamp)> {
        let parts = self.sessions.parts();
        let mut buffer = OpenBuffer::new();
        let opened =
            parts.tokens.login(|keys| keys.open_at(token, parts.clock.now(), LIFE, &mut buffer)?.parse());
        opened.ok().map(|opened| (opened.payload, opened.issued_at))
    }

    /// Marks a nonce as used. It is then refused for as long as any token with it can be opened.
    pub(super) async fn spend(&self, nonce: &str) -> Result<(), Problem> {
        let parts = self.sessions.parts();
        let hash = Sha256::digest(nonce).into();
        match parts.store.mark_used(hash, parts.clock.now().plus(LIFE + SKEW * 2)).await? {
            true => Ok(()),
            false => Err(Problem::unauthorized()),
        }
    }
}

/// The mark that is stored when a login on a provider's pages is finished.
fn finished(flow: &ProviderLogin) -> [u8; 32] {
    Sha256::digest(format!("finished {}", flow.state)).into()
}

impl Logins {
    /// Records that this login is finished. A failure to record it affects only a repeated request, which then fails.
    pub(crate) async fn note_finished(&self, flow: &ProviderLogin) {
        let parts = self.sessions.parts();
        if let Err(error) =
            parts.store.mark_used(finished(flow), parts.clock.now().plus(LIFE + SKEW * 2)).await
        {
            tracing::warn!(%error, "a finished login at a provider could not be recorded");
        }
    }

    /// Whether an earlier request with this login's cookie has finished the login.
    pub(crate) async fn is_finished(&self, flow: &ProviderLogin) -> Result<bool, Problem> {
        Ok(self.sessions.parts().store.is_used(finished(flow)).await?)
    }

    /// Like [`Self::is_finished`], but waits a while for a request on another node to finish the login.
    pub(crate) async fn finishes(&self, flow: &ProviderLogin) -> Result<bool, Problem> {
        for _ in 0..LOOKS {
            if self.is_finished(flow).await? {
                return Ok(true);
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Ok(false)
    }
}

/// Whether two texts are equal; takes constant time for texts of equal length.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
