//! The rules that every store applies. Pure functions: a store reads rows in its transaction, calls these functions, then writes.

pub(super) mod administrators;
pub(super) mod audit_details;
pub(super) mod audit_select;
mod callers;
pub(super) mod identities;
pub(super) mod names;
pub(super) mod password;
mod session_start;

pub(super) use session_start::SessionStart;
