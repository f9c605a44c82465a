//! Tests Bulla inside another actix-web program.

mod guards;
mod own_users;
mod program;
mod sign_in;
mod streams;
