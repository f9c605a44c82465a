//! An owner and optionally a thief, on nodes that read, judge and only then write. A node may crash in between, and the owner may
//! log out.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Who {
    Owner,
    Thief,
}

/// A request in progress: sent, or read by a node that is about to write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Request {
    who: Who,
    generation: u64,
    since: i64,
    /// The row as a node has read it, and the time of the read.
    read: Option<(Option<RowKey>, i64)>,
}

type RowKey = (u64, i64, Option<(u64, i64)>);

fn key(row: Row) -> RowKey {
    (row.generation, row.rotated_at, row.pardoned)
}

fn row((generation, rotated_at, pardoned): RowKey) -> Row {
    Row { generation, rotated_at, pardoned }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: i64,
    jar: u64,
    access_until: i64,
    /// The generation that the thief holds after he has stolen the owner's jar.
    loot: Option<u64>,
    row: Option<RowKey>,
    requests: Vec<Request>,
    /// The owner's answers: (generation carried, end of the access token, time of the answer). The thief's answers arrive
    /// immediately.
    answers: Vec<(Option<u64>, i64, i64)>,
    lost: u8,
    logged_out: bool,
    /// These values are recorded separately from the row, to check it: the number of committed rotations, the time of the last one,
    /// and the last late parent that was honoured.
    rotations: u64,
    last_rotation: i64,
    late: Option<(u64, i64)>,
}

/// The options of a search besides its bounds.
#[derive(Clone, Copy)]
struct Play {
    bounds: Bounds,
    thief: bool,
    logout: bool,
    /// Whether a write succeeds only if the row is still the one that was judged.
    conditional: bool,
    /// The time within which two late parents of different generations must not both be honoured.
    hour: i64,
}

/// The events that occurred in any state.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// The session was ended as stolen.
    reuse: bool,
    /// A request was pardoned.
    pardon: bool,
    /// A write failed because the row had changed, and the request was judged again.
    lost_write: bool,
    /// The numbers of rotations and of generations differ: there are two live chains.
    two_chains: bool,
    /// A session that was logged out still has a row.
    alive_after_logout: bool,
    /// Two late parents of different generations were honoured within the hour.
    diverged_twice: bool,
    /// An answer carried a generation that the row never had.
    unknown_generation: bool,
}

fn search(play: Play) -> Found {
    let bounds = play.bounds;
    let mut found = Found::default();
    let mut frontier = Frontier::from(World {
        now: 0,
        jar: 0,
        access_until: bounds.a,
        loot: None,
        row: Some(key(Row::NEW)),
        requests: vec![],
        answers: vec![],
        lost: 0,
        logged_out: false,
        rotations: 0,
        last_rotation: 0,
        late: None,
    });
    while let Some(world) = frontier.queue.pop_front() {
        found.two_chains |= world.row.is_some_and(|(generation, ..)| generation != world.rotations);
        found.alive_after_logout |= world.logged_out && world.row.is_some();
        if found.two_chains || found.alive_after_logout || found.diverged_twice {
            break;
        }
        asking(&world, &play, &mut frontier);
        for at in 0..world.requests.len() {
            serving(&world, at, &play, &mut frontier, &mut found);
        }
        answering(&world, &play, &mut frontier);
        let prompt = |since: i64| world.now - since < bounds.l;
        if world.now < bounds.t
            && world.row.is_some()
            && world.requests.iter().all(|request| prompt(request.since))
            && world.answers.iter().all(|(.., since)| prompt(*since))
        {
            frontier.push(World { now: world.now + 1, ..world.clone() });
        }
    }
    found
}

/// Owner and thief send requests, the thief steals the jar, the owner logs out.
fn asking(world: &World, play: &Play, frontier: &mut Frontier<World>) {
    let (bounds, now) = (play.bounds, world.now);
    let mine = |who| world.requests.iter().filter(move |request| request.who == who).count();
    let ask = |who, generation| with(&world.requests, Request { who, generation, since: now, read: None });
    if mine(Who::Owner) + world.answers.len() < bounds.tabs && (bounds.any_time || now >= world.access_until)
    {
        frontier.push(World { requests: ask(Who::Owner, world.jar), ..world.clone() });
    }
    match world.loot {
        None if play.thief => frontier.push(World { loot: Some(world.jar), ..world.clone() }),
        Some(loot) if mine(Who::Thief) == 0 => {
            frontier.push(World { requests: ask(Who::Thief, loot), ..world.clone() });
        }
        _ => {}
    }
    if play.logout && !world.logged_out {
        frontier.push(World { row: None, logged_out: true, ..world.clone() });
    }
}

