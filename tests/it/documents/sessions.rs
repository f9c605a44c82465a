//! Runs the terminal sessions of the documents and compares the output with what they show.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use super::{block, blocks, pages, read};
use crate::support::{
    ports::free_port,
    server::{Browser, Jar, Server},
};

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
fn shown_output_is_compared_line_by_line() {
    assert!(as_shown("200", "200"));
    assert!(as_shown(r#"{"a":1,"sid":"…"}"#, r#"{"a":1,"sid":"x"}"#));
    assert!(as_shown("a … c … e", "a b c d e"));
    for (shown, printed) in [("200", "401"), ("200", "2000"), ("a … c", "a b"), ("a…", "b"), ("…a", "ab")]
    {
        assert!(!as_shown(shown, printed), "{shown} {printed}");
    }
}

/// The command that builds the program in a terminal session. The tests have a program already.
const BUILD: &str = r#"cargo build --release && export PATH="$PWD/target/release:$PATH""#;

/// The steps of a page's terminal session, which continues through all its blocks.
fn session_of(page: &str) -> Vec<Step> {
    let text = read(page);
    let session = blocks(&text, "console").concat();
    steps(session.trim_end_matches('\n'))
}

/// The steps of the first terminal session after the build, and a port and a folder to run them in.
fn first_session() -> (Vec<Step>, u16, tempfile::TempDir) {
    let mut steps = session_of("docs/getting-started.md");
    assert_eq!(steps.remove(0).command, BUILD);
    assert!(steps.len() < 20, "a session of at most 20 commands");
    (steps, free_port(), tempfile::tempdir().unwrap())
}

#[test]
fn each_terminal_session_is_run() {
    let shown: Vec<String> =
        pages().into_iter().filter(|page| !blocks(&read(page), "console").is_empty()).collect();
    assert_eq!(shown.len(), 2, "a test runs the sessions of getting-started.md and oauth.md: {shown:?}");
}

/// The second command runs at a terminal, where it prints the password of the administrator. Ctrl-C ends it.
#[tokio::test]
async fn the_two_commands_of_the_readme_lead_to_a_login_as_administrator() {
    let readme = read("README.md");
    let commands: Vec<&str> = block(&readme, "sh").lines().collect();
    assert_eq!(commands, ["cargo build --release", "target/release/bulla serve --init"]);
    // `exec`: if the shell of `script` stays in between, as dash does, it ends with the status 130 of Ctrl-C.
    let serve = format!("exec {}", commands[1].replace("target/release/bulla", env!("CARGO_BIN_EXE_bulla")));
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut terminal = Command::new("timeout");
    terminal.args(["120", "script", "-qec", &serve, "/dev/null"]).current_dir(&folder);
    terminal.env("BULLA_LISTEN", format!("127.0.0.1:{port}")).env_remove("RUST_LOG");
    let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut shown = Vec::new();
    let mut line_with = |text: &str| {
        let found = lines.by_ref().inspect(|line| shown.push(line.clone())).find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("the server ended without {text:?}: {shown:#?}"))
    };
    let (made, serves) = (line_with("Password: "), line_with("Bulla serves on "));
    let password = made.split("Password: ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(
        made.contains("Name: admin") && serves.contains(&format!("http://localhost:{port}")),
        "{made}\n{serves}"
    );

    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let browser = Browser { client, origin: format!("http://localhost:{port}"), jar: Jar::default() };
    let form = [("username", "admin"), ("password", password)];
    let answer = browser.send(browser.request(reqwest::Method::POST, "/auth/login").form(&form)).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(browser.get("/auth/account").await.status(), 200);
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().all(|line| !line.contains("rror")), "{rest:#?}");
    let ended = terminal.wait().unwrap();
    assert!(ended.success(), "{ended}: {rest:#?}");
}

/// How often the first session is run in each way: `README_RUNS` times, by default twice.
fn runs() -> u32 {
    std::env::var("README_RUNS").map_or(2, |runs| runs.parse().unwrap())
}

#[test]
fn the_first_terminal_session_is_true_as_a_script() {
    for _ in 0..runs() {
        let (steps, port, folder) = first_session();
        let mut shell = Command::new("bash");
        shell.current_dir(&folder).env("BULLA_LISTEN", format!("127.0.0.1:{port}"));
        play(&steps, &format!("localhost:{port}"), "2>&1", shell);
    }
}

/// All lines reach an interactive shell at once, as when they are pasted. The terminal must then show what the page shows.
#[test]
fn the_first_terminal_session_is_true_when_it_is_pasted() {
    for run in 0..runs() {
        let (steps, port, folder) = first_session();
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
async fn the_terminal_session_of_the_oauth_page_runs_as_shown() {
    let steps = session_of("docs/oauth.md");
    assert!(steps.len() > 15, "{steps:?}");
    let server = Server::started(&[]);
    let mut shell = Command::new("bash");
    shell.current_dir(server.dir.path()).envs(server.environment.iter().map(|(name, value)| (name, value)));
    play(&steps, server.origin.strip_prefix("http://").unwrap(), "", shell);
}

/// A `PATH` on which a shell finds the program under test.
pub(super) fn path() -> String {
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
