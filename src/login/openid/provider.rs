//! Login on a provider's pages: starts it, and checks the answer with which the browser comes back.

use serde::Deserialize;

use crate::{
    identity::openid::{Freshness, NoUser, OpenIdError, Proven, Provider},
    login::{
        Account, Failed, Logins, Requester,
        openid::{
            Intent, Pending, ProviderLogin,
            reauthentication::{ExpectedLogin, proven_at},
        },
    },
    problem::Problem,
    session::{Issued, Present},
    store::{Proof, Transport, User},
};

/// A login that has begun: the URL at the provider, and the data that the browser keeps under `state`.
pub(crate) struct Started {
    pub(crate) url: String,
    pub(crate) state: String,
    pub(crate) pending: Pending,
}

/// The parameters with which a provider sends the browser back.
#[derive(Deserialize)]
pub(crate) struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    pub(crate) state: String,
    iss: Option<String>,
    error: Option<String>,
}

impl Returned {
    /// Whether the person has cancelled the login at the provider.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.error.as_deref() == Some("access_denied")
    }
}

/// The reason why a code does not prove an identity.
enum NotProven {
    /// Another node has finished this login meanwhile.
    Finished,
    Problem(Problem),
}

impl From<Problem> for NotProven {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Logins {
    /// Starts a login at a provider. `callback` is the address to which the provider sends the browser back, `rd` the address to
    /// which the login then leads.
    pub(crate) async fn start(
        &self,
        provider: &Provider,
        callback: &str,
        rd: &str,
        intent: Intent,
    ) -> Result<Started, Problem> {
        let freshness = match intent {
            Intent::LogInAgain(_) => Freshness::Now,
            Intent::LogIn | Intent::Link(_) => Freshness::Any,
        };
        let since = self.sessions.parts().clock.now();
        let (link, again) = match intent {
            Intent::LogIn => (None, None),
            Intent::Link(sid) => (Some(sid), None),
            Intent::LogInAgain(user) => (None, Some(ExpectedLogin { user, since })),
        };
        let begun = provider.begin_login(callback, freshness).await;
        let begun = begun.map_err(|error| refused(provider, error))?;
        let state = begun.state.to_string();
        let pending = Pending::Provider(ProviderLogin {
            provider: provider.settings().name.clone(),
            state: state.clone(),
            nonce: begun.nonce.to_string(),
            verifier: begun.verifier.to_string(),
            rd: rd.to_owned(),
            link,
            again,
        });
        Ok(Started { url: begun.url, state, pending })
    }

    /// Redeems the code with which the browser came back. `None` if the code is used up because another node has finished this
    /// login meanwhile.
    pub(crate) async fn redeem(
        &self,
        requester: &Requester,
        provider: &Provider,
        login: &ProviderLogin,
        returned: &Returned,
        callback: &str,
    ) -> Result<Option<Proven>, Problem> {
        // RFC 9207: an answer that names another issuer was mixed up with this provider's.
        let issuer = returned.iss.as_ref().is_none_or(|iss| provider.settings().issuers.contains(iss));
        if !issuer {
            return Err(Problem::unauthorized());
        }
        if let Some(error) = &returned.error {
            return Err(refused(provider, callback_error(error)));
        }
        if returned.code.is_empty() {
            return Err(Problem::unauthorized());
        }
        let now = self.sessions.parts().clock.now();
        let check = async {
            match provider.redeem(&returned.code, &login.verifier, &login.nonce, callback, now).await {
                Ok(proven) => Ok(proven),
                Err(OpenIdError::Refused("code")) if self.finishes(login).await.map_err(undecided)? => {
                    Err(Failed::Undecided(NotProven::Finished))
                }
                Err(error) => Err(match failed(provider, error) {
                    Failed::Wrong(reason, problem) => Failed::Wrong(reason, problem.into()),
                    Failed::Undecided(problem) => Failed::Undecided(problem.into()),
                }),
            }
        };
        match self.attempt(Account::Provider(&provider.settings().name), requester, check).await {
            Ok(proven) => match self.spend(&login.nonce).await {
                Ok(()) => Ok(Some(proven)),
                Err(_) if self.finishes(login).await? => Ok(None),
                Err(problem) => Err(problem),
            },
            Err(NotProven::Finished) => Ok(None),
            Err(NotProven::Problem(problem)) => Err(problem),
        }
    }

