//! Tests the messages of a server to a service manager such as systemd.

use std::{os::unix::net::UnixDatagram, time::Duration};

use crate::support::server::Server;

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn of(server: &mut Server) -> Self {
        let socket = UnixDatagram::bind(server.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        server.set("NOTIFY_SOCKET", server.path("notify"));
        Self(socket)
    }

    fn message(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).expect("a message within a minute");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next message that is not a sign of life.
    fn state(&self) -> String {
        std::iter::repeat_with(|| self.message()).find(|message| message != "WATCHDOG=1").unwrap()
    }
}

#[tokio::test]
async fn the_service_manager_is_told_when_the_server_serves_reloads_and_stops() {
    let mut server = Server::new(&[]);
    let manager = Manager::of(&mut server);
    server.start();
    assert_eq!(manager.message(), "READY=1");
    assert_eq!(server.readiness().await.0, 200);
    server.signal("HUP");
    let reloading = manager.message();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(manager.message(), "READY=1");
    server.says("the settings were reloaded").await;
    server.signal("TERM");
    assert_eq!(manager.message(), "STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn the_watchdog_gets_signs_of_life_while_the_server_runs() {
    let mut server = Server::new(&[]);
    let manager = Manager::of(&mut server);
    server.set("WATCHDOG_USEC", "2000000");
    server.start();
    assert_eq!(manager.state(), "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
    server.signal("TERM");
    assert_eq!(manager.state(), "STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_server_without_a_usable_notify_socket_serves_and_says_why_it_does_not_notify() {
    let server = Server::started(&[("NOTIFY_SOCKET", "vsock:2:1234")]);
    server.says("the service manager can't be notified: NOTIFY_SOCKET = vsock:2:1234").await;
    assert_eq!(server.readiness().await.0, 200);
}
