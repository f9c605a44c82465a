//! Logins by a provider's identity: on the provider's pages (`provider`), or by an ID token that the client presents (`id_token`).
//!
//! `pending` is the data of a login while the person is at the provider, `callbacks` serves the requests of one login one after
//! another, and `reauthentication` checks that a new login proves the same person.

mod callbacks;
mod id_token;
mod pending;
mod provider;
mod reauthentication;

use crate::{identity::openid::Providers, login::Logins};

pub(crate) use callbacks::Callbacks;
pub(crate) use id_token::PresentedToken;
pub(crate) use pending::{LIFE, Pending, ProviderLogin, same};
pub(crate) use provider::Returned;
pub(crate) use reauthentication::Intent;

impl Logins {
    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }
}
