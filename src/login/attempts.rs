//! Login attempts: asks the throttle, counts and logs failures, and records a sample of them in the audit.

use std::{collections::HashMap, sync::Mutex, sync::PoisonError, time::Duration};

use serde_json::json;

use crate::{
    clock::Timestamp,
    login::{
        Logins, Requester,
        throttle::{Account, Charge, Reason, Throttled, folded, network},
    },
    problem::Problem,
    session::Counter,
    store::{Actor, AuditEvent, Device, Event, NAME_MAX, StoreError},
};

/// A successful login from an address in this time exempts that address from the failure count of the user.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// The number of a user's latest logins that are searched for an address.
const LOGINS: u32 = 1000;
/// The length at which a name or an id is cut in logs and in the audit, in characters.
const SHOWN: usize = NAME_MAX;

/// The reason why the check of a proof failed, with the error for the caller.
#[derive(Debug)]
pub(crate) enum Failed<E> {
    /// The proof is wrong. Counts as a failure; the text is for the log and the audit.
    Wrong(&'static str, E),
    /// The proof could not be checked. Does not count.
    Undecided(E),
}

impl Logins {
    /// Checks a proof under the throttle: refuses the attempt with the time to wait, or runs `check` and counts its result. A
    /// failure is logged and a sample of the failures is recorded in the audit.
    pub(crate) async fn attempt<T, E: From<Problem>>(
        &self,
        account: Account<'_>,
        requester: &Requester,
        check: impl Future<Output = Result<T, Failed<E>>>,
    ) -> Result<T, E> {
        let charge = self.admit(account, requester).await?;
        match check.await {
            Ok(proven) => {
                charge.succeeded();
                Ok(proven)
            }
            Err(Failed::Wrong(reason, error)) => {
                charge.failed();
                self.note(account, requester, Failure::Failed, reason).await.map_err(Problem::from)?;
                Err(error)
            }
            Err(Failed::Undecided(error)) => {
                charge.undecided();
                Err(error)
            }
        }
    }

    /// Asks the throttle before a proof is checked. Charges the attempt, or refuses it with the time to wait.
    async fn admit(&self, account: Account<'_>, requester: &Requester) -> Result<Charge<'_>, Problem> {
        let (ip, clock) = (requester.ip, &*self.sessions.parts().clock);
        let throttled = match self.throttle.admit(account, ip, clock).await {
            Ok(charge) => return Ok(charge),
            Err(throttled) => throttled,
        };
        // A user who is attacked from many addresses can still log in from a known address: one from which they have logged in
        // before, even if that was before a restart or on another node.
        let throttled = match (account, ip) {
            (Account::User(name), Some(known))
                if throttled.reason == Reason::Account && self.has_logged_in_from(name, known).await? =>
            {
                self.throttle.exempt(account, known);
                match self.throttle.admit(account, ip, clock).await {
                    Ok(charge) => return Ok(charge),
                    Err(throttled) => throttled,
                }
            }
            _ => throttled,
        };
        self.turn_away(account, requester, throttled).await
    }

    async fn has_logged_in_from(&self, name: &str, ip: std::net::IpAddr) -> Result<bool, StoreError> {
        let store = &self.sessions.parts().store;
        // The users of an embedding program have no names in this store.
        if !self.own_users || !self.throttle.should_look_up(Account::User(name), ip) {
            return Ok(false);
        }
        let Some(user) = store.user_by_name(trimmed(name)).await? else { return Ok(false) };
        let since = store.now().await?.minus(REMEMBERED);
        let addresses = store.login_addresses(&user.id, since, LOGINS).await?;
        Ok(addresses.iter().filter_map(|ip| ip.parse().ok()).any(|known| network(known) == network(ip)))
    }

    async fn turn_away<T>(
        &self,
        account: Account<'_>,
        requester: &Requester,
        throttled: Throttled,
    ) -> Result<T, Problem> {
        let reason = match throttled.reason {
            Reason::Busy => return Err(Problem::busy()),
            Reason::Account => "too many failures for this account",
            Reason::Address => "too many failures from this address",
        };
        self.note(account, requester, Failure::Throttled, reason).await?;
        Err(Problem::throttled(throttled.retry_after))
    }

    /// Writes a line to the log, adds to the metrics, and records a sample of the events in the audit.
    async fn note(
        &self,
        account: Account<'_>,
        requester: &Requester,
        outcome: Failure,
        reason: &'static str,
    ) -> Result<(), StoreError> {
        let device = requester.device.clone();
        let subject = match account {
            Account::User(name) => shortened(&folded(name)),
            Account::Provider(name) => format!("provider:{name}"),
            Account::Client(id) => format!("client:{}", shortened(id)),
        };
        let (event, counter) = match (account, outcome) {
            (Account::User(_) | Account::Provider(_), Failure::Failed) => {
                (Event::LoginFailed, Counter::LoginFailed)
            }
            (Account::User(_) | Account::Provider(_), Failure::Throttled) => {
                (Event::LoginThrottled, Counter::LoginThrottled)
            }
            (Account::Client(_), Failure::Failed) => (Event::ClientFailed, Counter::ClientFailed),
            (Account::Client(_), Failure::Throttled) => (Event::ClientThrottled, Counter::ClientThrottled),
        };
        self.sessions.counters().add(counter);
        // Escaped, because a name can contain text that looks like a line of the log.
        tracing::warn!(address = device.ip, subject = %subject.escape_debug(), reason, "{event}");
        let Device { ip, user_agent } = device;
        let event = AuditEvent::new(event, Actor::Unknown, subject);
        self.record_sampled(event.with(json!({"ip": ip, "user_agent": user_agent, "reason": reason}))).await
    }

    /// Records an event that any client can cause. The first events of a kind are recorded at once, later ones at a limited rate.
    /// The others are only counted.
    async fn record_sampled(&self, event: AuditEvent) -> Result<(), StoreError> {
        let now = self.sessions.parts().clock.now();
        match self.sampler.admits(&event.event, now) {
            None => Ok(()),
            Some(unrecorded) => self.sessions.parts().store.record(with_count(event, unrecorded)).await,
        }
    }

    /// Records how many events of each kind were not recorded since the last row of that kind.
    pub(crate) async fn record_the_unrecorded(&self) -> Result<(), StoreError> {
        for (event, count) in self.sampler.take() {
            self.sessions
                .parts()
                .store
                .record(with_count(AuditEvent::new(event, Actor::Unknown, ""), count))
                .await?;
        }
        Ok(())
    }
}

/// A name as it is looked up: without spaces around it, and cut if it is too long for any user.
pub(super) fn trimmed(name: &str) -> &str {
    let name = name.trim();
    name.char_indices().nth(SHOWN + 1).map_or(name, |(end, _)| &name[..end])
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn with_count(mut event: AuditEvent, unrecorded: u64) -> AuditEvent {
    if unrecorded > 0 {
        event.detail["unrecorded"] = unrecorded.into();
    }
    event
}

/// The outcome of an attempt that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The proof was wrong.
    Failed,
    /// The throttle refused the attempt before the proof was checked.
    Throttled,
}

/// Limits how many events of a kind are recorded and counts the others, so that unauthenticated clients can't fill the table.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<HashMap<Event, Kind>>);

#[derive(Debug)]
struct Kind {
    /// The number of events that can still be recorded at once.
    left: u64,
    /// The time since which `left` is counted.
    since: Timestamp,
    unrecorded: u64,
}

impl Sampler {
    /// The number of events of a kind that are recorded at once.
    const BURST: u64 = 100;
    /// One more event is recorded per this time: at most 14,400 per day.
    const EACH: Duration = Duration::from_secs(6);

