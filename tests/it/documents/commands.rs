//! Tests the commands of the documents: each is run, or at least its arguments are parsed.

use std::process::Command;

use super::{blocks, pages, read, sessions};
use crate::support::server::Server;

/// The commands of shell blocks that a test can't run as they are, and the reason. Those of `bulla` are parsed nevertheless.
const NOT_RUN: [(&str, &str); 23] = [
    (
        "bulla serve --init --upstream http://127.0.0.1:3000",
        "serves until it is stopped; the tests of the gateway start such servers",
    ),
    ("cargo build --release", "the tests have a program already"),
    ("target/release/bulla serve --init", "a test of the sessions runs it at a terminal"),
    ("cargo install --locked --path . --root /usr/local", "changes the machine"),
    ("useradd --system --home-dir /var/lib/bulla --create-home bulla", "changes the machine"),
    ("cd /var/lib/bulla", "exists on the operator's machine"),
    ("sudo -u bulla bulla init", "needs the user bulla"),
    ("sudo -u bulla bulla user add ada --role admin", "asks for a password at a terminal"),
    ("bulla user add ada --role admin", "asks for a password at a terminal"),
    ("bulla user import users.jsonl --dry-run", "needs that file; the tests of the import write such files"),
    ("sudo -u postgres createuser --pwprompt bulla", "needs the user postgres"),
    ("sudo -u postgres createdb --owner bulla bulla", "needs the user postgres"),
    ("(umask 077; echo 'db.example:5432:bulla:bulla:PASSWORD' >>~/.pgpass)", "changes the user's home"),
    ("BULLA_DATABASE=postgres://bulla@db.example/bulla bulla init", "needs that host"),
    (
        "BULLA_DATABASE=postgres://bulla@db.example/bulla bulla migrate --from /var/lib/bulla/bulla.db",
        "needs that host",
    ),
    ("systemctl stop bulla", "needs systemd"),
    ("scripts/fleet", "the tests of the fleet run it"),
    ("scripts/rotate-keys --hook 'for n in node1 node2 node3; do", "needs those hosts"),
    (
        r#"curl https://login.example.org/auth/login --json '{"provider":"google","id_token":"…","nonce":"…","ticket":"…","transport":"body"}'"#,
        "needs an ID token of the provider; the tests of presented tokens send such a request",
    ),
    (
        "go mod edit -replace github.com/bulla-sessions/bulla/clients/go=../bulla/clients/go",
        "of the packages",
    ),
    (
        "go mod edit -require github.com/bulla-sessions/bulla/clients/go@v0.0.0",
        "the tests of the packages run it",
    ),
    ("pip install './clients/python[fastapi]'", "the tests of the packages run it"),
    ("npm install ./clients/javascript", "the tests of the packages run it"),
];

/// A public key for the client that signs (RFC 7517, appendix A.1).
const PUBLIC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

/// The commands of a page's shell blocks, without comments. A quoted text over several lines is one command.
fn commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in blocks(text, "sh").iter().flat_map(|block| block.lines()) {
        let line = if open { line } else { line.split(" #").next().unwrap_or_default().trim() };
        let line = if line.starts_with('#') { "" } else { line };
        match commands.last_mut().filter(|_| open) {
            Some(command) => *command = format!("{command}\n{line}"),
            None if line.is_empty() => continue,
            None => commands.push(line.to_owned()),
        }
        open ^= line.matches('\'').count() % 2 == 1;
    }
    commands
}

fn is_run(command: &str) -> bool {
    let first = command.lines().next().unwrap_or_default();
    !NOT_RUN.iter().any(|(other, _)| *other == first)
}

/// The arguments of `bulla` in a command line.
fn arguments(command: &str) -> Option<String> {
    let last = command.rsplit(" | ").next()?;
    let last = last.strip_prefix("sudo -u bulla ").unwrap_or(last);
    let mut words = last.split_whitespace().skip_while(|word| word.starts_with("BULLA_"));
    let program = words.next()?;
    let arguments = words.take_while(|word| !word.starts_with(['>', '&']) && !word.starts_with("2>"));
    (program == "bulla" || program.ends_with("/bulla")).then(|| arguments.collect::<Vec<_>>().join(" "))
}

