//! How revocations reach the denylists: from the writer before it acknowledges, from a follower for other processes.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread,
    time::Duration,
};

use rusqlite::Connection;

use super::{open, state::State};
use crate::{
    clock::{Clock, Timestamp},
    store::{Feed, FollowHandle, Revocation, StoreError},
};

/// How often the follower looks whether another connection has committed.
const LOOK: Duration = Duration::from_millis(50);

/// Everybody who follows the table in this process.
#[derive(Default)]
pub(super) struct Feeds(Mutex<Published>);

/// What to hand on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    All,
    New,
}

#[derive(Default)]
struct Published {
    feeds: Vec<Weak<Following>>,
    /// The highest `seq` that all of them have.
    seq: i64,
}

/// One who follows, for as long as the handle is held.
struct Following(Arc<dyn Feed>);

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feeds")
    }
}

impl Feeds {
    /// Hands on what is new. An error leaves it to the follower, whose silence shows as staleness.
    pub(super) fn publish(&self, connection: &Connection, now: Timestamp) {
        if let Err(error) = self.look(connection, Look::New, now) {
            tracing::warn!(%error, "revocations could not be read");
        }
    }

    /// Reads and hands on under one lock, so that nothing is handed on out of order.
    fn look(&self, connection: &Connection, look: Look, now: Timestamp) -> Result<(), StoreError> {
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
        if went_back || look == Look::All {
            let all = since(connection, 0)?;
            feeds.iter().for_each(|feed| feed.0.replace(all.clone()));
        } else if newest > published.seq {
            let new = since(connection, published.seq)?;
            feeds.iter().for_each(|feed| feed.0.add(new.clone(), now));
        }
        published.seq = newest;
        Ok(())
    }

    fn fresh(&self) {
        let published = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        published.feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.0.fresh());
    }

    /// Loads `feed` with everything and keeps it up to date until the handle is dropped.
    pub(super) fn follow(
        self: &Arc<Self>,
        feed: Arc<dyn Feed>,
        path: &Path,
        clock: Arc<dyn Clock>,
        state: Arc<State>,
    ) -> Result<FollowHandle, StoreError> {
        let connection = open::connect(path)?;
        let mut version = data_version(&connection)?;
        let following = Arc::new(Following(feed));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).feeds.push(Arc::downgrade(&following));
        self.look(&connection, Look::All, clock.now())?;
        following.0.fresh();

        let (stop, stopped) = mpsc::channel::<()>();
        let feeds = Arc::clone(self);
        let follower = move || {
            let mut behind = false;
            while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let looked = state.look().and_then(|()| {
                    let now = data_version(&connection)?;
                    if now != version {
                        feeds.look(&connection, Look::New, clock.now())?;
                        version = now;
                    }
                    Ok(())
                });
                match &looked {
                    Ok(()) if behind => tracing::info!("the revocation feed has caught up"),
                    Err(error) if !behind => tracing::warn!(%error, "the revocation feed is behind"),
                    _ => {}
                }
                behind = looked.is_err();
                if !behind {
                    feeds.fresh();
                }
            }
        };
        thread::Builder::new()
            .name("bulla-feed".into())
            .spawn(follower)
            .map_err(|error| StoreError::Unavailable(format!("no thread for the feed: {error}")))?;
        Ok(FollowHandle::new((following, Mutex::new(stop))))
    }
}

/// Changes whenever another connection, of this process or any other, has committed.
fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// The revocations with a higher number, in order. A target that can't be read names no token: it is passed over.
pub(super) fn since(connection: &Connection, seq: i64) -> Result<Vec<Revocation>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE seq > ? ORDER BY seq",
    )?;
    let rows = statement.query_map([seq], |row| {
        let target: String = row.get(1)?;
        Ok(target.parse().ok().map(|target| (row.get(0), target, row.get(2), row.get(3))))
    })?;
    let mut found = Vec::new();
    for row in rows {
        if let Some((seq, target, revoked_at, expires_at)) = row? {
            found.push(Revocation {
                seq: seq?,
                target,
                revoked_at: Timestamp::from_millis(revoked_at?),
                expires_at: Timestamp::from_millis(expires_at?),
            });
        }
    }
    Ok(found)
}
