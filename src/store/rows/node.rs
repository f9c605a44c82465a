//! The servers that share a database.

use std::time::Duration;

use crate::clock::Timestamp;

/// The time after which a server that has not reported counts as gone.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long after its last report a node is kept.
pub(in crate::store) const NODE_RETENTION: Duration = Duration::from_secs(3600);

/// The maximum time by which a report may lie in the future. A later one was made while the clock was wrong, so it is ignored: it
/// does not show that the node runs now.
pub(in crate::store) const NODE_MAX_AHEAD: Duration = Duration::from_secs(600);

/// A server that shares the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The server's name: host, process and a random part.
    pub name: String,
    /// The generation of the key ring in force on the server.
    pub ring_generation: u64,
    /// The version of the program.
    pub version: String,
    /// The time of the server's last report.
    pub seen_at: Timestamp,
}
