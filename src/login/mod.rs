//! Logins: begins sessions by a password, by a login on a provider's pages, or by an ID token that a client presents (step 3 of
//! docs/design/sessions.md). This module does not use HTTP.
//!
//! The usual call is [`Logins::by_password`]. Every proof is checked by [`Logins::attempt`], which asks the throttle first and
//! counts, logs and records a failure.

mod attempts;
#[cfg(feature = "openid")]
pub(crate) mod openid;
mod password;
mod throttle;

use std::{net::IpAddr, sync::Arc};

#[cfg(feature = "openid")]
use crate::identity::openid::Providers;
use crate::{session::Sessions, store::Device};

pub(crate) use attempts::Failed;
use attempts::Sampler;
pub(crate) use throttle::Account;
use throttle::Throttle;

/// The sender of a request, as a login needs it.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    /// The address under which failures are counted, if it is known.
    pub(crate) ip: Option<IpAddr>,
    /// The device that the session records.
    pub(crate) device: Device,
}

/// The logins of one installation.
pub(crate) struct Logins {
    sessions: Arc<Sessions>,
    #[cfg(feature = "openid")]
    providers: Providers,
    #[cfg(feature = "openid")]
    callbacks: openid::Callbacks,
    throttle: Throttle,
    sampler: Sampler,
    /// Whether the users, and so their names, are in this store.
    own_users: bool,
}

impl Logins {
    /// `waiting` is the number of logins that can wait at the throttle.
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        #[cfg(feature = "openid")] providers: Providers,
        waiting: usize,
        own_users: bool,
    ) -> Self {
        Self {
            sessions,
            #[cfg(feature = "openid")]
            providers,
            #[cfg(feature = "openid")]
            callbacks: openid::Callbacks::default(),
            throttle: Throttle::new(waiting),
            sampler: Sampler::default(),
            own_users,
        }
    }
}

/// Whether a bearer token has the form of a signed token (RFC 7515). Tokens of this server never have it.
pub(crate) fn is_jws(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}
