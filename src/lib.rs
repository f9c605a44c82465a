//! Bulla: sessions without JWT.
//!
//! A small JSON object is sealed by an AEAD into an opaque [token]; two cookies and one row that can be deleted keep a
//! [session]; root keys live in a directory and [roll over](keyring) while no request fails.
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
//! [`http::Bulla::builder`] opens ring and database, [`http::Bulla::guard`] is the middleware, [`session::Principal`] the
//! extractor, [`store::Users`] the door for users of your own; `examples/embed.rs` has them at work.
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
//! session in the triggers of `store/migrations/`, the refresh rule in [`session::refresh`], what another's ID token must
//! say in `identity/openid/claims.rs` and how its signature is verified in `jws/key.rs`, what a program may get in `oauth/token.rs`, then every route in one table in
//! `http/routes/table.rs`, and what a request must bring to change a way in in `http/guard/session_proof.rs`.

// The page's Rust is compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/integrators.md")]
struct IntegratorsPage;

pub mod clock;
pub mod ids;
pub mod keyring;
pub mod secret;
pub mod token;

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod fetch;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod identity;
#[cfg(feature = "server")]
mod installation;
#[cfg(feature = "server")]
mod jws;
#[cfg(feature = "server")]
mod login;
#[cfg(feature = "server")]
pub mod oauth;
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod store;

// The paved path; everything else is found in its room.
#[cfg(feature = "server")]
pub use http::Bulla;
pub use ids::{Audience, Purpose};
pub use keyring::{KeyDirectory, Suite};
#[cfg(feature = "server")]
pub use session::Principal;
#[cfg(feature = "server")]
pub use store::Users;
pub use token::{KeyExport, KeyFile, Opened, OpenedBy, Openers, Refused, SealError, SealedToken, TokenKeys};
