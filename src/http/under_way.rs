//! What must be remembered while somebody is at a provider: sealed into a token of purpose `login`, kept by their browser.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{again::Again, bulla::Inner};
use crate::{
    clock::Timestamp,
    http::Problem,
    session::SKEW,
    token::{OpenBuffer, SealedToken},
};

/// How long a login elsewhere may take, and how long a nonce is good.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// How often, and how far apart, a node that was refused a code looks whether another node has finished the login.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(100);
/// Characters of the longest place to return to that is remembered: of any that there is ([`super::Site`] checks it), and
/// what it is sealed into fits a cookie.
const RD_MAX: usize = 2048;

/// A login under way.
#[derive(Deserialize, Serialize)]
#[serde(tag = "for", rename_all = "lowercase")]
pub(super) enum UnderWay {
    /// By way of a provider's pages.
    Provider(Flow),
    /// A nonce for an ID token that a browser will present.
    Cookie { nonce: String },
    /// The same for a program that keeps no cookies.
    Body { nonce: String },
    /// A login by way of a provider's pages that this browser has finished. The Back button or a reload leads to the
    /// provider's answer once more.
    Finished { provider: String, state: String, rd: String },
}

/// What comes back must fit this.
#[derive(Deserialize, Serialize)]
pub(super) struct Flow {
    pub(super) provider: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    pub(super) rd: String,
    /// The session whose user wants the identity linked; none: it is a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    /// Somebody who is signed in signs in once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<Again>,
}

impl Flow {
    /// Where the login leads when it is finished.
    pub(super) fn leads_to(&self) -> &str {
        if self.rd.is_empty() { "/auth/account" } else { &self.rd }
    }

    /// What is remembered of it afterwards.
    pub(super) fn finished(&self) -> UnderWay {
        UnderWay::Finished {
            provider: self.provider.clone(),
            state: self.state.clone(),
            rd: self.leads_to().to_owned(),
        }
    }
}

impl Inner {
    pub(super) fn seal_under_way(&self, mut under_way: UnderWay) -> Result<SealedToken, Problem> {
        if let UnderWay::Provider(flow) = &mut under_way
            && flow.rd.len() > RD_MAX
        {
            flow.rd = "/".into();
        }
        let json = serde_json::to_string(&under_way).expect("texts have a JSON form");
        let json = zeroize::Zeroizing::new(json);
        let parts = self.sessions.parts();
        parts.tokens.login(|keys| keys.seal_at(&json, parts.clock.now())).map_err(|error| {
            tracing::error!(%error, "a login under way could not be sealed");
            Problem::unavailable()
        })
    }

    /// Nothing if it doesn't open, for whatever reason.
    pub(super) fn open_under_way(&self, token: &str) -> Option<UnderWay> {
        self.open_with_time(token).map(|(under_way, _)| under_way)
    }

    /// The same, and when it was sealed.
    pub(super) fn open_with_time(&self, token: &str) -> Option<(UnderWay, Timestamp)> {
        let parts = self.sessions.parts();
        let mut buffer = OpenBuffer::new();
        let opened =
            parts.tokens.login(|keys| keys.open_at(token, parts.clock.now(), LIFE, &mut buffer)?.parse());
        opened.ok().map(|opened| (opened.payload, opened.issued_at))
    }

    /// Spends a nonce; once spent it is refused for as long as anything sealed with it opens.
    pub(super) async fn spend(&self, nonce: &str) -> Result<(), Problem> {
        let parts = self.sessions.parts();
        let hash = Sha256::digest(nonce).into();
        match parts.store.spend(hash, parts.clock.now().plus(LIFE + SKEW * 2)).await? {
            true => Ok(()),
            false => Err(Problem::unauthorized()),
        }
    }
}

/// What is spent when a login by way of a provider's pages is finished.
fn finished(flow: &Flow) -> [u8; 32] {
    Sha256::digest(format!("finished {}", flow.state)).into()
}

impl Inner {
    /// Notes that this login is finished. A note that can't be written costs a repeated request its answer, nothing else.
    pub(super) async fn note_finished(&self, flow: &Flow) {
        let parts = self.sessions.parts();
        if let Err(error) = parts.store.spend(finished(flow), parts.clock.now().plus(LIFE + SKEW * 2)).await {
            tracing::warn!(%error, "the end of a login at a provider could not be noted");
        }
    }

    /// Whether an earlier request with this login's cookie has finished it.
    pub(super) async fn is_finished(&self, flow: &Flow) -> Result<bool, Problem> {
        Ok(self.sessions.parts().store.is_spent(finished(flow)).await?)
    }

    /// The same, or whether a request on another node is about to.
    pub(super) async fn finishes(&self, flow: &Flow) -> Result<bool, Problem> {
        for _ in 0..LOOKS {
            if self.is_finished(flow).await? {
                return Ok(true);
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Ok(false)
    }
}

/// Whether two texts are the same, in a time that doesn't tell.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
