//! Tests each command that a message suggests.
//!
//! The command is run as printed, in the state in which the message appears, and must mend that state. Another test reads the
//! source for suggestions that have no such case.

mod installation;
mod keys;
mod permissions;
mod place;
mod postgres;
mod source;
