//! Bulla: sessions without JWT.
//!
//! A small JSON object is sealed by an AEAD into an opaque token. Two cookies and one row that can be deleted keep a session. Root keys
//! live in a directory and are replaced while no request fails.
//!
//! # Seal and open
//!
//! This is the library core, all there is with `default-features = false`. `seal_at` and `open_at` take time and buffer as
//! arguments and allocate nothing.
//!
//! ```
//! use bulla::{Audience, KeyDirectory, Purpose, Suite, TokenKeys};
//! # use std::time::Duration;
//! # let home = tempfile::tempdir()?;
//! # let directory = home.path().join("keys");
//! let ring = KeyDirectory::new(directory).init(Suite::Xaes256Gcm)?; // later: `.load()`
//! let keys = TokenKeys::derive(&ring, &Purpose::access(), &Audience::own());
//! let token = keys.seal(r#"{"id":"42"}"#)?;
//! let opened = keys.open(token.as_str(), Duration::from_secs(120))?;
//! assert_eq!(opened.payload, r#"{"id":"42"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guard an actix-web program
//!
//! [`Bulla::builder`] opens the ring and the database, [`Bulla::guard`] is the middleware, [`Principal`] the extractor, and
//! [`Users`] connects users of your own. `examples/embed.rs` uses them.
//!
//! # The map
//!
//! ```text
//! ids, clock, secret ─→ keyring ─→ token ─┐
//!           │                             ├─→ session ──┐
//!           └──────────→ store ───────────┤             ├─→ login, oauth ─→ installation ─→ http ─→ cli
//!                            fetch, jws ──┴─→ identity ─┘
//! ```
//!
//! An arrow says: may be used by; none points back, and a test reads the source to hold them. Read it from the left:
//! what a token is in `token/wire.rs` and `token/seal.rs`, what a rollover does in `keyring/schedule.rs`, what may end a
//! session in the triggers of `store/migrations/`, the refresh rule in `session/refresh.rs`, what another's ID token must
//! say in `identity/openid/claims.rs` and how its signature is verified in `jws/key.rs`, what a program may get in `oauth/token.rs`, then every route in one table in
//! `http/routes/table.rs`, and what a request must bring to change a way in in `http/guard/session_proof.rs`.

// The page's Rust is compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/integrators.md")]
struct IntegratorsPage;

mod clock;
pub mod ids;
mod keyring;
mod secret;
mod token;

#[cfg(feature = "server")]
mod cli;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod fetch;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod identity;
#[cfg(feature = "server")]
mod installation;
#[cfg(feature = "server")]
mod jws;
#[cfg(feature = "server")]
mod login;
#[cfg(feature = "server")]
mod oauth;
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod session;
#[cfg(feature = "server")]
mod store;

pub use clock::Timestamp;
pub use ids::{Audience, Purpose, UserId};
pub use keyring::{KeyDirectory, Ring, RingError, Suite};
pub use secret::SecretText;
pub use token::{
    KeyExport, KeyFile, KeyFileError, OpenBuffer, Opened, OpenedBy, Openers, Refused, SealError, SealedToken,
    TokenKeys,
};

#[cfg(feature = "server")]
pub use http::{Builder, Bulla, Guard, Problem, Site, StartError};
#[cfg(feature = "server")]
pub use identity::{
    HashError, Hasher, PasswordRule,
    openid::{ProviderError, ProviderSettings},
};
#[cfg(feature = "server")]
pub use session::{Machine, OnStale, Pardon, Policy, Principal};
#[cfg(feature = "server")]
pub use store::{LoginError, StoreError, User, Users};

/// The rooms of this crate for its own program, tests and benchmarks. Not part of the public API: it changes without notice.
#[doc(hidden)]
pub mod internals {
    pub mod clock {
        pub use crate::clock::*;
    }
    pub use crate::ids;
    pub mod keyring {
        pub use crate::keyring::*;
    }
    pub mod secret {
        pub use crate::secret::*;
    }
    pub mod token {
        pub use crate::token::*;
    }
    #[cfg(feature = "server")]
    pub mod cli {
        pub use crate::cli::*;
    }
    #[cfg(feature = "server")]
    pub mod config {
        pub use crate::config::*;
    }
    #[cfg(feature = "server")]
    pub mod fetch {
        pub use crate::fetch::*;
    }
    #[cfg(feature = "server")]
    pub mod http {
        pub use crate::http::*;
    }
    #[cfg(feature = "server")]
    pub mod identity {
        pub use crate::identity::*;
    }
    #[cfg(feature = "server")]
    pub mod oauth {
        pub use crate::oauth::*;
    }
    #[cfg(feature = "server")]
    pub mod problem {
        pub use crate::problem::*;
    }
    #[cfg(feature = "server")]
    pub mod session {
        pub use crate::session::*;
    }
    #[cfg(feature = "server")]
    pub mod store {
        pub use crate::store::*;
    }
}
