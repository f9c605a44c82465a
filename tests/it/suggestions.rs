//! Tests each command that a message suggests: runs it as printed, in the state in which the message appears, and checks that it
//! mends that state. Another test reads the source for suggestions that have no such case.

pub mod cases;
mod postgres;
mod source;
