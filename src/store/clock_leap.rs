//! Detects leaps of the clock. Expired rows are deleted for good, so nothing is deleted while the clock is probably wrong.
//!
//! The wall clock has leapt if it has advanced further than the boot clock, which can't be set. A program that has just started has
//! no earlier reading: for it, the wall clock has leapt if it has advanced by more than `MAX_OUTAGE`, the longest expected outage,
//! since a server last read the clocks. A leap is over when the wall clock is back, or when the new time has lasted for
//! `ACCEPT_AFTER`.
//!
//! These are pure functions. The callers read both clocks and keep the [`ClockMark`] in the store.

use std::time::Duration;

use crate::clock::Timestamp;

/// The maximum time by which the wall clock may advance further than the boot clock. It is also the largest allowed difference
/// between the clocks of nodes.
const TOLERANCE: Duration = Duration::from_secs(60);
/// The longest outage of all servers that does not make the clock suspicious.
const MAX_OUTAGE: Duration = Duration::from_secs(24 * 3600);
/// How long a new time must last before it is accepted.
const ACCEPT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The state of the clock that a store remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The time at which a server last read the clocks, by the store's time.
    pub seen: Timestamp,
    /// The leap that is not over yet.
    pub leap: Option<ClockLeap>,
}

/// A leap of the clock from one time to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockLeap {
    /// The last trusted time.
    pub before: Timestamp,
    /// The first reading of the new time.
    pub since: Timestamp,
}

impl ClockLeap {
    /// The time at which the new time is accepted. From then on, rows that have expired by the new time are deleted.
    pub fn accepted_at(&self) -> Timestamp {
        self.since.plus(ACCEPT_AFTER)
    }
}

impl std::fmt::Display for ClockLeap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { before, since } = self;
        write!(
            f,
            "the clock jumped from {before} to {since}, or no server ran in between: expired rows are not deleted \
             before {}. If the time is wrong, set the clock; if it is right, wait, or run `DELETE FROM clock` in a \
             database shell",
            self.accepted_at()
        )
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The wall clock: the store's time.
    pub now: Timestamp,
    /// The boot clock.
    pub boot: Duration,
}

/// Returns the mark after a reading. `last` is this process's previous reading, `None` if the process has just started.
pub fn detect_leap(mark: Option<ClockMark>, last: Option<ClockReading>, new: ClockReading) -> ClockMark {
    let now = new.now;
    let Some(mark) = mark else { return ClockMark { seen: now, leap: None } };
    let (from, may) = match last {
        Some(last) => (last.now, new.boot.saturating_sub(last.boot) + TOLERANCE),
        None => (mark.seen, MAX_OUTAGE),
    };
    let leapt = now.since(from) > may;
    let leap = match mark.leap {
        None if leapt => Some(ClockLeap { before: from, since: now }),
        None => None,
        // The clock is back before the leap: the leap is over, unless the clock now shows another wrong time.
        Some(ClockLeap { before, since }) if now.plus(TOLERANCE) < since => {
            (now.since(before) > ACCEPT_AFTER + MAX_OUTAGE).then_some(ClockLeap { before, since: now })
        }
        Some(ClockLeap { before, .. }) if leapt => Some(ClockLeap { before, since: now }),
        Some(leap) => (now < leap.accepted_at()).then_some(leap),
    };
    ClockMark { seen: now, leap }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000).plus(Duration::from_secs(secs))
    }

    fn reading(now: Timestamp, boot: u64) -> ClockReading {
        ClockReading { now, boot: Duration::from_secs(boot) }
    }

    fn mark(seen: Timestamp, leap: Option<ClockLeap>) -> Option<ClockMark> {
        Some(ClockMark { seen, leap })
    }

    #[test]
    fn a_clock_that_agrees_with_the_boot_clock_has_not_leapt() {
        let week = 7 * 86_400;
        for (later, boot) in [(5, 5), (64, 5), (week, week), (0, 5)] {
            let found =
                detect_leap(mark(at(0), None), Some(reading(at(0), 100)), reading(at(later), 100 + boot));
            assert_eq!(found, ClockMark { seen: at(later), leap: None }, "{later} s");
        }
        assert_eq!(detect_leap(None, None, reading(at(0), 5)).leap, None, "a new database");
        assert_eq!(
            detect_leap(mark(at(0), None), None, reading(at(80_000), 5)).leap,
            None,
            "a night without a server"
        );
    }

    #[test]
    fn a_clock_that_outruns_the_boot_clock_leaps_until_it_is_back() {
        for ahead in [Duration::from_secs(120), Duration::from_secs(86_400), YEARS] {
            let there = at(5).plus(ahead);
            let leap = Some(ClockLeap { before: at(0), since: there });
            let found = detect_leap(mark(at(0), None), Some(reading(at(0), 100)), reading(there, 105));
            assert_eq!(found.leap, leap, "{ahead:?}");
            let later = there.plus(Duration::from_secs(60));
            let still = detect_leap(Some(found), Some(reading(there, 105)), reading(later, 165));
            assert_eq!(still.leap, leap, "{ahead:?}");
            if ahead > TOLERANCE * 3 {
                assert_eq!(
                    detect_leap(Some(still), Some(reading(later, 165)), reading(at(70), 170)).leap,
                    None,
                    "{ahead:?}"
                );
            }
        }
    }

    #[test]
    fn a_leap_is_remembered_and_detected_across_a_restart() {
        let there = at(0).plus(YEARS);
        assert_eq!(
            detect_leap(mark(at(0), None), None, reading(there, 5)).leap,
            Some(ClockLeap { before: at(0), since: there })
        );
        let leap = Some(ClockLeap { before: at(0), since: there });
        let later = there.plus(Duration::from_secs(600));
        assert_eq!(detect_leap(mark(there, leap), None, reading(later, 5)).leap, leap);
        assert_eq!(
            detect_leap(mark(there, leap), None, reading(at(900), 5)).leap,
            None,
            "and over when it is back"
        );
    }

    #[test]
    fn a_new_time_is_accepted_after_a_day_without_a_further_leap() {
        let there = at(0).plus(YEARS);
        let leap = ClockLeap { before: at(0), since: there };
        let day = there.plus(ACCEPT_AFTER);
        let minute = Duration::from_secs(60);
        let judged = |now: Timestamp| {
            detect_leap(
                mark(now.minus(minute), Some(leap)),
                Some(reading(now.minus(minute), 0)),
                reading(now, 60),
            )
        };
        assert_eq!(judged(day.minus(Duration::from_millis(1))).leap, Some(leap));
        assert_eq!(judged(day).leap, None);
        let again = detect_leap(mark(there, Some(leap)), Some(reading(there, 0)), reading(day, 60));
        assert_eq!(again.leap, Some(ClockLeap { before: at(0), since: day }));
    }
}
