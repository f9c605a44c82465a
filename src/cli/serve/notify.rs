//! Tells the service manager about the state of the server, with the protocol of `sd_notify`: datagrams to a Unix socket.

use std::{
    cell::Cell,
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::http::Pulse;

/// The service manager, if the program runs under one.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The time within which the manager expects a sign of life.
    watchdog: Option<Duration>,
    /// Whether the server ends. A reload that finishes meanwhile must not report that it is ready.
    ends: Cell<bool>,
}

impl ServiceManager {
    /// Finds the manager by `NOTIFY_SOCKET`, and its watchdog by `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let text = |name| env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref());
        match connect(name.as_bytes()) {
            Ok(socket) => Self { socket: Some(socket), watchdog, ends: Cell::new(false) },
            Err(error) => {
                tracing::warn!(
                    "the service manager can't be notified: NOTIFY_SOCKET = {}: {error}",
                    name.to_string_lossy()
                );
                Self::default()
            }
        }
    }

    /// The server serves, or has finished a reload.
    pub(super) fn ready(&self) {
        if !self.ends.get() {
            self.send("READY=1");
        }
    }

    /// A reload has begun.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The server ends.
    pub(super) fn stopping(&self) {
        self.ends.set(true);
        self.send("STOPPING=1");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "the service manager can't be notified");
        }
    }
}

/// Sends a sign of life twice within the watchdog's time, as long as all workers run. The task itself runs on the thread that
/// handles the signals, so it proves that this thread runs, too.
///
/// The state of the database does not count: sessions go on without it for a while, and a restart would not mend it.
pub(super) fn feed_watchdog(manager: &Rc<ServiceManager>, pulse: Arc<Pulse>) {
    let Some(within) = manager.watchdog else { return };
    let manager = Rc::clone(manager);
    actix_web::rt::spawn(async move {
        let mut half = interval(within / 2);
        half.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            half.tick().await;
            // A worker shows a sign of life every half second, so a shorter time would restart a healthy server.
            if pulse.is_alive(within.max(Duration::from_secs(2))) {
                manager.send("WATCHDOG=1");
            } else {
                tracing::error!(
                    "a worker thread has not run for {within:?}, so the watchdog gets no sign of life"
                );
            }
        }
    });
}

/// Opens a socket to a path, or to an abstract address, whose name begins with `@`.
fn connect(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        _ => return Err(io::Error::other("the address is neither a path nor an abstract address")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Returns the watchdog's time if it is for this process.
fn watchdog(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    // A shorter time would keep the processor busy, and an interval of 0 panics.
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros >= 1000)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("bulla-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        for (manager, named) in [(at_path, path.to_str().unwrap().to_owned()), (at_name, format!("@{name}"))]
        {
            let socket = connect(named.as_bytes()).unwrap();
            let notified = ServiceManager { socket: Some(socket), ..ServiceManager::default() };
            notified.reloading();
            notified.stopping();
            notified.ready();
            let mut bytes = [0; 100];
            let length = manager.recv(&mut bytes).unwrap();
            let text = std::str::from_utf8(&bytes[..length]).unwrap();
            let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0, "{text}");
            let length = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"STOPPING=1");
            manager.set_nonblocking(true).unwrap();
            assert!(manager.recv(&mut bytes).is_err(), "nothing is ready after the end");
        }
        assert!(connect(b"relative").is_err());
    }

    #[test]
    fn a_watchdog_for_another_process_is_ignored() {
        let own = std::process::id().to_string();
        assert_eq!(watchdog(Some("2000000"), None), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some(&own)), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("1")), None);
        for invalid in [None, Some("0"), Some("x"), Some("-1")] {
            assert_eq!(watchdog(invalid, None), None);
        }
    }
}
