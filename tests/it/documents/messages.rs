//! Tests that the messages and metrics that `docs/operations.md` explains exist.

use std::{fs, path::Path};

use super::{read, root};
use crate::support::server::Server;

/// The text of all source files, with strings over several lines joined.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &source(&path);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let parts: Vec<String> = fs::read_to_string(path)
                .unwrap()
                .split("\\\n")
                .enumerate()
                .map(|(at, part)| if at == 0 { part } else { part.trim_start() }.to_owned())
                .collect();
            text += &parts.concat();
        }
    }
    text
}

/// The page's list of messages and metrics, without its code.
fn explained() -> (String, Vec<String>) {
    let page = read("docs/operations.md");
    let (_, rest) = page.split_once("\n## Health, metrics, alarms\n").unwrap();
    let (section, _) = rest.split_once("\n### A clock").unwrap();
    let prose = section.split('`').step_by(2).collect::<String>();
    let code = section.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    (prose.split_whitespace().collect::<Vec<_>>().join(" "), code)
}

#[test]
fn each_message_that_the_operations_page_explains_is_in_the_source() {
    let (prose, _) = explained();
    let source = source(&root().join("src"));
    let messages: Vec<&str> = prose.split('"').skip(1).step_by(2).collect();
    assert!(messages.len() > 15, "{messages:?}");
    for message in messages {
        for part in message.split('…') {
            assert!(source.contains(part.trim()), "no message says: {message}");
        }
    }
}

#[tokio::test]
async fn each_metric_that_the_operations_page_explains_is_exported() {
    let server = Server::started(&[]);
    let metrics = server.browser().get("/metrics").await.text().await.unwrap();
    let (_, code) = explained();
    let names: Vec<&str> = code
        .iter()
        .filter(|code| code.starts_with("bulla_"))
        .map(|code| code.split(['{', ' ']).next().unwrap())
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(metrics.contains(&format!("\n{name}")), "no metric {name}:\n{metrics}");
    }
}
