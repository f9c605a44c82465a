//! Tests the command line: the arguments, what is printed on stdout and stderr, and the exit code.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::server::{PASSWORD, Server};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    assert!(out.contains(stdout), "{out:?} lacks {stdout:?}");
    assert!(err.contains(stderr), "{err:?} lacks {stderr:?}");
    if code != 0 {
        assert_eq!(out, "", "a failure prints no data");
    }
}

#[test]
fn tokens_are_sealed_opened_and_refused() {
    let server = Server::new(&[]);
    let sealed = server.cli(&["token", "seal", r#"{"id":"42"}"#]);
    let token = text(&sealed.stdout).trim_end().to_owned();
    assert_eq!((token.len(), &token[..4]), (86, "bulX"));
    check(&server.cli(&["token", "open", &token]), 0, "{\"id\":\"42\"}\n", "");
    check(&server.cli_with(&["token", "open", "-"], &format!("{token}\n")), 0, "{\"id\":\"42\"}\n", "");
    check(&server.cli(&["token", "open", &token, "--purpose", "service"]), 4, "", "bulla: token refused\n");
    check(&server.cli(&["token", "open", &token, "--audience", "billing"]), 4, "", "token refused");
    check(&server.cli(&["token", "open", ""]), 4, "", "token refused");
    check(&server.cli(&["token", "open", "-nonsense"]), 4, "", "token refused");
    check(&server.cli(&["token", "open", &token[..85]]), 4, "", "token refused");
    check(&server.cli(&["token", "seal", "[1]"]), 2, "", "one strict JSON object");
    check(&server.cli(&["token", "seal", "{}", "--purpose", "Bad"]), 2, "", "purpose");
    check(&server.cli(&["token", "inspect", &token]), 0, "outcome  opens", "");
    let shown: Value =
        serde_json::from_slice(&server.cli(&["token", "inspect", &token, "--json"]).stdout).unwrap();
    assert_eq!(
        (&shown["suite"], &shown["characters"], &shown["state"]),
        (&"xaes-256-gcm".into(), &86.into(), &"active".into())
    );
    check(&server.cli(&["token", "inspect", "nonsense"]), 4, "", "token refused");
}

#[test]
fn a_token_argument_is_not_trimmed_and_invalid_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let server = Server::new(&[]);
    let token = text(&server.cli(&["token", "seal", r#"{"id":"42"}"#]).stdout).trim_end().to_owned();
    check(&server.cli(&["token", "open", &format!("{token}\n")]), 4, "", "token refused");
    check(&server.cli(&["token", "inspect", &format!("{token}\n")]), 4, "", "token refused");
    check(&server.cli_with(&["token", "open", "-"], &format!("{token}\r\n")), 0, "{\"id\":\"42\"}\n", "");
    check(&server.cli_with(&["token", "open", "-"], &format!("{token}\n\n")), 4, "", "token refused");
    check(&server.cli_with(&["token", "open", "-"], &"A".repeat(1 << 20)), 4, "", "token refused");
    check(&server.cli_with(&["token", "open", "-"], ""), 4, "", "token refused");
    let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let open = |command: &str| {
        let mut command = server.command(&["token", command]);
        command.arg(bytes).output().unwrap()
    };
    check(&open("open"), 4, "", "bulla: token refused\n");
    check(&open("inspect"), 4, "", "bulla: token refused\n");
    check(&open("seal"), 2, "", "one strict JSON object");
}

#[test]
fn users_are_added_shown_changed_and_deleted() {
    let server = Server::new(&[]);
    check(
        &server.cli_with(&["user", "add", "bob", "--password-stdin"], PASSWORD),
        0,
        "",
        "bob: added with id 2",
    );
    check(
        &server.cli_with(&["user", "add", "bob", "--password-stdin"], PASSWORD),
        1,
        "",
        "the user \"bob\" exists already",
    );
    check(
        &server.cli_with(&["user", "add", "B\u{43e}b", "--password-stdin"], PASSWORD),
        1,
        "",
        "looks like a taken name",
    );
    check(
        &server.cli_with(&["user", "add", "eve", "--password-stdin"], "short"),
        1,
        "",
        "at least 8 characters",
    );
    check(&server.cli(&["user", "add", "eve"]), 1, "", "--password-stdin");
    check(
        &server.cli_with(&["user", "add", " eve", "--password-stdin"], PASSWORD),
        2,
        "",
        "without blanks at the start or end",
    );
    check(&server.cli(&["user", "list"]), 0, "2   bob   none   enabled", "");
    check(&server.cli(&["user", "show", "BOB"]), 0, "bob", "");
    check(&server.cli(&["user", "show", "nobody"]), 3, "", "bulla user list");
    check(&server.cli(&["user", "role", "bob", "--add", "ops"]), 0, "", "roles ops");
    check(&server.cli(&["user", "role", "bob"]), 2, "", "--add ROLE");
    check(&server.cli(&["user", "role", "ada", "--remove", "admin"]), 1, "", "last administrator");
    check(&server.cli(&["user", "disable", "ada"]), 1, "", "last administrator");
    check(&server.cli(&["user", "delete", "ada"]), 1, "", "last administrator");
    check(&server.cli(&["user", "disable", "bob"]), 0, "", "disabled");
    let bob: Value = serde_json::from_slice(&server.cli(&["--json", "user", "show", "bob"]).stdout).unwrap();
    assert_eq!((&bob["disabled"], &bob["roles"][0]), (&true.into(), &"ops".into()));
    check(&server.cli(&["user", "enable", "bob"]), 0, "", "enabled");
    check(
        &server.cli_with(&["user", "passwd", "bob", "--password-stdin"], "another good one"),
        0,
        "",
        "password set",
    );
    check(&server.cli(&["user", "delete", "bob"]), 0, "", "deleted");
    check(&server.cli(&["user", "delete", "bob"]), 3, "", "no user");
    let audit = text(&server.cli(&["audit"]).stdout);
    for event in
        ["user.added", "user.changed", "user.disabled", "user.enabled", "password.changed", "user.deleted"]
    {
        assert!(audit.contains(event), "{audit}");
    }
    assert!(!audit.contains(PASSWORD) && !audit.contains("argon2"));
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = Server::started(&[]);
    let (browser, other) = (server.ada().await, server.ada().await);
    let sid = browser.sid().await;
    check(&server.cli(&["session", "list", "--user", "ada"]), 0, &sid, "");
    check(&server.cli(&["session", "list", "--user", "nobody"]), 3, "", "no user");
    check(&server.cli(&["session", "revoke"]), 2, "", "");
    check(&server.cli(&["session", "revoke", "short"]), 2, "", "22 characters");
    check(&server.cli(&["session", "revoke", &sid]), 0, "", "1 session ended");
    check(&server.cli(&["session", "revoke", &sid]), 3, "", "there is no live session with this id");
    crate::support::server::eventually("revoked", || async { browser.status().await == 401 }).await;
    assert_eq!(other.status().await, 200);
    check(&server.cli(&["session", "revoke", "--all", "--json"]), 0, "\"revoked\":[", "");
    crate::support::server::eventually("all revoked", || async { other.status().await == 401 }).await;
}

#[test]
fn an_error_says_what_is_wrong_where_and_which_command_mends_it() {
    let server = Server::new(&[]);
    check(&server.cli(&["serve", "--listen", "0.0.0.0:0"]), 2, "", "plain HTTP is allowed only on loopback");
    check(&server.cli(&["--keys", "nowhere", "serve"]), 3, "", "bulla init");
    check(&server.cli(&["--database", "nowhere/x.db", "user", "list"]), 5, "", "nowhere/x.db");
    check(
        &server.cli(&["--database", "nowhere.db", "user", "list"]),
        5,
        "",
        "`bulla init --database nowhere.db` creates one",
    );
    check(
        &server.cli(&["--database", "nowhere.db", "serve"]),
        5,
        "",
        "`bulla init --database nowhere.db` creates one",
    );
    assert!(!server.path("nowhere.db").exists(), "a slip of the pen makes no database");
    check(&server.cli(&["--config", "nowhere.toml", "user", "list"]), 2, "", "nowhere.toml");
    check(&server.cli(&["nonsense"]), 2, "", "Usage");
    std::fs::write(server.path("bulla.toml"), "acess_max_age = '1m'").unwrap();
    check(&server.cli(&["user", "list"]), 2, "", "did you mean access_max_age?");
}

#[test]
fn a_suggested_command_can_be_pasted_and_names_the_file() {
    let server = Server::new(&[]);
    let keys = server.path("my 'own' keys");
    std::fs::rename(server.path("keys"), &keys).unwrap();
    let loaded = || server.cli(&["--keys", "my 'own' keys", "keys", "list"]);
    assert_eq!(loaded().status.code(), Some(0));
    let open = Command::new("chmod").arg("770").arg(&keys).status().unwrap();
    assert!(open.success());
    let refused = loaded();
    let said = text(&refused.stderr);
    let mend = said.split('`').nth(1).unwrap();
    let mended = Command::new("sh").args(["-c", mend]).current_dir(server.dir.path()).status().unwrap();
    assert!(refused.status.code() == Some(1) && mended.success(), "{said}");
    assert_eq!(loaded().status.code(), Some(0), "{mend}");
    std::fs::write(server.path("junk.db"), "no database, but long enough to be taken for one").unwrap();
    check(
        &server.cli(&["--database", "junk.db", "user", "list"]),
        5,
        "",
        "junk.db: the file is not a database",
    );
}

#[test]
fn init_creates_only_what_is_missing() {
    let server = Server::new(&[]);
    let ring = std::fs::read(server.path("keys/ring.json")).unwrap();
    check(&server.cli(&["init"]), 0, "", "the key ring exists already");
    assert_eq!(std::fs::read(server.path("keys/ring.json")).unwrap(), ring);
    std::fs::rename(server.path("keys"), server.path("gone")).unwrap();
    check(&server.cli(&["init"]), 1, "", "The database has recorded a key ring");
    check(&server.cli(&["serve", "--init", "--listen", "127.0.0.1:0"]), 3, "", "the key ring is missing");
}

#[test]
fn init_with_other_paths_writes_them_into_the_settings_file() {
    let server = Server::new(&[]);
    let elsewhere = ["--config", "other.toml", "--keys", "ring \u{e9}", "--database", "other.db"];
    check(&server.cli(&[&elsewhere[..], &["init"]].concat()), 0, "", "other.toml: created the settings file");
    // The settings file contains the paths, so no flag is needed.
    let add = ["--config", "other.toml", "user", "add", "eve", "--password-stdin"];
    check(&server.cli_with(&add, PASSWORD), 0, "", "eve: added with id 1");
    check(&server.cli(&["--config", "other.toml", "keys", "list"]), 0, "active", "");
    check(&server.cli(&["user", "show", "eve"]), 3, "", "no user");
}

#[test]
fn an_invalid_setting_is_an_error_and_is_never_ignored() {
    use std::os::unix::ffi::OsStrExt as _;
    let server = Server::new(&[]);
    let with = |name: &str, value: &[u8]| {
        let mut command = server.command(&["user", "list"]);
        command.env(name, std::ffi::OsStr::from_bytes(value)).output().unwrap()
    };
    check(
        &with("BULLA_COOKIE_DOMAIN", b"\xff"),
        2,
        "",
        "BULLA_COOKIE_DOMAIN in the environment: must be UTF-8",
    );
    check(&with("BULLA_KEYS", b""), 2, "", "must be a path");
    check(&with("BULLA_LOG_LEVEL", b"loud"), 2, "", "must be error or warn or info or debug or trace");
    check(&with("BULLA_AUDIT_KEEP", b"0s"), 2, "", "must be at least 1h");
    check(&with("BULLA_ACCES_MAX_AGE", b"1m"), 0, "ada", "did you mean BULLA_ACCESS_MAX_AGE?");
    for database in
        ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d", "postgres://u:hunter2@h/d?sslmode=x"]
    {
        let refused = with("BULLA_DATABASE", database.as_bytes());
        check(&refused, 2, "", "database in the environment");
        assert!(!text(&refused.stderr).contains("hunter2"), "{database}");
    }
    check(&with("BULLA_LOG_LEVEL", b"debug"), 0, "ada", "");
}

#[test]
fn a_closed_output_pipe_ends_the_program_without_an_error() {
    let server = Server::new(&[]);
    for arguments in
        ["user list", "audit", "keys list", "--help", "man", "completions zsh", "session list --json"]
    {
        let program = env!("CARGO_BIN_EXE_bulla");
        // The reader ends before the first byte is written; `PIPESTATUS` shows how the writer ended.
        let script = format!(
            "set -o pipefail; {{ sleep 0.2; {program} {arguments}; }} | true; echo ${{PIPESTATUS[0]}}"
        );
        let output =
            std::process::Command::new("bash").args(["-c", &script]).current_dir(server.dir.path()).output();
        let output = output.unwrap();
        assert_eq!(
            (text(&output.stdout), text(&output.stderr)),
            ("0\n".into(), String::new()),
            "{arguments}"
        );
    }
}

#[test]
fn the_settings_page_lists_exactly_the_settings_of_the_program() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let knobs = bulla::internals::config::KNOBS.iter().map(|(name, default, what)| {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        format!("| `{name}` | {default} | {what} |")
    });
    // The settings file must not contain a secret.
    let of_providers = bulla::internals::identity::openid::PROVIDER_FIELDS
        .iter()
        .filter(|(name, _)| *name != "client_secret");
    use bulla::internals::{config::SITE_FIELDS, http::UPSTREAM_FIELDS};
    let of_tables = of_providers.chain(&UPSTREAM_FIELDS).chain(&SITE_FIELDS);
    let of_tables = of_tables.map(|(name, what)| format!("| `{name}` | {what} |"));
    assert_eq!(rows, knobs.chain(of_tables).collect::<Vec<_>>());
}

#[test]
fn help_shows_examples_that_run() {
    let server = Server::new(&[]);
    for command in [
        vec!["--help"],
        vec!["serve", "--help"],
        vec!["user", "add", "--help"],
        vec!["keys", "rotate", "--help"],
        vec!["token", "seal", "--help"],
        vec!["session", "revoke", "--help"],
    ] {
        check(&server.cli(&command), 0, "Example", "");
    }
    check(&server.cli(&["completions", "bash"]), 0, "_bulla", "");
    check(&server.cli(&["man"]), 0, ".TH", "");
    check(&server.cli(&["--version"]), 0, "bulla 0.", "");
}
