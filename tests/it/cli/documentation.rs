//! Tests that the README is true: its terminal session is run, and its code is that of the example.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::server::Server;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The clients' pages, and the language of their examples.
const CLIENTS: [(&str, &str); 3] = [
    ("python", "clients/python/README.md"),
    ("js", "clients/javascript/README.md"),
    ("go", "clients/go/README.md"),
];

/// The address at which the pages of this repository are shown.
const REPOSITORY: &str = "https://github.com/bulla-sessions/bulla/blob/main/";

/// Every page of the documentation.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned(), "keys/README.md".to_owned()];
    pages.extend(CLIENTS.map(|(_, page)| page.to_owned()));
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages
}

/// The first fenced block in this language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let fence = format!("\n```{language}\n");
    let start = text.find(&fence).unwrap_or_else(|| panic!("no block of {language}")) + fence.len();
    let end = text[start..].find("\n```").expect("the block ends");
    &text[start..start + end + 1]
}

/// A command and the lines it prints on standard output.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    prints: Vec<String>,
}

fn steps(session: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in session.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step { command: command.to_owned(), prints: vec![] }),
            None => steps.last_mut().expect("a command comes first").prints.push(line.to_owned()),
        }
    }
    steps
}

/// Whether a printed line is as shown; `…` stands for any text.
fn as_shown(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|start| printed.strip_prefix(start)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let found = if at + 1 == parts.len() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(found) = found else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn a_line_is_as_shown_or_not() {
    assert!(as_shown("200", "200"));
    assert!(as_shown(r#"{"a":1,"sid":"…"}"#, r#"{"a":1,"sid":"x"}"#));
    assert!(as_shown("a … c … e", "a b c d e"));
    for (shown, printed) in [("200", "401"), ("200", "2000"), ("a … c", "a b"), ("a…", "b"), ("…a", "ab")]
    {
        assert!(!as_shown(shown, printed), "{shown} {printed}");
    }
}

/// The steps of the README's terminal session after the build, and a port and a folder to run them in.
fn readme_session() -> (Vec<Step>, u16, tempfile::TempDir) {
    let readme = read("README.md");
    let session = block(&readme, "console");
    assert!(session.lines().count() <= 15, "a terminal session of at most 15 lines");
    let mut steps = steps(session);
    let build = steps.remove(0);
    assert_eq!(build.command, r#"cargo build --release && export PATH="$PWD/target/release:$PATH""#);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (steps, port, tempfile::tempdir().unwrap())
}

/// How often the README's session is run in each way: `README_RUNS` times, by default twice.
fn runs() -> u32 {
    std::env::var("README_RUNS").map_or(2, |runs| runs.parse().unwrap())
}

#[test]
fn the_terminal_session_of_the_readme_is_true_as_a_script() {
    for _ in 0..runs() {
        let (steps, port, folder) = readme_session();
        let mut shell = Command::new("bash");
        shell.current_dir(&folder).env("BULLA_LISTEN", format!("127.0.0.1:{port}"));
        play(&steps, &format!("localhost:{port}"), "2>&1", shell);
    }
}

/// All lines reach an interactive shell at once, as when they are pasted. The terminal must then show what the README shows.
#[test]
fn the_terminal_session_of_the_readme_is_true_when_it_is_pasted() {
    for run in 0..runs() {
        let (steps, port, folder) = readme_session();
        let address = format!("localhost:{port}");
        let here = |text: &str| text.replace("localhost:8080", &address);
        let pasted: String = steps.iter().map(|step| format!("{}\n", here(&step.command))).collect();
        let mut terminal = Command::new("timeout");
        terminal
            .args(["120", "script", "-qec", "bash --norc --noprofile -i", "/dev/null"])
            .current_dir(&folder);
        terminal.env("BULLA_LISTEN", format!("127.0.0.1:{port}")).env("PATH", path());
        terminal.env("TERM", "dumb").env("COLUMNS", "1000");
        let mut terminal =
            terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        terminal.stdin.as_mut().unwrap().write_all(format!("{pasted}kill %1; exit\n").as_bytes()).unwrap();
        let output = terminal.wait_with_output().unwrap();
        let appeared = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        // The terminal's echo follows a prompt on the same line. A prompt follows an answer without a line end on the same line.
        let mut printed = appeared.lines().map(|line| line.split("bash-").next().unwrap());
        for shown in steps.iter().flat_map(|step| &step.prints) {
            assert!(
                printed.any(|line| as_shown(&here(shown), line)),
                "run {run}: {shown} does not appear:\n{appeared}"
            );
        }
        for wrong in ["bulla: ", "rror: ", "command not found"] {
            assert!(!appeared.contains(wrong), "run {run}:\n{appeared}");
        }
    }
}

/// The session of `docs/oauth.md` continues through all its blocks, with a server that is already running.
#[tokio::test]
async fn the_terminal_session_of_the_oauth_page_is_true() {
    let page = read("docs/oauth.md");
    let blocks = page.split("\n```console\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let session: Vec<&str> = blocks.map(|(session, _)| session).collect();
    assert!(session.len() > 5);
    let server = Server::started(&[]);
    let mut shell = Command::new("bash");
    shell.current_dir(server.dir.path()).envs(server.environment.iter().map(|(name, value)| (name, value)));
    play(&steps(&session.join("\n")), server.origin.strip_prefix("http://").unwrap(), "", shell);
}

/// A `PATH` on which a shell finds the program under test.
fn path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_bulla")).parent().unwrap();
    format!("{}:{}", program.display(), std::env::var("PATH").unwrap())
}

/// Runs a session in one shell, with a server at `address`. Every step must print what is shown, on standard output or, if
/// `streams` is `2>&1`, on standard error as well.
fn play(steps: &[Step], address: &str, streams: &str, mut shell: Command) {
    let here = |text: &str| text.replace("localhost:8080", address);
    let mut script = String::from("set -e\ntrap '[ -z \"$server\" ] || kill $server' EXIT\n");
    for step in steps {
        let names: Vec<&str> = step.command.split(' ').filter_map(|word| word.strip_suffix("=…")).collect();
        if names.is_empty() {
            script += &format!("{{ {}\n}} > printed {streams}\ncat printed\n", here(&step.command));
        } else {
            // The values that a person would copy: the second column of the previous output.
            script += &format!("read -r _ {} <<< \"$(tr '\\n' ' ' < printed)\"\n", names.join(" _ "));
        }
        if step.command.ends_with('&') {
            script += "server=$!\n";
        }
        script += "echo '--'\n";
    }

    let output = shell.arg("-c").arg(script).env("PATH", path()).stdin(Stdio::null()).output().unwrap();
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{said}");
    let printed: Vec<&str> = printed.split("--\n").collect();
    for (step, printed) in steps.iter().zip(&printed) {
        // The mark follows an answer without a line end on the same line.
        let printed: Vec<&str> = printed.lines().collect();
        let same = printed.len() == step.prints.len()
            && step.prints.iter().zip(&printed).all(|(shown, printed)| as_shown(&here(shown), printed));
        assert!(same, "$ {}\nshown:   {:#?}\nprinted: {printed:#?}\n{said}", step.command, step.prints);
    }
    assert_eq!(printed.len(), steps.len() + 1, "{printed:?}");
}

#[test]
fn the_code_for_embedders_is_the_examples() {
    let readme = read("README.md");
    let example = read("examples/embed.rs");
    let plain = |text: &str| {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let (shown, whole) = (plain(block(&readme, "rust")), plain(&example));
    assert!(shown.lines().count() > 3, "nothing to compare");
    for part in shown.split("\n// …\n") {
        assert!(whole.contains(part), "the README shows what examples/embed.rs doesn't say:\n{part}");
    }
}

/// The integrators' page shows the examples of the clients' pages, which each client's own tests run.
#[test]
fn the_integrators_page_shows_the_examples_of_the_clients() {
    let page = read("docs/integrators.md");
    for (language, client) in CLIENTS {
        let example = block(&page, language).to_owned();
        assert_eq!(example, block(&read(client), language), "{client}");
        assert!((5..=10).contains(&example.lines().count()), "{client}: ten lines");
    }
    assert!(block(&page, "rust,no_run").lines().filter(|line| !line.starts_with("# ")).count() <= 10);
}

/// The balancer configuration that `docs/fleet.md` shows is part of the one that runs.
#[test]
fn the_balancers_configuration_is_the_one_that_runs() {
    let (page, whole) = (read("docs/fleet.md"), read("scripts/fleet.nginx"));
    for line in block(&page, "nginx").lines() {
        assert!(whole.contains(&format!("{line}\n")), "scripts/fleet.nginx lacks: {line}");
    }
}

/// Every page that a page links to exists.
#[test]
fn the_pages_link_to_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty()) {
            // A client's page is also shown outside the repository, so its links are absolute.
            let path = match target.strip_prefix(REPOSITORY) {
                Some(path) => root.join(path),
                None if target.contains("://") => continue,
                None => root.join(&page).parent().unwrap().join(target),
            };
            assert!(
                !page.starts_with("clients/") || target.contains("://"),
                "{page} is a package's page: {target} must be absolute"
            );
            links += 1;
            assert!(path.exists(), "{page} links to {target}, which isn't there");
        }
    }
    assert!(links > 10, "only {links} links seen");
}

/// Each `bulla …` line of a shell block is a command that exists, with arguments that exist: with `--help` it prints its help.
#[test]
fn the_commands_of_the_pages_exist() {
    let mut commands = 0;
    for page in pages() {
        let text = read(&page);
        for block in text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            let lines = block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
            for line in lines.filter_map(|line| {
                line.split_once("bulla ")
                    .filter(|(before, _)| before.is_empty() || before.ends_with("sudo -u bulla "))
                    .map(|(_, arguments)| arguments)
            }) {
                commands += 1;
                let arguments = line.split_whitespace().filter(|argument| !matches!(*argument, "bulla"));
                let output =
                    Command::new(env!("CARGO_BIN_EXE_bulla")).args(arguments).arg("--help").output().unwrap();
                assert!(
                    output.status.success(),
                    "{page}: bulla {line}\n{}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
    assert!(commands > 10, "only {commands} commands seen");
}

/// A server accepts each block of settings in `docs/sign-in.md`, and each block has at most five lines.
#[test]
fn the_settings_of_every_provider_are_settings() {
    let text = read("docs/sign-in.md");
    let blocks = text.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let mut named = Vec::new();
    for block in blocks {
        let layer = bulla::config::Layer::file(Path::new("docs/sign-in.md"), block);
        let settings = layer.and_then(|layer| bulla::config::Settings::resolve(&[layer]));
        let provider = settings.unwrap_or_else(|error| panic!("{error}:\n{block}")).providers.remove(0);
        assert!(block.lines().count() <= 5 || provider.roles.is_some(), "{block}");
        named.push(provider.name);
    }
    assert_eq!(named, ["google", "facebook", "cognito", "okta", "jumpcloud", "keycloak", "okta"]);
}

/// Runs `open.mjs` on every vector of a folder; prints the number of vectors.
const VECTORS: &str = r#"
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { open } from "./open.mjs";
const [, , folder] = process.argv;
const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
for (const file of names) {
  const { name, export: exported, token, now, payload, refused } = JSON.parse(readFileSync(`${folder}/${file}`, "utf8"));
  let said;
  try { said = { payload: open(exported, token, now) }; } catch (error) { said = { refused: error.message }; }
  assert.deepEqual(said, refused === undefined ? { payload } : { refused }, name);
}
console.log(names.length);
"#;

/// The opener of `docs/token.md` passes every vector, and opens what the program seals, with keys that the program exports.
#[test]
fn the_opener_in_another_language_opens() {
    if Command::new("node").arg("--version").output().is_err() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "node is missing");
        eprintln!("skipped: node is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bulla = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_bulla")).args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let script = block(&read("docs/token.md"), "js").to_owned();
    fs::write(folder.path().join("open.mjs"), script).unwrap();
    fs::write(folder.path().join("vectors.mjs"), VECTORS).unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let output = Command::new("node").arg("vectors.mjs").arg(&vectors).current_dir(&folder).output().unwrap();
    let judged = String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap_or_default();
    assert!(
        output.status.success() && judged >= 854,
        "{judged}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    bulla(&["init"]);
    bulla(&["keys", "export", "--own", "--out", "own.json"]);
    let token = bulla(&["token", "seal", r#"{"id":"42"}"#]);
    assert_eq!((token.len(), &token[..4]), (86, "bulX"));
    let open = |token: &str| {
        let output =
            Command::new("node").args(["open.mjs", "own.json", token]).current_dir(&folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(open(&token), (Some(0), "{\"id\":\"42\"}\n".to_owned()));
    for at in [5, 20, 50, 70, 85] {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_eq!(open(&changed), (Some(4), String::new()), "changed at {at}");
    }
}
