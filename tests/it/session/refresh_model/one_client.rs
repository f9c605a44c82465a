//! One honest client, and one store that judges and writes in one step.

use super::*;

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    now: i64,
    jar: u64,
    access_until: i64,
    row: Row,
    /// (generation, time of the request)
    asked: Vec<(u64, i64)>,
    /// (generation carried, end of the access token, time of the answer)
    answers: Vec<(Option<u64>, i64, i64)>,
    lost: u8,
}

/// Returns the number of states seen, and whether the honest client was ever logged out.
fn search(bounds: Bounds) -> (usize, bool) {
    let rule = bounds.rule();
    let mut frontier = Frontier::from(World {
        now: 0,
        jar: 0,
        access_until: bounds.a,
        row: Row::NEW,
        asked: vec![],
        answers: vec![],
        lost: 0,
    });
    while let Some(world) = frontier.queue.pop_front() {
        let now = world.now;
        let busy = world.asked.len() + world.answers.len();
        if busy < bounds.tabs && (bounds.any_time || now >= world.access_until) {
            let asked = with(&world.asked, (world.jar, now));
            frontier.push(World { asked, ..world.clone() });
        }
        for (at, (generation, _)) in world.asked.iter().enumerate() {
            let outcome = world.row.decide(*generation, now, &rule);
            let Some((row, carries)) = world.row.after(outcome, now) else {
                return (frontier.seen.len(), true);
            };
            let answers = with(&world.answers, (carries, now + bounds.a, now));
            frontier.push(World { row, asked: without(&world.asked, at), answers, ..world.clone() });
        }
        for (at, (generation, until, _)) in world.answers.iter().enumerate() {
            let answers = without(&world.answers, at);
            let jar = generation.unwrap_or(world.jar);
            frontier.push(World { jar, access_until: *until, answers: answers.clone(), ..world.clone() });
            if world.lost < bounds.losses {
                frontier.push(World { answers, lost: world.lost + 1, ..world.clone() });
            }
        }
        let prompt = |since: i64| now - since < bounds.l;
        if now < bounds.t
            && world.asked.iter().all(|(_, since)| prompt(*since))
            && world.answers.iter().all(|(.., since)| prompt(*since))
        {
            frontier.push(World { now: now + 1, ..world.clone() });
        }
    }
    (frontier.seen.len(), false)
}

// An independent model of the rule gives the same counts, so the two agree state by state.

#[test]
fn renewing_only_after_expiry_ends_no_honest_session() {
    assert_eq!(search(Bounds { any_time: false, ..BOUNDS }), (1020, false));
}

#[test]
fn renewing_at_any_time_ends_no_honest_session() {
    assert_eq!(search(BOUNDS), (47_640, false));
}

#[test]
fn one_lost_answer_ends_no_honest_session() {
    assert_eq!(search(Bounds { losses: 1, t: 18, ..BOUNDS }), (92_346, false));
}

#[test]
fn two_lost_answers_end_no_honest_session_that_renews_only_after_expiry() {
    assert_eq!(search(Bounds { any_time: false, losses: 2, ..BOUNDS }), (9302, false));
}

#[test]
fn the_search_finds_two_lost_answers_within_the_hour() {
    assert_eq!(search(Bounds { losses: 2, tabs: 2, t: 18, ..BOUNDS }), (46_107, true));
}

#[test]
fn the_search_finds_rotations_no_further_apart_than_the_window() {
    assert_eq!(search(Bounds { r: 3, ..BOUNDS }), (26_792, true));
}

#[test]
fn the_search_finds_a_window_no_longer_than_a_round_trip() {
    assert_eq!(search(Bounds { w: 2, ..BOUNDS }), (27_202, true));
}
