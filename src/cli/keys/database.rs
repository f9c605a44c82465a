//! The database, as far as keys are concerned.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cli::Context,
    clock::{Timestamp, since_boot},
    store::{
        AuditEvent, NodeRow, Store,
        leap::{Look, look},
    },
};

/// Rings are rolled over more often.
const FAR_AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);
/// How often the nodes are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(200);

/// The installation's database, if there is one: it remembers ring generations, keeps the audit and knows the nodes. Keys
/// can be rolled over and revoked without it, for that must not depend on it; then a warning says what is missing.
pub(super) struct Database(Option<Arc<dyn Store>>);

impl Database {
    pub(super) async fn open(ctx: &Context) -> Self {
        let database = &ctx.settings.database;
        let opened = match database.exists().await {
            Ok(false) => return Self(None),
            Ok(true) => database.open(Arc::clone(&ctx.clock)).await,
            Err(error) => Err(error),
        };
        Self(opened.map_err(|e| ctx.say(&format!("warning: {database}: {e}; no audit is written, and which servers have the ring can't be told"))).ok())
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
