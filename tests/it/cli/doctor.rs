//! Tests that `bulla doctor` changes no byte of what it checks, and which faults it finds.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::support::{
    cluster::{self, psql},
    server::{Server, sqlite3},
    tls::certificate,
};

/// Every file in a folder with its contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => drop(files.insert(path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    files
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs `bulla doctor` and checks that no file in the installation changes. Returns the exit code and the output.
fn doctor(server: &Server) -> (i32, String) {
    let before = files(server.dir.path());
    let output = server.cli(&["doctor"]);
    assert!(files(server.dir.path()) == before, "doctor has written: {:?}", files(server.dir.path()).keys());
    (output.status.code().unwrap(), said(&output))
}

#[test]
fn doctor_changes_no_file() {
    let mut server = Server::new(&[]);
    assert_eq!(doctor(&server).0, 0);
    // After a crash, the last commits are only in the write-ahead log.
    server.start();
    server.kill();
    assert!(fs::metadata(server.path("bulla.db-wal")).unwrap().len() > 0);
    let database =
        |server: &Server| ["bulla.db", "bulla.db-wal"].map(|name| fs::read(server.path(name)).unwrap());
    let before = database(&server);
    assert!(server.cli(&["doctor"]).status.success());
    assert_eq!(database(&server), before);
}

