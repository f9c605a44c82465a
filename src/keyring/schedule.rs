//! Decides how a first start, a rollover or a revocation changes a ring: pure functions over its listing.
//!
//! Time and new keys are arguments. The result is the next listing and the keys whose files are deleted. A key's state only moves
//! forward: staged, active, retired; and from each of them to revoked.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyState, ListedKey, Listing, Suite},
};

/// A new key that is in no listing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The key id.
    pub kid: Kid,
    /// The suite of the key.
    pub suite: Suite,
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next content of `ring.json`.
    pub listing: Listing,
    /// Keys whose files are deleted after `ring.json` is replaced.
    pub gone: Vec<Kid>,
}

/// The reason why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The staged key is younger than required: nodes may not have loaded it yet.
    TooYoung {
        /// The staged key.
        kid: Kid,
        /// The age of the staged key.
        age: Duration,
    },
    /// There is no staged key to promote.
    NoStaged,
    /// The listing has no such key.
    NoSuchKey(Kid),
    /// The key is revoked already.
    AlreadyRevoked(Kid),
}

/// The first listing: one active key and one staged.
pub fn first(active: NewKey, staged: NewKey, now: Timestamp) -> Listing {
    Listing {
        generation: 1,
        not_before: Timestamp::EPOCH,
        keys: vec![listed(active, KeyState::Active, now), listed(staged, KeyState::Staged, now)],
    }
}

/// A rollover: the staged key becomes active, the active key retired, and `fresh[0]` staged. Keys that have been retired for longer
/// than `keep` are deleted.
///
/// Refused while the staged key is younger than `min_staged`. A `min_staged` of zero also rolls over a ring that has lost its
/// staged key: then `fresh[1]` becomes active at once.
pub fn rotate(
    old: &Listing,
    fresh: [NewKey; 2],
    min_staged: Duration,
    keep: Duration,
    now: Timestamp,
) -> Result<Step, Refusal> {
    match old.in_state(KeyState::Staged) {
        None if !min_staged.is_zero() => return Err(Refusal::NoStaged),
        Some(key) if now.since(key.since) < min_staged => {
            return Err(Refusal::TooYoung { kid: key.kid, age: now.since(key.since) });
        }
        _ => {}
    }
    let expired = |key: &ListedKey| key.state == KeyState::Retired && now.since(key.since) > keep;
    let gone = old.keys.iter().filter(|key| expired(key)).map(|key| key.kid).collect();
    let mut next = successor(old);
    next.keys.retain(|key| !expired(key));
    for key in &mut next.keys {
        if key.state == KeyState::Active {
            set_state(key, KeyState::Retired, now);
        }
    }
    fill_states(&mut next, fresh, now);
    Ok(Step { listing: next, gone })
}

/// Revokes one key. The staged key replaces a revoked active key, and `fresh[0]` becomes the staged key.
///
/// # Errors
///
/// [`Refusal`] if the listing has no such key, or if the key is revoked already.
pub fn revoke(old: &Listing, kid: Kid, fresh: [NewKey; 2], now: Timestamp) -> Result<Step, Refusal> {
    let mut next = successor(old);
    let Some(key) = next.keys.iter_mut().find(|key| key.kid == kid) else {
        return Err(Refusal::NoSuchKey(kid));
    };
    if key.state == KeyState::Revoked {
        return Err(Refusal::AlreadyRevoked(kid));
    }
    set_state(key, KeyState::Revoked, now);
    fill_states(&mut next, fresh, now);
    Ok(Step { listing: next, gone: vec![kid] })
}

/// Revokes every key, including the staged one, and continues with the `fresh` keys, so that a stolen ring becomes worthless. The
/// new generation is the greater of the old one and `above`, plus one.
pub fn revoke_all(old: &Listing, above: u64, fresh: [NewKey; 2], now: Timestamp) -> Step {
    let mut next = successor(old);
    next.generation = next.generation.max(above.saturating_add(1));
    let mut gone = Vec::new();
    for key in next.keys.iter_mut().filter(|key| key.state != KeyState::Revoked) {
        set_state(key, KeyState::Revoked, now);
        gone.push(key.kid);
    }
    fill_states(&mut next, fresh, now);
    Step { listing: next, gone }
}

/// Sets the time before which all tokens are refused. The caller decides whether it may be lowered.
pub fn not_before(old: &Listing, not_before: Timestamp) -> Step {
    Step { listing: Listing { not_before, ..successor(old) }, gone: Vec::new() }
}

