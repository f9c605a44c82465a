//! Delivers revocations to the denylists. Revocations of this process are delivered before their transaction is acknowledged. A
//! follower delivers those of other processes.
//!
//! The follower has a separate connection. It reads new rows when a notification or a timer wakes it. A read is one statement, so
//! it sees exactly the transactions of its snapshot: those with a number below the snapshot's `xmax`, except those still in
//! progress (`xip`). So the next read asks for the rows of transactions that were in progress or have a number of `xmax` or above.
//! This finds every new row, whenever its transaction commits and whatever its `seq` is.
//!
//! In two cases all revocations are loaded again: after a new connection, because it can lead to another database (a promoted
//! replica or a restored backup), and if `seq` has gone back.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};
use tokio_postgres::{Client, types::Type};

use super::{connect::Connector, failure::Failure, rows::revocations};
use crate::{
    clock::Timestamp,
    store::{
        Feed, FollowHandle, Revocation, StoreError,
        time_budget::{LONG_TIME_LIMIT, REQUEST_BUDGET},
    },
};

/// How long the follower waits for a notification before it reads anyway.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long the follower waits before it connects again.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);

/// The first row has the snapshot, the newest `seq` and the time. The other rows are the revocations in force, or those new since
/// the snapshot `$1`.
const HEAD: &str = "SELECT pg_current_snapshot()::text AS snapshot, last_value AS seq, bulla_now() AS now,
      NULL AS target, NULL::bigint AS revoked_at, NULL::bigint AS expires_at, $DUE AS due FROM revocations_seq_seq";
const ALL: &str = "SELECT NULL, seq, NULL, target, revoked_at, expires_at, NULL FROM revocations
      WHERE expires_at > bulla_now() AND at_end = 0";
const NEW: &str = "SELECT NULL, seq, NULL, target, revoked_at, expires_at, NULL FROM revocations
      WHERE txid >= pg_snapshot_xmax($1::pg_snapshot) AND at_end = 0
    UNION ALL
    SELECT NULL, seq, NULL, target, revoked_at, expires_at, NULL FROM revocations
      WHERE txid IN (SELECT pg_snapshot_xip($1::pg_snapshot)) AND at_end = 0";

/// Whether a revocation is due that was set by hand to take effect at a session's end. Revocations whose expiry has passed are
/// ignored: either no token can live that long, or the clock leaps.
const DUE: &str = "EXISTS (SELECT FROM revocations WHERE at_end = 1 AND revoked_at <= bulla_now() AND expires_at > bulla_now())";

/// Makes the due revocations take effect from now on. If the session was renewed or extended meanwhile, the revocation is
/// postponed to the new end. If the session was deleted, the deletion has already revoked it. If several nodes run this at once,
/// only one of them finds each row.
const APPLY_DUE: &str = "
    WITH clock AS (SELECT bulla_now() AS now), due AS (
      DELETE FROM revocations USING clock WHERE at_end = 1 AND revoked_at <= now AND expires_at > now RETURNING target
    ), ends AS (
      SELECT target, least(idle_expires_at, expires_at) AS at, now FROM due JOIN sessions ON sid = target, clock
    )
    INSERT INTO revocations (target, revoked_at, expires_at, at_end)
    SELECT target, greatest(at, now), greatest(at, now) + 1020000, CASE WHEN at > now THEN 1 ELSE 0 END FROM ends";

fn head() -> String {
    HEAD.replace("$DUE", DUE)
}

/// All feeds in this process that follow the table.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<Vec<Weak<Follower>>>);

impl Feeds {
    /// Delivers the revocations that this process has just committed.
    pub(super) fn publish(&self, made: Vec<Revocation>, now: Timestamp) {
        if made.is_empty() {
            return;
        }
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| follower.strong_count() > 0);
        followers.iter().filter_map(Weak::upgrade).for_each(|follower| follower.hear(&made, now));
    }

    /// Loads all revocations into `feed` and keeps it up to date until the handle is dropped.
    pub(super) async fn follow(
        &self,
        feed: Arc<dyn Feed>,
        connector: Connector,
        thread: &Handle,
    ) -> Result<FollowHandle, StoreError> {
        let follower = Arc::new(Follower { feed, meanwhile: Mutex::default() });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&follower));
        let (loaded, first) = oneshot::channel();
        let task = thread.spawn(follower.run(connector, loaded));
        let handle = FollowHandle::new(Aborting(task));
        let stopped = || StoreError::Unavailable("the follower of revocations has stopped".into());
        first.await.unwrap_or_else(|_| Err(stopped())).map(|()| handle)
    }
}

/// Aborts a task when dropped.
struct Aborting(tokio::task::JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps one feed up to date.
struct Follower {
    feed: Arc<dyn Feed>,
    /// While all revocations are being loaded: the revocations that this process has committed since the load began. The load may
    /// have missed them.
    meanwhile: Mutex<Option<Vec<Revocation>>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Follower")
    }
}

/// The result of a read.
struct Snapshot {
    snapshot: String,
    seq: i64,
    now: Timestamp,
    /// Whether a revocation that was set for the end of a session takes effect now.
    due: bool,
    revocations: Vec<Revocation>,
}

