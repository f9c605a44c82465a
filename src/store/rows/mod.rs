//! The types of the rows, as the rest of the crate uses them, and of their changes.

mod actor;
mod audit;
mod caller;
mod client;
mod client_change;
mod event;
mod identity;
mod new_session;
mod node;
mod revocation;
mod session;
mod session_change;
mod unreadable;
mod user;

pub use actor::Actor;
pub(super) use audit::login_address;
pub use audit::{AuditEvent, AuditRow};
pub use caller::Caller;
pub(super) use client::{ClientColumns, taken};
pub use client::{ClientRow, FormerSecret, NewClient};
pub use client_change::{ClientChange, NewSecret};
pub use event::Event;
pub use identity::{Identity, LinkedIdentity};
pub use new_session::{NewSession, Proof, ProvenAt};
pub(super) use node::{NODE_MAX_AHEAD, NODE_RETENTION};
pub use node::{NODE_TIMEOUT, NodeRow};
pub use revocation::{Revocation, RevocationTarget};
pub use session::{Device, Grant, SessionRow, Transport};
pub use session_change::{SessionChange, SessionEnd};
pub use unreadable::UnreadableRow;
pub(super) use unreadable::log_skipped;
pub use user::{NewUser, UserChange, UserRow};
pub(super) use user::{check_readable, row_id};
