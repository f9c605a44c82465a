//! The live revocations in memory: one lookup, no I/O.

/// Follows the store's feed; asked for every access token.
#[derive(Debug, Default)]
pub struct Denylist {}
