//! Tokens: sealing and opening (docs/token.md). This module does not use SQL, HTTP or async.
//!
//! [`TokenKeys`] are the keys of one purpose and audience, derived from a ring or read from an export. [`KeyFile`] follows an
//! exported file. The usual calls are `keys.seal(payload)?` and `keys.open(token, max_age)?`.

mod export;
mod key_file;
mod keys;
mod object;
mod openers;
mod payload;
mod suite;
mod wire;

pub use export::{BadExport, KeyExport};
pub use key_file::{KeyFile, KeyFileError};
pub use keys::{
    Inspection, OpenBuffer, Opened, Refused, SealCounts, SealError, SealedToken, TokenKeys, inspect,
};
pub(crate) use object::Object;
pub use openers::{OpenedBy, Opener, Openers};
pub use payload::strict_json;
