//! The history of all clients of a fleet, and the rules that it must satisfy. A pure check: it uses only the times before and
//! after each operation, as the client measured them, so imprecise measurement cannot cause a false result.

use std::{collections::BTreeMap, ops::Range, time::Duration};

/// An operation with a known result. An operation without an answer, or answered by "cannot tell", is recorded only if it may
/// have ended a session.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub session: usize,
    /// The time just before the request was sent.
    pub began: Duration,
    /// The time just after the answer arrived.
    pub ended: Duration,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The access token was presented alone.
    Verified { accepted: bool },
    /// The refresh token of generation `shown` was presented. If it was accepted, `held` is the generation of the row.
    Renewed { shown: u64, held: Option<u64> },
    /// The deletion of the session was requested.
    Ended { acknowledged: bool },
}

/// A violation of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// An access token was accepted after its session's end had been acknowledged. `by` is the time in between, without the
    /// outages of the database.
    AcceptedLate { session: usize, by: Duration },
    /// A refresh token was accepted after the deletion of its session had been acknowledged.
    RenewedAfterTheEnd { session: usize },
    /// A refresh token two generations old was accepted: two generations are valid at once.
    TwoGenerations { session: usize, shown: u64, known: u64 },
    /// An acknowledged rotation is lost.
    WentBack { session: usize, held: u64, known: u64 },
    /// A session that no client had ended was refused.
    LoggedOut { session: usize },
}

/// All recorded events.
#[derive(Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
    /// The periods in which the database was stopped.
    pub outages: Vec<Range<Duration>>,
}

impl History {
    /// Returns every violation. `bound` is the longest time from the acknowledgement of a revocation until it is in force at
    /// every node.
    pub fn broken(&self, bound: Duration) -> Vec<Broken> {
        let mut sessions: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
        for event in &self.events {
            sessions.entry(event.session).or_default().push(*event);
        }
        sessions.into_values().flat_map(|events| self.broken_in(events, bound)).collect()
    }

    /// Checks the events of one session.
    fn broken_in(&self, mut events: Vec<Event>, bound: Duration) -> Vec<Broken> {
        events.sort_by_key(|event| event.began);
        let ends = || events.iter().filter(|event| matches!(event.what, What::Ended { .. }));
        let acknowledged = ends().filter(|event| event.what == What::Ended { acknowledged: true });
        let acknowledged = acknowledged.map(|event| event.ended).min();
        let asked = ends().map(|event| event.began).min();
        let mut known = Known::of(&events);
        let mut broken = Vec::new();
        for event in &events {
            let session = event.session;
            let late =
                acknowledged.filter(|end| *end < event.began).map(|end| self.present(end..event.began));
            let alive = asked.is_none_or(|asked| event.ended < asked);
            match event.what {
                What::Verified { accepted: true } => {
                    let by = late.filter(|late| *late > bound);
                    broken.extend(by.map(|by| Broken::AcceptedLate { session, by }));
                }
                What::Renewed { shown, held: Some(held) } => {
                    let known = known.at(event.began);
                    broken.extend(late.map(|_| Broken::RenewedAfterTheEnd { session }));
                    broken.extend((shown + 1 < known).then_some(Broken::TwoGenerations {
                        session,
                        shown,
                        known,
                    }));
                    broken.extend((held < known).then_some(Broken::WentBack { session, held, known }));
                }
                What::Verified { accepted: false } | What::Renewed { held: None, .. } => {
                    broken.extend(alive.then_some(Broken::LoggedOut { session }));
                }
                What::Ended { .. } => {}
            }
        }
        broken
    }

    /// The part of a period in which the database was available. A node that cannot reach the database cannot learn of a
    /// revocation.
    fn present(&self, time: Range<Duration>) -> Duration {
        let away =
            |outage: &Range<Duration>| outage.end.min(time.end).saturating_sub(outage.start.max(time.start));
        (time.end - time.start).saturating_sub(self.outages.iter().map(away).sum())
    }
}

/// The highest generation that any answer had reported by a given time.
struct Known {
    told: Vec<(Duration, u64)>,
    next: usize,
    highest: u64,
}

impl Known {
    fn of(events: &[Event]) -> Self {
        let told = |event: &Event| match event.what {
            What::Renewed { held: Some(held), .. } => Some((event.ended, held)),
            _ => None,
        };
        let mut told: Vec<_> = events.iter().filter_map(told).collect();
        told.sort_unstable();
        Self { told, next: 0, highest: 0 }
    }

