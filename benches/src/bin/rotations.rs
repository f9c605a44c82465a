//! Measures rotations per second in PostgreSQL: 64 callers each rotate their own session repeatedly. It compares queued
//! rotations sent together in one statement with one statement each on 64 connections. Durable (`synchronous_commit = on`), by
//! direct calls of the store.
//!
//! `$BULLA_BENCH_POSTGRES` is the URL of an empty database.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bulla::internals::{
    ids::{Sid, UserId},
    secret::Digest,
    store::{
        Actor, AuditEvent, Device, Event, NewSession, Proof, SessionChange, SessionRow, Store, StoreError,
        Transport, Written,
        postgres::{Options, PostgresStore, PostgresUrl},
    },
};
use bulla_bench::table;

const CALLERS: usize = 64;
const TURN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let Ok(url) = std::env::var("BULLA_BENCH_POSTGRES") else {
        eprintln!("BULLA_BENCH_POSTGRES must be the URL of an empty PostgreSQL database");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (i, rotations_together) in [Options::default().rotations_together, 1].into_iter().enumerate() {
            eprint!("\rround {} of {ROUNDS}, up to {rotations_together:<4} in a statement", round + 1);
            let options = Options { connections: CALLERS, rotations_together, ..Options::default() };
            rates[i].push(runtime.block_on(rate(&url, options)));
        }
    }
    eprintln!();
    let ratio = median(rates[0].iter().zip(&rates[1]).map(|(together, one)| together / one));
    let of = |i: usize| table::thousands(median(rates[i].iter().copied()));
    println!(
        "PostgreSQL: durable rotations per second, {CALLERS} at once, median of {ROUNDS} rounds of {} s\n",
        TURN.as_secs()
    );
    let rows = [vec!["by calls".to_owned(), of(0), of(1), format!("{ratio:.1}")]];
    table::print(&["", "sent together", "one statement each", "ratio"], &rows);
    println!();
    match table::verdict("sent together / one statement each", ratio, 3.0, false) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn median(rates: impl Iterator<Item = f64>) -> f64 {
    let mut rates: Vec<f64> = rates.collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn rate(url: &str, options: Options) -> f64 {
    let store =
        PostgresStore::open_with(&PostgresUrl::new(url), options).await.expect("the database answers");
    let store: Arc<dyn Store> = Arc::new(store);
    let mut rows = Vec::new();
    for _ in 0..CALLERS {
        rows.push(begin(&*store).await);
    }
    let (stop, rotated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = rows
        .into_iter()
        .map(|row| tokio::spawn(rotate(Arc::clone(&store), row, Arc::clone(&stop), Arc::clone(&rotated))))
        .collect();
    // The measurement starts after the connections are made and the statements are prepared.
    tokio::time::sleep(TURN / 6).await;
    let (start, before) = (Instant::now(), rotated.load(Ordering::Relaxed));
    tokio::time::sleep(TURN).await;
    let rate = (rotated.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every rotation was applied");
    }
    rate
}

async fn begin(store: &dyn Store) -> SessionRow {
    let new = NewSession {
        sid: Sid::generate().expect("the system's generator works"),
        user_id: UserId::new("bench").expect("a valid id"),
        secret_hash: Digest([7; 32]),
        transport: Transport::Cookie,
        device: Device {
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) bench".to_owned(),
            ip: "127.0.0.1".to_owned(),
        },
        idle: HOUR,
        life: 24 * HOUR,
        replaces: None,
        takes_over_basic: false,
        grant: None,
        login: None,
        proof: Proof::default(),
    };
    let login = AuditEvent::new(Event::Login, Actor::read("bench"), "");
    loop {
        if let Ok(row) = store.begin_session(new.clone(), u32::MAX, login.clone()).await {
            return row.expect("an enabled user");
        }
    }
}

async fn rotate(store: Arc<dyn Store>, mut row: SessionRow, stop: Arc<AtomicBool>, rotated: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let (to, now) = (row.generation + 1, row.rotated_at.plus(Duration::from_secs(1)));
        let change = SessionChange::Rotate { to, idle: HOUR, now };
        match store.change_session(&row, change, None).await {
            Ok(written) => {
                assert_eq!(written, Written::Applied);
                row.idle_expires_at = now.plus(HOUR).min(row.expires_at);
                (row.generation, row.rotated_at) = (to, now);
                rotated.fetch_add(1, Ordering::Relaxed);
            }
            // If the disk is busy with other work, the store answers "cannot tell". That attempt is not counted. The row shows
            // whether the rotation was written.
            Err(StoreError::Unavailable(_)) => {
                if let Ok((Some(found), _)) = store.session(row.sid).await {
                    row = found;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}
