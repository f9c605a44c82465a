//! Tests connections and statements that PostgreSQL refuses: an administrator of the server runs the suggested command, which
//! solves the problem.

use std::process::{Command, Output};

use super::place::{said, suggested};
use crate::support::{
    cluster::{self, psql},
    ports::free_port,
};

/// Runs `bulla` with a database.
fn bulla(folder: &tempfile::TempDir, url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
    command.args(arguments).current_dir(folder).env("BULLA_DATABASE", url);
    command.env_remove("PGPASSWORD").env_remove("PGPASSFILE").env("HOME", folder.path()).output().unwrap()
}

/// Runs a suggested command as the administrator of the shared server.
fn as_administrator(command: &str, database: &str) {
    let shell = Command::new("sh")
        .args(["-c", command])
        .env("PGUSER", "postgres")
        .env("PGDATABASE", database)
        .output()
        .unwrap();
    assert!(shell.status.success(), "`{command}`: {}", said(&shell));
}

/// The URL of a database on the same server for another role.
fn of(url: &str, role: &str, name: &str) -> String {
    let server = url.rsplit_once('/').unwrap().0;
    let place = server.split_once('@').unwrap().1;
    format!("postgres://{role}@{place}/{name}")
}

#[test]
fn the_commands_suggested_for_a_missing_database_and_role_create_them() {
    let Some(cluster) = cluster::shared() else { return };
    let (database, folder) = (cluster.create(), tempfile::tempdir().unwrap());
    let (name, role) = (format!("{}_new", database.name), format!("{}_role", database.name));
    let url = of(&database.url, "postgres", &name);
    let failed = bulla(&folder, &url, &["init"]);
    assert_eq!(failed.status.code(), Some(5), "{}", said(&failed));
    as_administrator(&suggested(&said(&failed), "createdb "), "postgres");
    assert!(bulla(&folder, &url, &["init"]).status.success());

    let url = of(&database.url, &role, &name);
    let failed = bulla(&folder, &url, &["user", "list"]);
    assert_eq!(failed.status.code(), Some(5), "{}", said(&failed));
    // The command prompts for a password; the test has no terminal.
    let command = suggested(&said(&failed), "createuser ").replace(" --pwprompt", "");
    as_administrator(&command, "postgres");
    // The role may connect but may not read; `bulla doctor` prints the command that grants the access.
    let failed = bulla(&folder, &url, &["user", "list"]);
    assert!(said(&failed).contains("permission denied"), "{}", said(&failed));
    suggested(&said(&failed), "bulla doctor");
    let doctor = bulla(&folder, &url, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(6));
    as_administrator(&suggested(&said(&doctor), "psql "), &name);
    let listed = bulla(&folder, &url, &["user", "list"]);
    assert!(listed.status.success(), "{}", said(&listed));
    let doctor = bulla(&folder, &url, &["doctor"]);
    assert!(doctor.status.success(), "{}", said(&doctor));
    let drop = |what: &str| psql(&cluster.database("postgres"), what);
    drop(&format!("DROP DATABASE {name} WITH (FORCE)"));
    drop(&format!("DROP ROLE {role}"));
}

#[test]
fn the_messages_about_an_unreachable_server_and_a_wrong_password_explain_them() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let away = bulla(&folder, &format!("postgres://ada@127.0.0.1:{port}/d"), &["user", "list"]);
    assert_eq!(suggested(&said(&away), "pg_isready"), format!("pg_isready -h 127.0.0.1 -p {port}"));
    let Some(cluster) = cluster::shared() else { return };
    if cluster.certificate.is_none() {
        return;
    }
    let database = cluster.create();
    let role = database.role_with_password("right");
    let url = of(&database.url, &format!("{role}:wrong"), &database.name);
    let refused = bulla(&folder, &url, &["user", "list"]);
    assert!(!said(&refused).contains("wrong "), "{}", said(&refused));
    let command = suggested(&said(&refused), "psql ");
    assert!(command.contains("\\password"), "{command}");
}
