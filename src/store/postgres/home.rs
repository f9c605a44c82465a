//! A thread of the store's own, on which its connections live: no worker of the program that ends, or is busy, takes
//! them along.

use std::thread;

use tokio::{runtime, sync::oneshot};

use crate::store::StoreError;

/// The thread; it ends, and every connection with it, when this is dropped.
#[derive(Debug)]
pub(super) struct Home {
    handle: runtime::Handle,
    #[allow(dead_code, reason = "held for its Drop, which the thread sees")]
    stop: oneshot::Sender<()>,
}

impl Home {
    pub(super) fn start() -> Result<Self, StoreError> {
        let failed = |error| StoreError::Unavailable(format!("no thread for the database: {error}"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || drop(runtime.block_on(stopped));
        thread::Builder::new().name("bulla-postgres".into()).spawn(run).map_err(failed)?;
        Ok(Self { handle, stop })
    }

    pub(super) fn handle(&self) -> &runtime::Handle {
        &self.handle
    }
}
