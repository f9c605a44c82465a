//! Tests that nginx accepts the configuration of the operations page. `tests/it/gateway/forward_auth.rs` runs the configurations of
//! `contrib/`.

use std::process::Command;

use super::{block, read};
use crate::support::{
    ports::free_port,
    proxies::{nginx_configuration, program},
};

#[test]
fn nginx_accepts_the_configuration_of_the_operations_page() {
    let Some(nginx) = program("nginx") else { return };
    let page = read("docs/operations.md");
    let shown = block(&page, "nginx");
    assert!(shown.contains("listen 443 ssl;"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let blocks = shown.replace("443 ssl", &format!("127.0.0.1:{}", free_port()));
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, nginx_configuration(&blocks, folder.path())).unwrap();
    let output = Command::new(nginx).args(["-t", "-e", "stderr", "-c"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
