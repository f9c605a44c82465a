//! Runs the store's connections on a separate thread. A worker of the program that ends or is busy then does not affect them.

use std::thread;

use tokio::{runtime, sync::oneshot};

use crate::store::StoreError;

/// The thread. When this is dropped, the thread and all its connections end.
#[derive(Debug)]
pub(super) struct ConnectionThread {
    handle: runtime::Handle,
    #[allow(dead_code, reason = "held for its Drop, which the thread sees")]
    stop: oneshot::Sender<()>,
}

impl ConnectionThread {
    pub(super) fn start() -> Result<Self, StoreError> {
        let failed = |error| {
            StoreError::Unavailable(format!("a thread for the database could not be started: {error}"))
        };
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
