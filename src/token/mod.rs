//! Tokens: sealing and opening (docs/token.md). Knows no SQL, no HTTP, no async.

mod export;
mod follow;
mod object;
mod openers;
mod payload;
mod seal;
mod suite;
mod wire;

pub use export::{BadExport, KeyExport};
pub use follow::{KeyFile, KeyFileError};
pub(crate) use object::Object;
pub use openers::{OpenedBy, Opener, Openers};
pub use payload::strict_json;
pub use seal::{
    Inspection, OpenBuffer, Opened, Refused, SealCounts, SealError, SealedToken, TokenKeys, inspect,
};
