//! Runs the contenders in alternating turns, so that other load on the machine affects all of them equally.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// The approximate length of a turn.
const TURN: Duration = Duration::from_millis(4);
/// The number of turns of each contender.
const ROUNDS: usize = 151;

/// A call to measure.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut(u64) + 'a>,
    /// The number of heap allocations of one call.
    allocations: u64,
}

/// The measured values of a contender.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    /// Nanoseconds per call: the median over all turns.
    pub nanos: f64,
    pub allocations: u64,
}

/// Makes a contender of a call. Runs the call beforehand, to warm up and to count its allocations.
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

/// Runs all contenders in alternating turns; returns their figures in the given order.
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