    /// Whether this event is recorded. `Some` has the number of earlier events that were not recorded.
    fn admits(&self, event: &Event, now: Timestamp) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind =
            kinds.entry(event.clone()).or_insert(Kind { left: Self::BURST, since: now, unrecorded: 0 });
        // The clock may have been set back.
        kind.since = kind.since.min(now);
        let more =
            u64::try_from(now.since(kind.since).as_millis() / Self::EACH.as_millis()).unwrap_or(u64::MAX);
        if kind.left.saturating_add(more) >= Self::BURST {
            (kind.left, kind.since) = (Self::BURST, now);
        } else {
            kind.left += more;
            kind.since = kind.since.plus(Self::EACH * u32::try_from(more).unwrap_or(u32::MAX));
        }
        match kind.left {
            0 => {
                kind.unrecorded += 1;
                None
            }
            _ => {
                kind.left -= 1;
                Some(std::mem::take(&mut kind.unrecorded))
            }
        }
    }

    /// The number of unrecorded events of each kind. Resets the counts.
    fn take(&self) -> Vec<(Event, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts =
            kinds.iter_mut().map(|(event, kind)| (event.clone(), std::mem::take(&mut kind.unrecorded)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_events_is_recorded_as_a_few_events_and_their_number() {
        let (sampler, now) = (Sampler::default(), Timestamp::from_millis(1_790_000_000_000));
        let (mut recorded, mut counted) = (0, 0);
        for n in 0..60_000 {
            // 1,000 events per second for a minute.
            if let Some(unrecorded) = sampler.admits(&Event::LoginFailed, now.plus(Duration::from_millis(n)))
            {
                recorded += 1;
                counted += unrecorded;
            }
        }
        assert_eq!(recorded, 109, "a hundred at once, then one each six seconds");
        let rest = sampler.take();
        assert_eq!(rest[0].1 + counted + recorded, 60_000, "none is lost");
        assert!(sampler.take().is_empty());
        assert_eq!(sampler.admits(&Event::ClientFailed, now), Some(0), "another kind");
        let later = now.plus(Duration::from_secs(24 * 3600));
        let passed = (0..200).filter(|_| sampler.admits(&Event::LoginFailed, later).is_some()).count();
        assert_eq!(passed, 100, "rest fills up to what passes at once");
        assert!(
            sampler.admits(&Event::LoginFailed, now).is_none(),
            "a clock set back a day lets nothing more pass"
        );
    }

    #[test]
    fn a_name_is_trimmed_and_cut() {
        assert_eq!(trimmed(" ada\u{3000}"), "ada");
        assert_eq!(trimmed(&"\u{fdfa}".repeat(5461)).chars().count(), 129);
        assert_eq!(trimmed(&"a".repeat(128)).len(), 128);
    }
}
