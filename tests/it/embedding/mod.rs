//! Tests Bulla inside other programs, on actix-web and on axum.

mod adapters;
mod axum;
mod guards;
mod mounting;
mod notes;
mod own_users;
mod pages;
mod program;
mod sign_in;
mod start;
mod streams;
mod testing_module;
