//! Bulla: sessions without JWT.
//!
//! A small JSON object is sealed into an opaque token by an AEAD (authenticated encryption with associated data). A session
//! consists of two cookies and one database row; deleting the row ends the session. Root keys are files in a directory, and no
//! request fails when they are replaced.
//!
//! # Seal and open
//!
//! This is the library core, and all of the crate with `default-features = false`. `seal_at` and `open_at` take the time as an
//! argument. `open_at` also takes a buffer and does not allocate, except for a payload with more than 24 keys.
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
//! # Guard a program
//!
//! [`Bulla::builder`] opens the key ring and the database. [`Bulla::guard`] is the middleware for actix-web and, with the feature
//! `tower`, the layer for axum. [`Principal`] is the extractor for the user of a request. [`Users`] connects a user table of your
//! own, and [`Bulla::sign_in`] begins a session after you have verified the person yourself. `examples/notes.rs` (actix-web) and
//! `examples/axum.rs` use them. [`Bulla::end_sessions_of`] ends all sessions of a user; call it when you disable or delete a user.
//! With the features `actix` and `sqlite`, the module [`testing`] helps to test handlers.
//!
//! # Features
//!
//! Without default features only the core is built. The default feature, `cli`, switches on all others except `http2`.
//!
//! - `actix`: the guard and the routes for actix-web.
//! - `tower`: the guard for tower and axum.
//! - `sqlite`, `postgres`: the databases. A program with `actix` or `tower` needs one of them.
//! - `openid`: login at OpenID providers.
//! - `oauth`: tokens for other programs.
//! - `cli`: the program `bulla`, server and commands.
//! - `http2`: HTTP/2 with TLS in the server.
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
//! An arrow means: may be used by. A test reads the source and checks that no module uses another one against the arrows.
//! `docs/architecture.md` has the complete table and explains how a request goes through the modules. `docs/design/` specifies the
//! behaviour. `CONTRIBUTING.md` lists, for frequent changes, all files that they concern. Places to start reading, below `src/`:
//!
//! - the layout of a token: `token/wire.rs` and `token/keys.rs`
//! - what a rollover does: `keyring/schedule.rs`
//! - what can end a session: the triggers in `store/migrations/`
//! - the refresh rule: `session/refresh.rs`; its I/O: `session/renew.rs` and `session/present.rs`
//! - the pages: `http/pages/mod.rs`, and the templates beside it
//! - the cookies, their names and attributes: `http/wire/cookies.rs`
//! - the presets for providers: `Preset`, `Preset::ALL` and `Preset::known` in `identity/openid/preset.rs`; the rules that differ by
//!   provider: `fields.rs` and `accounts.rs` beside it
//! - the checks of an ID token: `identity/openid/claims.rs`, and of its signature: `jws/key.rs`
//! - what tokens a program can get: `oauth/token.rs`
//! - every route: `http/routes/table.rs`
//! - what a request must present to change a login method: `http/guard/session_proof.rs`
//! - the commands of `bulla`: the enum `Command` and the function `command` in `cli/args.rs`; most have a file in `cli/`, declared in
//!   `cli/mod.rs`
//! - the settings: `config/knobs.rs` and `config/resolve.rs`
//! - the texts of errors: `problem.rs`, and `cli/mod.rs` for commands
//! - the functions for embedding programs: `http/bulla.rs`, `http/sign_in.rs` and `http/guard/mod.rs`

#![cfg_attr(
    not(feature = "cli"),
    allow(
        dead_code,
        unused_imports,
        reason = "each feature uses other parts of the shared rooms; the complete build reports unused code"
    )
)]

// The Rust code in this page is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/integrators.md")]
struct IntegratorsPage;

mod clock;
pub mod ids;
mod keyring;
mod secret;
mod text_names;
mod token;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "openid")]
mod fetch;
#[cfg(feature = "web")]
mod http;
#[cfg(feature = "sessions")]
mod identity;
#[cfg(feature = "sessions")]
mod installation;
#[cfg(any(feature = "openid", feature = "oauth"))]
mod jws;
#[cfg(feature = "sessions")]
mod login;
#[cfg(feature = "oauth")]
mod oauth;
#[cfg(feature = "sessions")]
mod problem;
#[cfg(feature = "sessions")]
mod session;
#[cfg(feature = "sessions")]
mod store;
#[cfg(all(feature = "actix", feature = "sqlite"))]
pub mod testing;

pub use clock::Timestamp;
pub use ids::{Audience, Purpose, UserId};
pub use keyring::{KeyDirectory, Ring, RingError, Suite};
pub use secret::SecretText;
pub use text_names::UnknownName;
pub use token::{
    KeyExport, KeyFile, KeyFileError, OpenBuffer, Opened, OpenedBy, Openers, Refused, SealError, SealedToken,
    TokenKeys,
};

#[cfg(feature = "web")]
pub use http::pages;
#[cfg(feature = "tower")]
pub use http::tower;
#[cfg(feature = "web")]
pub use http::{Builder, Bulla, ForeignScheme, Guard, Request, SessionCookies, SignedIn, Site};
#[cfg(feature = "openid")]
pub use identity::openid::{ProviderError, ProviderSettings};
#[cfg(feature = "sessions")]
pub use identity::{HashError, Hasher, PasswordRule};
#[cfg(feature = "sessions")]
pub use installation::StartError;
#[cfg(feature = "sessions")]
pub use problem::Problem;
#[cfg(feature = "sessions")]
pub use session::{Machine, OnStale, Pardon, Policy, Principal};
#[cfg(feature = "sessions")]
pub use store::{LoginError, StoreError, User, Users};

/// The modules of this crate, for its own program, tests and benchmarks. Not part of the public API: they change without notice.
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
    #[cfg(feature = "cli")]
    pub mod cli {
        pub use crate::cli::*;
    }
    #[cfg(feature = "cli")]
    pub mod config {
        pub use crate::config::*;
    }
    #[cfg(feature = "openid")]
    pub mod fetch {
        pub use crate::fetch::*;
    }
    #[cfg(feature = "web")]
    pub mod http {
        pub use crate::http::*;
    }
    #[cfg(feature = "sessions")]
    pub mod identity {
        pub use crate::identity::*;
    }
    #[cfg(feature = "oauth")]
    pub mod oauth {
        pub use crate::oauth::*;
    }
    #[cfg(feature = "sessions")]
    pub mod problem {
        pub use crate::problem::*;
    }
    #[cfg(feature = "sessions")]
    pub mod session {
        pub use crate::session::*;
    }
    #[cfg(feature = "sessions")]
    pub mod store {
        pub use crate::store::*;
    }
}
