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
const PATIENCE: Duration = Duration::from_millis(700);

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
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
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(CONNECTIONS)), state })
    }

    /// Runs one read.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.state.check()?;
        let exhausted = || StoreError::Unavailable("too many reads wait".into());
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| exhausted())?.map_err(|_| exhausted())?;
        let idle = Arc::clone(&self.idle);
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(exhausted)?;
        let reading = tokio::task::spawn_blocking(move || {
            let answer = read(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            // Held until the connection is back, even when whoever asked has hung up meanwhile.
            drop(permit);
            answer
        });
        reading.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a read was cut off".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_who_hang_up_take_no_connection_along() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bulla.db");
        let _open = open::open_and_migrate(&path).unwrap();
        let readers = Arc::new(Readers::open(&path, Arc::new(State::of(&path).unwrap())).unwrap());
        for _ in 0..CONNECTIONS {
            let (readers, (started, starts)) = (Arc::clone(&readers), tokio::sync::oneshot::channel());
            let read = tokio::spawn(async move {
                let slow = move |_: &Connection| {
                    let _ = started.send(());
                    std::thread::sleep(Duration::from_millis(100));
                    Ok(())
                };
                readers.read(slow).await
            });
            starts.await.unwrap();
            read.abort();
        }
        assert_eq!(readers.read(|_| Ok(7)).await.unwrap(), 7);
    }
}
