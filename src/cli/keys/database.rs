//! The database, as far as keys are concerned.

use std::sync::Arc;

use crate::{
    cli::Context,
    store::{AuditEvent, Store as _, sqlite::SqliteStore},
};

/// The installation's database, if there is one: it remembers ring generations and keeps the audit. Keys can be
/// rolled over and revoked without it, for that must not depend on it; then a warning says what is missing.
pub(super) struct Database(Option<SqliteStore>);

impl Database {
    pub(super) fn open(ctx: &Context) -> Self {
        let path = &ctx.settings.database;
        if !path.exists() {
            return Self(None);
        }
        let store = SqliteStore::open(path, Arc::clone(&ctx.clock));
        Self(
            store
                .map_err(|e| ctx.say(&format!("warning: {}: {e}; no audit is written", path.display())))
                .ok(),
        )
    }

    /// The highest ring generation known, and that ring's fingerprint.
    pub(super) async fn mark(&self, ctx: &Context) -> Option<(u64, [u8; 32])> {
        let mark = self.0.as_ref()?.ring_mark().await;
        mark.unwrap_or_else(|e| {
            ctx.say(&format!("warning: {e}; whether the ring is an old copy can't be told"));
            None
        })
    }

    pub(super) async fn record(&self, ctx: &Context, event: AuditEvent) {
        if let Some(store) = &self.0
            && let Err(e) = store.record(event).await
        {
            ctx.say(&format!("warning: the audit wasn't written: {e}"));
        }
    }
}
