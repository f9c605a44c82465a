//! Compares this machine's clock with the database's clock and with the newest row.

use crate::{
    clock::{SKEW, Timestamp},
    store::DatabaseFacts,
};

/// Returns the fault of the clock, if there is one.
pub(super) fn clock_fault(here: Timestamp, facts: &DatabaseFacts) -> Option<String> {
    let there = facts.now;
    if here.since(there).max(there.since(here)) > SKEW {
        return Some(format!(
            "this machine's clock shows {here}, the database's clock shows {there}: tokens are refused if clocks \
             differ by more than a minute; synchronize both clocks, for example with `timedatectl set-ntp true`"
        ));
    }
    let newest = facts.newest?;
    (newest > there.plus(SKEW)).then(|| {
        format!(
            "the database's clock shows {there}, but the newest event in the audit log is from {newest}: the clock \
             was set back, or it was ahead at that time; synchronize it, for example with `timedatectl set-ntp true`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_newest_row_or_far_from_the_databases_clock_is_a_fault() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let found = |here, now, newest: Option<i64>| {
            let newest = newest.map(at);
            let facts = DatabaseFacts {
                unwritable: None,
                triggers: vec![],
                unreadable: vec![],
                clock: None,
                ring_mark: None,
                now: at(now),
                newest,
            };
            clock_fault(at(here), &facts)
        };
        assert_eq!(found(1000, 1000, None), None);
        assert_eq!(found(1000, 1030, Some(1030)), None);
        assert_eq!(found(100_000, 100_000, Some(5)), None, "an installation at rest");
        assert!(found(1000, 1061, None).unwrap().contains("database's"));
        assert!(found(1061, 1000, None).unwrap().contains("database's"));
        assert!(found(1000, 1000, Some(1061)).unwrap().contains("newest event"));
    }
}
