//! Tests the manual pages.

use std::process::Command;

use crate::support::server::Server;

#[test]
fn man_formats_every_page_without_a_warning() {
    let server = Server::new(&[]);
    let written = server.cli(&["man", "--dir", "pages"]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let pages: Vec<_> =
        std::fs::read_dir(server.path("pages")).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 30, "{pages:?}");
    for page in &pages {
        let Ok(shown) = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(page)
            .env("MANWIDTH", "100")
            .output()
        else {
            eprintln!("skipped: man is not installed");
            return;
        };
        let warnings = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        assert!(String::from_utf8_lossy(&shown.stdout).contains("SYNOPSIS"), "{}", page.display());
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let server = Server::new(&[]);
    let refused = server.cli(&["man", "--dir", "bulla.db/pages"]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("the manual pages can't be written to bulla.db/pages: "), "{why}");
}
