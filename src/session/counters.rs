//! Counts events for the metrics: plain counters under fixed names.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{text_names::text_names, token::Refused};

/// A counter of the metrics. Its name is a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// An access token was accepted.
    AccessValid,
    /// An access token was refused, because its session or client was revoked.
    AccessRevoked,
    /// An access token was refused, because the denylist is not up to date.
    AccessCannotTell,
    /// A token was refused for the reason [`Refused::Length`].
    TokenLength,
    /// A token was refused for the reason [`Refused::Encoding`].
    TokenEncoding,
    /// A token was refused for the reason [`Refused::Magic`].
    TokenMagic,
    /// A token was refused for the reason [`Refused::UnknownKey`].
    TokenUnknownKey,
    /// A token was refused for the reason [`Refused::Suite`].
    TokenSuite,
    /// A token was refused for the reason [`Refused::Tag`].
    TokenTag,
    /// A token was refused for the reason [`Refused::Future`].
    TokenFuture,
    /// A token was refused for the reason [`Refused::Expired`].
    TokenExpired,
    /// A token was refused for the reason [`Refused::NotBefore`].
    TokenNotBefore,
    /// A token was refused for the reason [`Refused::Payload`].
    TokenPayload,
    /// A refresh token was rotated.
    RefreshRotate,
    /// A renewal changed nothing in the row: it gave only an access token, or the last answer again.
    RefreshRepeat,
    /// An outdated refresh token was pardoned.
    RefreshPardon,
    /// A refresh token was ahead of its row.
    RefreshForward,
    /// An outdated refresh token was used again, and its session ended.
    RefreshReuse,
    /// A refresh token was refused.
    RefreshInvalid,
    /// A renewal failed, because the store did not answer.
    RefreshCannotTell,
    /// A session began.
    SessionBegun,
    /// A row changed while its renewal was judged.
    SessionConflict,
    /// A person or a provider failed to authenticate.
    LoginFailed,
    /// The throttle refused a login.
    LoginThrottled,
    /// An OAuth client failed to authenticate.
    ClientFailed,
    /// The throttle refused an OAuth client.
    ClientThrottled,
    /// The gateway ended a stream, because its session had ended.
    StreamCut,
}

text_names!(Counter {
    AccessValid = "access.valid",
    AccessRevoked = "access.revoked",
    AccessCannotTell = "access.cannot_tell",
    TokenLength = "token.length",
    TokenEncoding = "token.encoding",
    TokenMagic = "token.magic",
    TokenUnknownKey = "token.unknown_key",
    TokenSuite = "token.suite",
    TokenTag = "token.tag",
    TokenFuture = "token.future",
    TokenExpired = "token.expired",
    TokenNotBefore = "token.not_before",
    TokenPayload = "token.payload",
    RefreshRotate = "refresh.rotate",
    RefreshRepeat = "refresh.repeat",
    RefreshPardon = "refresh.pardon",
    RefreshForward = "refresh.forward",
    RefreshReuse = "refresh.reuse",
    RefreshInvalid = "refresh.invalid",
    RefreshCannotTell = "refresh.cannot_tell",
    SessionBegun = "session.begun",
    SessionConflict = "session.conflict",
    LoginFailed = "login.failed",
    LoginThrottled = "login.throttled",
    ClientFailed = "client.failed",
    ClientThrottled = "client.throttled",
    StreamCut = "stream.cut",
});

impl Counter {
    /// Returns the counter of a refused token. `None` for a token that was opened but has another purpose.
    const fn of(refused: Refused) -> Option<Self> {
        Some(match refused {
            Refused::Length => Self::TokenLength,
            Refused::Encoding => Self::TokenEncoding,
            Refused::Magic => Self::TokenMagic,
            Refused::UnknownKey => Self::TokenUnknownKey,
            Refused::Suite => Self::TokenSuite,
            Refused::Tag => Self::TokenTag,
            Refused::Future => Self::TokenFuture,
            Refused::Expired => Self::TokenExpired,
            Refused::NotBefore => Self::TokenNotBefore,
            Refused::Payload => Self::TokenPayload,
            Refused::Purpose => return None,
        })
    }
}

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// Returns every name with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Counter::ALL.iter().map(|counter| counter.as_str()).zip(counts)
    }

    pub(crate) fn add(&self, counter: Counter) {
        self.0[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused token.
    pub(super) fn refused(&self, refused: Refused) {
        Counter::of(refused).into_iter().for_each(|counter| self.add(counter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_refusal_has_a_counter() {
        let counters = Counters::default();
        let reasons = [
            Refused::Length,
            Refused::Encoding,
            Refused::Magic,
            Refused::UnknownKey,
            Refused::Suite,
            Refused::Tag,
            Refused::Future,
            Refused::Expired,
            Refused::NotBefore,
            Refused::Payload,
        ];
        reasons.into_iter().for_each(|reason| counters.refused(reason));
        let counted =
            counters.all().filter(|(name, count)| name.starts_with("token.") && *count == 1).count();
        assert_eq!(counted, reasons.len());
    }

    #[test]
    fn a_counter_is_shown_under_its_own_name() {
        for (at, counter) in Counter::ALL.iter().copied().enumerate() {
            let counters = Counters::default();
            counters.add(counter);
            assert_eq!(counters.all().nth(at), Some((counter.as_str(), 1)));
            assert_eq!(counters.all().map(|(_, count)| count).sum::<u64>(), 1);
        }
        for refused in [Refused::Length, Refused::UnknownKey, Refused::NotBefore] {
            assert_eq!(Counter::of(refused).unwrap().as_str(), format!("token.{}", refused.reason()));
        }
    }
}
