//! Contenders take turns, so that whatever else the machine does falls on all of them alike.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one turn lasts, about.
const TURN: Duration = Duration::from_millis(4);
/// How many turns each contender gets.
const ROUNDS: usize = 151;

/// Something to be timed.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut(u64) + 'a>,
    /// Heap allocations of one call, counted.
    allocations: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    /// Nanoseconds of one call: the median over all turns.
    pub nanos: f64,
    pub allocations: u64,
}

/// Names a call. It is run once beforehand, to warm up and to count what it allocates.
pub fn contender<'a, T>(name: &str, mut call: impl FnMut() -> T + 'a) -> Contender<'a> {
    black_box(call());
    let allocations = allocation_counter::measure(|| drop(black_box(call()))).count_total;
    let run = Box::new(move |times: u64| {
        for _ in 0..times {
            black_box(call());
        }
    });
    Contender { name: name.to_owned(), run, allocations }
}

/// Lets all take turns; returns their figures in the order given.
pub fn race(mut contenders: Vec<Contender<'_>>) -> Vec<Figure> {
    let times: Vec<u64> = contenders.iter_mut().map(calibrate).collect();
    let mut turns = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for _ in 0..ROUNDS {
        for (i, contender) in contenders.iter_mut().enumerate() {
            turns[i].push(turn(contender, times[i]) / times[i] as f64);
        }
    }
    contenders
        .into_iter()
        .zip(turns)
        .map(|(contender, mut turns)| {
            turns.sort_by(f64::total_cmp);
            Figure { name: contender.name, nanos: turns[turns.len() / 2], allocations: contender.allocations }
        })
        .collect()
}

fn turn(contender: &mut Contender<'_>, times: u64) -> f64 {
    let start = Instant::now();
    (contender.run)(times);
    start.elapsed().as_nanos() as f64
}

fn calibrate(contender: &mut Contender<'_>) -> u64 {
    let mut times = 16;
    loop {
        let nanos = turn(contender, times);
        if nanos >= TURN.as_nanos() as f64 / 4.0 {
            return ((times as f64 * TURN.as_nanos() as f64 / nanos) as u64).max(1);
        }
        times *= 2;
    }
}
