//! Tests the commands that messages about databases, users, clients and the log suggest, and that they apply to the same
//! installation.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::place::{Place, said, suggested};

#[test]
fn the_command_suggested_for_a_missing_database_creates_it() {
    let place = Place::new();
    for database in ["other.db", "./other folder/x.db", "nowhere/deep/x.db"] {
        let failing = format!("bulla user list --database '{database}'");
        place.mends(&failing, "bulla init");
        assert!(place.shell(&failing).status.success());
        assert!(place.path(database).exists());
    }
    // In an empty folder.
    let empty = tempfile::tempdir().unwrap();
    let at = |line: &str| place.shell(&format!("cd {} && {line}", empty.path().display()));
    for failing in ["bulla user list", "bulla serve --listen 127.0.0.1:0", "bulla keys list", "bulla doctor"]
    {
        let failed = at(failing);
        assert!(!failed.status.success());
        suggested(&said(&failed), "bulla init");
    }
    let failed = said(&at("bulla user list"));
    assert!(failed.contains(empty.path().to_str().unwrap()), "the whole path is named: {failed}");
    assert!(at(&suggested(&failed, "bulla init")).status.success());
    assert!(at("bulla user list && bulla keys list && bulla doctor").status.success());
    // The folder is missing, and `serve --init` is to create the database and the keys in it.
    let failed = place.shell("bulla --database away/x.db --keys away/keys serve --init --listen 127.0.0.1:0");
    let command = suggested(&said(&failed), "mkdir -p ");
    assert!(place.shell(&command).status.success() && place.path("away").is_dir());
}

#[test]
fn the_command_suggested_for_an_unrecovered_write_ahead_log_recovers_it() {
    let mut place = Place::new();
    place.server.start();
    place.server.kill();
    let kept = ["bulla.db", "bulla.db-wal"].map(|name| (name, fs::read(place.path(name)).unwrap()));
    assert!(!kept[1].1.is_empty());
    fs::remove_file(place.path("bulla.db-shm")).unwrap();
    place.mends_all("bulla doctor", "bulla audit --limit 1");
}

#[test]
fn a_command_that_a_message_suggests_for_details_shows_them() {
    let place = Place::new();
    for (failing, begins) in [
        ("bulla keys revoke 00000000", "bulla keys list"),
        ("bulla user show 'no body'", "bulla user list"),
        ("bulla user add ada --password-stdin", "bulla user show ada"),
        ("bulla session revoke AAAAAAAAAAAAAAAAAAAAAA", "bulla session list"),
        ("bulla client delete nothing", "bulla client list"),
        ("bulla migrate", "bulla migrate --help"),
    ] {
        place.mends(failing, begins);
    }
    place.server.add_user("it's me", &[]);
    place.mends("bulla user add \"it's me\" --password-stdin", "bulla user show ");
}

#[test]
fn no_command_is_suggested_for_files_of_another_kind() {
    let place = Place::new();
    assert!(
        place.shell("sqlite3 foreign.db 'CREATE TABLE theirs(x)'; chmod 600 foreign.db").status.success()
    );
    for (failing, says) in [
        ("bulla --database foreign.db user list", "the database of another program (its tables: theirs)"),
        ("bulla --database foreign.db serve", "the database of another program (its tables: theirs)"),
        ("bulla --database foreign.db doctor", "the database of another program (its tables: theirs)"),
        ("bulla --keys bulla.toml keys list", "is not a directory; name the keys directory with --keys"),
        ("bulla --keys bulla.toml keys rotate", "is not a directory"),
        ("bulla --keys bulla.toml serve", "is not a directory"),
        ("bulla --keys bulla.toml doctor", "is not a directory"),
    ] {
        let failed = place.shell(failing);
        assert!(!failed.status.success() && said(&failed).contains(says), "{failing}: {}", said(&failed));
        assert!(
            !said(&failed).contains("`bulla init") && !said(&failed).contains("`bulla keys revoke"),
            "{}",
            said(&failed)
        );
    }
}

#[test]
fn the_next_steps_of_init_and_client_add_name_the_same_installation() {
    let place = Place::new();
    let flags = "--keys 'other keys' --database other.db";
    let made = said(&place.shell(&format!("bulla {flags} init")));
    let add = suggested(&made, "bulla user add ").replace("NAME", "zoe");
    let added = place.shell(&format!("echo 'correct horse battery' | {add} --password-stdin"));
    assert!(added.status.success(), "{add}: {}", said(&added));
    assert_eq!(suggested(&made, "bulla serve"), format!("bulla serve {flags}"));
    let client = place.shell(&format!("bulla {flags} client add reports"));
    let another = suggested(&said(&client), "bulla client rotate-secret ");
    let rotated = place.shell(&another);
    assert!(
        rotated.status.success() && said(&rotated).contains("client_secret"),
        "{another}: {}",
        said(&rotated)
    );
}

#[test]
fn a_command_suggested_in_the_log_names_the_installation_of_the_server() {
    use std::io::BufRead as _;
    for (format, flags) in
        [("text", "--keys k --database x.db"), ("json", "--keys 'k \"2\"' --database y.db")]
    {
        let place = Place::new();
        let made = place.shell(&format!("bulla {flags} init"));
        assert!(made.status.success(), "{}", said(&made));
        let database = flags.split_once("--database ").unwrap().1;
        let broken = place.shell(&format!("sqlite3 {database} 'DROP TRIGGER session_deleted'"));
        assert!(broken.status.success(), "{}", said(&broken));
        let line = format!("exec {} serve --listen 127.0.0.1:0 {flags}", env!("CARGO_BIN_EXE_bulla"));
        let mut server = Command::new("sh")
            .args(["-c", &line])
            .current_dir(place.server.dir.path())
            .env("BULLA_LOG", format)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::io::BufReader::new(server.stderr.take().unwrap());
        let told = log.lines().map(Result::unwrap).find(|line| line.contains("bulla init")).unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        let told = match format {
            "json" => serde_json::from_str::<Value>(&told).unwrap()["fields"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
            _ => told,
        };
        assert_eq!(suggested(&told, "bulla init"), format!("bulla init {flags}"));
        // An error that ends the server is written to the same log.
        let lost = format!("--keys nowhere --database {database}");
        let ended =
            said(&place.shell(&format!("BULLA_LOG={format} bulla serve --listen 127.0.0.1:0 {lost}")));
        assert!(ended.contains(&format!("`bulla keys revoke --all {lost}`")), "each flag once: {ended}");
        assert!(place.shell(&suggested(&told, "bulla init")).status.success());
        assert!(place.shell(&format!("bulla {flags} doctor")).status.success());
    }
}

#[tokio::test]
async fn the_command_suggested_for_an_invalid_stored_hash_replaces_it() {
    let mut place = Place::new();
    place
        .server
        .sqlite3("UPDATE users SET password_hash = '$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA'");
    place.server.start();
    let body = json!({"username": "ada", "password": "correct horse battery"});
    assert_eq!(place.server.browser().post("/auth/login", body.clone()).await.status(), 401);
    let log = || place.server.stderr();
    crate::support::server::eventually("the log", || async { log().contains("bulla user passwd") }).await;
    let command = suggested(&log(), "bulla user passwd ");
    let set = place.shell(&format!("echo 'correct horse battery' | {command} --password-stdin"));
    assert!(set.status.success(), "{}", said(&set));
    assert_eq!(place.server.browser().post("/auth/login", body).await.status(), 200);
}
