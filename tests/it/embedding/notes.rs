//! Runs the program of `docs/embedding.md`, `examples/notes.rs`, and uses it as its members do.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Method, redirect::Policy};

use crate::support::server::{ACCESS, Browser, Jar, PASSWORD, eventually, set_cookies};

/// The running example.
struct Program {
    process: Child,
    origin: String,
    _home: tempfile::TempDir,
}

impl Program {
    fn start() -> Self {
        // A run of selected tests doesn't build the examples.
        let build = ["build", "--locked", "--quiet", "--example", "notes"];
        let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success());
        let home = tempfile::tempdir().unwrap();
        let mut command =
            Command::new(Path::new(env!("CARGO_BIN_EXE_bulla")).with_file_name("examples/notes"));
        command.args([home.path().as_os_str(), "0".as_ref()]).env_remove("RUST_LOG");
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let origin = lines.next().unwrap().unwrap();
        Self { process, origin, _home: home }
    }

    fn browser(&self) -> Browser {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Browser { client, origin: self.origin.clone(), jar: Jar::default() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn text(browser: &Browser, path: &str) -> (u16, String) {
    let answer = browser.get(path).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn members_register_use_the_notes_and_are_removed_by_the_administrator() {
    let program = Program::start();
    let (ada, grace) = (program.browser(), program.browser());
    assert!(text(&grace, "/").await.1.contains("Sign in"));
    assert_eq!(text(&grace, "/notes").await.0, 401);
    assert_eq!(text(&grace, "/health/ready").await.0, 200);

    // A registration signs in.
    let form = [("name", "grace"), ("password", PASSWORD)];
    let answer = grace.send(grace.request(Method::POST, "/register").form(&form)).await;
    assert_eq!((answer.status().as_u16(), set_cookies(&answer).len()), (303, 2));
    assert!(text(&grace, "/").await.1.contains("Hello grace"));
    assert_eq!(text(&grace, "/notes").await, (200, "The notes of grace, plan \"team\"\n".to_owned()));
    let again = program.browser();
    let answer = again.send(again.request(Method::POST, "/register").form(&form)).await;
    assert_eq!(answer.status(), 409);
    // The password of the registration also serves the login page, which is the program's own.
    let page = text(&again, "/auth/login?rd=/notes%22%3E").await.1;
    assert!(page.contains("Sign in to your notes") && page.contains("action=/auth/login"), "{page}");
    let form = [("username", "grace"), ("password", PASSWORD)];
    let answer = again.send(again.request(Method::POST, "/auth/login").form(&form)).await;
    assert_eq!((answer.status().as_u16(), set_cookies(&answer).len()), (303, 2));

    // Basic is switched off and counts as a foreign scheme, which is ignored: the cookies decide.
    let basic = again.client.get(format!("{}/notes", program.origin)).basic_auth("grace", Some(PASSWORD));
    assert_eq!(basic.send().await.unwrap().status(), 401);

    // A stream ends with its session, and only an administrator removes members.
    let mut stream = grace.get("/live").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 0\n\n");
    assert_eq!(grace.delete("/members/ada").await.status(), 403);
    ada.log_in("ada").await;
    let answer = ada.delete("/members/grace").await;
    assert_eq!(answer.text().await.unwrap(), "2 sessions ended\n");
    let removed = Instant::now();
    while stream.chunk().await.unwrap().is_some() {}
    assert!(removed.elapsed() < Duration::from_secs(1), "{:?}", removed.elapsed());
    assert_eq!(text(&grace, "/notes").await.0, 401);
    again.jar.remove(ACCESS);
    eventually("the removed member is refused", async || text(&again, "/notes").await.0 == 401).await;
    assert!(text(&again, "/").await.1.contains("Sign in"));
}
