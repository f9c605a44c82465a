//! Tests that the write-ahead log (WAL) stays within bounds, with many writers and with readers that take long.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bulla::internals::store::{Actor, AuditEvent, Event};

use crate::support::{
    installation::{Installation, Node},
    server::eventually,
};

const MIB: u64 = 1 << 20;

fn wal(installation: &Installation) -> PathBuf {
    installation.file().with_extension("db-wal")
}

fn size(installation: &Installation) -> u64 {
    std::fs::metadata(wal(installation)).unwrap().len()
}

/// Writes `bytes` bytes with many writers at once; returns the longest time that one write took. All writes are acknowledged.
async fn write(node: &Node, bytes: u64) -> Duration {
    const EACH: u64 = 16 << 10;
    let left = Arc::new(AtomicU64::new(bytes / EACH));
    let writers = (0..32).map(|_| {
        let (store, left) = (Arc::clone(&node.store), Arc::clone(&left));
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let note = "x".repeat(EACH as usize);
                let event = AuditEvent::new(Event::read("x"), Actor::Unknown, "")
                    .with(serde_json::json!({"note": note}));
                let started = Instant::now();
                store.record(event).await.unwrap();
                longest = longest.max(started.elapsed());
            }
            longest
        })
    });
    let longest = futures_util::future::join_all(writers).await;
    longest.into_iter().map(Result::unwrap).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_is_bounded_under_load_with_busy_readers() {
    let installation = Installation::new();
    let node = installation.node().await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers = (0..3).map(|_| {
        let (store, stop) = (Arc::clone(&node.store), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                store.audit(None, 20).await.unwrap();
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let (mut most, mut written) = (0, 0);
    while written < 120 * MIB {
        write(&node, 4 * MIB).await;
        written += 4 * MIB;
        most = most.max(size(&installation));
    }
    println!("{} MiB written under readers: the WAL was {} MiB at the most", written / MIB, most / MIB);
    // How far the WAL grows meanwhile depends on the disk. From 32 MiB on it is truncated, even during reads and commits.
    eventually("cut under load", || async {
        write(&node, MIB / 8).await;
        size(&installation) < 32 * MIB
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    futures_util::future::join_all(readers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stays_open_blocks_no_commit_and_the_wal_shrinks_after_it() {
    let installation = Installation::new();
    let node = installation.node().await;
    write(&node, MIB).await;
    let reader = installation.shell();
    reader.run("BEGIN; SELECT count(*) FROM audit;");
    write(&node, 36 * MIB).await;
    assert!(size(&installation) > 32 * MIB, "the reader needs what it began with");
    // Longer than several attempts to truncate the WAL.
    let (started, mut longest) = (Instant::now(), Duration::ZERO);
    while started.elapsed() < Duration::from_secs(2) {
        longest = longest.max(write(&node, MIB / 8).await);
    }
    println!("the longest commit beside a reader that never ends: {longest:?}");
    reader.run("COMMIT");
    eventually("cut", || async { size(&installation) < MIB }).await;
    assert_eq!(node.store.audit(None, 1).await.unwrap().len(), 1);
}
