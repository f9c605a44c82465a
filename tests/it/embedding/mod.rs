//! Tests Bulla inside another actix-web program.

mod own_users;
mod program;
mod sign_in;
mod streams;
