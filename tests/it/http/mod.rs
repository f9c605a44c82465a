//! Tests the server: its routes, pages, guard, limits, logs, and the process itself.

mod abuse;
mod admin_lists;
mod audit;
mod browser;
mod clock_jumps;
mod credentials;
mod cross_site_browsers;
mod csrf;
mod damaged_database;
mod javascript_client;
mod login;
mod logs;
mod memory_and_start;
mod openapi;
mod pages;
mod process;
mod proof;
mod reload;
mod routes;
mod service_manager;
mod throttle;
mod tls;
mod unfinished_requests;
mod unusual_requests;
