//! Each command that a message suggests is run in the state that makes the message appear, as it is printed there, and
//! mends that state. A test reads the source for suggestions that have no such case.

pub mod cases;
mod postgres;
mod source;
