//! Tests `bulla audit`: its filters, and the errors of malformed filters.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::support::server::Server;

/// A server with four events of ada's account from different times, besides the events of its start.
fn server() -> Server {
    let server = Server::started(&[]);
    server.sqlite3(
        "INSERT INTO audit (at, event, actor, subject) VALUES
         (1793491200000, 'login', '1', 'first'), (1793577600000, 'logout', '1', 'second'),
         (1793664000000, 'user.changed', 'cli:root', '1'), (1793664000000, 'login', '77', 'deleted')",
    );
    server
}

fn audit(server: &Server, arguments: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let output = server.cli(&[&["audit"], arguments].concat());
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
}

/// The last columns of the printed events, without the detail.
fn subjects(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split_whitespace().nth(3).unwrap()).collect()
}

#[test]
fn the_audit_is_filtered_by_time_user_and_event() {
    let server = server();
    let november = ["--since", "2026-11-01T00:00:00Z", "--until", "2026-11-02T00:00:00Z"];
    let shown = |arguments: &[&str]| {
        let (code, lines, said) = audit(&server, arguments);
        assert_eq!(code, Some(0), "{said}");
        lines
    };
    assert_eq!(subjects(&shown(&november)), ["first"]);
    assert_eq!(subjects(&shown(&["--since", "1793577600000", "--until", "1793577600001"])), ["second"]);
    let ada = shown(&["--user", "ada", "--until", "2026-11-04T00:00:00Z"]);
    assert_eq!(subjects(&ada), ["first", "second", "1"]);
    let logins = shown(&["--user", "ada", "--event", "login", "--until", "2026-11-04T00:00:00Z", "--json"]);
    let login: Value = serde_json::from_str(&logins[0]).unwrap();
    assert_eq!((logins.len(), &login["subject"]), (1, &"first".into()));
    assert_eq!(subjects(&shown(&["--user", "77"])), ["deleted"], "the id of a user who no longer exists");
    assert_eq!(shown(&["--since", "0s"]), [""; 0]);
    let (_, lines, said) = audit(&server, &["--since", "1793491200000", "--limit", "1"]);
    assert!(lines.len() == 1 && said.contains("only the newest 1 events are printed; --limit"), "{said}");
    let (_, lines, said) = audit(&server, &["--event", "logins"]);
    assert!(lines.is_empty() && said.contains("writes no event of the kind logins"), "{said}");
}

#[test]
fn a_malformed_filter_is_named_with_an_example() {
    let server = server();
    for (arguments, code, expected) in [
        (&["--since", "yesterday"][..], 2, &["--since", "2026-11-20T19:00:00Z", "2h"][..]),
        (&["--until", "2026-11-20"], 2, &["--until", "2026-11-20T19:00:00Z", "2h"]),
        (&["--event", "Log in"], 2, &["--event", "login.failed"]),
        (&["--user", "nobody"], 3, &["nobody", "bulla user list"]),
        (&["--since", "1h", "--until", "2h"], 2, &["--since must be earlier than --until"]),
        (&["--follow", "--until", "1h"], 2, &["--follow", "--until"]),
    ] {
        let (found, lines, said) = audit(&server, arguments);
        assert_eq!((found, lines), (Some(code), vec![]), "{arguments:?}");
        assert!(expected.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }
}

#[test]
fn following_the_audit_with_a_filter_shows_new_events_that_match() {
    let server = server();
    let mut command = server.command(&["audit", "--follow", "--user", "77", "--event", "login"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(next(), "deleted");
    server.sqlite3(
        "INSERT INTO audit (at, event, actor, subject) VALUES
         (1793664000001, 'logout', '77', 'a'), (1793664000001, 'login', '1', 'b'), (1793664000001, 'login', '77', 'c')",
    );
    assert_eq!(next(), "c");
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn the_export_has_every_event_that_matches_once_with_names_and_times() {
    let server = server();
    server.sqlite3(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
         INSERT INTO audit (at, event, actor, subject, detail)
         SELECT 1793750400000 + i, 'login', '1', i, '{\"ip\": \"192.0.2.7\"}' FROM n",
    );
    let export = |arguments: &[&str]| -> Vec<Value> {
        let (code, lines, said) = audit(&server, &[&["export"], arguments].concat());
        assert_eq!(code, Some(0), "{said}");
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let day = export(&["--since", "2026-11-04T00:00:00Z", "--until", "2026-11-05T00:00:00Z"]);
    let subjects: Vec<_> = day.iter().map(|line| line["bulla"]["subject"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..2500).map(|n| n.to_string()).collect();
    assert_eq!(subjects, expected, "more than two pages");
    assert_eq!(day[7]["@timestamp"], "2026-11-04T00:00:00.007Z");
    assert_eq!((&day[7]["user"]["name"], &day[7]["source"]["ip"]), (&"ada".into(), &"192.0.2.7".into()));
    let changed = &export(&["--event", "user.changed", "--until", "2026-11-04T00:00:00Z"])[0];
    assert_eq!(changed["user"]["target"]["name"], "ada");

    let all = export(&[]);
    assert_eq!(all.len().to_string(), server.sqlite3("SELECT count(*) FROM audit"));
    let number = |line: &Value| line["event"]["sequence"].as_i64().unwrap();
    assert!(all.windows(2).all(|two| number(&two[0]) < number(&two[1])), "in the order of the numbers");
    let next = number(&all[all.len() - 3]).to_string();
    assert_eq!(
        export(&["--after", &next]),
        all[all.len() - 2..],
        "an export continues where the last one ended"
    );
    let (code, lines, _) = audit(&server, &["--json", "export", "--after", &next]);
    assert_eq!((code, lines.len()), (Some(0), 2), "the lines are JSON in any case");
    let (code, lines, said) = audit(&server, &["--limit", "1", "export"]);
    assert!(code == Some(2) && lines.is_empty() && said.contains("after the word export"), "{said}");
    let (code, lines, said) = audit(&server, &["export", "--format", "xml"]);
    assert!(code == Some(2) && lines.is_empty() && said.contains("jsonl"), "{said}");
}