/// All `bulla` commands of a page: in shell blocks, in terminal sessions, in services, and in the text.
fn invocations(text: &str) -> Vec<String> {
    let sessions = blocks(text, "console").into_iter().flat_map(str::lines);
    let typed = sessions.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned);
    let services = blocks(text, "ini").into_iter().flat_map(str::lines);
    let started = services.filter_map(|line| line.strip_prefix("ExecStart=")).map(str::to_owned);
    let mut found: Vec<String> =
        commands(text).into_iter().chain(typed).chain(started).filter_map(|line| arguments(&line)).collect();
    let fenced = text.split("```").step_by(2).collect::<String>();
    let inline = fenced.split('`').skip(1).step_by(2);
    found.extend(inline.filter_map(|code| {
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        code.strip_prefix("bulla ").map(str::to_owned)
    }));
    found
}

#[test]
fn the_arguments_of_each_command_exist() {
    let mut seen = 0;
    for page in pages() {
        for line in invocations(&read(&page)) {
            // With `--help`, only the names of the arguments are checked, and values of the right form are needed.
            let arguments = line.split_whitespace().map(|word| match word {
                "KID" => "9f3c21ab",
                "NAME" | "A" => "billing",
                "P" => "access",
                word => word,
            });
            if line == "help" {
                continue;
            }
            seen += 1;
            let program = env!("CARGO_BIN_EXE_bulla");
            let output = Command::new(program).args(arguments).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}: bulla {line}\n{said}");
        }
    }
    assert!(seen > 100, "only {seen} commands seen");
}

/// Runs the commands of a page in the folder of a running server, with some words replaced.
fn run(server: &Server, page: &str, replaced: &[(&str, &str)]) {
    let mut seen = 0;
    for command in commands(&read(page)).iter().filter(|command| is_run(command)) {
        let command = replaced.iter().fold(command.clone(), |text, (from, to)| text.replace(from, to));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &command]).current_dir(server.dir.path());
        shell.env("PATH", sessions::path());
        shell.envs(server.environment.iter().map(|(name, value)| (name, value)));
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}: {command}\n{said}");
        seen += 1;
    }
    assert!(seen > 0, "{page} has no command to run");
}

#[test]
fn each_command_is_run_or_has_a_reason_not_to_be() {
    let tested = [
        "docs/integrators.md",
        "docs/oauth.md",
        "docs/operations.md",
        "docs/protect-any-app.md",
        "docs/sign-in.md",
    ];
    let mut seen = Vec::new();
    for page in pages() {
        for command in commands(&read(&page)) {
            assert!(!is_run(&command) || tested.contains(&page.as_str()), "{page}: no test runs: {command}");
            seen.push(command.lines().next().unwrap_or_default().to_owned());
        }
    }
    for (command, _) in NOT_RUN {
        assert!(seen.iter().any(|seen| seen == command), "no page shows: {command}");
    }
}

#[test]
fn the_commands_of_the_integrators_page_run() {
    run(&Server::started(&[]), "docs/integrators.md", &[]);
}

#[test]
fn the_commands_of_the_page_on_protecting_apps_run() {
    run(&Server::started(&[]), "docs/protect-any-app.md", &[]);
}

#[test]
fn the_commands_of_the_oauth_page_run() {
    let server = Server::started(&[]);
    let added = server.cli(&["client", "add", "reports", "--scope", "read", "--audience", "billing"]);
    assert!(added.status.success());
    server.write_secret("backup.jwk", PUBLIC_KEY);
    run(&server, "docs/oauth.md", &[]);
}

#[test]
fn the_commands_of_the_page_on_sign_in_run() {
    let server = Server::started(&[]);
    run(&server, "docs/sign-in.md", &[("curl ", "curl -sf "), ("https://login.example.org", &server.origin)]);
}

#[test]
fn the_commands_and_statements_of_the_operations_page_run() {
    let server = Server::started(&[]);
    // The page disables `ada`, who must not be the last administrator.
    server.add_user("eve", &["admin"]);
    let listed = server.cli(&["keys", "list", "--json"]);
    let ring: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kid = ring["keys"][0]["kid"].as_str().unwrap();
    let replaced = [
        ("/var/lib/bulla/", ""),
        ("/backup/", "backup-"),
        // The staged key of this server is not yet ten minutes old.
        ("keys rotate", "keys rotate --now"),
        ("9f3c21ab", kid),
    ];
    run(&server, "docs/operations.md", &replaced);
    assert!(server.path("backup-bulla.db").exists());
    let page = read("docs/operations.md");
    let statements: Vec<&str> = blocks(&page, "sql").into_iter().flat_map(str::lines).collect();
    assert!(statements.len() >= 3);
    for statement in statements {
        server.sqlite3(statement);
    }
    let shown = server.cli(&["user", "show", "ada", "--json"]);
    let user: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(user["disabled"], true, "{user}");
}
