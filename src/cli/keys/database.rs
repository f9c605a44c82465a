//! The use of the database by the keys commands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cli::{CliError, Context},
    clock::{Timestamp, since_boot},
    store::{
        AuditEvent, NodeRow, Store, StoreError,
        clock_leap::{ClockReading, detect_leap},
    },
};

/// If the ring's last change is longer ago than this, the clock is suspected to be wrong, because rings are rotated more often.
const FAR_AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);
/// How often the nodes are read while a command waits for them.
const LOOK: Duration = Duration::from_millis(200);

/// The database of the installation, if it is available: it stores ring generations, the audit and the nodes.
///
/// A rotation requires the database, because without it the servers that are behind are unknown. All other commands only print a
/// warning, because keys must be revocable without the database.
pub(super) struct Database(Option<Arc<dyn Store>>);

impl Database {
    /// For `--no-database`.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Opens the database. If that fails, prints a warning about the consequences.
    pub(super) async fn open(ctx: &Context) -> Self {
        match Self::try_open(ctx).await {
            Ok(found) => found,
            Err(error) => {
                ctx.say(&format!(
                    "warning: {error}; no audit event is written, and it is unknown which servers have loaded the key ring"
                ));
                Self(None)
            }
        }
    }

    /// Opens the database for a command that requires it.
    pub(super) async fn open_required(ctx: &Context) -> Result<Self, CliError> {
        Self::try_open(ctx).await.map_err(|error| {
            CliError::Unavailable(format!(
                "not rolled over: {error}; without the database it is unknown which servers lack the staged key; \
                 name the database with --database or BULLA_DATABASE, or give --no-database to roll over without it"
            ))
        })
    }

    async fn try_open(ctx: &Context) -> Result<Self, String> {
        let database = &ctx.settings.database;
        let named = |error: StoreError| format!("{database}: {error}");
        if !database.exists().await.map_err(named)? {
            return Err(format!("{database}: there is no database of Bulla"));
        }
        let opened = database.open_for_command(Arc::clone(&ctx.clock), ctx.settings.allow_group_read).await;
        opened.map(|store| Self(Some(store))).map_err(named)
    }

    /// Returns the highest recorded ring generation, with that ring's fingerprint.
    pub(super) async fn mark(&self, ctx: &Context) -> Option<(u64, [u8; 32])> {
        let mark = self.0.as_ref()?.ring_mark().await;
        mark.unwrap_or_else(|e| {
            ctx.say(&format!("warning: {e}; it is unknown whether the key ring is an old copy"));
            None
        })
    }

    /// Returns the reason why the clock can't decide which keys are old, if there is one: a server has seen it leap, or it is
    /// more than a year after the ring's last change.
    pub(super) async fn clock_doubt(&self, ring_changed: Timestamp, now: Timestamp) -> Option<String> {
        if let Some(store) = &self.0
            && let Ok((Some(mark), now)) = store.clock_mark().await
            && let Some(leap) = detect_leap(Some(mark), None, ClockReading { now, boot: since_boot() }).leap
        {
            return Some(leap.to_string());
        }
        (now.since(ring_changed) > FAR_AHEAD).then(|| {
            format!(
                "the key ring was last changed at {ring_changed}, more than a year before {now}; check the \
                clock, and if it is right, run this command again"
            )
        })
    }

    pub(super) async fn record(&self, ctx: &Context, event: AuditEvent) {
        if let Some(store) = &self.0
            && let Err(e) = store.record(event).await
        {
            ctx.say(&format!("warning: the audit event was not written: {e}"));
        }
    }

    /// Returns the running servers.
    pub(super) async fn nodes(&self, ctx: &Context) -> Vec<NodeRow> {
        let Some(store) = &self.0 else { return Vec::new() };
        store.nodes().await.unwrap_or_else(|e| {
            ctx.say(&format!("warning: {e}; it is unknown which servers have loaded the key ring"));
            Vec::new()
        })
    }

    /// Waits until every running server has this generation in force, at most `wait`. Returns the servers that are still behind.
    pub(super) async fn servers_behind(
        &self,
        ctx: &Context,
        generation: u64,
        wait: Duration,
    ) -> Vec<NodeRow> {
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

/// Names the servers that are behind, for people.
pub(super) fn names(nodes: &[NodeRow]) -> String {
    let named = nodes.iter().map(|node| format!("{} (generation {})", node.name, node.ring_generation));
    named.collect::<Vec<_>>().join(", ")
}
