//! Tests Bulla inside another actix-web program.

mod guards;
mod mounting;
mod own_users;
mod program;
mod sign_in;
mod streams;
mod testing_module;
