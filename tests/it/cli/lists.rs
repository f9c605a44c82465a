//! Tests the lists of sessions and users, and the commands that say first how many sessions they end.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::server::{PASSWORD, Server};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn data(output: &Output) -> Value {
    assert!(output.status.success(), "{}", err(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the command that a message suggests between backticks.
fn suggested(server: &Server, output: &Output) -> Output {
    let said = err(output);
    let command = said.split('`').nth(1).unwrap_or_else(|| panic!("{said:?} suggests no command"));
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    server.cli(&words)
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// Inserts live sessions: the user's id, the user agent, the address, and how many seconds ago they began. Returns their sids.
fn insert(server: &Server, sessions: &[(&str, &str, &str, u32)]) -> Vec<String> {
    let mut sids = Vec::new();
    for (at, (user, agent, ip, ago)) in sessions.iter().enumerate() {
        let sid = format!("{at:021}A");
        server.sqlite3(&format!(
            "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at, expires_at,
               transport, user_agent, ip)
             VALUES ('{sid}', '{user}', randomblob(32), 0, (unixepoch() - {ago}) * 1000, (unixepoch() - {ago}) * 1000,
               (unixepoch() + 900) * 1000, (unixepoch() + 900) * 1000, 'cookie', '{agent}', '{ip}')"
        ));
        sids.push(sid);
    }
    sids
}

#[test]
fn sessions_are_listed_with_names_readable_agents_and_a_command_for_the_next_page() {
    let server = Server::new(&[]);
    server.add_user("bob", &[]);
    let sids = insert(
        &server,
        &[
            ("1", FIREFOX, "203.0.113.7", 10),
            ("2", "curl/8.1", "2001:db8::1", 20),
            ("member-7", "", "", 30),
            ("1", "my script", "203.0.113.70", 40),
        ],
    );
    let listed = server.cli(&["session", "list"]);
    let lines: Vec<String> = out(&listed).lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), err(&listed)), (5, String::new()));
    for (line, (sid, name, agent)) in lines[1..].iter().zip([
        (&sids[0], "ada", "Firefox 128 on Linux"),
        (&sids[1], "bob", "curl 8"),
        (&sids[2], "member-7", "Unknown device"),
        (&sids[3], "ada", "my script"),
    ]) {
        let begins = format!("{sid}  {name} ");
        assert!(line.starts_with(&begins) && line.ends_with(agent), "{line:?}");
    }
    let first = server.cli(&["session", "list", "--user", "ada", "--limit", "1"]);
    assert_eq!(out(&first).lines().count(), 2);
    assert!(err(&first).contains("`bulla session list --user ada --limit 1 --after "), "{}", err(&first));
    let second = suggested(&server, &first);
    assert!(out(&second).lines().nth(1).unwrap().starts_with(&sids[3]), "{}", out(&second));
    assert_eq!(err(&second), "", "the last page names no next one");
}

#[test]
fn sessions_are_filtered_by_user_address_and_agent_on_the_command_line() {
    let server = Server::new(&[]);
    server.add_user("bob", &[]);
    let sids = insert(
        &server,
        &[
            ("1", FIREFOX, "203.0.113.7", 10),
            ("2", "curl/8.1", "2001:db8::1", 20),
            ("2", FIREFOX, "203.0.113.70", 30),
        ],
    );
    for (arguments, expected) in [
        (&["--user", "BOB"][..], &[1, 2][..]),
        (&["--ip", "203.0.113.7"], &[0]),
        (&["--ip", "2001:0DB8:0::1"], &[1]),
        (&["--agent", "firefox"], &[0, 2]),
        (&["--agent", "firefox", "--user", "bob"], &[2]),
        (&["--agent", "opera"], &[]),
    ] {
        let listed = data(&server.cli(&[&["session", "list", "--json"], arguments].concat()));
        let found: Vec<&str> =
            listed["sessions"].as_array().unwrap().iter().map(|row| row["sid"].as_str().unwrap()).collect();
        let expected: Vec<&str> = expected.iter().map(|at| sids[*at].as_str()).collect();
        assert_eq!((found, &listed["next"]), (expected, &Value::Null), "{arguments:?}");
    }
    for (arguments, names) in [
        (["--ip", "203.0.113"], "--ip"),
        (["--after", "1.short"], "--after"),
        (["--limit", "0"], "--limit"),
        (["--limit", "10001"], "--limit"),
    ] {
        let refused = server.cli(&[&["session", "list"], &arguments[..]].concat());
        assert!(refused.status.code() == Some(2) && err(&refused).contains(names), "{arguments:?}");
    }
}

