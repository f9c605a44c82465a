//! Delivers revocations to the denylists. The writer delivers those of this process before it acknowledges the change. A follower
//! delivers those of other processes.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{Connection, params};

use super::{failure::Failure, file_state::FileState, open, rows::revocations::since};
use crate::{
    clock::{Clock, Timestamp},
    store::{Feed, FollowHandle, StoreError},
};

/// How often the follower checks whether another connection has committed.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// All feeds in this process that follow the table.
#[derive(Default)]
pub(super) struct Feeds(Mutex<Published>);

/// The revocations to deliver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    New,
}

#[derive(Default)]
struct Published {
    feeds: Vec<Weak<Following>>,
    /// The highest `seq` that all feeds have received.
    seq: i64,
}

/// A feed that follows the table as long as its handle is held.
struct Following(Arc<dyn Feed>);

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feeds")
    }
}

impl Feeds {
    /// Delivers new revocations. If this fails, the follower delivers them later. If the follower fails too, the feed becomes
    /// stale, and the sessions detect that.
    pub(super) fn publish(&self, connection: &Connection, now: Timestamp) {
        if let Err(error) = self.deliver(connection, Extent::New, now) {
            let error = StoreError::from(error);
            tracing::warn!(%error, "revocations could not be read");
        }
    }

    /// Reads and delivers revocations under one lock, so that they are delivered in order.
    fn deliver(&self, connection: &Connection, extent: Extent, now: Timestamp) -> Result<(), Failure> {
        let mut published = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        published.feeds.retain(|feed| feed.strong_count() > 0);
        if published.feeds.is_empty() {
            return Ok(());
        }
        let newest: i64 = connection
            .prepare_cached(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'revocations'), 0)",
            )?
            .query_row([], |row| row.get(0))?;
        let went_back = newest < published.seq;
        let feeds: Vec<_> = published.feeds.iter().filter_map(Weak::upgrade).collect();
        if went_back || extent == Extent::All {
            let all = since(connection, 0, now)?;
            feeds.iter().for_each(|feed| feed.0.replace(all.clone()));
        } else if newest > published.seq {
            let new = since(connection, published.seq, now)?;
            feeds.iter().for_each(|feed| feed.0.add(new.clone(), now));
        }
        published.seq = newest;
        Ok(())
    }

    fn fresh(&self) {
        let published = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        published.feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.0.fresh());
    }

    /// Loads all revocations into `feed` and keeps it up to date until the handle is dropped.
    pub(super) fn follow(
        self: &Arc<Self>,
        feed: Arc<dyn Feed>,
        path: &Path,
        clock: Arc<dyn Clock>,
        state: Arc<FileState>,
    ) -> Result<FollowHandle, Failure> {
        let connection = open::connect(path)?;
        let mut version = data_version(&connection)?;
        let following = Arc::new(Following(feed));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).feeds.push(Arc::downgrade(&following));
        apply_due(&connection, clock.now())?;
        self.deliver(&connection, Extent::All, clock.now())?;
        following.0.fresh();

        let (stop, stopped) = mpsc::channel::<()>();
        let feeds = Arc::clone(self);
        let follower = move || {
            let mut behind = false;
            while stopped.recv_timeout(POLL_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let delivered = state.check_files().map_err(Failure::from).and_then(|()| {
                    let (now, is) = (clock.now(), data_version(&connection)?);
                    // Commits of this connection itself do not change the version.
                    if apply_due(&connection, now)? || is != version {
                        feeds.deliver(&connection, Extent::New, now)?;
                        version = is;
                    }
                    Ok(())
                });
                let delivered = delivered.map_err(StoreError::from);
                match &delivered {
                    Ok(()) if behind => tracing::info!("the revocation feed has caught up"),
                    Err(error) if !behind => tracing::warn!(%error, "the revocation feed is behind"),
                    _ => {}
                }
                behind = delivered.is_err();
                if !behind {
                    feeds.fresh();
                }
            }
        };
        thread::Builder::new().name("bulla-feed".into()).spawn(follower).map_err(|error| {
            StoreError::Unavailable(format!("a thread for the revocation feed could not be started: {error}"))
        })?;
        Ok(FollowHandle::new((following, Mutex::new(stop))))
    }
}

/// Returns a number that changes when another connection, of this process or another one, has committed.
fn data_version(connection: &Connection) -> Result<i64, Failure> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// Makes due revocations take effect that were set by hand for the end of a session. If the session was renewed or extended
/// meanwhile, the revocation is postponed to the new end. Revocations whose expiry has passed are ignored: either no token can
/// live that long, or the clock leaps. Returns whether any were due.
fn apply_due(connection: &Connection, now: Timestamp) -> Result<bool, Failure> {
    let due = "SELECT 1 FROM revocations WHERE at_end = 1 AND revoked_at <= ?1 AND expires_at > ?1";
    if !connection.prepare_cached(due)?.exists([now.millis()])? {
        return Ok(false);
    }
    let run = |sql: &str| connection.prepare_cached(sql)?.execute(params![now.millis()]);
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = POSTPONE_AND_REVOKE.iter().try_for_each(|sql| run(sql).map(drop));
    match done {
        Ok(()) => connection.execute_batch("COMMIT")?,
        Err(error) => {
            connection.execute_batch("ROLLBACK")?;
            return Err(error.into());
        }
    }
    Ok(true)
}

/// If the session was deleted, the deletion has already revoked it.
const POSTPONE_AND_REVOKE: [&str; 3] = [
    "UPDATE revocations SET (revoked_at, expires_at) =
       (SELECT min(idle_expires_at, expires_at), min(idle_expires_at, expires_at) + 1020000 FROM sessions WHERE sid = target)
     WHERE at_end = 1 AND revoked_at <= ?1 AND expires_at > ?1
       AND target IN (SELECT sid FROM sessions WHERE sid = target AND min(idle_expires_at, expires_at) > ?1)",
    "INSERT INTO revocations (target, revoked_at, expires_at)
     SELECT target, ?1, ?1 + 1020000 FROM revocations
     WHERE at_end = 1 AND revoked_at <= ?1 AND expires_at > ?1 AND EXISTS (SELECT 1 FROM sessions WHERE sid = target)",
    "DELETE FROM revocations WHERE at_end = 1 AND revoked_at <= ?1 AND expires_at > ?1",
];
