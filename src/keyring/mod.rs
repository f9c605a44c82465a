//! The key ring: the root keys of an installation and their states (DESIGN 3).
//!
//! Three things, three files: [`Ring`] is the lookup, [`schedule`] decides what a rollover does (pure),
//! [`KeyDirectory`] is the disk.

mod directory;
mod key;
mod ring;
pub mod schedule;

pub use directory::{KeyDirectory, Reload, RingError};
pub use key::{KeyState, RootKey, Suite};
pub use ring::{Ring, RingKey};
