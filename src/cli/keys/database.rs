//! The database, as far as keys are concerned.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cli::{CliError, Context},
    clock::{Timestamp, since_boot},
    store::{
        AuditEvent, NodeRow, Store, StoreError,
        leap::{Look, look},
    },
};

/// Rings are rolled over more often.
const FAR_AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);
/// How often the nodes are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(200);

/// The installation's database, if there is one: it remembers ring generations, keeps the audit and knows the nodes. Without
/// it a rollover can't tell which servers lag behind, so that needs it; to all else it is a warning, for keys must be
/// revocable meanwhile.
pub(super) struct Database(Option<Arc<dyn Store>>);

impl Database {
    /// What `--no-database` says.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Opens it if it can be opened; else a warning says what is missing.
    pub(super) async fn open(ctx: &Context) -> Self {
        match Self::try_open(ctx).await {
            Ok(found) => found,
            Err(error) => {
                ctx.say(&format!(
                    "warning: {error}; no audit is written, and which servers have the ring can't be told"
                ));
                Self(None)
            }
        }
    }

    /// Opens it where a command must not go on without it.
    pub(super) async fn expected(ctx: &Context) -> Result<Self, CliError> {
        Self::try_open(ctx).await.map_err(|error| {
            CliError::Unavailable(format!(
                "not rolled over: {error}; without the database it can't be told which servers lack the staged key; name it with --database or BULLA_DATABASE, or say --no-database to do without"
            ))
        })
    }

    async fn try_open(ctx: &Context) -> Result<Self, String> {
        let database = &ctx.settings.database;
        let named = |error: StoreError| format!("{database}: {error}");
        if !database.exists().await.map_err(named)? {
            return Err(format!("{database}: there is no database of Bulla"));
        }
        let opened = database.open_for(Arc::clone(&ctx.clock), ctx.settings.allow_group_read).await;
        opened.map(|store| Self(Some(store))).map_err(named)
    }

    /// The highest ring generation known, and that ring's fingerprint.
    pub(super) async fn mark(&self, ctx: &Context) -> Option<(u64, [u8; 32])> {
        let mark = self.0.as_ref()?.ring_mark().await;
        mark.unwrap_or_else(|e| {
            ctx.say(&format!("warning: {e}; whether the ring is an old copy can't be told"));
            None
        })
    }

    /// Why the clock can't be trusted to say which keys are old, if it can't: a server has seen it leap, or it is far ahead of
    /// all that was ever written down. A database that no server has used for long says nothing.
    pub(super) async fn doubts_clock(&self, ring_changed: Timestamp, now: Timestamp) -> Option<String> {
        if let Some(store) = &self.0
            && let Ok((Some(mark), now)) = store.clock_mark().await
            && let Some(leap) = look(Some(mark), None, Look { now, boot: since_boot() }).leap
        {
            return Some(leap.to_string());
        }
        (now.since(ring_changed) > FAR_AHEAD).then(|| {
            format!("the key ring was last changed at {ring_changed}, more than a year before {now}: is the clock right? If it is, run this again")
        })
    }

    pub(super) async fn record(&self, ctx: &Context, event: AuditEvent) {
        if let Some(store) = &self.0
            && let Err(e) = store.record(event).await
        {
            ctx.say(&format!("warning: the audit wasn't written: {e}"));
        }
    }

    /// The servers that live.
    pub(super) async fn nodes(&self, ctx: &Context) -> Vec<NodeRow> {
        let Some(store) = &self.0 else { return Vec::new() };
        store.nodes().await.unwrap_or_else(|e| {
            ctx.say(&format!("warning: {e}; which servers have the ring can't be told"));
            Vec::new()
        })
    }

    /// Waits until every server that lives has this generation in force, but no longer than `wait`; returns those behind.
    pub(super) async fn behind(&self, ctx: &Context, generation: u64, wait: Duration) -> Vec<NodeRow> {
        let started = Instant::now();
        loop {
            let mut nodes = self.nodes(ctx).await;
            nodes.retain(|node| node.ring_generation < generation);
            if nodes.is_empty() || started.elapsed() >= wait {
                return nodes;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Who is behind, for people.
pub(super) fn names(nodes: &[NodeRow]) -> String {
    let named = nodes.iter().map(|node| format!("{} (generation {})", node.name, node.ring_generation));
    named.collect::<Vec<_>>().join(", ")
}