#[test]
fn doctor_finds_no_fault_while_the_server_runs() {
    let server = Server::started(&[]);
    let output = server.cli(&["doctor"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn every_command_refuses_another_programs_sqlite_file_unchanged() {
    for wal in [false, true] {
        let server = Server::new(&[("BULLA_DATABASE", "other.db")]);
        for name in ["other.db", "other.db-wal", "other.db-shm"] {
            let _ = fs::remove_file(server.path(name));
        }
        let mode = if wal { "PRAGMA journal_mode = WAL;" } else { "" };
        sqlite3(
            &server.path("other.db"),
            &format!("{mode} CREATE TABLE bills (id); CREATE TABLE users (id);"),
        );
        let (code, found) = doctor(&server);
        assert!(code == 6 && found.contains("the database of another program (its tables: bills"), "{found}");
        let before = files(server.dir.path());
        for command in [
            &["user", "list"][..],
            &["init"],
            &["serve", "--listen", "127.0.0.1:0"],
            &["serve", "--init", "--listen", "127.0.0.1:0"],
            &["session", "list"],
            &["audit"],
        ] {
            let output = server.cli(command);
            assert!(!output.status.success(), "{command:?}: {}", said(&output));
            assert!(files(server.dir.path()) == before, "{command:?} has written");
        }
    }
}

#[test]
fn doctor_does_not_create_or_replace_a_missing_or_damaged_database() {
    let server = Server::new(&[]);
    fs::remove_file(server.path("bulla.db")).unwrap();
    let (code, found) = doctor(&server);
    assert!(code == 6 && found.contains("bulla init"), "{found}");
    for junk in ["", "not a database, but long enough for one"] {
        fs::write(server.path("bulla.db"), junk).unwrap();
        assert_eq!(doctor(&server).0, 6, "{junk}");
    }
    fs::remove_file(server.path("bulla.db")).unwrap();
    fs::create_dir(server.path("bulla.db")).unwrap();
    assert_eq!(doctor(&server).0, 6);
}

#[test]
fn doctor_reports_an_older_schema_with_the_command_and_does_not_migrate() {
    let server = Server::new(&[]);
    let newest = server.sqlite3("SELECT max(version) FROM refinery_schema_history");
    server.sqlite3(&format!("DELETE FROM refinery_schema_history WHERE version = {newest}"));
    let (code, found) = doctor(&server);
    assert!(
        code == 6 && found.contains("the schema has version") && found.contains("`bulla init`"),
        "{found}"
    );
}

#[test]
fn another_programs_postgresql_database_is_refused_unchanged() {
    let Some(cluster) = cluster::shared() else { return };
    let database = cluster.create();
    let server = Server::new(&[]);
    let look = || {
        let mut command = server.command(&["doctor"]);
        let output = command.env("BULLA_DATABASE", &database.url).output().unwrap();
        (output.status.code(), said(&output))
    };
    let tables = "SELECT string_agg(relname || relkind::text, ',' ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace";
    let (code, found) = look();
    assert!(code == Some(6) && found.contains("`bulla init` creates one"), "{found}");
    assert_eq!(psql(&database.url, tables), "");
    psql(&database.url, "CREATE TABLE bills (id int)");
    let before = psql(&database.url, tables);
    assert_eq!(look().0, Some(6));
    assert_eq!(psql(&database.url, tables), before);
    // In a database of Bulla, `doctor` begins no transaction that writes.
    let init = server.command(&["init"]).env("BULLA_DATABASE", &database.url).output().unwrap();
    assert!(!said(&init).contains("panicked"));
    let written = || {
        psql(
            &database.url,
            "SELECT pg_current_xact_id_if_assigned() IS NULL, txid_snapshot_xmax(txid_current_snapshot())",
        )
    };
    let before = written();
    let (code, found) = look();
    assert!(code == Some(0) || found.contains("ring and database"), "{found}");
    assert_eq!(written(), before);
    let newest = psql(&database.url, "SELECT max(version) FROM bulla_schema_history");
    psql(&database.url, &format!("DELETE FROM bulla_schema_history WHERE version = {newest}"));
    let (code, found) = look();
    assert!(code == Some(6) && found.contains("`bulla init`"), "{found}");
    assert_ne!(psql(&database.url, "SELECT max(version) FROM bulla_schema_history"), newest);
}

#[test]
fn doctor_reports_every_fault_of_the_tls_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::new(&[("BULLA_TLS_CERT", "cert.pem"), ("BULLA_TLS_KEY", "key.pem")]);
    let finds = |says: &str| {
        let (code, found) = doctor(&server);
        let line = found.lines().find(|line| line.contains("TLS")).unwrap_or_default().to_owned();
        assert!(code == 6 && line.contains(says), "{says}: {found}");
    };
    finds("cert.pem: the file is missing");
    certificate(server.dir.path(), "90", false);
    let (code, found) = doctor(&server);
    assert!(code == 0 && found.contains("the certificate is valid until"), "{found}");
    let pair = ["cert.pem", "key.pem"].map(|name| fs::read(server.path(name)).unwrap());
    certificate(server.dir.path(), "3", false);
    finds("expires at");
    fs::write(server.path("cert.pem"), &pair[0]).unwrap();
    finds("key.pem is not the private key of cert.pem");
    certificate(server.dir.path(), "90", true);
    finds("encrypted");
    fs::write(server.path("cert.pem"), "no certificate").unwrap();
    finds("the file contains no certificate");
    fs::write(server.path("cert.pem"), &pair[0]).unwrap();
    fs::write(server.path("key.pem"), "no key").unwrap();
    finds("the file contains no private key");
    fs::write(server.path("key.pem"), &pair[1]).unwrap();
    fs::set_permissions(server.path("key.pem"), fs::Permissions::from_mode(0o604)).unwrap();
    finds("all users may read the private key");
    fs::set_permissions(server.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut elsewhere = server.command(&["doctor"]);
    let elsewhere = elsewhere.env("BULLA_PUBLIC_URL", "https://login.example.org").output().unwrap();
    assert!(said(&elsewhere).contains("not valid for login.example.org"), "{}", said(&elsewhere));
    // A certificate that has already expired.
    let old = Command::new("openssl")
        .args(["req", "-x509", "-key", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-days", "-1"])
        .current_dir(server.dir.path())
        .output()
        .unwrap();
    if old.status.success() {
        finds("expired at");
    }
}

#[test]
fn a_server_with_invalid_tls_files_names_the_file_and_the_fault() {
    let server = Server::new(&[("BULLA_TLS_CERT", "cert.pem"), ("BULLA_TLS_KEY", "key.pem")]);
    certificate(server.dir.path(), "90", true);
    let refused = server.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(
        said(&refused).contains("key.pem: the private key is encrypted; `openssl pkey"),
        "{}",
        said(&refused)
    );
    certificate(server.dir.path(), "90", false);
    fs::rename(server.path("key.pem"), server.path("first.pem")).unwrap();
    certificate(server.dir.path(), "90", false);
    fs::rename(server.path("first.pem"), server.path("key.pem")).unwrap();
    let refused = server.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(said(&refused).contains("is not the private key of"), "{}", said(&refused));
}

#[test]
fn doctor_reports_a_clock_that_is_behind_the_newest_event() {
    let server = Server::new(&[]);
    server.sqlite3(
        "INSERT INTO audit (at, event, actor, subject, detail) VALUES (4000000000000, 'login', '', '', '{}')",
    );
    let (code, found) = doctor(&server);
    assert!(code == 6 && found.contains("newest event in the audit"), "{found}");
}

#[test]
fn doctor_reports_a_public_url_that_no_browser_can_reach() {
    let server = Server::new(&[("BULLA_PUBLIC_URL", "https://login.example.org")]);
    let (code, found) = doctor(&server);
    assert!(code == 6 && found.contains("neither this server nor a proxy provides TLS"), "{found}");
}
