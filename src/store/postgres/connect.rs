//! Opens, configures and drives one connection.

use std::{future::poll_fn, sync::Arc};

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, tls::TlsStream};

use super::{tls::Protection, url::ConnectionSettings};

/// The settings of every connection. A statement runs only a little longer than its caller waits. Waiting for a lock is short. A
/// transaction that a suspended process has left open is ended. A commit is acknowledged only when it is on disk.
const SETTINGS: &str =
    "SET statement_timeout = 850; SET lock_timeout = 700; SET client_min_messages = warning;
    SET idle_in_transaction_session_timeout = 5000;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Opens connections that live on one thread.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    config: Config,
    protection: Protection,
    thread: Handle,
}

impl Connector {
    pub(super) fn new(settings: ConnectionSettings, thread: &Handle) -> Self {
        Self { config: settings.config, protection: settings.protection, thread: thread.clone() }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a connection and starts the task that drives it. `heard` is notified of every notification and of the end of the
    /// connection.
    pub(super) async fn connect(&self, heard: Arc<Notify>) -> Result<(Client, JoinHandle<()>), Error> {
        let (config, tls) = (self.config.clone(), self.protection.0.clone());
        let connecting = self.thread.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driving = tokio::spawn(drive(connection, heard));
            client.batch_execute(SETTINGS).await?;
            Ok((client, driving))
        });
        match connecting.await {
            Ok(connected) => connected,
            // The thread is ending. Waits forever, because each caller has its own deadline.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(Self::connect(self, Arc::default()))
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>, heard: Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: TlsStream + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => heard.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the database ended");
                break;
            }
            None => break,
        }
    }
    heard.notify_one();
}
