//! The integration tests, compiled into one binary, with one file per subject.

// Any failure in a test, or in code that tests share, must end the test.
#![allow(clippy::unwrap_used, clippy::panic)]
// Only this binary uses the test modules.
#![allow(unreachable_pub)]

mod arrows;
mod by_hand;
mod cluster;
mod embed;
mod foreign;
mod ground;
mod keys;
mod migrate;
mod model;
mod openers;
mod openid;
mod postgres;
mod ring;
mod session;
mod store;
mod suggestions;
mod token;
mod town;
mod vectors;

mod abuse;
mod apps;
mod browser;
mod chromium;
mod cli;
mod clock;
mod code;
mod csrf;
mod disk;
mod doctor;
mod edges;
mod elsewhere;
mod faults;
mod firefox;
mod fleet;
mod forgery;
mod guessing;
mod http;
mod incomplete;
mod killed;
mod leap;
mod login;
mod logs;
mod mistaken;
mod oauth;
mod openapi;
mod packages;
mod pages;
mod process;
mod proof;
mod raw;
mod readme;
mod revocation;
mod server;
mod settings;
mod size;
mod steps;
mod tabs;
mod tls;
mod wal;
