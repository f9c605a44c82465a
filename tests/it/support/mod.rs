//! Code that tests share: servers, browsers, databases, simulated providers and faults.

pub mod chromium;
pub mod cluster;
pub mod fault_injection;
pub mod faulty_proxy;
pub mod firefox;
pub mod installation;
pub mod other_site;
pub mod providers;
pub mod raw_http;
pub mod server;
pub mod stores;