    /// Begins a session for a person who has come back from a provider. `replaces` is the refresh token of the same request.
    pub(crate) async fn by_provider(
        &self,
        requester: &Requester,
        provider: &Provider,
        proven: &Proven,
        login: &ProviderLogin,
        replaces: Option<&str>,
    ) -> Result<Issued, Problem> {
        let user = self.user_of(provider, proven).await?;
        let at = proven_at(proven, self.sessions.parts().clock.now());
        if let Some(again) = &login.again {
            again.check(&user, at)?;
        }
        let proof = Proof { at, identity: Some(proven.identity.clone()), ..Proof::default() };
        let device = requester.device.clone();
        Ok(self.sessions.begin_by(&user, proof, Transport::Cookie, device, replaces).await?)
    }

    /// Links the identity to the user of the session `sid` that asked for it. The returning browser must present that session again
    /// by its refresh token, and the proof of identity must still be recent. The write requires that the session is live.
    pub(crate) async fn link(
        &self,
        requester: &Requester,
        provider: &Provider,
        proven: &Proven,
        refresh: &str,
        sid: &str,
    ) -> Result<(), Problem> {
        let present = self.sessions.present(refresh, &requester.device).await?;
        let Present { row, now, .. } = present.ok_or_else(Problem::session_required)?;
        if row.sid.to_string() != sid {
            return Err(Problem::unauthorized());
        }
        if !self.sessions.parts().policy.is_recent(row.auth_time, now) {
            return Err(Problem::reauth_required());
        }
        Ok(self.providers.link(provider, proven, &row).await?)
    }

    /// The user who has the identity.
    pub(super) async fn user_of(&self, provider: &Provider, proven: &Proven) -> Result<User, Problem> {
        self.providers.user(provider, proven).await.map_err(|none| match none {
            NoUser::OpenId(error) => refused(provider, error),
            NoUser::Store(error) => error.into(),
        })
    }
}

/// Whether an error of a provider counts as a failed attempt, with the problem to answer.
pub(super) fn failed(provider: &Provider, error: OpenIdError) -> Failed<Problem> {
    match error {
        OpenIdError::Refused(reason) => Failed::Wrong(reason, refused(provider, error)),
        // These errors do not show that a proof is wrong.
        OpenIdError::Away(_) | OpenIdError::NoAccount => Failed::Undecided(refused(provider, error)),
    }
}

fn undecided(problem: Problem) -> Failed<NotProven> {
    Failed::Undecided(problem.into())
}

/// The meaning of an error in the provider's answer (RFC 6749, 4.1.2.1). Such an error is never an attempt at guessing, so it is
/// not counted as a failure.
fn callback_error(error: &str) -> OpenIdError {
    match error {
        "server_error" | "temporarily_unavailable" => {
            OpenIdError::Away(format!("it answered the login with the error {error}"))
        }
        "access_denied" => OpenIdError::Refused("the login was cancelled at the provider"),
        _ => OpenIdError::Refused("the provider answered with an error"),
    }
}

/// The answer to a failed proof. The caller does not see the reason; it is in the operator's log.
fn refused(provider: &Provider, error: OpenIdError) -> Problem {
    let name = &provider.settings().name;
    match error {
        OpenIdError::NoAccount => Problem::no_account(),
        OpenIdError::Away(why) => {
            tracing::warn!(provider = name, why, "a provider is not available");
            Problem::provider_away()
        }
        OpenIdError::Refused(reason) => {
            tracing::info!(provider = name, reason, "a login with a provider was refused");
            Problem::unauthorized()
        }
    }
}