/// The same listing with the next generation.
fn successor(old: &Listing) -> Listing {
    Listing { generation: old.generation.saturating_add(1), ..old.clone() }
}

/// Makes the staged key active if no key is active, or `fresh[1]` if no key is staged. Then makes `fresh[0]` staged if no key is.
fn fill_states(next: &mut Listing, fresh: [NewKey; 2], now: Timestamp) {
    if next.in_state(KeyState::Active).is_none() {
        match next.keys.iter_mut().find(|key| key.state == KeyState::Staged) {
            Some(key) => set_state(key, KeyState::Active, now),
            None => next.keys.push(listed(fresh[1], KeyState::Active, now)),
        }
    }
    if next.in_state(KeyState::Staged).is_none() {
        next.keys.push(listed(fresh[0], KeyState::Staged, now));
    }
}

fn set_state(key: &mut ListedKey, state: KeyState, now: Timestamp) {
    key.state = state;
    key.since = now;
}

fn listed(fresh: NewKey, state: KeyState, now: Timestamp) -> ListedKey {
    ListedKey { kid: fresh.kid, state, suite: fresh.suite, since: now }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Duration = Duration::from_secs(7200);
    const MIN: Duration = Duration::from_secs(600);

    fn fresh(n: u32) -> [NewKey; 2] {
        [2 * n, 2 * n + 1].map(|n| NewKey { kid: Kid(n.to_be_bytes()), suite: Suite::Xaes256Gcm })
    }

    fn start() -> Listing {
        let [a, b] = fresh(0);
        first(a, b, at(0))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn state(listing: &Listing, kid: Kid) -> Option<KeyState> {
        listing.keys.iter().find(|key| key.kid == kid).map(|key| key.state)
    }

    #[test]
    fn a_rollover_moves_every_key_one_state_on() {
        let old = start();
        let step = rotate(&old, fresh(1), MIN, KEEP, at(600)).unwrap();
        assert_eq!(step.listing.generation, 2);
        let states: Vec<_> = step.listing.keys.iter().map(|key| (key.state, key.since)).collect();
        assert_eq!(
            states,
            [(KeyState::Retired, at(600)), (KeyState::Active, at(600)), (KeyState::Staged, at(600))]
        );
        assert_eq!(step.gone, []);
    }

    #[test]
    fn a_staged_key_younger_than_min_staged_is_not_promoted() {
        let refused = rotate(&start(), fresh(1), MIN, KEEP, at(599));
        let kid = fresh(0)[1].kid;
        assert_eq!(refused, Err(Refusal::TooYoung { kid, age: Duration::from_secs(599) }));
        assert!(rotate(&start(), fresh(1), Duration::ZERO, KEEP, at(0)).is_ok());
        // With a clock that was set back, the key has a negative age, which does not count as old.
        assert!(rotate(&start(), fresh(1), MIN, KEEP, at(-5000)).is_err());
    }

    #[test]
    fn a_ring_without_a_staged_key_rolls_over_only_with_min_staged_zero() {
        let mut old = start();
        old.keys.pop();
        assert_eq!(rotate(&old, fresh(1), MIN, KEEP, at(9999)), Err(Refusal::NoStaged));
        let step = rotate(&old, fresh(1), Duration::ZERO, KEEP, at(9999)).unwrap();
        assert_eq!(state(&step.listing, fresh(1)[1].kid), Some(KeyState::Active));
        assert_eq!(state(&step.listing, fresh(1)[0].kid), Some(KeyState::Staged));
    }

    #[test]
    fn a_key_is_deleted_only_if_retired_for_longer_than_keep() {
        let one = rotate(&start(), fresh(1), MIN, KEEP, at(600)).unwrap().listing;
        let exactly = rotate(&one, fresh(2), MIN, KEEP, at(600 + 7200)).unwrap();
        assert_eq!(exactly.gone, []);
        let later = rotate(&one, fresh(2), MIN, KEEP, at(600 + 7201)).unwrap();
        assert_eq!(later.gone, [fresh(0)[0].kid]);
        assert_eq!(state(&later.listing, fresh(0)[0].kid), None);
    }

    #[test]
    fn revoking_the_active_key_promotes_the_staged_one_in_the_same_step() {
        let step = revoke(&start(), fresh(0)[0].kid, fresh(1), at(1)).unwrap();
        assert_eq!(state(&step.listing, fresh(0)[0].kid), Some(KeyState::Revoked));
        assert_eq!(state(&step.listing, fresh(0)[1].kid), Some(KeyState::Active));
        assert_eq!(state(&step.listing, fresh(1)[0].kid), Some(KeyState::Staged));
        assert_eq!(step.gone, [fresh(0)[0].kid]);
    }

    #[test]
    fn revoking_a_revoked_or_unknown_key_changes_nothing() {
        let kid = fresh(0)[0].kid;
        let once = revoke(&start(), kid, fresh(1), at(1)).unwrap().listing;
        assert_eq!(revoke(&once, kid, fresh(2), at(2)), Err(Refusal::AlreadyRevoked(kid)));
        let stranger = fresh(77)[0].kid;
        assert_eq!(revoke(&once, stranger, fresh(2), at(2)), Err(Refusal::NoSuchKey(stranger)));
    }

    #[test]
    fn revoking_all_leaves_only_new_keys_and_passes_the_generation_given() {
        let step = revoke_all(&start(), 41, fresh(1), at(1));
        assert_eq!(step.listing.generation, 42);
        assert_eq!(step.gone.len(), 2);
        assert_eq!(step.listing.in_state(KeyState::Active).map(|key| key.kid), Some(fresh(1)[1].kid));
        assert_eq!(step.listing.in_state(KeyState::Staged).map(|key| key.kid), Some(fresh(1)[0].kid));
        assert_eq!(revoke_all(&start(), 0, fresh(1), at(1)).listing.generation, 2);
    }

    /// A command of an operator that changes a ring.
    #[derive(Clone, Debug)]
    enum Deed {
        Rotate { min_staged: u64 },
        Revoke { which: usize },
        RevokeAll,
        NotBefore,
    }

    fn deed() -> impl Strategy<Value = (Deed, i64)> {
        let deed = prop_oneof![
            6 => (0..1200u64).prop_map(|min_staged| Deed::Rotate { min_staged }),
            3 => (0..12usize).prop_map(|which| Deed::Revoke { which }),
            1 => Just(Deed::RevokeAll),
            1 => Just(Deed::NotBefore),
        ];
        // Clocks move forward in nine of ten steps, and back in one.
        (deed, prop_oneof![9 => 0..9000i64, 1 => -600..0i64])
    }

    proptest! {
        #[test]
        fn after_any_change_one_key_is_active_one_is_staged_and_no_key_skips_a_state(
            deeds in proptest::collection::vec(deed(), 1..60)
        ) {
            let (mut ring, mut now) = (start(), 0);
            for (n, (deed, later)) in deeds.into_iter().enumerate() {
                now += later;
                let new = fresh(u32::try_from(n).unwrap() + 1);
                let step = match deed {
                    Deed::Rotate { min_staged } => {
                        let min_staged = Duration::from_secs(min_staged);
                        let age = at(now).since(ring.in_state(KeyState::Staged).unwrap().since);
                        let step = rotate(&ring, new, min_staged, KEEP, at(now));
                        prop_assert_eq!(step.is_ok(), age >= min_staged);
                        step
                    }
                    Deed::Revoke { which } => revoke(&ring, ring.keys[which % ring.keys.len()].kid, new, at(now)),
                    Deed::RevokeAll => Ok(revoke_all(&ring, 0, new, at(now))),
                    Deed::NotBefore => Ok(not_before(&ring, at(now))),
                };
                let Ok(Step { listing: next, gone }) = step else { continue };
                prop_assert_eq!(next.generation, ring.generation + 1);
                for wanted in [KeyState::Active, KeyState::Staged] {
                    prop_assert_eq!(next.keys.iter().filter(|key| key.state == wanted).count(), 1);
                }
                for key in &ring.keys {
                    use KeyState::{Active, Retired, Revoked, Staged};
                    let moved = (key.state, state(&next, key.kid));
                    let may = match moved {
                        (was, Some(is)) if was == is => true,
                        (Staged, Some(Active)) | (Active, Some(Retired)) => true,
                        (was, Some(Revoked)) => was != Revoked,
                        (Retired, None) => at(now).since(key.since) > KEEP,
                        _ => false,
                    };
                    prop_assert!(may, "{:?}", moved);
                    // The file of a key is deleted when the key stops opening tokens, and not before.
                    let opened = key.state != Revoked;
                    let opens = state(&next, key.kid).is_some_and(KeyState::opens);
                    prop_assert_eq!(gone.contains(&key.kid), opened && !opens);
                }
                let mut kids: Vec<_> = next.keys.iter().map(|key| key.kid).collect();
                kids.sort_unstable();
                kids.dedup();
                prop_assert_eq!(kids.len(), next.keys.len());
                ring = next;
            }
        }
    }
}