    /// Must be called with times that never decrease.
    fn at(&mut self, time: Duration) -> u64 {
        while let Some((_, generation)) = self.told.get(self.next).filter(|(told, _)| *told < time) {
            self.highest = self.highest.max(*generation);
            self.next += 1;
        }
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(began: u64, ended: u64, what: What) -> Event {
        Event { session: 7, began: Duration::from_millis(began), ended: Duration::from_millis(ended), what }
    }

    const fn renewed(began: u64, ended: u64, shown: u64, held: u64) -> Event {
        at(began, ended, What::Renewed { shown, held: Some(held) })
    }

    const VERIFIED: What = What::Verified { accepted: true };
    const REFUSED: What = What::Verified { accepted: false };
    const RENEWAL_REFUSED: What = What::Renewed { shown: 0, held: None };
    const ENDED: What = What::Ended { acknowledged: true };
    const PERHAPS: What = What::Ended { acknowledged: false };

    fn broken(events: &[Event], outages: &[(u64, u64)]) -> Vec<Broken> {
        let millis = Duration::from_millis;
        let outages = outages.iter().map(|(start, end)| millis(*start)..millis(*end)).collect();
        let history = History { events: events.into(), outages };
        let mut backwards = History { events: events.iter().rev().copied().collect(), outages: vec![] };
        backwards.outages.clone_from(&history.outages);
        let found = history.broken(millis(1000));
        assert_eq!(found, backwards.broken(millis(1000)), "the order of the events is no argument");
        found
    }

    #[test]
    fn a_correct_history_has_no_violations() {
        let events = [
            at(0, 5, VERIFIED),
            renewed(10, 20, 0, 1),
            // Sent before the first answer arrived: the answer has the row's generation again, without a rotation.
            renewed(11, 25, 0, 1),
            renewed(30, 40, 1, 2),
            renewed(50, 60, 1, 2),
            at(70, 80, PERHAPS),
            at(71, 75, REFUSED),
            at(90, 100, ENDED),
            at(95, 110, VERIFIED),
            at(1099, 1105, VERIFIED),
            renewed(99, 105, 2, 3),
            at(101, 120, RENEWAL_REFUSED),
            at(5000, 5001, REFUSED),
        ];
        assert_eq!(broken(&events, &[]), []);
    }

    #[test]
    fn a_token_accepted_longer_than_the_bound_after_its_revocation_is_reported() {
        let late = |began| broken(&[at(0, 100, ENDED), at(began, began + 1, VERIFIED)], &[]);
        assert_eq!(late(1100), []);
        let by = Duration::from_millis(1001);
        assert_eq!(late(1101), [Broken::AcceptedLate { session: 7, by }]);
    }

    #[test]
    fn time_without_a_database_does_not_count_towards_the_bound() {
        let late = |outages: &[(u64, u64)]| broken(&[at(0, 100, ENDED), at(1500, 1501, VERIFIED)], outages);
        assert_eq!(late(&[(50, 600)]), [], "500 of 1400 ms");
        assert_eq!(late(&[(200, 400), (1300, 9000)]), [], "200 and 200 of 1400 ms");
        assert_eq!(
            late(&[(50, 499)]),
            [Broken::AcceptedLate { session: 7, by: Duration::from_millis(1001) }]
        );
        assert_eq!(late(&[(0, 90), (1500, 2000)]).len(), 1, "before and after are no excuse");
    }

    #[test]
    fn a_renewal_after_an_acknowledged_end_is_reported_without_tolerance() {
        let found = broken(&[at(0, 100, ENDED), renewed(101, 110, 0, 1)], &[(0, 9000)]);
        assert_eq!(found, [Broken::RenewedAfterTheEnd { session: 7 }]);
        assert_eq!(
            broken(&[at(0, 100, ENDED), renewed(100, 110, 0, 1)], &[]),
            [],
            "at the same moment it may be"
        );
        assert_eq!(broken(&[at(0, 100, PERHAPS), renewed(101, 110, 0, 1)], &[]), [], "nobody has promised");
    }

    #[test]
    fn a_refresh_token_two_generations_old_that_still_works_is_reported() {
        let found = broken(&[renewed(0, 10, 0, 1), renewed(20, 30, 1, 2), renewed(40, 50, 0, 2)], &[]);
        assert_eq!(found, [Broken::TwoGenerations { session: 7, shown: 0, known: 2 }]);
    }

    #[test]
    fn two_live_chains_of_one_session_are_reported() {
        // Two nodes have rotated the same generation, and each continues from its own result.
        let found = broken(&[renewed(0, 10, 0, 1), renewed(20, 30, 1, 2), renewed(40, 50, 1, 1)], &[]);
        assert_eq!(found, [Broken::WentBack { session: 7, held: 1, known: 2 }]);
    }

    #[test]
    fn an_acknowledged_rotation_that_is_lost_is_reported() {
        let found = broken(&[renewed(0, 10, 0, 1), renewed(20, 30, 0, 0)], &[(10, 20)]);
        assert_eq!(found, [Broken::WentBack { session: 7, held: 0, known: 1 }]);
    }

    #[test]
    fn a_refused_honest_client_is_reported() {
        for what in [REFUSED, RENEWAL_REFUSED] {
            assert_eq!(
                broken(&[at(0, 10, what), at(20, 30, ENDED)], &[]),
                [Broken::LoggedOut { session: 7 }]
            );
            assert_eq!(broken(&[at(0, 20, what), at(20, 30, PERHAPS)], &[]), []);
        }
    }

    #[test]
    fn each_session_is_checked_on_its_own() {
        let mut events = [at(0, 100, ENDED), at(5000, 5001, VERIFIED)];
        assert_eq!(broken(&events, &[]).len(), 1);
        events[1].session = 8;
        assert_eq!(broken(&events, &[]), []);
    }
}
