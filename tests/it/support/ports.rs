//! Ports for servers that a test starts with a fixed port.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// The range of the ports. It ends below the ephemeral ports of Linux (32768 to 60999). The system gives an ephemeral port to any
/// connection or listener, so such a port can be taken between the moment at which a test finds it free and the start of the server.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Returns a port that is free now. Other calls in this process don't return it, and other test processes begin elsewhere.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// Returns the first of `count` free ports in a row.
pub fn free_ports(count: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let length = RANGE.end - RANGE.start;
    let begin = u16::try_from(std::process::id() * 64 % u32::from(length)).unwrap();
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..length {
        let at = (begin + TAKEN.fetch_add(count, Ordering::Relaxed) % length) % length;
        let first = RANGE.start + at;
        if first + count <= RANGE.end && (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no free ports from {} to {}", RANGE.start, RANGE.end)
}
