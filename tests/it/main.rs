//! The integration tests, compiled into one binary. Each folder covers one part of the program.

// Any failure in a test, or in code that tests share, must end the test.
#![allow(clippy::unwrap_used, clippy::panic)]
// Only this binary uses the test modules.
#![allow(unreachable_pub)]

// The command line, the settings, and the commands and settings that messages and documents name.
mod cli;
// Keys and tokens: the keys directory, the token format, other implementations of it, and the structure of the source.
mod core;
// The documents: links, commands, settings, examples.
mod documents;
// Bulla inside another actix-web program: own users, sign-in, guards, streams, mounted routes and pages.
mod embedding;
// Several nodes with one PostgreSQL behind a load balancer.
mod fleet;
// The gateway: which requests reach an app, what the app learns of the caller, and streams that end with their session.
mod gateway;
// The server: its routes, pages, guard, limits, logs, and the process itself.
mod http;
// OAuth: clients, tokens of machines, and apps that sign users in.
mod oauth;
// Sign-in with OpenID Connect providers.
mod openid;
// The rules of sessions: refresh, end and revocation.
mod session;
// The stores: one suite for all of them, and the behavior of each database.
mod store;
// Code that tests share: servers, browsers, databases, simulated providers and faults.
mod support;