#[test]
fn times_in_json_have_the_form_of_rfc_3339() {
    let server = Server::new(&[]);
    let sids = insert(&server, &[("1", FIREFOX, "203.0.113.7", 0), ("1", FIREFOX, "203.0.113.8", 60)]);
    let is_time = |value: &Value| {
        value.as_str().is_some_and(|text| text.parse::<bulla::internals::clock::Timestamp>().is_ok())
    };
    let listed = data(&server.cli(&["session", "list", "--json", "--limit", "1"]));
    let row = &listed["sessions"][0];
    for field in ["created_at", "rotated_at", "idle_expires_at", "expires_at"] {
        assert!(is_time(&row[field]), "{row}");
    }
    assert_eq!(
        (&row["user_agent"], &row["user_name"], &row["sid"]),
        (&json!(FIREFOX), &json!("ada"), &json!(sids[0]))
    );
    let next = listed["next"].as_str().unwrap();
    let second = data(&server.cli(&["session", "list", "--json", "--limit", "1", "--after", next]));
    assert_eq!((&second["sessions"][0]["sid"], &second["next"]), (&json!(sids[1]), &Value::Null));
    assert!(is_time(&data(&server.cli(&["user", "show", "ada", "--json"]))["created_at"]));
    assert!(is_time(&data(&server.cli(&["user", "list", "--json"]))["users"][0]["created_at"]));
    let added = data(&server.cli(&["client", "add", "app", "--scope", "read", "--json"]));
    assert!(is_time(&added["created_at"]), "{added}");
    let rotated = data(&server.cli(&["client", "rotate-secret", "app", "--json"]));
    assert!(is_time(&rotated["former_secret_until"]), "{rotated}");
    assert!(is_time(&data(&server.cli(&["client", "list", "--json"]))["clients"][0]["created_at"]));
    let ring = data(&server.cli(&["keys", "list", "--json"]));
    assert!(is_time(&ring["not_before"]) && is_time(&ring["keys"][0]["since"]), "{ring}");
    let sealed = data(&server.cli(&["token", "seal", "{}", "--json"]));
    let shown = data(&server.cli(&["token", "inspect", sealed["token"].as_str().unwrap(), "--json"]));
    assert!(is_time(&shown["issued_at"]), "{shown}");
}

#[test]
fn users_are_listed_by_role_name_and_state() {
    let server = Server::new(&[]);
    server.add_user("bob", &["ops"]);
    server.add_user("carol", &["ops", "admin"]);
    assert!(server.cli(&["user", "disable", "bob"]).status.success());
    for (arguments, expected) in [
        (&[][..], &["ada", "bob", "carol"][..]),
        (&["--role", "ops"], &["bob", "carol"]),
        (&["--role", "op"], &[]),
        (&["--role", "admin", "--name", "CAR"], &["carol"]),
        (&["--disabled"], &["bob"]),
        (&["--enabled", "--role", "ops"], &["carol"]),
    ] {
        let listed = data(&server.cli(&[&["user", "list", "--json"], arguments].concat()));
        let names: Vec<&str> =
            listed["users"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{arguments:?}");
    }
    let first = server.cli(&["user", "list", "--enabled", "--role", "admin", "--limit", "1"]);
    assert!(
        err(&first).contains("`bulla user list --role admin --enabled --limit 1 --after 1`"),
        "{}",
        err(&first)
    );
    server.add_user("b-x", &[]);
    server.add_user("c-x", &[]);
    let hyphen = server.cli(&["user", "list", "--name=-x", "--limit", "1"]);
    assert!(out(&suggested(&server, &hyphen)).contains("c-x"), "{}", err(&hyphen));
    for wrong in ["abc", "0", "-1", "01"] {
        let refused = server.cli(&["user", "list", &format!("--after={wrong}")]);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""), "{wrong}");
    }
    let second = suggested(&server, &first);
    assert!(out(&second).contains("carol") && err(&second).is_empty(), "{second:?}");
    let refused = server.cli(&["user", "list", "--role", "o ps"]);
    assert!(refused.status.code() == Some(2) && err(&refused).contains("[A-Za-z0-9]"), "{}", err(&refused));
}

