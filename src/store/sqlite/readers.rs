//! The readers: a few connections, each read on a blocking thread so that no disk holds up the event loop.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{open, state::State};
use crate::store::StoreError;

/// How many read at once.
const CONNECTIONS: usize = 3;
/// How long a read waits for one of them before the answer is "cannot tell".
const PATIENCE: Duration = Duration::from_millis(800);

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
    state: Arc<State>,
}

impl Readers {
    pub(super) fn open(path: &Path, state: Arc<State>) -> Result<Self, StoreError> {
        let idle = (0..CONNECTIONS).map(|_| {
            let connection = open::connect(path)?;
            connection.execute_batch("PRAGMA query_only = ON")?;
            Ok(connection)
        });
        let idle = idle.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits: Semaphore::new(CONNECTIONS), state })
    }

    /// Runs one read.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.state.check()?;
        let exhausted = || StoreError::Unavailable("too many reads wait".into());
        let permit = tokio::time::timeout(PATIENCE, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| exhausted())?.map_err(|_| exhausted())?;
        let idle = Arc::clone(&self.idle);
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(exhausted)?;
        let reading = tokio::task::spawn_blocking(move || {
            let answer = read(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        });
        reading.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a read was cut off".into())))
    }
}
