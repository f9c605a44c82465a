//! TCP keepalive: the kernel probes a connection without traffic, so that a peer that has vanished does not hold a tunnel or an event
//! stream forever.

use std::{io, net::TcpListener, time::Duration};

use rustix::net::sockopt;

/// The time without traffic after which the kernel sends the first probe.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// The time between two probes.
pub(super) const INTERVAL: Duration = Duration::from_secs(15);

/// The number of probes without an answer after which the connection is broken off.
pub(super) const COUNT: u32 = 4;

/// Lets the kernel probe the connections of clients: they inherit these options from their listener.
///
/// # Errors
///
/// The listener does not accept an option.
pub(crate) fn enable(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, IDLE)?;
    sockopt::set_tcp_keepintvl(listener, INTERVAL)?;
    sockopt::set_tcp_keepcnt(listener, COUNT)?;
    Ok(())
}