#[test]
fn roles_are_checked_and_a_role_that_is_not_held_cannot_be_removed() {
    let server = Server::new(&[]);
    for arguments in [&["user", "role", "ada", "--add", "a,b"][..], &["user", "add", "bob", "--role", "a b"]]
    {
        let refused = server.cli(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(
            err(&refused).contains("a role must match [A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}"),
            "{}",
            err(&refused)
        );
    }
    let missing = server.cli(&["user", "role", "ada", "--add", "ops", "--remove", "admn"]);
    assert_eq!(missing.status.code(), Some(3));
    let said = "ada doesn't have the role \"admn\"; nothing was changed. Roles of ada: admin";
    assert!(err(&missing).contains(said), "{}", err(&missing));
    assert_eq!(data(&server.cli(&["user", "show", "ada", "--json"]))["roles"], json!(["admin"]));
    // A role that breaks the pattern, from another program, can be removed.
    server.sqlite3("UPDATE users SET roles = '[\"admin\",\"a b\"]' WHERE id = 1");
    assert!(server.cli(&["user", "role", "ada", "--remove", "a b"]).status.success());
    assert_eq!(data(&server.cli(&["user", "show", "ada", "--json"]))["roles"], json!(["admin"]));
}

#[test]
fn claims_are_shown_replaced_and_removed() {
    let server = Server::new(&[]);
    assert_eq!(out(&server.cli(&["user", "claims", "ada"])), "{}\n");
    let set = server.cli(&["user", "claims", "ada", "--set", r#"{"team":"blue","seat":7}"#]);
    assert_eq!(data(&set), json!({"team": "blue", "seat": 7}));
    assert_eq!(data(&server.cli(&["user", "claims", "ada"])), json!({"team": "blue", "seat": 7}));
    for (bad, says) in
        [("[1]", "must be a JSON object"), ("{", "must be a JSON object"), (r#"{"roles":[]}"#, "\"roles\"")]
    {
        let refused = server.cli(&["user", "claims", "ada", "--set", bad]);
        assert!(refused.status.code() == Some(2) && err(&refused).contains(says), "{bad}: {}", err(&refused));
    }
    assert_eq!(server.cli(&["user", "claims", "ada", "--set", "{}", "--clear"]).status.code(), Some(2));
    assert_eq!(data(&server.cli(&["user", "claims", "ada", "--clear"])), json!({}));
    assert_eq!(server.cli(&["user", "claims", "nobody"]).status.code(), Some(3));
}

#[tokio::test]
async fn a_renamed_user_logs_in_with_the_new_name() {
    let server = Server::started(&[]);
    server.add_user("bob", &[]);
    let browser = server.browser();
    browser.log_in("bob").await;
    let tried = server.cli(&["user", "rename", "bob", "Robert", "--dry-run"]);
    assert_eq!(
        out(&tried),
        "dry run: bob would be renamed to Robert, and 1 session would end; nothing was changed\n"
    );
    assert_eq!(browser.status().await, 200);
    for (new, code) in [("ADA", 1), ("bob", 1), (" bob", 2)] {
        assert_eq!(server.cli(&["user", "rename", "bob", new]).status.code(), Some(code), "{new}");
    }
    let renamed = server.cli(&["user", "rename", "bob", "Robert"]);
    assert_eq!(err(&renamed), "bob: ending 1 session\nbob: renamed to Robert, all sessions ended\n");
    crate::support::server::eventually("the session has ended", || async { browser.status().await == 401 })
        .await;
    assert_eq!(server.cli(&["user", "show", "bob"]).status.code(), Some(3));
    let login = json!({"username": "robert", "password": PASSWORD});
    assert_eq!(server.browser().post("/auth/login", login).await.status(), 200);
}

#[test]
fn the_number_of_sessions_is_printed_before_they_end_and_a_dry_run_ends_none() {
    let server = Server::new(&[]);
    server.add_user("bob", &[]);
    insert(&server, &[("1", "", "", 0), ("2", "", "", 0), ("2", "", "", 0)]);
    let sessions = || server.sqlite3("SELECT count(*) FROM sessions");
    for (arguments, says) in [
        (&["session", "revoke", "--all"][..], "dry run: 3 sessions would end; nothing was changed\n"),
        (&["session", "revoke", "--user", "ada"], "dry run: 1 session would end; nothing was changed\n"),
        (
            &["user", "disable", "bob"],
            "dry run: bob would be disabled, and 2 sessions would end; nothing was changed\n",
        ),
        (
            &["user", "delete", "bob"],
            "dry run: bob would be deleted, and 2 sessions would end; nothing was changed\n",
        ),
    ] {
        let tried = server.cli(&[arguments, &["--dry-run"]].concat());
        assert_eq!((out(&tried), err(&tried)), (says.to_owned(), String::new()), "{arguments:?}");
        let tried = data(&server.cli(&[arguments, &["--dry-run", "--json"]].concat()));
        assert!(tried["dry_run"] == true && tried["sessions"].is_u64(), "{tried}");
    }
    assert_eq!(
        (sessions(), data(&server.cli(&["user", "show", "bob", "--json"]))["disabled"].clone()),
        ("3".into(), json!(false))
    );
    let disabled = server.cli(&["user", "disable", "bob"]);
    assert!(err(&disabled).starts_with("bob: ending 2 sessions\nbob: disabled"), "{}", err(&disabled));
    assert_eq!(sessions(), "1");
    let deleted = server.cli(&["user", "delete", "bob", "--json"]);
    assert_eq!(data(&deleted), json!({"deleted": {"id": "2", "name": "bob"}}));
    let revoked = server.cli(&["session", "revoke", "--all"]);
    assert_eq!(err(&revoked), "ending 1 session\n1 session ended\n");
    assert_eq!(sessions(), "0");
}

#[test]
fn commands_that_change_a_client_or_a_password_print_json() {
    let server = Server::new(&[]);
    let id = data(&server.cli(&["client", "add", "app", "--scope", "read", "--json"]))["id"].clone();
    assert_eq!(data(&server.cli(&["client", "disable", "app", "--json"]))["disabled"], true);
    assert_eq!(data(&server.cli(&["client", "enable", "app", "--json"]))["disabled"], false);
    assert_eq!(
        data(&server.cli(&["client", "delete", "app", "--json"])),
        json!({"deleted": {"id": id, "name": "app"}})
    );
    let set =
        data(&server.cli_with(&["user", "passwd", "ada", "--password-stdin", "--json"], "another good one"));
    assert_eq!(set, json!({"id": "1", "name": "ada", "recently_linked": []}));
}
