//! Counts events for the metrics: plain counters under fixed names.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::token::Refused;

/// The names of the counters. They are labels of a metric, so the list is closed.
const NAMES: [&str; 26] = [
    "access.valid",
    "access.revoked",
    "access.cannot_tell",
    "token.length",
    "token.encoding",
    "token.magic",
    "token.unknown_key",
    "token.suite",
    "token.tag",
    "token.future",
    "token.expired",
    "token.not_before",
    "token.payload",
    "refresh.rotate",
    "refresh.repeat",
    "refresh.pardon",
    "refresh.forward",
    "refresh.reuse",
    "refresh.invalid",
    "refresh.cannot_tell",
    "session.begun",
    "session.conflict",
    "login.failed",
    "login.throttled",
    "client.failed",
    "client.throttled",
];

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    /// Every name with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(&self.0).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    pub(crate) fn add(&self, name: &'static str) {
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn refused(&self, refused: Refused) {
        let name = NAMES.into_iter().find(|name| name.strip_prefix("token.") == Some(refused.reason()));
        name.into_iter().for_each(|name| self.add(name));
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
}
