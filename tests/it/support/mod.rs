//! Code that tests share: servers, browsers, databases, simulated providers and faults.

pub mod app;
pub mod chromium;
pub mod cluster;
pub mod code_flow;
pub mod fault_injection;
pub mod faulty_proxy;
pub mod firefox;
pub mod installation;
pub mod oauth_client;
pub mod other_site;
pub mod ports;
pub mod providers;
pub mod proxies;
pub mod raw_http;
pub mod server;
pub mod stores;
pub mod system;
pub mod tls;
