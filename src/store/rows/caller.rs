//! The caller of a change.

use crate::ids::{ClientId, Sid, UserId};

/// The caller of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person. The session must be live, and its user must have the role.
    Person {
        /// The caller's session.
        sid: Sid,
        /// The user of the session.
        user: UserId,
        /// The role that the change requires, if any.
        role: Option<&'static str>,
    },
    /// A machine. The client must be enabled and must have the scope.
    Client {
        /// The client.
        id: ClientId,
        /// The scope that the change requires.
        scope: &'static str,
    },
}
