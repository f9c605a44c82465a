//! One installation in one process: the ring, the store, the sessions, the logins, and the tasks that keep them current. This
//! module does not use HTTP.
//!
//! [`Settings::start`] opens the ring and the database and starts the tasks: [`ring`] follows the keys directory and reports this
//! node, [`upkeep`] watches the clock and the triggers and deletes expired rows. The tasks end when the installation is dropped.

mod ring;
mod start;
mod store_health;
mod upkeep;

use std::sync::Arc;

use crate::{
    identity::{Hasher, PasswordRule},
    login::Logins,
    session::Sessions,
};

pub(crate) use ring::RingFollower;
pub(crate) use start::Settings;
pub use start::StartError;
pub(crate) use store_health::StoreHealth;
pub(crate) use upkeep::TriggerCheck;

/// The parts of a running installation.
pub(crate) struct Installation {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) logins: Logins,
    pub(crate) hasher: Arc<Hasher>,
    /// The rule for new passwords. `None` if the users, and so their passwords, belong to the embedding program.
    pub(crate) password: Option<PasswordRule>,
    pub(crate) ring: RingFollower,
    pub(crate) triggers: TriggerCheck,
    pub(crate) store_health: StoreHealth,
}
