//! The signals that a server handles, and its end.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use actix_web::dev::ServerHandle;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{notify::ServiceManager, reload::Reload};
use crate::{
    http::{Bulla, drain},
    store::StoreError,
};

/// How often the process checks that its store is still reliable.
const LOOK: Duration = Duration::from_millis(500);

/// The signals that the process handles.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn register() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// A server that runs.
pub(super) struct Running<'a> {
    pub(super) bulla: &'a Bulla,
    pub(super) server: ServerHandle,
    pub(super) listens: SocketAddr,
    pub(super) workers: usize,
    pub(super) reload: Rc<Reload>,
    pub(super) manager: Rc<ServiceManager>,
}

impl Running<'_> {
    /// Handles signals: HUP reloads keys, certificate and settings; TERM and INT end the server after the requests in progress. Also
    /// ends the server if the store is no longer reliable. Returns at a second TERM or INT, so that the process ends without waiting
    /// for requests.
    pub(super) async fn handle(self, mut signals: Signals) {
        // An interval is used instead of a sleep, because every signal would restart a sleep.
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => {
                    // Runs in a separate task. Otherwise a hanging mount with the keys would block the handling of the next signal.
                    let reload = Rc::clone(&self.reload);
                    actix_web::rt::spawn(async move { reload.run().await });
                    continue;
                }
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {}
                _ = look.tick() => {
                    if !matches!(self.bulla.sessions().parts().store.now().await, Err(StoreError::Broken)) {
                        continue;
                    }
                }
            }
            if std::mem::replace(&mut ending, true) {
                tracing::info!("stopping at once");
                return;
            }
            tracing::info!("stopping after the requests in progress");
            self.manager.stopping();
            let (server, listens, workers) = (self.server.clone(), self.listens, self.workers);
            actix_web::rt::spawn(async move {
                drain(listens, workers).await;
                // `stop` sends the command at once. Its future only waits for the end, and `run` does that.
                drop(server.stop(true));
            });
        }
    }
}
