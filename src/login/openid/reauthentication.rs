//! A new login at a provider by a person who is already signed in. It proves their identity again, if it is a new login of the same
//! user.

use serde::{Deserialize, Serialize};

use crate::{
    clock::{SKEW, Timestamp},
    identity::openid::Proven,
    problem::Problem,
    store::{ProvenAt, User},
};

/// The purpose for which a person is sent to a provider.
pub(crate) enum Intent {
    /// To sign in.
    LogIn,
    /// To sign in again as this user. The provider is asked to authenticate them again.
    LogInAgain(Option<String>),
    /// To link an identity to the user of this session.
    Link(String),
}

/// The new login that is expected: its user, and the time from which it counts.
#[derive(Deserialize, Serialize)]
pub(crate) struct ExpectedLogin {
    /// The user of the session. `None` if the request had no session.
    pub(crate) user: Option<String>,
    /// The time when the person was sent to the provider.
    pub(crate) since: Timestamp,
}

impl ExpectedLogin {
    /// Checks that a login is the expected one: by the same user, and made after they were sent to the provider.
    pub(super) fn check(&self, user: &User, at: ProvenAt) -> Result<(), NotExpected> {
        if self.user.as_deref().is_some_and(|before| before != user.id.as_str()) {
            return Err(NotExpected::OtherUser);
        }
        match at {
            ProvenAt::At(at) if self.since.since(at) <= SKEW => Ok(()),
            _ => Err(NotExpected::NotRecent),
        }
    }
}

/// The reason why a login at a provider is not the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotExpected {
    /// The login is by another user than the one who was signed in.
    OtherUser,
    /// The provider does not state that the person has just signed in there.
    NotRecent,
}

impl From<NotExpected> for Problem {
    fn from(why: NotExpected) -> Self {
        Self::reauth_failed(match why {
            NotExpected::OtherUser => {
                "You signed in to the provider as a different user than here. Please sign in there as the same user."
            }
            NotExpected::NotRecent => {
                "The provider does not confirm that you have just signed in there. Please sign in with your \
                 password, or with another provider."
            }
        })
    }
}

/// The time at which a person proved their identity at a provider, according to its ID token. Unknown if the token does not state
/// it, or if it is ahead of this server's clock by more than the skew.
pub(super) fn proven_at(proven: &Proven, now: Timestamp) -> ProvenAt {
    match proven.auth_time {
        Some(at) if at.since(now) <= SKEW => ProvenAt::At(at),
        _ => ProvenAt::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::UserId;

    #[test]
    fn a_reauthentication_is_by_the_same_user_and_not_older_than_its_request() {
        let since = Timestamp::from_millis(10_000_000);
        let user = |id: &str| User {
            id: UserId::new(id).unwrap(),
            name: id.into(),
            roles: vec![],
            claims: Default::default(),
        };
        let again = |before: Option<&str>| ExpectedLogin { user: before.map(str::to_owned), since };
        let then = |at: Timestamp| ProvenAt::At(at);
        let old = since.minus(SKEW + Duration::from_millis(1));
        for (before, at, answer) in [
            (Some("1"), then(since), Ok(())),
            (None, then(since.minus(SKEW)), Ok(())),
            (Some("2"), then(since), Err(NotExpected::OtherUser)),
            (Some("1"), then(old), Err(NotExpected::NotRecent)),
            (Some("1"), ProvenAt::Unknown, Err(NotExpected::NotRecent)),
        ] {
            assert_eq!(again(before).check(&user("1"), at), answer, "{before:?} {at:?}");
        }
    }
}
