//! Logins: begins sessions by a password, by a login on a provider's pages, or by an ID token that a client presents (step 3 of
//! docs/design/sessions.md). Knows no HTTP.
//!
//! The usual call is [`Logins::by_password`]. Every proof is checked by [`Logins::attempt`], which asks the throttle first and
//! counts, logs and records a failure.

mod attempts;
mod callbacks;
mod id_token;
mod password;
mod pending;
mod provider;
mod reauthentication;
mod throttle;

use std::{net::IpAddr, sync::Arc};

use crate::{identity::openid::Providers, session::Sessions, store::Device};

pub(crate) use attempts::Failed;
use attempts::Sampler;
pub(crate) use callbacks::Callbacks;
pub(crate) use id_token::{PresentedToken, is_jws};
pub(crate) use pending::{LIFE, Pending, ProviderLogin, same};
pub(crate) use provider::Returned;
pub(crate) use reauthentication::Intent;
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
    providers: Providers,
    throttle: Throttle,
    sampler: Sampler,
    callbacks: Callbacks,
    /// Whether the users, and so their names, are in this store.
    own_users: bool,
}

impl Logins {
    /// `waiting` is the number of logins that can wait at the throttle.
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        providers: Providers,
        waiting: usize,
        own_users: bool,
    ) -> Self {
        Self {
            sessions,
            providers,
            throttle: Throttle::new(waiting),
            sampler: Sampler::default(),
            callbacks: Callbacks::default(),
            own_users,
        }
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }
}
