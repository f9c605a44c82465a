//! The key ring: the root keys of an installation and their states (docs/design/keys.md).
//!
//! [`Ring`] is the lookup from key id to key, [`schedule`] decides what a rollover does (pure functions), and [`KeyDirectory`]
//! reads and writes the files. The usual call is `KeyDirectory::new("keys").load()?`.

mod directory;
mod error;
mod key;
mod key_file;
mod listing;
mod read;
mod ring;
pub mod schedule;
mod write;

pub use directory::{KeyDirectory, Reload};
pub use error::RingError;
pub use key::{KeyState, RootKey, Suite};
pub use listing::{ListedKey, Listing};
pub use ring::{Ring, RingKey};
