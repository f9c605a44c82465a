//! Opens, configures and drives one connection.

use std::{future::poll_fn, sync::Arc, time::Duration};

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, tls::TlsStream};

use super::{tls::Protection, url::ConnectionSettings};

/// Returns the settings of every connection. The server ends a statement a little before its caller stops waiting, and a wait for
/// a lock earlier. A transaction that a suspended process has left open is ended. A commit is acknowledged only when it is on disk.
fn connection_settings(query_limit: Duration) -> String {
    let limit = query_limit.as_millis();
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET client_min_messages = warning;
        SET idle_in_transaction_session_timeout = 5000;
        SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        limit.saturating_sub(50).max(1),
        limit.saturating_sub(200).max(1)
    )
}

/// How long a start waits for a connection.
pub(super) const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Opens connections that live on one thread.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    config: Config,
    protection: Protection,
    thread: Handle,
    query_limit: Duration,
}

impl Connector {
    /// `query_limit` is the time limit of a query outside of a request.
    pub(super) fn new(settings: ConnectionSettings, thread: &Handle, query_limit: Duration) -> Self {
        let ConnectionSettings { config, protection } = settings;
        Self { config, protection, thread: thread.clone(), query_limit }
    }

    pub(super) fn query_limit(&self) -> Duration {
        self.query_limit
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a connection and starts the task that drives it. `heard` is notified of every notification and of the end of the
    /// connection.
    pub(super) async fn connect(&self, heard: Arc<Notify>) -> Result<(Client, JoinHandle<()>), Error> {
        let (config, tls) = (self.config.clone(), self.protection.0.clone());
        let settings = connection_settings(self.query_limit);
        let connecting = self.thread.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driving = tokio::spawn(drive(connection, heard));
            client.batch_execute(&settings).await?;
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