impl Follower {
    fn hear(&self, made: &[Revocation], now: Timestamp) {
        let mut meanwhile = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
        meanwhile.iter_mut().for_each(|list| list.extend_from_slice(made));
        self.feed.add(made.to_vec(), now);
    }

    async fn run(self: Arc<Self>, connector: Connector, loaded: oneshot::Sender<Result<(), StoreError>>) {
        let (mut loaded, mut behind) = (Some(loaded), false);
        loop {
            let Err(failure) = self.follow(&connector, &mut loaded, &mut behind).await;
            let error = StoreError::from(failure);
            if let Some(loaded) = loaded.take() {
                let _ = loaded.send(Err(error));
                return;
            }
            // Log this only once, regardless of how long it lasts.
            if !std::mem::replace(&mut behind, true) {
                tracing::warn!(%error, "the revocation feed is behind");
            }
            sleep(RECONNECT_DELAY).await;
        }
    }

    /// Follows the table over one connection until the connection fails.
    async fn follow(
        self: &Arc<Self>,
        connector: &Connector,
        loaded: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
        behind: &mut bool,
    ) -> Result<std::convert::Infallible, Failure> {
        let heard = Arc::new(Notify::new());
        let (client, _driving) = in_time(REQUEST_BUDGET, connector.connect(Arc::clone(&heard))).await?;
        // Each statement must have a new snapshot, even if the database's default isolation level is stricter.
        let listen = "SET default_transaction_isolation TO 'read committed'; LISTEN bulla_revocations";
        in_time(REQUEST_BUDGET, client.batch_execute(listen)).await?;
        let mut last = self.load(&client).await?;
        self.feed.fresh();
        if std::mem::take(behind) {
            tracing::info!("the revocation feed has caught up");
        }
        loaded.take().into_iter().for_each(|loaded| drop(loaded.send(Ok(()))));
        let new = format!("{} UNION ALL {NEW}", head());
        let new = in_time(REQUEST_BUDGET, client.prepare_typed(&new, &[Type::TEXT])).await?;
        loop {
            // A notification that arrives during a read is kept for this wait.
            let _ = timeout(POLL_INTERVAL, heard.notified()).await;
            let rows = in_time(REQUEST_BUDGET, client.query(&new, &[&last.snapshot])).await?;
            let mut next = read(&rows)?;
            if next.seq < last.seq {
                tracing::warn!("the numbers of revocations went back, so all revocations are loaded again");
                next = self.load(&client).await?;
            } else if !next.revocations.is_empty() {
                self.feed.add(std::mem::take(&mut next.revocations), next.now);
            }
            self.feed.fresh();
            if next.due {
                // The next read returns the revocations that this creates. It follows immediately.
                in_time(REQUEST_BUDGET, client.execute(APPLY_DUE, &[])).await?;
                heard.notify_one();
            }
            last = next;
        }
    }

    /// Replaces the feed's contents with all revocations in force.
    async fn load(self: &Arc<Self>, client: &Client) -> Result<Snapshot, Failure> {
        *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        let longer = format!("SET statement_timeout = {}", LONG_TIME_LIMIT.as_millis());
        in_time(REQUEST_BUDGET, client.batch_execute(&longer)).await?;
        let rows =
            in_time(LONG_TIME_LIMIT, client.query(&format!("{} UNION ALL {ALL}", head()), &[])).await?;
        in_time(REQUEST_BUDGET, client.batch_execute("SET statement_timeout = 850")).await?;
        // Loading a million revocations takes a second. This thread serves all other connections, so another thread does the
        // work.
        let follower = Arc::clone(self);
        let replaced = tokio::task::spawn_blocking(move || follower.replace(&rows)).await;
        replaced.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string()).into()))
    }

    fn replace(&self, rows: &[tokio_postgres::Row]) -> Result<Snapshot, Failure> {
        let mut last = read(rows)?;
        let mut all = std::mem::take(&mut last.revocations);
        let mut meanwhile = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(meanwhile.take().unwrap_or_default());
        self.feed.replace(all);
        Ok(last)
    }
}

fn read(rows: &[tokio_postgres::Row]) -> Result<Snapshot, Failure> {
    let mut last = Snapshot {
        snapshot: String::new(),
        seq: 0,
        now: Timestamp::EPOCH,
        due: false,
        revocations: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        match row.try_get("snapshot")? {
            Some(snapshot) => {
                last.snapshot = snapshot;
                last.seq = row.try_get("seq")?;
                last.now = Timestamp::from_millis(row.try_get("now")?);
                last.due = row.try_get("due")?;
            }
            None => last.revocations.extend(revocations::from_row(row)?),
        }
    }
    Ok(last)
}

/// Runs a query with a time limit. A connection that does not answer in time counts as broken.
async fn in_time<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    let late =
        || StoreError::Unavailable("the database didn't answer the follower of revocations in time".into());
    Ok(timeout(limit, asked).await.map_err(|_| late())??)
}