/// A node takes one step with a request: it reads the row, or it judges what it has read and writes.
fn serving(world: &World, at: usize, play: &Play, frontier: &mut Frontier<World>, found: &mut Found) {
    let request = &world.requests[at];
    let rest = without(&world.requests, at);
    let Some((read, judged_at)) = request.read else {
        let read = Some((world.row, world.now));
        frontier.push(World { requests: with(&rest, Request { read, ..request.clone() }), ..world.clone() });
        return;
    };
    // Without a row the request is refused, and nothing changes.
    let Some(before) = read else {
        return frontier.push(World { requests: rest, ..world.clone() });
    };
    let outcome = row(before).decide(request.generation, judged_at, &play.bounds.rule());
    let writes = !matches!(outcome, Outcome::RepeatAccess | Outcome::RepeatSame | Outcome::PardonAgain);
    if writes && play.conditional && world.row != Some(before) {
        found.lost_write = true;
        let again = Request { read: None, ..request.clone() };
        return frontier.push(World { requests: with(&rest, again), ..world.clone() });
    }
    found.pardon |= matches!(outcome, Outcome::Pardon { .. });
    let mut next = World { requests: rest, ..world.clone() };
    let Some((after, carries)) = row(before).after(outcome, judged_at) else {
        found.reuse = true;
        next.row = None;
        return frontier.push(next);
    };
    honour(&mut next, request, row(before), judged_at, play, found);
    if writes {
        next.row = Some(key(after));
    }
    if matches!(outcome, Outcome::Rotate { .. } | Outcome::Forward { .. }) {
        next.rotations += 1;
        next.last_rotation = judged_at;
    }
    found.unknown_generation |= carries.is_some_and(|carried| carried > next.rotations);
    match request.who {
        Who::Owner => {
            next.answers = with(&world.answers, (carries, world.now + play.bounds.a, world.now));
        }
        Who::Thief => next.loot = carries.or(world.loot),
    }
    frontier.push(next);
}

/// Records that a late parent was served. Uses the search's own records, not those of the row.
fn honour(next: &mut World, request: &Request, before: Row, at: i64, play: &Play, found: &mut Found) {
    let window = play.bounds.w as i64;
    if request.generation >= before.generation || at - next.last_rotation < window {
        return;
    }
    found.diverged_twice |= next
        .late
        .is_some_and(|(generation, since)| generation != request.generation && at - since < play.hour);
    if next.late.is_none_or(|(generation, _)| generation != request.generation) {
        next.late = Some((request.generation, at));
    }
}

/// The owner's answers arrive, or they are lost (in the network, or by a crash after the commit).
fn answering(world: &World, play: &Play, frontier: &mut Frontier<World>) {
    for (at, (generation, until, _)) in world.answers.iter().enumerate() {
        let answers = without(&world.answers, at);
        let jar = generation.unwrap_or(world.jar);
        frontier.push(World { jar, access_until: *until, answers: answers.clone(), ..world.clone() });
        if world.lost < play.bounds.losses {
            frontier.push(World { answers, lost: world.lost + 1, ..world.clone() });
        }
    }
}

const PLAY: Play = Play {
    bounds: Bounds { tabs: 2, t: 16, ..BOUNDS },
    thief: false,
    logout: false,
    conditional: true,
    hour: 60,
};

#[test]
fn nodes_that_read_before_they_write_keep_one_chain_and_end_no_honest_session() {
    let found = search(PLAY);
    assert_eq!(found, Found { lost_write: true, pardon: true, ..Found::default() });
}

#[test]
fn a_crash_after_the_commit_ends_no_honest_session() {
    let bounds = Bounds { losses: 1, t: 12, ..PLAY.bounds };
    let found = search(Play { bounds, ..PLAY });
    assert_eq!(found, Found { lost_write: true, pardon: true, ..Found::default() });
}

#[test]
fn the_search_finds_unconditional_writes() {
    assert!(search(Play { conditional: false, ..PLAY }).two_chains);
    assert!(search(Play { conditional: false, logout: true, ..PLAY }).alive_after_logout);
}

#[test]
fn after_a_logout_nothing_is_accepted() {
    let found = search(Play { logout: true, ..PLAY });
    assert_eq!(found, Found { lost_write: true, pardon: true, ..Found::default() });
}

#[test]
fn a_thief_is_detected_at_the_second_diverging_renewal_within_the_hour() {
    let bounds = Bounds { tabs: 1, t: 18, ..BOUNDS };
    let found = search(Play { bounds, thief: true, ..PLAY });
    assert!(found.reuse && found.pardon, "nobody was caught: {found:?}");
    assert!(!found.diverged_twice && !found.two_chains && !found.unknown_generation, "{found:?}");
}

#[test]
fn a_logout_beside_a_thief_leaves_no_live_token() {
    let bounds = Bounds { tabs: 1, t: 14, ..BOUNDS };
    let found = search(Play { bounds, thief: true, logout: true, ..PLAY });
    assert!(!found.alive_after_logout && !found.two_chains && !found.unknown_generation, "{found:?}");
}

#[test]
fn the_search_finds_pardons_that_are_forgotten_too_soon() {
    let bounds = Bounds { tabs: 1, t: 18, f: 4, ..BOUNDS };
    assert!(search(Play { bounds, thief: true, ..PLAY }).diverged_twice);
}
